use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Permission, PermissionType};

use super::*;
use crate::conformance::EtcdServer;
use crate::store::{WatchItem, commit_until_known, read_key};

#[tokio::test]
async fn dead_member_is_left_for_the_next_one() {
    let Some(mut server) = EtcdServer::start_with(3, &[]).await else { return };
    let store = server.store();
    let mut revision = 0;
    for dead in 0..3 {
        server.kill(dead);
        for _ in 0..5 {
            revision = bump(&*store, revision).await;
            assert_eq!(read(&*store).await, Some(revision));
        }
        server.restart(dead);
        // The next one may only die once this one takes part again.
        let alone = EtcdConfig::new([format!("127.0.0.1:{}", server.client_port(dead))]);
        let alone = EtcdStore::new(alone).unwrap();
        wait_until(async || read_key(&alone, "head").await.is_ok()).await;
    }
}

#[tokio::test]
async fn paused_member_is_left_for_the_next_one() {
    let Some(server) = EtcdServer::start_with(3, &[]).await else { return };
    let config = EtcdConfig {
        call_timeout: Duration::from_millis(300),
        watch_silence_max: Duration::from_millis(900),
        ..server.config()
    };
    let store = EtcdStore::new(config).unwrap();
    let first = bump(&store, 0).await;
    let used = store.members.current().await.ok().unwrap().at;
    let mut watch = store.watch(KeyRange::key("head"), first + 1).await.unwrap();
    server.signal(used, "-STOP");
    let second = bump(&store, first).await;
    assert_ne!(store.members.current().await.ok().unwrap().at, used);
    assert_eq!(read(&store).await, Some(second));
    let item = until_broken(&mut *watch).await;
    assert!(item.is_empty(), "a paused member delivered {item:?}");
    let mut watch = store.watch(KeyRange::key("head"), first + 1).await.unwrap();
    assert_eq!(next_revision(&mut *watch).await, second);
    server.signal(used, "-CONT");
    let third = bump(&store, second).await;
    assert_eq!(next_revision(&mut *watch).await, third);
}

#[tokio::test]
async fn restart_of_the_only_member_is_survived() {
    let Some(mut server) = EtcdServer::start().await else { return };
    let store = server.store();
    let first = bump(&*store, 0).await;
    let lease = store.lease_grant(Duration::from_secs(60)).await.unwrap();
    let mut watch = store.watch(KeyRange::key("head"), first + 1).await.unwrap();
    server.kill(0);
    let error = store.range(RangeRequest::newest(KeyRange::key("head"))).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    // A refused connection carried nothing, so the write is known not to have happened.
    let error = store.txn(GuardedWrite::new().put("head", "lost")).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(until_broken(&mut *watch).await.is_empty());
    server.restart(0);
    wait_until(async || read_key(&*store, "head").await.is_ok()).await;
    let second = bump(&*store, first).await;
    let mut watch = store.watch(KeyRange::key("head"), first + 1).await.unwrap();
    assert_eq!(next_revision(&mut *watch).await, second);
    store.lease_keep_alive(lease.id).await.unwrap();
}

#[tokio::test]
async fn absent_etcd_is_an_error_that_says_what_to_do() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let config = EtcdConfig {
        retry_timeout: Duration::from_millis(100),
        ..EtcdConfig::new([format!("127.0.0.1:{port}")])
    };
    let store = EtcdStore::new(config).unwrap();
    let error = read_key(&store, "k").await.unwrap_err();
    assert!(error.to_string().contains("check that etcd runs"), "{error}");
    assert!(EtcdStore::new(EtcdConfig::new(Vec::<String>::new())).is_err());
    let error = EtcdStore::new(EtcdConfig::new(["https://localhost:1"])).unwrap_err();
    assert!(error.to_string().contains("CA certificate"), "{error}");
}

