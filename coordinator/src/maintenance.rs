//! Upkeep of the store by the active coordinator: history is dropped once it is old, and room is watched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::ImageReader;
use ottla_metadata::store::{MetaStore, Status, StoreError};
use prometheus_client::metrics::gauge::Gauge;

/// Where the size of a store is shown, in bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreGauges {
    pub size: Gauge,
    pub in_use: Gauge,
    pub quota: Gauge,
}

impl StoreGauges {
    /// Whether so many percent of the quota are in use, as far as both are known.
    pub fn is_full(&self, percent: i64) -> bool {
        let quota = self.quota.get();
        0 < quota && percent * quota <= 100 * self.in_use.get()
    }
}

/// Keeps the history of the store that the images are of short, and shows its size, until it is dropped.
pub(crate) async fn run(store: Arc<dyn MetaStore>, images: ImageReader, gauges: StoreGauges) {
    keep_up(Upkeep { store, images: Some(images), gauges, is_denied: false }).await;
}

/// The same for a store that no image is of.
pub(crate) async fn run_apart(store: Arc<dyn MetaStore>, gauges: StoreGauges) {
    keep_up(Upkeep { store, images: None, gauges, is_denied: false }).await;
}

async fn keep_up(mut upkeep: Upkeep) {
    let mut history = History::default();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let Some(revision) = upkeep.look().await else { continue };
        if let Some(revision) = history.note(revision) {
            upkeep.drop_before(revision).await;
        }
    }
}

struct Upkeep {
    store: Arc<dyn MetaStore>,
    images: Option<ImageReader>,
    gauges: StoreGauges,
    /// Whether the log says already that this user may not see the store's state.
    is_denied: bool,
}

impl Upkeep {
    /// Shows how full the store is, and returns its revision, or one before it.
    async fn look(&mut self) -> Option<i64> {
        match self.store.status().await {
            Ok(status) => {
                show(&status, &self.gauges);
                Some(status.revision)
            }
            // Newer etcds show it to the root user only. History is dropped all the same.
            Err(StoreError::Denied { reason }) => {
                if !std::mem::replace(&mut self.is_denied, true) {
                    tracing::info!(
                        reason,
                        "this user of etcd may not see how full etcd is, so there are no metrics and no \
                         warnings of it: watch etcd itself, or give the user the role root"
                    );
                }
                let revision = self.images.as_ref()?.load().revision();
                Some(revision).filter(|revision| 0 < *revision)
            }
            Err(error) => {
                tracing::warn!(%error, "cannot see how full the metadata store is");
                None
            }
        }
    }

    async fn drop_before(&self, revision: i64) {
        match self.store.compact(revision).await {
            Ok(()) => tracing::debug!(revision, "dropped old history of the metadata store"),
            Err(error) => {
                tracing::warn!(%error, "cannot drop old history of the metadata store");
            }
        }
    }
}

fn show(status: &Status, gauges: &StoreGauges) {
    let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    gauges.size.set(bytes(status.size));
    gauges.in_use.set(bytes(status.size_in_use));
    if status.no_space {
        tracing::error!(
            "the metadata store is out of space, so nothing can be elected, created or committed: \
             defragment etcd or raise its quota, then run `etcdctl alarm disarm`"
        );
    }
    let Some(quota) = status.quota.filter(|quota| 0 < *quota) else { return };
    gauges.quota.set(bytes(quota));
    if WARN_PERCENT * quota <= 100 * status.size {
        tracing::warn!(
            size = status.size,
            in_use = status.size_in_use,
            quota,
            "the metadata store is almost full: defragment etcd or raise its quota"
        );
    }
}

/// The revisions of the last minutes, one for each interval.
#[derive(Debug, Default)]
struct History(VecDeque<i64>);

impl History {
    /// Notes the newest revision, and returns one that is old enough to drop what precedes it.
    fn note(&mut self, revision: i64) -> Option<i64> {
        self.0.push_back(revision);
        if self.0.len() <= INTERVALS_KEPT {
            return None;
        }
        let oldest = self.0.pop_front()?;
        // A store that nothing is written to has no history to drop.
        (self.0.front() != Some(&oldest)).then_some(oldest)
    }
}

/// How often the store is looked at.
const INTERVAL: Duration = Duration::from_secs(30);
/// History is kept for at least this many intervals: whoever lists or watches slowly needs it.
const INTERVALS_KEPT: usize = 10;
/// From this part of its quota on, in percent, the log warns.
const WARN_PERCENT: u64 = 70;

const _: () = assert!(300 <= INTERVAL.as_secs() * INTERVALS_KEPT as u64, "five minutes of history");

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ottla_metadata::store::{
        BoxFuture, GuardedWrite, KeyRange, Lease, LeaseId, Outcome, Page, RangeRequest, Watch,
    };

    use super::*;
    use crate::controller::testing::World;

    /// A store that shows its state to somebody else only, as newer etcds do.
    #[derive(Debug, Default)]
    struct Discreet {
        compacted: Mutex<Vec<i64>>,
    }

    fn denied<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
        let reason = "etcdserver: permission denied".to_owned();
        Box::pin(std::future::ready(Err(StoreError::Denied { reason })))
    }

    impl MetaStore for Discreet {
        fn range(&self, _: RangeRequest) -> BoxFuture<'_, Result<Page, StoreError>> {
            denied()
        }

        fn txn(&self, _: GuardedWrite) -> BoxFuture<'_, Result<Outcome, StoreError>> {
            denied()
        }

        fn watch(&self, _: KeyRange, _: i64) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>> {
            denied()
        }

        fn lease_grant(&self, _: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
            denied()
        }

        fn lease_keep_alive(&self, _: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
            denied()
        }

        fn lease_revoke(&self, _: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
            denied()
        }

        fn compact(&self, revision: i64) -> BoxFuture<'_, Result<(), StoreError>> {
            self.compacted.lock().unwrap().push(revision);
            Box::pin(std::future::ready(Ok(())))
        }

        fn status(&self) -> BoxFuture<'_, Result<Status, StoreError>> {
            denied()
        }
    }

    #[tokio::test]
    async fn history_is_dropped_though_the_store_does_not_show_its_state() {
        let store = Arc::new(Discreet::default());
        let mut world = World::new();
        world.start_broker(1);
        let images = Some(ImageReader::fixed(world.image().clone()));
        let gauges = StoreGauges::default();
        let mut upkeep = Upkeep { store: store.clone(), images, gauges, is_denied: false };
        for _ in 0..2 {
            assert_eq!(upkeep.look().await, Some(world.revision()));
        }
        assert!(upkeep.is_denied, "which the log says once");
        upkeep.drop_before(world.revision()).await;
        assert_eq!(*store.compacted.lock().unwrap(), [world.revision()]);
    }

    #[test]
    fn five_minutes_of_history_are_kept() {
        let mut history = History::default();
        for minute in 0..10 {
            assert_eq!(history.note(100 + minute), None);
        }
        assert_eq!(history.note(110), Some(100));
        assert_eq!(history.note(111), Some(101));
    }

    #[test]
    fn idle_store_is_left_alone() {
        let mut history = History::default();
        assert!((0..30).all(|_| history.note(7).is_none()));
    }
}
