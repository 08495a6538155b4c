//! A member of the classic protocol: joins, assigns if it leads, and says again and again that it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use ottla_protocol::{ErrorCode, Str};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Identity, Member, Stop, difference, millis, passes};
use crate::consumer::TopicPartition;
use crate::consumer::group::assignor::{Assignment, Subscription};
use crate::consumer::group::{Assignor, Verdict, subscription, verdict};

pub(super) struct Classic {
    member: Member,
    assignors: Vec<Assignor>,
    /// What the leader assigned by, and saw of the topics then: if they change, it joins again.
    leads: Option<BTreeMap<Str, i32>>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Join again.
    Rejoin,
    /// Join again, having lost everything.
    Outdated,
    /// The same, as another member.
    Lost,
}

impl Classic {
    pub fn new(member: Member, assignors: Vec<Assignor>) -> Self {
        Self { member, assignors, leads: None }
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
            match self.generation().await {
                Ok(Next::Rejoin) => failures = 0,
                Ok(next) => {
                    if next == Next::Lost {
                        self.member.identity.member_id = Str::new();
                    }
                    if let Err(stop) = self.member.lose_all().await {
                        return stop;
                    }
                }
                Err(Stop::Failed(error)) if passes(&error) => {
                    tracing::debug!(group = %self.member.config.group_id, %error, "trying again");
                    failures += 1;
                    self.member.pause(failures).await;
                }
                Err(stop) => return stop,
            }
        }
    }

    /// Joins a generation and stays in it as long as it lasts.
    async fn generation(&mut self) -> Result<Next, Stop> {
        let joined = self.join().await?;
        let error = ErrorCode::from_code(joined.error_code);
        if error == ErrorCode::MemberIdRequired {
            self.member.identity.member_id = joined.member_id.detach();
            return Ok(Next::Rejoin);
        }
        if let Some(next) = next(error)? {
            return Ok(next);
        }
        let identity =
            Identity { member_id: joined.member_id.detach(), generation: joined.generation_id };
        let assignments = self.assignments(&joined).await?;
        let synced = self.sync(&identity, &joined, assignments).await?;
        if let Some(next) = next(ErrorCode::from_code(synced.error_code))? {
            self.member.identity.member_id = identity.member_id;
            return Ok(next);
        }
        self.member.set_identity(identity);
        let wanted = subscription::decode_assignment(&synced.assignment)
            .map_err(|_| Stop::from(ErrorCode::InconsistentGroupProtocol))?;
        if let Some(next) = self.take_up(wanted.into_iter().collect()).await? {
            return Ok(next);
        }
        self.stay().await
    }

    async fn join(&mut self) -> Result<JoinGroupResponse, Stop> {
        let config = &self.member.config;
        let owned: Vec<TopicPartition> = self.member.owned.iter().cloned().collect();
        let generation = self.member.identity.generation;
        let metadata = subscription::encode_subscription(&config.topics, &owned, generation)
            .map_err(|_| Stop::from(ErrorCode::InvalidRequest))?;
        let protocols = self.assignors.iter().map(|assignor| JoinGroupRequestProtocol {
            name: Str::from_static(assignor.name()),
            metadata: metadata.clone(),
            ..JoinGroupRequestProtocol::default()
        });
        let request = JoinGroupRequest {
            group_id: config.group_id.clone(),
            session_timeout_ms: millis(config.session_timeout),
            rebalance_timeout_ms: millis(config.max_poll_interval),
            member_id: self.member.identity.member_id.clone(),
            group_instance_id: config.instance_id.clone(),
            protocol_type: Str::from_static("consumer"),
            protocols: protocols.collect(),
            ..JoinGroupRequest::default()
        };
        // The others have so long to come.
        let timeout = config.max_poll_interval + self.member.request_timeout();
        let versions = (min_version(config.instance_id.is_some(), 1, 5), 9);
        let coordinator = &self.member.coordinator;
        let response = coordinator.call(versions, timeout, |_| request, |r| r.error_code).await;
        response.map_err(Stop::Failed)
    }

    /// What the leader gives everybody; nothing of others.
    async fn assignments(
        &mut self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, Stop> {
        self.leads = None;
        if joined.leader != joined.member_id {
            return Ok(Vec::new());
        }
        let mut members = Vec::new();
        for member in &joined.members {
            let instance = member.group_instance_id.as_ref();
            let read =
                subscription::decode_subscription(&member.member_id, instance, &member.metadata);
            members.push(read.map_err(|_| Stop::from(ErrorCode::InconsistentGroupProtocol))?);
        }
        let topics = self.partitions_of(&members).await?;
        self.leads = Some(topics.clone());
        if joined.skip_assignment {
            return Ok(Vec::new());
        }
        let name = joined.protocol_name.as_deref().unwrap_or_default();
        let assignor = Assignor::from_name(name);
        let assignor = assignor.ok_or(Stop::from(ErrorCode::InconsistentGroupProtocol))?;
        encode(&assignor.assign(&members, &topics))
    }

    /// How many partitions the topics have that anybody reads; those that are not there are left out.
    async fn partitions_of(&self, members: &[Subscription]) -> Result<BTreeMap<Str, i32>, Stop> {
        let topics: BTreeSet<&Str> = members.iter().flat_map(|member| &member.topics).collect();
        let topics: Vec<Str> = topics.into_iter().map(Str::detach).collect();
        let client = self.member.coordinator.client();
        let metadata = client.refresh_metadata(&topics).await.map_err(Stop::Failed)?;
        let counted = topics.into_iter().filter_map(|topic| {
            let count = metadata.topic(&topic)?.partitions.len();
            Some((topic, i32::try_from(count).unwrap_or(i32::MAX)))
        });
        Ok(counted.filter(|(_, count)| 0 < *count).collect())
    }

    async fn sync(
        &self,
        identity: &Identity,
        joined: &JoinGroupResponse,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> Result<SyncGroupResponse, Stop> {
        let config = &self.member.config;
        let request = SyncGroupRequest {
            group_id: config.group_id.clone(),
            generation_id: identity.generation,
            member_id: identity.member_id.clone(),
            group_instance_id: config.instance_id.clone(),
            protocol_type: Some(Str::from_static("consumer")),
            protocol_name: joined.protocol_name.clone(),
            assignments,
            ..SyncGroupRequest::default()
        };
        let timeout = config.max_poll_interval + self.member.request_timeout();
        let versions = (min_version(config.instance_id.is_some(), 0, 3), 5);
        let coordinator = &self.member.coordinator;
        let response = coordinator.call(versions, timeout, |_| request, |r| r.error_code).await;
        response.map_err(Stop::Failed)
    }

    /// Goes from what it has to what it was given. A member that gives something up joins again at once, so that
    /// another can have it.
    async fn take_up(&mut self, wanted: BTreeSet<TopicPartition>) -> Result<Option<Next>, Stop> {
        let revoked = difference(&self.member.owned, &wanted);
        let must_rejoin = self.is_cooperative() && !revoked.is_empty();
        if let Some(done) = self.member.revoke(revoked, false).await?
            && let Some(next) = self.wait_for(done).await?
        {
            return Ok(Some(next));
        }
        let added = difference(&wanted, &self.member.owned);
        if let Some(done) = self.member.assign(added).await?
            && let Some(next) = self.wait_for(done).await?
        {
            return Ok(Some(next));
        }
        Ok(must_rejoin.then_some(Next::Rejoin))
    }

    /// Sends heartbeats until there is something to do.
    async fn stay(&mut self) -> Result<Next, Stop> {
        let client = self.member.coordinator.client().clone();
        let mut refresh_at = tokio::time::Instant::now() + client.config().metadata_max_age;
        loop {
            tokio::time::sleep(self.member.config.heartbeat_interval).await;
            if self.member.is_overdue() {
                tracing::warn!(group = %self.member.config.group_id, "no poll for too long, leaving");
                self.leave().await;
                return Ok(Next::Lost);
            }
            match self.heartbeat().await? {
                Some(Next::Rejoin) => return self.prepare_to_rejoin().await,
                Some(lost) => return Ok(lost),
                None => {}
            }
            if self.leads.is_some() && refresh_at <= tokio::time::Instant::now() {
                refresh_at = tokio::time::Instant::now() + client.config().metadata_max_age;
                if self.have_topics_changed().await {
                    return self.prepare_to_rejoin().await;
                }
            }
        }
    }

    async fn have_topics_changed(&self) -> bool {
        let Some(before) = &self.leads else { return false };
        let topics: Vec<Str> = before.keys().chain(&self.member.config.topics).cloned().collect();
        let client = self.member.coordinator.client();
        let Ok(metadata) = client.refresh_metadata(&topics).await else { return false };
        let count = |topic: &Str| metadata.topic(topic).map_or(0, |known| known.partitions.len());
        topics.iter().any(|topic| before.get(topic).copied().unwrap_or(0) != count(topic) as i32)
    }

    /// Without a cooperative assignor everything is given up before it joins again.
    async fn prepare_to_rejoin(&mut self) -> Result<Next, Stop> {
        if !self.is_cooperative() {
            let all = self.member.owned.iter().cloned().collect();
            if let Some(done) = self.member.revoke(all, false).await?
                && let Some(lost) = self.wait_for(done).await?
            {
                return Ok(lost);
            }
        }
        Ok(Next::Rejoin)
    }

    fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    /// Waits for the application, and stays a member meanwhile.
    async fn wait_for(&mut self, mut done: oneshot::Receiver<()>) -> Result<Option<Next>, Stop> {
        loop {
            let interval = self.member.config.heartbeat_interval;
            match tokio::time::timeout(interval, &mut done).await {
                Ok(done) => return done.map(|()| None).map_err(|_| Stop::Gone),
                Err(_) if self.member.is_overdue() => {
                    self.leave().await;
                    return Ok(Some(Next::Lost));
                }
                Err(_) => {
                    let next = self.heartbeat().await?;
                    if next.is_some_and(|next| next != Next::Rejoin) {
                        return Ok(next);
                    }
                }
            }
        }
    }

    /// One heartbeat; what fails on the way is tried again with the next.
    async fn heartbeat(&mut self) -> Result<Option<Next>, Stop> {
        let config = &self.member.config;
        let request = HeartbeatRequest {
            group_id: config.group_id.clone(),
            generation_id: self.member.identity.generation,
            member_id: self.member.identity.member_id.clone(),
            group_instance_id: config.instance_id.clone(),
            ..HeartbeatRequest::default()
        };
        let timeout = config.session_timeout.min(self.member.request_timeout());
        let versions = (min_version(config.instance_id.is_some(), 0, 3), 4);
        let coordinator = &self.member.coordinator;
        match coordinator.call(versions, timeout, |_| request, |r| r.error_code).await {
            Ok(response) => match next(ErrorCode::from_code(response.error_code)) {
                Err(Stop::Failed(error)) if error.is_retriable() => Ok(None),
                other => other,
            },
            Err(error) if passes(&error) => Ok(None),
            Err(error) => Err(Stop::Failed(error)),
        }
    }

    /// A static member leaves without a word: it may be back soon.
    async fn leave(&mut self) {
        let config = &self.member.config;
        let member_id = self.member.identity.member_id.clone();
        if member_id.is_empty() || config.instance_id.is_some() {
            return;
        }
        let request = |version| LeaveGroupRequest {
            group_id: config.group_id.clone(),
            member_id: if version < 3 { member_id.clone() } else { Str::new() },
            members: vec![MemberIdentity { member_id: member_id.clone(), ..Default::default() }],
            ..LeaveGroupRequest::default()
        };
        let coordinator = &self.member.coordinator;
        // On the old connection it would wait behind a JoinGroup that waits for others.
        coordinator.forget();
        let left = coordinator.call((0, 5), LEAVE_MAX, request, |r| r.error_code).await;
        if let Err(error) = left {
            tracing::debug!(group = %config.group_id, %error, "left without an answer");
        }
    }
}

/// What an error means; nothing without one.
fn next(error: ErrorCode) -> Result<Option<Next>, Stop> {
    match verdict(error) {
        Verdict::Fine => Ok(None),
        Verdict::Rejoin => Ok(Some(Next::Rejoin)),
        Verdict::Outdated => Ok(Some(Next::Outdated)),
        Verdict::Lost => Ok(Some(Next::Lost)),
        Verdict::Again | Verdict::Fatal => Err(Stop::from(error)),
    }
}

fn encode(assignment: &Assignment) -> Result<Vec<SyncGroupRequestAssignment>, Stop> {
    let encode = |(member_id, partitions): (&Str, &Vec<TopicPartition>)| {
        let bytes = subscription::encode_assignment(partitions);
        let assignment: Bytes = bytes.map_err(|_| Stop::from(ErrorCode::InvalidRequest))?;
        Ok(SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment,
            ..SyncGroupRequestAssignment::default()
        })
    };
    assignment.iter().map(encode).collect()
}

/// Static members need versions that have instance ids.
fn min_version(is_static: bool, otherwise: i16, with_instance: i16) -> i16 {
    if is_static { with_instance } else { otherwise }
}

const LEAVE_MAX: Duration = Duration::from_secs(3);
