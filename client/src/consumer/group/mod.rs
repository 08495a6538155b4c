//! A consumer that shares topics with the other members of its group.
//!
//! A task keeps the membership: it joins, sends heartbeats and learns the assignment. Everything that concerns
//! records happens within [`GroupConsumer::poll`]: partitions are taken up and given up only there, so that none is
//! read by two members, and offsets are committed for what was returned and no more.

mod assignor;
mod config;
mod membership;
mod offsets;
mod subscription;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_protocol::types::{Offset, PartitionId};
use ottla_protocol::{ErrorCode, Str};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use assignor::Assignor;
pub use config::{GroupConfig, GroupProtocol};
pub use offsets::CommittedOffset;
pub(crate) use offsets::{commit_as_nobody, committed};
pub(crate) use subscription::decode_assignment;

use super::{ConsumeError, Consumer, ConsumerRecord, OffsetReset, Start, TopicPartition};
use crate::client::Client;
use crate::coordinator::Coordinator;
use crate::error::ClientError;

/// What an application may do when partitions come and go. Called within [`GroupConsumer::poll`].
pub trait RebalanceListener: Send {
    /// These are read from now on, from their committed offsets on.
    fn assigned(&mut self, _partitions: &[TopicPartition]) {}

    /// These are given up. What was returned of them is committed by now, if offsets are committed automatically.
    fn revoked(&mut self, _partitions: &[TopicPartition]) {}

    /// These are gone: another member may be reading them already.
    fn lost(&mut self, partitions: &[TopicPartition]) {
        self.revoked(partitions);
    }
}

/// Why a group's consumer cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The group's coordinator refuses, or cannot be talked to.
    #[error("group {group}: {cause}")]
    Group {
        /// The group.
        group: Str,
        /// Why.
        cause: ClientError,
    },
    /// A partition cannot be read.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// The group has committed nothing for this partition, and there is no reset policy.
    #[error("the group has no offset for {topic}-{partition}, and auto.offset.reset is none")]
    NoOffset {
        /// Of this topic.
        topic: Str,
        /// Its number.
        partition: PartitionId,
    },
}

/// Reads topics as a member of a group.
pub struct GroupConsumer {
    consumer: Consumer,
    config: Arc<GroupConfig>,
    shared: Arc<Shared>,
    signals: mpsc::Receiver<Signal>,
    listener: Option<Box<dyn RebalanceListener>>,
    next_commit: Option<Instant>,
    failed: Option<GroupError>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// What the membership's task and the consumer know of each other.
#[derive(Debug)]
struct Shared {
    /// For offsets; the membership has a connection of its own.
    coordinator: Coordinator,
    identity: Mutex<Identity>,
    polled_at: Mutex<Instant>,
}

/// As whom offsets are committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Identity {
    member_id: Str,
    /// The generation, or member epoch; −1 for none.
    generation: i32,
}

/// What the membership's task wants done, in order. `done` is told when it is.
#[derive(Debug)]
enum Signal {
    Assign { partitions: Vec<TopicPartition>, done: oneshot::Sender<()> },
    Revoke { partitions: Vec<TopicPartition>, is_lost: bool, done: oneshot::Sender<()> },
    Failed(GroupError),
}

impl std::fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("group", &self.config.group_id)
            .finish_non_exhaustive()
    }
}

impl GroupConsumer {
    /// A member of the group that `config` names. It joins at once, and is to be [polled](Self::poll) at least every
    /// `max_poll_interval`. Must be called within a Tokio runtime.
    pub fn new(client: Client, config: GroupConfig) -> Self {
        let config = Arc::new(config);
        let coordinator = Coordinator::new(client.clone(), config.group_id.clone());
        let shared = Arc::new(Shared {
            coordinator,
            identity: Mutex::new(Identity { generation: -1, ..Identity::default() }),
            polled_at: Mutex::new(Instant::now()),
        });
        let apart = Coordinator::apart(client.clone(), config.group_id.clone());
        let (sender, signals) = mpsc::channel(SIGNALS_MAX);
        let stop = CancellationToken::new();
        let member = membership::Member::new(config.clone(), shared.clone(), apart, sender);
        let task = membership::start(member, stop.clone());
        Self {
            consumer: Consumer::new(client, config.consumer.clone()),
            next_commit: config.auto_commit.map(|every| Instant::now() + every),
            config,
            shared,
            signals,
            listener: None,
            failed: None,
            stop,
            task: Some(task),
        }
    }

    /// Who is told of rebalances.
    #[must_use]
    pub fn with_listener(mut self, listener: impl RebalanceListener + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Changes `max.poll.records`: all that a poll returns counts as done, so who wants no more must not get more.
    pub fn set_max_poll_records(&mut self, records: usize) {
        self.consumer.set_max_poll_records(records);
    }

    /// The partitions that this member reads now.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.consumer.assignment()
    }

    /// Its member id; empty before the group gave it one.
    pub fn member_id(&self) -> Str {
        self.shared.identity().member_id
    }

    /// Whether everything up to the end of all partitions was returned, as of the last fetches. False without any.
    pub fn is_at_end(&self) -> bool {
        let mut partitions = self.consumer.assignment().peekable();
        partitions.peek().is_some()
            && partitions.all(|(topic, id)| self.consumer.is_at_end(topic, *id) == Ok(true))
    }

