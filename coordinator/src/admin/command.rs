//! What travels to the writer.

use ottla_metadata::model::Partition;
use ottla_protocol::ErrorCode;
use tokio::sync::oneshot;

use super::{
    Answer, Caller, ConfigAlteration, ConfigReplacement, CreatedTopic, DeletedTopic, NewPartitions,
    NewTopic, TopicRef, Unavailable,
};
use crate::controller::alter_partition::AlterPartition;
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

/// Everything that the writer can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    CreateTopics(Work<NewTopic, CreatedTopic>),
    DeleteTopics(Work<TopicRef, DeletedTopic>),
    CreatePartitions(Work<NewPartitions, ()>),
    AlterConfigs(Work<ConfigAlteration, ()>),
    ReplaceConfigs(Work<ConfigReplacement, ()>),
    AlterPartition {
        request: AlterPartition,
        reply: oneshot::Sender<Result<Vec<IsrAnswer>, ErrorCode>>,
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
            Self::AlterPartition { reply, .. } => drop(reply.send(Err(why.code()))),
            Self::AllocateProducerIds { reply, .. } => drop(reply.send(Err(why.code()))),
        }
    }
}
