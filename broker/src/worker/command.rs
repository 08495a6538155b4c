//! What a log worker is asked to do.

use std::sync::Arc;

use ottla_protocol::record_batch::Batch;
use tokio::sync::oneshot;

use super::Waiter;
use crate::partition::{Acks, Assignment, PartitionHandle, TopicSettings};

/// A partition's place in its worker. Places are used again, so each user has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// Position in the slab.
    pub index: u32,
    /// Counts the users of all places of the worker.
    pub user: u32,
}

/// The parts of one produce request that one worker has to append.
#[derive(Debug)]
pub struct AppendCommand {
    /// In the order of the request.
    pub items: Vec<AppendItem>,
    /// When they are acknowledged.
    pub acks: Acks,
}

/// One batch for one partition, validated.
#[derive(Debug)]
pub struct AppendItem {
    /// Where to.
    pub slot: SlotKey,
    /// The batch. Where its header differs from its bytes, the header is what will be stored.
    pub batch: Batch,
    /// Who is told.
    pub waiter: Waiter,
}

/// Everything else; goes before appends.
#[derive(Debug)]
pub enum Control {
    /// Take the replica of `handle` over.
    Open(Box<Open>),
    /// Its metadata changed.
    Assign { slot: SlotKey, assignment: Assignment },
    /// Its topic's configuration changed.
    Configure { slot: SlotKey, settings: Arc<TopicSettings> },
}

/// A replica to be taken over.
#[derive(Debug)]
pub struct Open {
    /// Its handle.
    pub handle: Arc<PartitionHandle>,
    /// Who leads it.
    pub assignment: Assignment,
    /// Told when it is open.
    pub reply: oneshot::Sender<Result<(), String>>,
}
