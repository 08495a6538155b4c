//! Where the assigner leaves what is to be reported.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ottla_protocol::Uuid;
use tokio::sync::Notify;

/// The topic's id, and the partition.
pub(crate) type Key = (Uuid, i32);

/// Directories of replicas that nobody has reported yet. A newer one of a partition replaces the one
/// before, so there are never more than this broker has partitions.
#[derive(Debug, Default)]
pub struct Placements {
    waiting: Mutex<BTreeMap<Key, Uuid>>,
    arrival: Notify,
}

impl Placements {
    /// Leaves the directory of a replica here. Never waits.
    pub fn put(&self, (topic_id, partition): (Uuid, i32), directory: Uuid) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert((topic_id, partition), directory);
        drop(waiting);
        self.arrival.notify_one();
    }

    /// Takes all that are there.
    pub(crate) fn take(&self) -> BTreeMap<Key, Uuid> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }

    /// Completes when one was put since the last time. One task at a time may wait.
    pub(super) async fn arrived(&self) {
        self.arrival.notified().await;
    }
}
