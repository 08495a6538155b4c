//! Coordinators and stores for tests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::admin::{Answer, Caller, CreatedTopic, NewTopic, Options, Unavailable};
use ottla_coordinator::controller::liveness;
use ottla_coordinator::{Config, Coordinator, Handle};
use ottla_metadata::keys::KeySpace;
use ottla_metadata::store::embedded::EmbeddedStore;
use ottla_metadata::store::{MetaStore, read_all};
use tokio_util::sync::CancellationToken;

/// No condition of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A store whose leases end by themselves.
pub fn store() -> EmbeddedStore {
    let store = EmbeddedStore::in_memory(7);
    let running = store.clone();
    tokio::spawn(async move { running.run(CancellationToken::new()).await });
    store
}

/// Short times, so that what waits for them waits shortly.
pub fn config(node_id: i32) -> Config {
    let session_timeout = Duration::from_secs(1);
    Config {
        session_timeout,
        liveness: liveness::Settings {
            heartbeat_interval: Duration::from_millis(200),
            session_timeout,
        },
        ..Config::new(node_id)
    }
}

pub async fn start(node_id: i32, store: impl MetaStore) -> Handle {
    start_with(config(node_id), store).await
}

pub async fn start_with(config: Config, store: impl MetaStore) -> Handle {
    Coordinator::start(config, Arc::new(store)).await.expect("it starts")
}

/// Starts a coordinator and waits until it is active.
pub async fn start_active(node_id: i32, store: impl MetaStore) -> Handle {
    let handle = start(node_id, store).await;
    assert!(handle.until_active(PATIENCE).await, "it becomes active");
    handle
}

pub async fn stop(handle: Handle) {
    handle.stop(Duration::from_secs(5)).await;
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came true: {what}");
}

/// Waits for a future that must not take for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

pub fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions: Some(partitions), ..NewTopic::default() }
}

pub async fn create(
    handle: &Handle,
    topics: Vec<NewTopic>,
) -> Result<Answer<CreatedTopic>, Unavailable> {
    handle.admin().create_topics(&Caller::anonymous("TEST"), topics, Options::default()).await
}

/// Partitions that a reader of the image sees, or `None` if it sees no such topic. A topic that is seen is
/// seen as a whole.
pub fn partitions_seen(handle: &Handle, name: &str) -> Option<usize> {
    let image = handle.services().images.load();
    let topic = image.topic(name)?;
    let seen = image.partitions_of(topic.id).count();
    assert_eq!(seen, topic.partitions as usize, "{name} is half visible");
    Some(seen)
}

/// Keys below `part` of the key space.
pub async fn keys_below(store: &dyn MetaStore, part: &str) -> usize {
    let keys = KeySpace::default();
    let range = ottla_metadata::store::KeyRange::prefix(&format!("{}{part}", keys.prefix()));
    read_all(store, range).await.expect("the store is there").items.len()
}
