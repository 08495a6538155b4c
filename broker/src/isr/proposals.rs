//! Where log workers leave their proposals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ottla_protocol::Uuid;
use tokio::sync::Notify;

use crate::partition::{PartitionHandle, Proposal};

/// A proposal and whose it is.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// The partition; its inbox gets the answer.
    pub handle: Arc<PartitionHandle>,
    /// The proposal.
    pub proposal: Proposal,
}

/// A partition, as far as proposals tell them apart.
pub(super) type Key = (Uuid, i32);

/// Proposals that nobody has taken yet. A newer one of a partition replaces the one before, so there are
/// never more than this broker has partitions.
#[derive(Debug, Default)]
pub struct Proposals {
    waiting: Mutex<BTreeMap<Key, Proposed>>,
    arrival: Notify,
}

impl Proposed {
    pub(super) fn key(&self) -> Key {
        (self.handle.topic_id, self.handle.index)
    }
}

impl Proposals {
    /// Leaves a proposal. Never waits.
    pub fn put(&self, proposed: Proposed) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(proposed.key(), proposed);
        drop(waiting);
        self.arrival.notify_one();
    }

    /// Takes all that are there.
    pub fn take(&self) -> Vec<Proposed> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }

    /// Completes when one was put since the last time. One task at a time may wait.
    pub async fn arrived(&self) {
        self.arrival.notified().await;
    }
}
