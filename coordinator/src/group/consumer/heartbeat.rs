//! ConsumerGroupHeartbeat, v0-1 (KIP-848, KIP-1082).
//!
//! Kept of Kafka 4.3.1: all errors; the assignment is told to who joins, who sends everything, and who has
//! another than before. Different here, on purpose:
//!
//! - Expressions are resolved in the step that brings them, not later.
//! - While a group settles, members are asked back soon.
//! - A static member that repeats its own join (the answer was lost) is let in, not told that it is in use.

use std::time::Duration;

use ottla_metadata::model::group::{ConsumerMember, ReconciliationState};
use ottla_protocol::Uuid;
use ottla_protocol::messages::consumer_group_heartbeat_response::Assignment;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::ConsumerGroup;
use super::error::HeartbeatError;
use super::member::Member;
use super::partitions::Claimed;
use crate::group::{Client, Context, GroupSettings, Response, Ticket};

/// An answer, and whether it says anything that the member was not told before.
pub(super) struct Answered {
    pub response: ConsumerGroupHeartbeatResponse,
    pub is_news: bool,
}

impl ConsumerGroup {
    /// The answer to a request that no group would take, whatever its state; to be asked before a group changes its
    /// kind for it.
    pub fn refusal_of(
        client: &Client,
        request: &ConsumerGroupHeartbeatRequest,
        settings: &GroupSettings,
    ) -> Option<ConsumerGroupHeartbeatResponse> {
        validate(request, client.version, settings).err().map(|error| refused(&error))
    }

    /// ConsumerGroupHeartbeat: joining, leaving, and everything in between.
    pub fn heartbeat(
        &mut self,
        ticket: Ticket,
        client: &Client,
        request: &ConsumerGroupHeartbeatRequest,
        cx: &mut Context<'_>,
    ) {
        self.settle_in(cx);
        let result = self.try_heartbeat(client, request, cx);
        let wrote = self.step.write_meta
            || !(self.step.members.is_empty() && self.step.assignments.is_empty());
        self.finish_step(cx);
        match result {
            Ok(Answered { response, is_news }) if is_news || wrote => {
                cx.out.answer(ticket, Response::ConsumerGroupHeartbeat(response));
            }
            Ok(Answered { response, .. }) => {
                cx.out.answer_now(ticket, Response::ConsumerGroupHeartbeat(response));
            }
            // Whoever is refused gives up what it has, or changes nothing: no write has to make that true.
            Err(error) => {
                cx.out.answer_now(ticket, Response::ConsumerGroupHeartbeat(refused(&error)));
            }
        }
    }

    fn try_heartbeat(
        &mut self,
        client: &Client,
        request: &ConsumerGroupHeartbeatRequest,
        cx: &mut Context<'_>,
    ) -> Result<Answered, HeartbeatError> {
        validate(request, client.version, cx.settings)?;
        if self.is_new() && request.member_epoch != JOINS {
            return Err(HeartbeatError::NoGroup(self.id.clone()));
        }
        match request.member_epoch {
            LEAVES | super::member::AWAY => self.heartbeat_of_leaver(request, cx),
            _ => self.heartbeat_of_member(client, request, cx),
        }
    }

    fn heartbeat_of_member(
        &mut self,
        client: &Client,
        request: &ConsumerGroupHeartbeatRequest,
        cx: &mut Context<'_>,
    ) -> Result<Answered, HeartbeatError> {
        let made;
        let id = if request.member_id.is_empty() {
            made = random_id(cx);
            made.as_str()
        } else {
            request.member_id.as_str()
        };
        let full = cx.settings.consumer_size_max;
        if full <= self.members.len() && !self.members.contains_key(id) {
            return Err(HeartbeatError::Full(full));
        }
        let entry = self.admit(id, request)?;
        let about = self.about(&entry, client, request);
        if let Some(about) = &about {
            check_size(about, cx.settings.member_value_max)?;
            if let Some(pattern) = &about.topic_regex {
                let error = |error| HeartbeatError::Pattern { pattern: pattern.clone(), error };
                self.subscription.check_pattern(pattern).map_err(error)?;
            }
        }

        let before = self.members.get(id).map(|member| member.current.assigned.clone());
        self.enter(id, entry);
        let changed = about.is_some_and(|about| self.set_about(id, about, cx));
        if changed || self.is_new() {
            self.bump(cx);
        }
        self.assign_if_due(cx);
        self.reconcile(id, request.topic_partitions.as_deref().map(Claimed), changed);
        self.note_progress(cx);
        self.set_heartbeat_deadlines(id, cx);
        self.answer_member(id, request, before.as_ref(), cx)
    }

