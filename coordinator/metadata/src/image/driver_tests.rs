use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::conformance::EtcdServer;
use crate::keys::{ConfigResource, Key, KeySpace};
use crate::model::{ConfigEntry, Rest, encode};
use crate::store::embedded::EmbeddedStore;
use crate::store::{GuardedWrite, MetaStore, Outcome};

fn config(keys: &KeySpace) -> FeedConfig {
    let config = FeedConfig::new(keys.clone());
    FeedConfig { relist_jitter: Duration::from_millis(20), page_items: 10, ..config }
}

async fn set(store: &dyn MetaStore, broker: i32, value: &str) -> i64 {
    let key = KeySpace::default().format(&Key::Config(ConfigResource::Broker(broker)));
    let configs = [("a".to_owned(), value.to_owned())].into();
    let entry = ConfigEntry { configs, rest: Rest::new() };
    for _ in 0..100 {
        match store.txn(GuardedWrite::new().put(&key, encode(&entry))).await {
            Ok(Outcome::Committed { revision }) => return revision,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("never written");
}

fn value(image: &Image, broker: i32) -> Option<String> {
    let entry = image.config(&ConfigResource::Broker(broker))?;
    entry.configs.get("a").cloned()
}

async fn image_follows(
    store: Arc<dyn MetaStore>,
    mut disturb: impl AsyncFnMut(u32),
) -> ImageReader {
    let keys = KeySpace::default();
    for broker in 0..35 {
        set(&*store, broker, "start").await;
    }
    let (feed, reader) = ImageFeed::new(store.clone(), config(&keys));
    let stop = CancellationToken::new();
    let running = tokio::spawn(feed.run(stop.clone()));
    let first = reader.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!(first.configs().count(), 35);
    let mut changes = reader.clone();
    for round in 0..4 {
        let revision = set(&*store, 7, &format!("before {round}")).await;
        let image = reader.wait_for(revision, PATIENCE).await.unwrap();
        assert_eq!(value(&image, 7), Some(format!("before {round}")));
        disturb(round).await;
        let revision = set(&*store, 8, &format!("after {round}")).await;
        let image = reader.wait_for(revision, PATIENCE).await.unwrap();
        assert_eq!(value(&image, 8), Some(format!("after {round}")));
        let seen = changes.changed().await.unwrap();
        assert!(revision <= seen.revision());
    }
    let far = reader.wait_for(i64::MAX, Duration::from_millis(20)).await;
    assert!(matches!(far, Err(WaitError::Timeout { .. })), "{far:?}");
    stop.cancel();
    running.await.unwrap().unwrap();
    let stopped = reader.wait_for(i64::MAX, PATIENCE).await;
    assert_eq!(stopped.unwrap_err(), WaitError::Stopped);
    assert_eq!(changes.changed().await.unwrap_err(), WaitError::Stopped);
    reader
}

#[tokio::test]
async fn image_follows_an_embedded_store_through_breaks_and_compactions() {
    let store = EmbeddedStore::in_memory(3);
    let disturbed = store.clone();
    let reader = image_follows(Arc::new(store), async |round| {
        disturbed.break_watches();
        if round % 2 == 1 {
            disturbed.set_paused(true);
            tokio::time::sleep(Duration::from_millis(30)).await;
            disturbed.set_paused(false);
        }
        let revision = disturbed.status().await.unwrap().revision;
        disturbed.compact(revision).await.unwrap();
    });
    let status = reader.await.status();
    assert!(0 < status.breaks, "{status:?}");
    assert!(status.fresh_at.is_some());
}

#[tokio::test]
async fn image_follows_a_real_etcd_through_restarts() {
    let Some(mut server) = EtcdServer::start().await else { return };
    let store = server.store();
    image_follows(store.clone(), async |round| {
        if round % 2 == 0 {
            server.kill(0);
            server.restart(0);
        }
        let Ok(status) = store.status().await else { return };
        store.compact(status.revision).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn feed_ends_with_an_error_that_names_the_cure() {
    let store = EmbeddedStore::in_memory(3);
    let keys = KeySpace::default();
    let seen = FeedConfig { store_id: Some(3), highest_revision: 1000, ..config(&keys) };
    let (feed, reader) = ImageFeed::new(Arc::new(store.clone()), seen);
    let error = feed.run(CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("ottla cluster recover"), "{error}");
    assert_eq!(reader.wait_for(1, PATIENCE).await.unwrap_err(), WaitError::Stopped);

    let newer = store.txn(GuardedWrite::new().put("/ottla/cluster", r#"{"v":99}"#)).await;
    assert!(matches!(newer, Ok(Outcome::Committed { .. })), "{newer:?}");
    let (feed, _reader) = ImageFeed::new(Arc::new(store), config(&keys));
    let error = feed.run(CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("/ottla/cluster has version 99"), "{error}");
}

#[tokio::test]
async fn layout_of_the_key_space_that_is_newer_stops_the_process() {
    let store = EmbeddedStore::in_memory(3);
    let newer =
        r#"{"v":1,"cluster_id":"c","format_version":2,"group_shards":1,"transaction_shards":1}"#;
    let newer = store.txn(GuardedWrite::new().put("/ottla/cluster", newer)).await;
    assert!(matches!(newer, Ok(Outcome::Committed { .. })), "{newer:?}");
    let (feed, _reader) = ImageFeed::new(Arc::new(store), config(&KeySpace::default()));
    let error = feed.run(CancellationToken::new()).await.unwrap_err();
    assert!(
        error.to_string().contains("format_version in /ottla/cluster has version 2"),
        "{error}"
    );
}

const PATIENCE: Duration = Duration::from_secs(20);
