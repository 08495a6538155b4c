//! Certificates on both sides.

use std::sync::Arc;

use ottla_coordinator::{Coordinator, StartError};
use ottla_metadata::model::Endpoint;
use ottla_metadata::store::embedded::EmbeddedStore;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::certificates::{Authority, mixed, secret_file, write_private};
use crate::support::{Log, Proof, assert_refused, config, coordinator, greet_at, greet_by, stop};

#[tokio::test]
async fn nodes_of_one_authority_accept_each_other_off_loopback_too() {
    let authority = Authority::new();
    let proof = Proof::tls(authority.node("localhost"));
    let mut config = config(&proof);
    config.internode = Some(Endpoint { host: "0.0.0.0".to_owned(), port: 0 });
    let store = Arc::new(EmbeddedStore::in_memory(7));
    let handle = Coordinator::start(config, store).await.unwrap();
    let broker = Proof::tls(authority.node("broker-1"));
    assert_eq!(greet_by(&broker, &handle).await.unwrap().node_id, 100);
    stop(handle).await;
}

#[tokio::test]
async fn certificates_and_secret_go_together() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let both = |name, byte| Proof {
        tls: Some(authority.node(name)),
        secret: Some(secret_file(&folder, byte)),
    };
    let handle = coordinator(&both("localhost", 'a')).await;
    assert_eq!(greet_by(&both("broker-1", 'a'), &handle).await.unwrap().node_id, 100);
    let refused = greet_by(&both("broker-1", 'b'), &handle).await.unwrap_err();
    assert!(refused.contains("does not know the secret"), "{refused}");
    stop(handle).await;
}

#[tokio::test]
async fn certificate_of_a_strange_authority_is_refused_on_either_side() {
    let (here, there) = (
        "trusts no authority that signed this node's certificate",
        "no authority that this node trusts",
    );
    let ours = Authority::new();
    // Also one that was made anew under the same name.
    for strange in [Authority::named("Stranger"), Authority::new()] {
        let broker = mixed(&strange.node("broker-1"), &ours.node("broker-1"));
        let coordinator = ours.node("localhost");
        assert_refused(&Proof::tls(broker), &Proof::tls(coordinator), (here, there)).await;
        let broker = ours.node("broker-1");
        let coordinator = mixed(&strange.node("localhost"), &ours.node("localhost"));
        assert_refused(&Proof::tls(broker), &Proof::tls(coordinator), (there, here)).await;
    }
}

#[tokio::test]
async fn expired_certificate_is_refused_on_either_side() {
    let authority = Authority::new();
    let (here, there) =
        ("this node's certificate has expired", "other side's certificate has expired");
    assert_refused(
        &Proof::tls(authority.expired("broker-1")),
        &Proof::tls(authority.node("localhost")),
        (here, there),
    )
    .await;
    assert_refused(
        &Proof::tls(authority.node("broker-1")),
        &Proof::tls(authority.expired("localhost")),
        (there, here),
    )
    .await;
}

#[tokio::test]
async fn certificate_for_another_host_is_refused_by_the_broker() {
    let authority = Authority::new();
    let handle = coordinator(&Proof::tls(authority.node("elsewhere.example"))).await;
    let broker = Proof::tls(authority.node("broker-1"));
    let reason = greet_by(&broker, &handle).await.unwrap_err();
    assert!(reason.contains("elsewhere.example") && reason.contains("localhost"), "{reason}");
    assert!(reason.contains("internode.advertised.listener"), "{reason}");
    stop(handle).await;
    // An address is a name too.
    let handle = coordinator(&Proof::tls(authority.node("127.0.0.1"))).await;
    let at = handle.internode_endpoint().unwrap().clone();
    assert_eq!(greet_at(&broker, at).await.unwrap().node_id, 100);
    stop(handle).await;
}

#[tokio::test]
async fn node_without_a_certificate_is_refused() {
    let authority = Authority::new();
    let (log, _guard) = Log::capture();
    let handle = coordinator(&Proof::tls(authority.node("localhost"))).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let nameless = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let port = handle.internode_endpoint().unwrap().port;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(nameless));
    let name = ServerName::try_from("localhost").unwrap();
    let heard = match connector.connect(name, stream).await {
        Ok(mut stream) => stream.read(&mut [0; 16]).await,
        Err(error) => Err(error),
    };
    assert!(heard.unwrap_err().to_string().contains("CertificateRequired"));
    log.until_it_says("the other side shows no certificate").await;
    stop(handle).await;
}

#[tokio::test]
async fn tls_on_one_side_only_is_refused_and_both_sides_say_so() {
    let authority = Authority::new();
    let words = ("internode.ssl.* is set on one side only", "the other side does not speak TLS");
    assert_refused(&Proof::none(), &Proof::tls(authority.node("localhost")), words).await;
    let words = ("it may not speak TLS", "refused a node that speaks TLS");
    assert_refused(&Proof::tls(authority.node("broker-1")), &Proof::none(), words).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start_and_are_named() {
    let authority = Authority::new();
    let good = authority.node("localhost");
    let folder = tempfile::tempdir().unwrap();
    let key_of_another = folder.path().join("mismatch.pem");
    let text =
        |files: &ottla_client::tls::PemFiles| std::fs::read_to_string(&files.keystore).unwrap();
    let (one, other) = (text(&good), text(&authority.node("another")));
    let (key, _) = one.split_once("-----BEGIN CERTIFICATE").unwrap();
    let (_, certificate) = other.split_once("-----BEGIN CERTIFICATE").unwrap();
    write_private(&key_of_another, &format!("{key}-----BEGIN CERTIFICATE{certificate}"));
    let no_key = folder.path().join("no-key.pem");
    write_private(&no_key, authority.pem());
    let nothing = folder.path().join("nothing.pem");
    write_private(&nothing, "");
    let missing = folder.path().join("missing.pem");
    for (keystore, words) in [
        (key_of_another, "mismatch.pem cannot be used"),
        (no_key, "no private key"),
        (nothing, "no certificate"),
        (missing, "missing.pem cannot be read"),
    ] {
        let files = ottla_client::tls::PemFiles { keystore, truststore: good.truststore.clone() };
        let store = Arc::new(EmbeddedStore::in_memory(7));
        let refused = Coordinator::start(config(&Proof::tls(files)), store).await.unwrap_err();
        assert!(matches!(refused, StartError::Tls(_)), "{refused}");
        assert!(refused.to_string().contains(words), "{words}: {refused}");
    }
}
