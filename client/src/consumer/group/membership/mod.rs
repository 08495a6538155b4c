//! The task that keeps a membership.

mod classic;
mod consumer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{GroupConfig, GroupError, GroupProtocol, Identity, Shared, Signal, difference};
use crate::consumer::TopicPartition;
use crate::coordinator::Coordinator;
use crate::error::ClientError;

/// What both protocols have in common.
#[derive(Debug)]
pub(super) struct Member {
    config: Arc<GroupConfig>,
    shared: Arc<Shared>,
    coordinator: Coordinator,
    signals: mpsc::Sender<Signal>,
    /// What the application reads now.
    owned: BTreeSet<TopicPartition>,
    identity: Identity,
}

/// Why a member does not go on.
#[derive(Debug)]
enum Stop {
    /// The application is gone.
    Gone,
    /// It is no member and cannot become one.
    Failed(ClientError),
}

/// Keeps the membership until `stop` is cancelled, then leaves.
pub(super) fn start(member: Member, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        match member.config.protocol.clone() {
            GroupProtocol::Classic { assignors } => {
                classic::Classic::new(member, assignors).run(&stop).await;
            }
            GroupProtocol::Consumer { assignor } => {
                consumer::Modern::new(member, assignor).run(&stop).await;
            }
        }
    })
}

impl Member {
    /// Not a member yet; asks for its group through `coordinator`.
    pub(super) fn new(
        config: Arc<GroupConfig>,
        shared: Arc<Shared>,
        coordinator: Coordinator,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        let identity = shared.identity();
        Self { config, shared, coordinator, signals, owned: BTreeSet::new(), identity }
    }

    /// Tells the application; to be awaited until it has done it.
    async fn signal(
        &self,
        make: impl FnOnce(oneshot::Sender<()>) -> Signal,
    ) -> Result<oneshot::Receiver<()>, Stop> {
        let (done, is_done) = oneshot::channel();
        self.signals.send(make(done)).await.map_err(|_| Stop::Gone)?;
        Ok(is_done)
    }

    /// Has the application give up these partitions.
    async fn revoke(
        &mut self,
        partitions: Vec<TopicPartition>,
        is_lost: bool,
    ) -> Result<Option<oneshot::Receiver<()>>, Stop> {
        if partitions.is_empty() {
            return Ok(None);
        }
        self.owned.retain(|one| !partitions.contains(one));
        let signal = |done| Signal::Revoke { partitions, is_lost, done };
        self.signal(signal).await.map(Some)
    }

    /// Has the application read these too.
    async fn assign(
        &mut self,
        partitions: Vec<TopicPartition>,
    ) -> Result<Option<oneshot::Receiver<()>>, Stop> {
        if partitions.is_empty() {
            return Ok(None);
        }
        self.owned.extend(partitions.iter().cloned());
        self.signal(|done| Signal::Assign { partitions, done }).await.map(Some)
    }

    /// Gives up everything at once, as no member any more.
    async fn lose_all(&mut self) -> Result<(), Stop> {
        self.set_identity(Identity { generation: -1, ..self.identity.clone() });
        let all = self.owned.iter().cloned().collect();
        if let Some(done) = self.revoke(all, true).await? {
            done.await.map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }

    fn set_identity(&mut self, identity: Identity) {
        self.identity = identity;
        self.shared.set_identity(self.identity.clone());
    }

    /// The application has not polled for too long.
    fn is_overdue(&self) -> bool {
        self.config.max_poll_interval < self.shared.since_poll()
    }

    /// Before another attempt.
    async fn pause(&self, failures: u32) {
        let backoff = self.coordinator.client().config().retry_backoff;
        tokio::time::sleep(backoff.delay(failures, rand::random())).await;
    }

    async fn fail(&self, cause: ClientError) {
        let group = self.config.group_id.clone();
        // Nobody may listen any more.
        let _ = self.signals.send(Signal::Failed(GroupError::Group { group, cause })).await;
    }

    fn request_timeout(&self) -> Duration {
        self.coordinator.client().config().request_timeout
    }
}

impl From<ErrorCode> for Stop {
    fn from(error: ErrorCode) -> Self {
        Self::Failed(ClientError::server(error, None))
    }
}

/// Whether another attempt may do better. A call that went unanswered may be made again: joining and heartbeats are
/// the same however often they are said.
fn passes(error: &ClientError) -> bool {
    error.is_retriable() || matches!(error, ClientError::Call(_) | ClientError::TimedOut { .. })
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