    fn answer_member(
        &self,
        id: &str,
        request: &ConsumerGroupHeartbeatRequest,
        before: Option<&super::partitions::Owned>,
        cx: &Context<'_>,
    ) -> Result<Answered, HeartbeatError> {
        let member = self.members.get(id);
        let member = member.ok_or_else(|| HeartbeatError::UnknownMember(id.to_owned()))?;
        let current = &member.current;
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some()
                || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let is_other = before.is_none_or(|before| !before.same_partitions(&current.assigned));
        let is_told = request.member_epoch == JOINS || is_full || is_other;
        let assignment = is_told.then(|| Assignment {
            topic_partitions: current.assigned.to_response(),
            ..Default::default()
        });
        let interval = self.heartbeat_interval(member, cx);
        Ok(Answered {
            is_news: is_told || request.member_epoch != current.epoch,
            response: ConsumerGroupHeartbeatResponse {
                member_id: Some(id.into()),
                member_epoch: current.epoch,
                heartbeat_interval_ms: i32::try_from(interval.as_millis()).unwrap_or(i32::MAX),
                assignment,
                ..Default::default()
            },
        })
    }

    /// Takes a member's word for itself; says whether it wants to read something else.
    pub(super) fn set_about(&mut self, id: &str, about: ConsumerMember, cx: &Context<'_>) -> bool {
        let Some(member) = self.members.get_mut(id) else { return false };
        let changed =
            member.about.topics != about.topics || member.about.topic_regex != about.topic_regex;
        if changed {
            // In before out, so that what both have is not looked up again.
            self.subscription.add(&about, cx.image);
            self.subscription.remove(&member.about);
        }
        if let Some(instance) = &about.instance_id {
            self.static_members.insert(instance.clone(), std::sync::Arc::clone(&member.id));
        }
        member.classic = about.classic.as_ref().map(super::member::Classic::from_stored);
        member.about = about;
        self.step.members.insert(std::sync::Arc::clone(&member.id));
        changed
    }

    /// Something changed: members are to come back soon for a while.
    pub(super) fn note_progress(&mut self, cx: &Context<'_>) {
        if !self.step.assignments.is_empty() {
            self.changed_at = cx.now.monotonic;
        }
    }

    fn set_heartbeat_deadlines(&mut self, id: &str, cx: &Context<'_>) {
        let now = cx.now.monotonic;
        let session = now + cx.settings.consumer_session_timeout;
        let moved = self.step.assignments.contains(id);
        self.set_deadlines(id, |member| {
            let deadlines = &mut member.deadlines;
            deadlines.session = Some(session);
            (deadlines.join, deadlines.sync) = (None, None);
            if member.current.state != ReconciliationState::UnrevokedPartitions {
                member.deadlines.rebalance = None;
            } else if moved || member.deadlines.rebalance.is_none() {
                member.deadlines.rebalance = Some(now + member.rebalance_timeout());
            }
        });
    }

    /// All deadlines of a member, anew: whoever just took the group over has heard of nobody.
    pub(super) fn restart_deadlines(&mut self, id: &str, cx: &Context<'_>) {
        let now = cx.now.monotonic;
        let timeout = cx.settings.consumer_session_timeout;
        self.set_deadlines(id, |member| {
            let classic = member.classic.as_ref().map(|classic| classic.session_timeout);
            member.deadlines.session = Some(now + classic.unwrap_or(timeout));
            if classic.is_none() && member.current.state == ReconciliationState::UnrevokedPartitions
            {
                member.deadlines.rebalance = Some(now + member.rebalance_timeout());
            }
        });
    }