#[tokio::test]
async fn full_etcd_says_so_and_is_noticed_when_it_has_room_again() {
    let flags = ["--quota-backend-bytes=8000000"];
    let Some(server) = EtcdServer::start_with(1, &flags).await else { return };
    let store = server.store();
    let first = bump(&*store, 0).await;
    let mut refused = None;
    for n in 0..40u8 {
        match store.txn(GuardedWrite::new().put("big", vec![n; 1_000_000])).await {
            Ok(_) => {}
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused, StoreError::NoSpace);
    assert!(refused.to_string().contains("etcdctl alarm disarm"), "{refused}");
    let status = store.status().await.unwrap();
    assert!(status.no_space, "{status:?}");
    assert_eq!(read(&*store).await, Some(first), "reads go on");

    store.compact(status.revision).await.unwrap();
    let endpoint = [format!("127.0.0.1:{}", server.client_port(0))];
    let mut admin = Client::connect(endpoint, None).await.unwrap();
    wait_until(async || {
        admin.defragment().await.unwrap();
        let kind = AlarmType::Nospace;
        let active = admin.alarm(AlarmAction::Get, AlarmType::None, None).await.unwrap();
        for alarm in active.alarms() {
            let mut options = AlarmOptions::new();
            options.with_member(alarm.member_id());
            admin.alarm(AlarmAction::Deactivate, kind, Some(options)).await.unwrap();
        }
        store.txn(GuardedWrite::new().put("small", "v")).await.is_ok()
    })
    .await;
    assert!(!store.status().await.unwrap().no_space);
}

#[tokio::test]
async fn user_and_password_are_used_and_wrong_ones_are_said() {
    let Some(mut server) = EtcdServer::start().await else { return };
    let endpoint = [format!("127.0.0.1:{}", server.client_port(0))];
    let mut admin = Client::connect(endpoint, None).await.unwrap();
    admin.user_add("root", "secret", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.role_add("broker").await.unwrap();
    let mine = Permission::new(PermissionType::Readwrite, "/ottla/").with_prefix();
    admin.role_grant_permission("broker", mine).await.unwrap();
    admin.user_add("broker", "word", None).await.unwrap();
    admin.user_grant_role("broker", "broker").await.unwrap();
    admin.auth_enable().await.unwrap();

    let with = |user: Option<(&str, &str)>| {
        let user = user.map(|(user, password)| (user.to_owned(), password.to_owned()));
        EtcdStore::new(EtcdConfig { user, ..server.config() }).unwrap()
    };
    for wrong in [None, Some(("broker", "guess")), Some(("nobody", "word"))] {
        let store = with(wrong);
        let error = read_key(&store, "/ottla/k").await.unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{wrong:?}: {error}");
        assert!(error.to_string().contains("check the etcd user"), "{error}");
        let error = store.txn(GuardedWrite::new().put("/ottla/k", "v")).await.unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{wrong:?}: {error}");
    }
    let store = with(Some(("broker", "word")));
    let written = commit(&store, GuardedWrite::new().put("/ottla/k", "v")).await;
    let error = store.txn(GuardedWrite::new().put("/other/k", "v")).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    let denied = store.watch(KeyRange::prefix("/other/"), 1).await;
    assert!(matches!(denied, Err(StoreError::Denied { .. })), "{denied:?}");
    let mut watch = store.watch(KeyRange::prefix("/ottla/"), written).await.unwrap();
    assert_eq!(next_revision(&mut *watch).await, written);

    // Newer etcds show their state to the root user only; history is dropped all the same.
    let status = store.status().await;
    assert!(matches!(status, Ok(_) | Err(StoreError::Denied { .. })), "{status:?}");
    store.compact(written).await.unwrap();

    // The member forgets its tokens; the client logs in again by itself.
    server.kill(0);
    server.restart(0);
    wait_until(async || read_key(&store, "/ottla/k").await.is_ok()).await;
    commit(&store, GuardedWrite::new().put("/ottla/k", "v")).await;
}

#[tokio::test]
async fn encrypted_etcd_is_reached_with_its_ca_and_our_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new();
    let server = ca.issue("localhost");
    let client = ca.issue("broker");
    std::fs::write(dir.path().join("ca.pem"), &ca.pem).unwrap();
    std::fs::write(dir.path().join("cert.pem"), &server.0).unwrap();
    std::fs::write(dir.path().join("key.pem"), &server.1).unwrap();
    let Some(server) = EtcdServer::start_encrypted(dir.path()).await else { return };
    let with = |ca_pem: &str, identity: Option<&(String, String)>| {
        let identity_pem = identity.map(|(cert, key)| (cert.clone().into(), key.clone().into()));
        let tls = TlsConfig {
            ca_pem: ca_pem.into(),
            identity_pem,
            server_name: Some("localhost".into()),
        };
        let endpoint = [format!("https://127.0.0.1:{}", server.client_port(0))];
        let retry_timeout = Duration::from_secs(2);
        let config = EtcdConfig { tls: Some(tls), retry_timeout, ..EtcdConfig::new(endpoint) };
        EtcdStore::new(config).unwrap()
    };
    let good = with(&ca.pem, Some(&client));
    wait_until(async || read_key(&good, "k").await.is_ok()).await;
    let revision = commit(&good, GuardedWrite::new().put("head", "v")).await;
    assert_eq!(read(&good).await, Some(revision));
    let mut watch = good.watch(KeyRange::key("head"), revision).await.unwrap();
    assert_eq!(next_revision(&mut *watch).await, revision);

    let stranger = Authority::new();
    for bad in [with(&stranger.pem, Some(&client)), with(&ca.pem, None)] {
        let error = read_key(&bad, "head").await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
}

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    fn issue(&self, name: &str) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Writes the head, as its owner does.
async fn bump(store: &dyn MetaStore, before: i64) -> i64 {
    let write = GuardedWrite::new().when_unchanged("head", before).put("head", format!("{before}"));
    let patient = RetryPolicy { attempts: 40, ..RetryPolicy::default() };
    match commit_until_known(store, &write, patient).await.unwrap() {
        Outcome::Committed { revision } => revision,
        outcome => panic!("{outcome:?}"),
    }
}

async fn commit(store: &dyn MetaStore, write: GuardedWrite) -> i64 {
    match store.txn(write).await.unwrap() {
        Outcome::Committed { revision } => revision,
        outcome => panic!("{outcome:?}"),
    }
}

async fn read(store: &dyn MetaStore) -> Option<i64> {
    read_key(store, "head").await.unwrap().map(|kv| kv.mod_revision)
}

async fn next_revision(watch: &mut dyn Watch) -> i64 {
    loop {
        match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap() {
            WatchItem::Batch(batch) if batch.events.is_empty() => {}
            WatchItem::Batch(batch) => return batch.revision,
            item => panic!("{item:?}"),
        }
    }
}

/// The changes that come before a watch breaks.
async fn until_broken(watch: &mut dyn Watch) -> Vec<i64> {
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap() {
            WatchItem::Batch(batch) => {
                seen.extend(batch.events.iter().map(crate::store::Event::revision))
            }
            WatchItem::Broken { .. } => return seen,
            item => panic!("{item:?}"),
        }
    }
}

async fn wait_until(mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..100 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the condition never held");
}

const PATIENCE: Duration = Duration::from_secs(20);
