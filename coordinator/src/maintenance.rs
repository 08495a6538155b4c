//! Upkeep of the store by the active coordinator: history is dropped once it is old, and room is watched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::ImageReader;
use ottla_metadata::store::{MetaStore, Status, StoreError};

use crate::metrics::Metrics;

/// Keeps the store's history short, and shows its size, until it is dropped.
pub(crate) async fn run(store: Arc<dyn MetaStore>, images: ImageReader, metrics: Metrics) {
    let mut upkeep = Upkeep { store, images, metrics, is_denied: false };
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
    images: ImageReader,
    metrics: Metrics,
    /// Whether the log says already that this user may not see the store's state.
    is_denied: bool,
}

impl Upkeep {
    /// Shows how full the store is, and returns its revision, or one before it.
    async fn look(&mut self) -> Option<i64> {
        match self.store.status().await {
            Ok(status) => {
                show(&status, &self.metrics);
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
                Some(self.images.load().revision()).filter(|revision| 0 < *revision)
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

fn show(status: &Status, metrics: &Metrics) {
    let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    metrics.store_size.set(bytes(status.size));
    metrics.store_size_in_use.set(bytes(status.size_in_use));
    if status.no_space {
        tracing::error!(
            "the metadata store is out of space, so nothing can be elected, created or committed: \
             defragment etcd or raise its quota, then run `etcdctl alarm disarm`"
        );
    }
    let Some(quota) = status.quota.filter(|quota| 0 < *quota) else { return };
    metrics.store_quota.set(bytes(quota));
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
    use super::*;

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