    /// When the member is to come back. While the group settles: soon, but not so soon that a large group keeps the
    /// coordinator busy. Somebody who waits for a partition that another is slow to give up comes every second.
    fn heartbeat_interval(&self, member: &Member, cx: &Context<'_>) -> Duration {
        let usual = cx.settings.consumer_heartbeat_interval;
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let soon = SETTLING_INTERVAL.max(SETTLING_PER_MEMBER * members);
        if cx.now.monotonic < self.changed_at + SETTLING {
            usual.min(soon)
        } else if member.current.state == ReconciliationState::UnreleasedPartitions {
            usual.min(soon.max(WAITING_INTERVAL))
        } else {
            usual
        }
    }
}

fn refused(error: &HeartbeatError) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.code().code(),
        error_message: Some(error.to_string().into()),
        ..Default::default()
    }
}

/// An id as Kafka makes them.
pub(super) fn random_id(cx: &mut Context<'_>) -> String {
    loop {
        let mut bytes = [0; 16];
        cx.random.fill_bytes(&mut bytes);
        // Version 4, as java.util.UUID.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = Uuid::from_bytes(bytes).to_string();
        if !id.starts_with('-') {
            return id;
        }
    }
}

fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    settings: &GroupSettings,
) -> Result<(), HeartbeatError> {
    let invalid = |what| Err(HeartbeatError::Invalid(what));
    let is_blank = |text: &str| text.trim().is_empty();
    let epoch = request.member_epoch;
    if (1 <= version || 0 < epoch || epoch == LEAVES) && is_blank(&request.member_id) {
        return invalid("the member id is empty");
    }
    if is_blank(&request.group_id) {
        return invalid("the group id is empty");
    }
    if request.instance_id.as_deref().is_some_and(is_blank) {
        return invalid("the instance id is empty");
    }
    if request.rack_id.as_deref().is_some_and(is_blank) {
        return invalid("the rack id is empty");
    }
    if epoch == JOINS {
        if request.rebalance_timeout_ms == -1 {
            return invalid("whoever joins has to name its rebalance timeout");
        }
        if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("whoever joins has no partitions, and has to say so");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid("whoever joins has to name topics or a regular expression");
        }
    } else if epoch == super::member::AWAY {
        if request.instance_id.is_none() {
            return invalid("only a member with an instance id can leave for a while");
        }
    } else if epoch < super::member::AWAY {
        return invalid("there is no such member epoch");
    }
    let name = request.server_assignor.as_ref();
    let unknown = name.filter(|name| !settings.consumer_assignors.iter().any(|it| *it == ***name));
    unknown.map_or(Ok(()), |name| {
        let known = settings.consumer_assignors.clone();
        Err(HeartbeatError::Assignor { name: name.to_string(), known })
    })
}

pub(super) fn check_size(about: &ConsumerMember, max: usize) -> Result<(), HeartbeatError> {
    let texts = [&about.instance_id, &about.rack_id, &about.topic_regex];
    let size: usize = about.topics.iter().map(String::len).sum::<usize>()
        + texts.into_iter().flatten().map(String::len).sum::<usize>();
    if max < size { Err(HeartbeatError::Large(max)) } else { Ok(()) }
}

/// The epoch of who joins.
pub(super) const JOINS: i32 = 0;
/// The epoch of who leaves for good.
pub(super) const LEAVES: i32 = -1;
/// How long after a change members come back soon.
const SETTLING: Duration = Duration::from_secs(5);
/// How soon, in a small group.
const SETTLING_INTERVAL: Duration = Duration::from_millis(200);
/// How soon, in a large one: about a thousand heartbeats a second.
const SETTLING_PER_MEMBER: Duration = Duration::from_millis(1);
/// How soon while another is slow.
const WAITING_INTERVAL: Duration = Duration::from_secs(1);