    /// Records of the partitions that this member has, as [`Consumer::poll`]; rebalances are carried out meanwhile.
    ///
    /// # Errors
    /// After a [`GroupError::Group`] it is no member any more; others are about one partition, and may pass.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, GroupError> {
        let deadline = Instant::now() + timeout;
        loop {
            self.shared.note_poll();
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if self.next_commit.is_some_and(|at| at <= Instant::now()) {
                self.commit_if_automatic().await;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::select! {
                biased;
                Some(signal) = self.signals.recv() => self.carry_out(signal).await?,
                records = self.consumer.poll(left) => {
                    let records = records?;
                    if !records.is_empty() || deadline <= Instant::now() {
                        return Ok(records);
                    }
                }
            }
        }
    }

    /// Commits the position of every partition: all that [`poll`](Self::poll) has returned counts as done.
    ///
    /// # Errors
    /// A partition could not be committed: after REBALANCE_IN_PROGRESS poll and try again; after others the
    /// partition may be another member's.
    pub async fn commit(&mut self) -> Result<(), GroupError> {
        let positions: Vec<(TopicPartition, Offset)> = self
            .consumer
            .assignment()
            .filter_map(|key| {
                let position = self.consumer.position(&key.0, key.1).ok().flatten()?;
                Some((key.clone(), position))
            })
            .collect();
        self.commit_offsets(&positions).await
    }

    /// Commits these offsets: of each partition the one to go on at.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_offsets(
        &mut self,
        offsets: &[(TopicPartition, Offset)],
    ) -> Result<(), GroupError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let identity = self.shared.identity();
        let instance = self.config.instance_id.clone();
        let committed = offsets::commit(&self.shared.coordinator, &identity, instance, offsets);
        committed.await.map_err(|cause| self.error(cause))
    }

    /// Leaves the group, after a last commit if offsets are committed automatically. A static member keeps its place
    /// until its session ends.
    pub async fn close(mut self) {
        self.commit_if_automatic().await;
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && tokio::time::timeout(CLOSE_MAX, task).await.is_err()
        {
            tracing::debug!(group = %self.config.group_id, "left without an answer");
        }
    }

    async fn carry_out(&mut self, signal: Signal) -> Result<(), GroupError> {
        match signal {
            Signal::Failed(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
            Signal::Revoke { partitions, is_lost, done } => {
                if !is_lost {
                    self.commit_if_automatic().await;
                }
                for (topic, partition) in &partitions {
                    self.consumer.unassign(topic, *partition);
                }
                if let Some(listener) = &mut self.listener {
                    if is_lost {
                        listener.lost(&partitions);
                    } else {
                        listener.revoked(&partitions);
                    }
                }
                // Nobody listens once the member has stopped.
                let _ = done.send(());
                Ok(())
            }
            Signal::Assign { partitions, done } => {
                let taken_up = self.take_up(&partitions).await;
                if let Err(error @ GroupError::Group { .. }) = &taken_up {
                    // Without `done` the member leaves.
                    self.failed = Some(error.clone());
                    return taken_up;
                }
                if let Some(listener) = &mut self.listener {
                    listener.assigned(&partitions);
                }
                let _ = done.send(());
                taken_up
            }
        }
    }

    async fn take_up(&mut self, partitions: &[TopicPartition]) -> Result<(), GroupError> {
        let committed = offsets::committed(&self.shared.coordinator, Some(partitions)).await;
        let committed = committed.map_err(|cause| self.error(cause))?;
        let mut without = None;
        for key in partitions {
            let start = match committed.get(key) {
                Some(found) => Start::Offset(found.offset),
                None => match self.config.consumer.auto_offset_reset {
                    OffsetReset::Earliest => Start::Earliest,
                    OffsetReset::Latest => Start::Latest,
                    OffsetReset::None => {
                        let (topic, partition) = key.clone();
                        without = Some(GroupError::NoOffset { topic, partition });
                        continue;
                    }
                },
            };
            self.consumer.assign(key.0.clone(), key.1, start);
        }
        without.map_or(Ok(()), Err)
    }

    async fn commit_if_automatic(&mut self) {
        let Some(every) = self.config.auto_commit else { return };
        self.next_commit = Some(Instant::now() + every);
        if let Err(error) = self.commit().await {
            tracing::warn!(%error, "offsets are not committed");
        }
    }

    fn error(&self, cause: ClientError) -> GroupError {
        GroupError::Group { group: self.config.group_id.clone(), cause }
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_identity(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    fn note_poll(&self) {
        *self.polled_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn since_poll(&self) -> Duration {
        self.polled_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// What is in `from` and not in `without`.
fn difference(
    from: &BTreeSet<TopicPartition>,
    without: &BTreeSet<TopicPartition>,
) -> Vec<TopicPartition> {
    from.difference(without).cloned().collect()
}

/// What an error of the coordinator means for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// Try the same again.
    Again,
    /// Join again.
    Rejoin,
    /// Join again; what it has may be another's by now.
    Outdated,
    /// As `Outdated`, as another member.
    Lost,
    Fatal,
}

fn verdict(error: ErrorCode) -> Verdict {
    match error {
        ErrorCode::None => Verdict::Fine,
        ErrorCode::RebalanceInProgress => Verdict::Rejoin,
        ErrorCode::IllegalGeneration | ErrorCode::FencedMemberEpoch => Verdict::Outdated,
        ErrorCode::UnknownMemberId => Verdict::Lost,
        other if other.is_retriable() => Verdict::Again,
        _ => Verdict::Fatal,
    }
}

/// The task waits for each of its signals.
const SIGNALS_MAX: usize = 4;
/// How long leaving may take.
const CLOSE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
