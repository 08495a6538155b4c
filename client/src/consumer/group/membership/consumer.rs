//! A member of the protocol in which the coordinator assigns (KIP-848): one request says everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_group_heartbeat_response::Assignment;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_protocol::types::{PartitionId, TopicId};
use ottla_protocol::{ErrorCode, Str};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Identity, Member, Stop, difference, millis, passes};
use crate::consumer::TopicPartition;
use crate::consumer::group::{Verdict, verdict};
use crate::error::ClientError;

pub(super) struct Modern {
    member: Member,
    assignor: Option<Str>,
    interval: Duration,
    /// What it was last told to have, until the application has it.
    target: Option<BTreeSet<TopicPartition>>,
    /// Ids of the topics in its assignments.
    ids: BTreeMap<Str, TopicId>,
    /// What the application is about to do.
    doing: Option<oneshot::Receiver<()>>,
    /// What it is giving up, and has still: nobody else may be given it.
    revoking: Vec<TopicPartition>,
}

impl Modern {
    pub fn new(mut member: Member, assignor: Option<Str>) -> Self {
        // The member chooses its own id, and keeps it as long as it lives.
        let id = ottla_protocol::Uuid::from_bytes(rand::random());
        member.identity = Identity { member_id: id.to_string().into(), generation: 0 };
        member.shared.set_identity(member.identity.clone());
        Self {
            member,
            assignor,
            interval: FIRST_INTERVAL,
            target: None,
            ids: BTreeMap::new(),
            doing: None,
            revoking: Vec::new(),
        }
    }

    pub async fn run(mut self, stop: &CancellationToken) {
        let ended = tokio::select! {
            ended = self.live() => ended,
            () = stop.cancelled() => Stop::Gone,
        };
        match ended {
            Stop::Failed(cause) => self.member.fail(cause).await,
            Stop::Gone => self.leave().await,
        }
    }

    async fn live(&mut self) -> Stop {
        let mut failures = 0;
        loop {
            match self.beat().await {
                Ok(()) => failures = 0,
                Err(Stop::Failed(error)) if passes(&error) => {
                    tracing::debug!(group = %self.member.config.group_id, %error, "trying again");
                    failures += 1;
                    self.member.pause(failures).await;
                    continue;
                }
                Err(stop) => return stop,
            }
            if let Err(stop) = self.wait().await {
                return stop;
            }
        }
    }

    /// One heartbeat, and what follows from its answer.
    async fn beat(&mut self) -> Result<(), Stop> {
        if self.member.is_overdue() {
            tracing::warn!(group = %self.member.config.group_id, "no poll for too long, leaving");
            self.leave().await;
            return self.begin_anew().await;
        }
        let response = self.heartbeat(self.member.identity.generation).await?;
        let error = ErrorCode::from_code(response.error_code);
        match verdict(error) {
            Verdict::Fine => {}
            Verdict::Outdated | Verdict::Lost => return self.begin_anew().await,
            Verdict::Again | Verdict::Rejoin | Verdict::Fatal => {
                let message = response.error_message.as_deref();
                return Err(Stop::Failed(ClientError::server(error, message)));
            }
        }
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(0);
        self.interval = Duration::from_millis(interval).max(INTERVAL_MIN);
        let generation = response.member_epoch;
        self.member.set_identity(Identity { generation, ..self.member.identity.clone() });
        if let Some(assignment) = &response.assignment {
            self.target = Some(self.named(assignment).await?);
        }
        self.reconcile().await
    }

    /// Has the application do the next step towards the target: first give up, then take up.
    async fn reconcile(&mut self) -> Result<(), Stop> {
        if self.doing.is_some() {
            return Ok(());
        }
        let Some(target) = self.target.clone() else { return Ok(()) };
        let revoked = difference(&self.member.owned, &target);
        self.revoking.clone_from(&revoked);
        self.doing = self.member.revoke(revoked, false).await?;
        if self.doing.is_none() {
            let added = difference(&target, &self.member.owned);
            self.doing = self.member.assign(added).await?;
            self.target = None;
        }
        Ok(())
    }

