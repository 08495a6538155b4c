//! What a log worker is asked to do.

use std::fmt;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset, ProducerId};
use ottla_storage::{LeaderBatch, Synced};
use tokio::sync::oneshot;

use super::{Follow, Waiter};
use crate::partition::{Acks, Assignment, PartitionHandle, ProposalOutcome, TopicSettings};

/// A partition's place in its worker. Places are used again, so each user has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The batch.
    pub batch: LeaderBatch,
    /// Who is told.
    pub waiter: Waiter,
}

/// Everything else; goes before appends.
pub enum Control {
    /// Take over the replica of `handle`, whose log is on the shelf.
    Open(Box<Open>),
    /// Its metadata changed.
    Assign {
        /// Which replica.
        slot: SlotKey,
        /// Who leads now.
        assignment: Assignment,
    },
    /// Its topic's configuration changed.
    Configure {
        /// Which replica.
        slot: SlotKey,
        /// What it is now.
        settings: Arc<TopicSettings>,
    },
    /// Put the log back on the shelf.
    Close {
        /// Which replica.
        slot: SlotKey,
        /// Told when it is there.
        reply: oneshot::Sender<()>,
    },
    /// DeleteRecords: everything below `offset` (−1: the high watermark) goes. The reply is the log's new
    /// start.
    DeleteRecords {
        /// Which replica.
        slot: SlotKey,
        /// The first offset that stays.
        offset: i64,
        /// Told when nobody can read the records any more.
        reply: oneshot::Sender<Result<Offset, ErrorCode>>,
    },
    /// DescribeProducers.
    DescribeProducers {
        /// Which replica.
        slot: SlotKey,
        /// Gets the producers by id.
        reply: oneshot::Sender<Result<Vec<ActiveProducer>, ErrorCode>>,
    },
    /// A fetcher has something for a replica that follows.
    Follow(Box<Follow>),
    /// A replica fetched from replicas here.
    Fetched(Box<Fetched>),
    /// The controller answered a proposal.
    ProposalResolved {
        /// Of which replica.
        slot: SlotKey,
        /// Which proposal.
        id: u64,
        /// What became of it.
        outcome: ProposalOutcome,
    },
    /// A sync has ended.
    Synced {
        /// Of which replica.
        slot: SlotKey,
        /// How.
        synced: Synced,
    },
    /// The log directory has failed.
    Fail,
    /// End the thread.
    Stop,
}

/// How far one broker has come with the partitions of one fetch that one worker has.
#[derive(Debug)]
pub struct Fetched {
    /// Who fetched.
    pub broker: BrokerId,
    /// In which life.
    pub broker_epoch: i64,
    /// One for each partition.
    pub items: Vec<FetchedItem>,
}

/// How far a broker has come with one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedItem {
    /// Which replica was fetched from.
    pub slot: SlotKey,
    /// The epoch in which the follower's log was found to agree with the leader's.
    pub leader_epoch: LeaderEpoch,
    /// The follower has everything below, for good.
    pub end: Offset,
    /// Where its log starts.
    pub log_start: Offset,
}

/// A replica to be taken over.
#[derive(Debug)]
pub struct Open {
    /// Its handle.
    pub handle: Arc<PartitionHandle>,
    /// Its topic's configuration.
    pub settings: Arc<TopicSettings>,
    /// Who leads it.
    pub assignment: Assignment,
    /// The last high watermark that is known.
    pub high_watermark: Offset,
}

/// A producer that a partition knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub epoch: i32,
    /// Its last sequence number, −1 if none is known.
    pub last_sequence: i32,
    /// When it last wrote, Unix ms.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that ended its last transaction, −1 if there was none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins, −1 if none is.
    pub transaction_start: Offset,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::Assign { .. } => "Assign",
            Self::Configure { .. } => "Configure",
            Self::Close { .. } => "Close",
            Self::DeleteRecords { .. } => "DeleteRecords",
            Self::DescribeProducers { .. } => "DescribeProducers",
            Self::Follow(_) => "Follow",
            Self::Fetched(_) => "Fetched",
            Self::ProposalResolved { .. } => "ProposalResolved",
            Self::Synced { .. } => "Synced",
            Self::Fail => "Fail",
            Self::Stop => "Stop",
        })
    }
}
