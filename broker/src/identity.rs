//! Who this broker is.

use std::sync::atomic::{AtomicI64, Ordering};

use ottla_protocol::Str;
use ottla_protocol::types::BrokerId;

/// Names of this broker that others know. The broker epoch changes when the broker has to claim its id
/// again, after the store forgot its claim; everything else stays.
#[derive(Debug)]
pub struct Identity {
    /// The cluster's id, 22 characters.
    pub cluster_id: Str,
    /// `node.id`.
    pub broker_id: BrokerId,
    broker_epoch: AtomicI64,
}

/// The broker epoch before the first claim.
pub const NO_BROKER_EPOCH: i64 = -1;

impl Identity {
    /// A broker whose claim has `broker_epoch`, or [`NO_BROKER_EPOCH`].
    pub fn new(cluster_id: Str, broker_id: BrokerId, broker_epoch: i64) -> Self {
        Self { cluster_id, broker_id, broker_epoch: AtomicI64::new(broker_epoch) }
    }

    /// The life of this broker that the cluster knows: the create revision of its claim.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Acquire)
    }

    /// A new claim was made.
    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Release);
    }
}
