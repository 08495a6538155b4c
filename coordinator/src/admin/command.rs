//! What travels from [`super::Admin`] to the writer.

use tokio::sync::oneshot;

use super::{
    Answer, Caller, ConfigAlteration, ConfigReplacement, CreatedTopic, DeletedTopic, NewPartitions,
    NewTopic, TopicRef, Unavailable,
};

/// One request and the way back.
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

/// Everything that the writer can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    CreateTopics(Work<NewTopic, CreatedTopic>),
    DeleteTopics(Work<TopicRef, DeletedTopic>),
    CreatePartitions(Work<NewPartitions, ()>),
    AlterConfigs(Work<ConfigAlteration, ()>),
    ReplaceConfigs(Work<ConfigReplacement, ()>),
}