    /// Until the next heartbeat: it is due at once when the application has done what it was asked for.
    async fn wait(&mut self) -> Result<(), Stop> {
        let Some(doing) = &mut self.doing else {
            tokio::time::sleep(self.interval).await;
            return Ok(());
        };
        if let Ok(done) = tokio::time::timeout(self.interval, doing).await {
            self.doing = None;
            self.revoking.clear();
            done.map_err(|_| Stop::Gone)?;
            self.reconcile().await?;
        }
        Ok(())
    }

    async fn heartbeat(&self, epoch: i32) -> Result<ConsumerGroupHeartbeatResponse, Stop> {
        let config = &self.member.config;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: config.group_id.clone(),
            member_id: self.member.identity.member_id.clone(),
            member_epoch: epoch,
            instance_id: config.instance_id.clone(),
            rebalance_timeout_ms: millis(config.max_poll_interval),
            subscribed_topic_names: Some(config.topics.clone()),
            server_assignor: self.assignor.clone(),
            topic_partitions: Some(self.owned()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let timeout = self.member.request_timeout();
        let coordinator = &self.member.coordinator;
        let response = coordinator.call((0, 1), timeout, |_| request, |r| r.error_code).await;
        response.map_err(Stop::Failed)
    }

    /// What the application has.
    fn owned(&self) -> Vec<TopicPartitions> {
        let mut topics = BTreeMap::<TopicId, Vec<i32>>::new();
        for (topic, partition) in self.member.owned.iter().chain(&self.revoking) {
            if let Some(id) = self.ids.get(topic) {
                topics.entry(*id).or_default().push(partition.0);
            }
        }
        let topic = |(topic_id, partitions)| TopicPartitions {
            topic_id,
            partitions,
            ..TopicPartitions::default()
        };
        topics.into_iter().map(topic).collect()
    }

    /// An assignment by names. Of a topic whose name cannot be found nothing is taken; the next heartbeat finds out.
    async fn named(&mut self, assignment: &Assignment) -> Result<BTreeSet<TopicPartition>, Stop> {
        let client = self.member.coordinator.client();
        let mut metadata = client.metadata();
        let is_known = |id: &TopicId| metadata.topic_name(*id).is_some();
        if !assignment.topic_partitions.iter().all(|topic| is_known(&topic.topic_id)) {
            let topics = &self.member.config.topics;
            metadata = client.refresh_metadata(topics).await.map_err(Stop::Failed)?;
        }
        let mut named = BTreeSet::new();
        for topic in &assignment.topic_partitions {
            let Some(name) = metadata.topic_name(topic.topic_id) else {
                return Err(Stop::from(ErrorCode::UnknownTopicId));
            };
            self.ids.insert(name.clone(), topic.topic_id);
            named.extend(topic.partitions.iter().map(|id| (name.clone(), PartitionId(*id))));
        }
        Ok(named)
    }

    async fn begin_anew(&mut self) -> Result<(), Stop> {
        self.target = None;
        self.doing = None;
        self.revoking.clear();
        self.member.lose_all().await?;
        self.member.set_identity(Identity { generation: 0, ..self.member.identity.clone() });
        self.interval = Duration::ZERO;
        Ok(())
    }

    /// A static member says that it may be back.
    async fn leave(&self) {
        if self.member.identity.generation <= 0 {
            return;
        }
        let is_static = self.member.config.instance_id.is_some();
        let left = self.heartbeat(if is_static { AWAY } else { LEFT });
        if !matches!(tokio::time::timeout(LEAVE_MAX, left).await, Ok(Ok(_))) {
            tracing::debug!(group = %self.member.config.group_id, "left without an answer");
        }
    }
}

/// The epochs that say that a member goes, and that it goes for a while.
const LEFT: i32 = -1;
const AWAY: i32 = -2;
/// Until the coordinator has said how often.
const FIRST_INTERVAL: Duration = Duration::from_secs(3);
/// However often the coordinator asks.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
const LEAVE_MAX: Duration = Duration::from_secs(3);
