//! A broker that is refused goes on trying.

use std::sync::Arc;

use ottla_broker::identity::Identity;
use ottla_broker::relay::{Bounds, Connector, NodeIdentity, Relay, RelayError};
use ottla_client::internode::ClusterSecret;
use ottla_coordinator::{Config, Coordinator};
use ottla_metadata::image::{FeedConfig, ImageFeed};
use ottla_metadata::keys::KeySpace;
use ottla_metadata::store::embedded::EmbeddedStore;
use ottla_protocol::Str;
use ottla_protocol::types::BrokerId;
use tokio_util::sync::CancellationToken;

use crate::certificates::secret_file;
use crate::support::{Log, PATIENCE, Proof, config, stop};

#[tokio::test]
async fn broker_is_connected_as_soon_as_the_coordinator_has_the_right_secret() {
    let (log, _guard) = Log::capture();
    let folder = tempfile::tempdir().unwrap();
    let (wrong, right) = (secret_file(&folder, 'a'), secret_file(&folder, 'b'));
    let store = Arc::new(EmbeddedStore::in_memory(7));
    let leases = tokio::spawn({
        let store = store.clone();
        async move { store.run(CancellationToken::new()).await }
    });
    let first = Coordinator::start(config(&Proof::secret(wrong)), store.clone()).await.unwrap();
    assert!(first.until_active(PATIENCE).await);
    let cluster = async {
        let mut images = first.services().images.clone();
        loop {
            if let Some(cluster) = images.load().cluster() {
                return cluster.cluster_id.clone();
            }
            images.changed().await.unwrap();
        }
    };
    let cluster = tokio::time::timeout(PATIENCE, cluster).await.expect("it is founded");

    let stopped = CancellationToken::new();
    let (feed, image) = ImageFeed::new(store.clone(), FeedConfig::new(KeySpace::default()));
    tokio::spawn(feed.run(stopped.clone()));
    let identity = Arc::new(Identity::new(Str::from(cluster), BrokerId(1), 1));
    let node = NodeIdentity {
        identity: Arc::clone(&identity),
        boot_id: "boot".into(),
        secret: Some(Arc::new(ClusterSecret::read(&right).unwrap())),
    };
    let transport = Arc::new(Proof::none().transport());
    let connector = Connector::new(transport, image.clone(), node);
    let relay = Relay::new(&connector, Bounds::default(), identity, image);
    tokio::spawn(connector.run(stopped.clone()));
    log.until_it_says("cannot reach the active coordinator").await;
    log.until_it_says("it refuses this broker: CLUSTER_AUTHORIZATION_FAILED").await;
    assert_eq!(relay.allocate_producer_ids().await.unwrap_err(), RelayError::NoCoordinator);

    let same_port = first.internode_endpoint().cloned();
    stop(first).await;
    let second = Config { internode: same_port, ..config(&Proof::secret(right)) };
    let second = Coordinator::start(second, store).await.unwrap();
    let connected = async {
        // The broker is not registered, which only a coordinator can tell it.
        while relay.allocate_producer_ids().await == Err(RelayError::NoCoordinator) {}
    };
    tokio::time::timeout(PATIENCE, connected).await.expect("it connects in the end");
    log.until_it_says("connected to the coordinator").await;
    stopped.cancel();
    stop(second).await;
    leases.abort();
}
