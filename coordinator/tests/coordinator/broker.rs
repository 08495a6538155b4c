//! A broker as the coordinator sees one: a claim under a lease, and heartbeats.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::Handle;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{
    self, BrokerClaim, BrokerRecord, Listener, PreviousLife, Rest, SecurityProtocol,
};
use ottla_metadata::store::{Compare, GuardedWrite, LeaseId, MetaStore, Outcome};
use ottla_protocol::Uuid;
use ottla_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::link::Link;
use crate::support::{soon, until};

pub struct FakeBroker {
    pub id: i32,
    pub epoch: i64,
    lease: LeaseId,
    store: Arc<dyn MetaStore>,
    _alive: DropGuard,
}

impl FakeBroker {
    /// Claims id `id`; nobody listens where it says. Its lease is renewed while it is kept.
    pub async fn claim(id: i32, store: Arc<dyn MetaStore>, previous: PreviousLife) -> Self {
        let lease = store.lease_grant(Duration::from_secs(2)).await.expect("a lease");
        let key = KeySpace::default().format(&Key::BrokerClaim(id));
        let write = GuardedWrite::new().when(Compare::Absent(key.clone().into())).put_leased(
            &key,
            model::encode(&claim(previous)),
            lease.id,
        );
        let outcome = store.txn(write).await.expect("the store is there");
        let Outcome::Committed { revision } = outcome else { panic!("the id is taken") };
        let stop = CancellationToken::new();
        tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(Duration::from_millis(300)) => {}
                    }
                    let _ = store.lease_keep_alive(lease.id).await;
                }
            }
        });
        Self { id, epoch: revision, lease: lease.id, store, _alive: stop.drop_guard() }
    }

    /// Claims, connects through memory and sends heartbeats until it is unfenced.
    pub async fn start(id: i32, handle: &Handle) -> (Self, Link) {
        let store = handle.services().store.clone();
        let broker = Self::claim(id, store, PreviousLife::None).await;
        let mut link = Link::memory(handle);
        link.hello_as_broker(id).await;
        broker.unfence(handle, &mut link).await;
        (broker, link)
    }

    pub async fn unfence(&self, handle: &Handle, link: &mut Link) {
        let unfenced = async {
            while self.heartbeat(handle, link, false).await.is_fenced {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the broker is unfenced", unfenced).await;
    }

    pub async fn heartbeat(
        &self,
        handle: &Handle,
        link: &mut Link,
        want_shut_down: bool,
    ) -> BrokerHeartbeatResponse {
        let request = BrokerHeartbeatRequest {
            broker_id: self.id,
            broker_epoch: self.epoch,
            current_metadata_offset: handle.services().images.load().revision(),
            want_shut_down,
            ..BrokerHeartbeatRequest::default()
        };
        link.call(1, &request).await
    }

    /// Gives the claim up.
    pub async fn leave(self) {
        self.store.lease_revoke(self.lease).await.expect("the store is there");
    }
}

pub fn record(handle: &Handle, id: i32) -> Option<BrokerRecord> {
    handle.services().images.load().broker(id).map(|record| record.value.clone())
}

pub async fn until_fenced(handle: &Handle, id: i32) {
    until("the broker is fenced", || record(handle, id).is_some_and(|record| record.fenced)).await;
}

fn claim(previous: PreviousLife) -> BrokerClaim {
    BrokerClaim {
        listeners: vec![Listener {
            name: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: closed_port(),
            security_protocol: SecurityProtocol::Plaintext,
        }],
        inter_broker_listener: "PLAINTEXT".to_owned(),
        rack: None,
        log_dirs: vec![Uuid::from_bytes([1; 16])],
        boot_id: "boot".to_owned(),
        incarnation_id: Uuid::from_bytes(rand::random()),
        version: "test".to_owned(),
        previous,
        features: BTreeMap::new(),
        http: None,
        rest: Rest::new(),
    }
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
