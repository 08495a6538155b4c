//! What travels to the writer.

use ottla_metadata::model::Partition;
use ottla_protocol::ErrorCode;
use tokio::sync::oneshot;

use super::{
    Answer, BrokerDrain, Caller, ConfigAlteration, ConfigReplacement, CreatedTopic, DeletedTopic,
    FeatureUpdates, LeaderElection, NewPartitions, NewTopic, Reassignment, TopicRef, Unavailable,
};
use crate::controller::alter_partition::AlterPartition;
use crate::controller::directories::{DirectoryReport, ReportResults};
use crate::controller::producer_ids::Block;

/// One admin request and the way back.
#[derive(Debug)]
pub(crate) struct Work<I, O> {
    /// Who asks.
    pub caller: Caller,
    /// What is asked for.
    pub items: Vec<I>,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Dropped when the caller no longer waits; work not yet begun is then not begun.
    pub reply: oneshot::Sender<Result<Answer<O>, Unavailable>>,
}

/// What became of one proposal: the partition and the revision that last wrote it.
pub(crate) type IsrAnswer = Result<(Partition, i64), ErrorCode>;

/// A leader's proposals and the way back.
#[derive(Debug)]
pub(crate) struct IsrWork {
    pub request: AlterPartition,
    pub reply: oneshot::Sender<Result<Vec<IsrAnswer>, ErrorCode>>,
}

/// Everything that the writer can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    CreateTopics(Work<NewTopic, CreatedTopic>),
    DeleteTopics(Work<TopicRef, DeletedTopic>),
    CreatePartitions(Work<NewPartitions, ()>),
    AlterConfigs(Work<ConfigAlteration, ()>),
    ReplaceConfigs(Work<ConfigReplacement, ()>),
    ElectLeaders(Work<LeaderElection, ()>),
    ReassignPartitions(Work<Reassignment, ()>),
    UnregisterBrokers(Work<i32, ()>),
    DrainBrokers(Work<BrokerDrain, ()>),
    UpdateFeatures(Work<FeatureUpdates, ()>),
    AlterPartition(IsrWork),
    AssignDirectories {
        report: DirectoryReport,
        reply: oneshot::Sender<Result<ReportResults, ErrorCode>>,
    },
    AllocateProducerIds {
        broker: i32,
        broker_epoch: i64,
        reply: oneshot::Sender<Result<Block, ErrorCode>>,
    },
}

impl Command {
    /// Answers that this node cannot do it.
    pub fn reject(self, why: Unavailable) {
        // Whoever does not wait any more does not mind.
        match self {
            Self::CreateTopics(work) => drop(work.reply.send(Err(why))),
            Self::DeleteTopics(work) => drop(work.reply.send(Err(why))),
            Self::CreatePartitions(work) => drop(work.reply.send(Err(why))),
            Self::AlterConfigs(work) => drop(work.reply.send(Err(why))),
            Self::ReplaceConfigs(work) => drop(work.reply.send(Err(why))),
            Self::ElectLeaders(work) => drop(work.reply.send(Err(why))),
            Self::ReassignPartitions(work) => drop(work.reply.send(Err(why))),
            Self::UnregisterBrokers(work) => drop(work.reply.send(Err(why))),
            Self::DrainBrokers(work) => drop(work.reply.send(Err(why))),
            Self::UpdateFeatures(work) => drop(work.reply.send(Err(why))),
            Self::AlterPartition(work) => drop(work.reply.send(Err(why.code()))),
            Self::AssignDirectories { reply, .. } => drop(reply.send(Err(why.code()))),
            Self::AllocateProducerIds { reply, .. } => drop(reply.send(Err(why.code()))),
        }
    }
}
