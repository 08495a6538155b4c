//! JoinGroup (versions 0 to 9): becoming a member, or saying again that one is.
//!
//! Version notes: 0 has no rebalance timeout, the session timeout stands for it; from 4 on a dynamic member is
//! told its id before it joins (KIP-394); 5 brings static members (KIP-345); from 9 on a static leader that
//! returns is told to skip the assignment (KIP-814).

use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::model::Rest;
use ottla_protocol::messages::JoinGroupRequest;
use ottla_protocol::{ErrorCode, Str};
use rand::RngCore;

use super::members::{Member, NEW_MEMBER_JOIN_TIMEOUT, Parked};
use super::protocols::{self, Protocol};
use super::timers::Timer;
use super::{ClassicGroup, ClassicState, join_error};
use crate::group::{Client, Context, GroupSettings, Response, Ticket};

/// A JoinGroup, with its own copies of what may be kept.
pub(super) struct Join {
    pub ticket: Ticket,
    pub version: i16,
    member_id: Str,
    instance_id: Option<Str>,
    client_id: Str,
    client_host: Str,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    protocol_type: Str,
    protocols: Vec<Protocol>,
}

impl ClassicGroup {
    /// Handles a JoinGroup. The answer comes when the rebalance that it begins or takes part in has all members,
    /// or at once if nothing changes.
    pub fn join(
        &mut self,
        ticket: Ticket,
        client: &Client,
        request: &JoinGroupRequest,
        cx: &mut Context<'_>,
    ) {
        if let Err(error) = check(request, cx.settings) {
            let answer = join_error(&request.member_id, error, client.version);
            return cx.out.answer_now(ticket, Response::JoinGroup(answer));
        }
        let join = Join::new(ticket, client, request);
        let is_unknown = join.member_id.is_empty();
        if !is_unknown && !self.has_meta && self.is_simple() {
            // There is no such group: whoever thinks so is of one that is gone.
            return self.refuse(&join, ErrorCode::UnknownMemberId, cx);
        }
        if !self.has_room_for(&join.member_id, cx.settings.size_max) {
            self.turn_away(&join, cx);
        } else if !self.speaks_with(&join) {
            self.refuse(&join, ErrorCode::InconsistentGroupProtocol, cx);
        } else if is_unknown {
            self.join_new(join, cx);
        } else {
            self.join_existing(join, cx);
        }
    }

    /// Existing members are counted by those that have joined while a rebalance is on, so that with a lowered
    /// limit the last to join are the ones to go.
    fn has_room_for(&self, member_id: &str, size_max: usize) -> bool {
        match self.state {
            ClassicState::Empty => true,
            ClassicState::PreparingRebalance => {
                let has_joined = self.members.get(member_id).is_some_and(|m| m.join.is_some());
                has_joined || self.members.joined() < size_max
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.members.contains(member_id) || self.members.len() < size_max
            }
        }
    }

    fn turn_away(&mut self, join: &Join, cx: &mut Context<'_>) {
        self.pending.remove(&join.member_id);
        self.forget(&join.member_id, cx.out);
        self.refuse_with(join, "", ErrorCode::GroupMaxSizeReached, cx);
        self.maybe_complete_join(cx);
    }

    fn speaks_with(&self, join: &Join) -> bool {
        if self.is_empty() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && self.members.all_speak_one_of(&join.protocols)
    }

    fn join_new(&mut self, join: Join, cx: &mut Context<'_>) {
        let prefix = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let id = member_id(prefix, cx.random);
        if let Some(instance) = &join.instance_id {
            match self.members.by_instance(instance).cloned() {
                Some(old) => self.replace_static(join, &old, id, cx),
                None => self.add_member(join, id, cx),
            }
        } else if REQUIRES_MEMBER_ID_SINCE <= join.version {
            self.make_room_for_pending();
            self.pending.insert(id.clone());
            let deadline = cx.now.monotonic + join.session_timeout;
            self.timers.set(Timer::Session(id.clone()), deadline);
            self.refuse_with(&join, &id, ErrorCode::MemberIdRequired, cx);
        } else {
            self.add_member(join, id, cx);
        }
    }

    /// Ids that nobody came back with are few, since clients come back at once; a client that only ever asks for
    /// new ones pushes out its own.
    fn make_room_for_pending(&mut self) {
        while PENDING_MAX <= self.pending.len() {
            if let Some(id) = self.pending.pop_first() {
                self.timers.cancel_session(&id);
            }
        }
    }

    fn join_existing(&mut self, join: Join, cx: &mut Context<'_>) {
        let id = join.member_id.clone();
        if join.instance_id.is_none() && self.pending.remove(&id) {
            return self.add_member(join, id, cx);
        }
        if let Err(error) = self.validate_member(&id, join.instance_id.as_deref()) {
            return self.refuse(&join, error, cx);
        }
        let is_leader = self.members.is_leader(&id);
        let is_same = self.members.get(&id).is_some_and(|m| m.protocols == join.protocols);
        match self.state {
            ClassicState::PreparingRebalance => {
                self.rejoin(join, "member joins", cx);
            }
            // It may not have received the answer to its first one.
            ClassicState::CompletingRebalance if is_same => {
                let answer = self.joined(&id, join.version, is_leader);
                cx.out.answer(join.ticket, Response::JoinGroup(answer));
            }
            // A leader joins again for what its metadata does not show, such as new partitions.
            ClassicState::Stable if is_same && !is_leader => {
                let answer = self.joined(&id, join.version, false);
                cx.out.answer(join.ticket, Response::JoinGroup(answer));
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                let reason = if is_same { "leader joins again" } else { "metadata changed" };
                self.rejoin(join, reason, cx);
            }
            ClassicState::Empty => self.refuse(&join, ErrorCode::UnknownMemberId, cx),
        }
    }

    fn add_member(&mut self, join: Join, id: Str, cx: &mut Context<'_>) {
        if let Some(initial) = &mut self.initial {
            initial.has_new_member = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        self.pending.remove(&id);
        self.timers.set(Timer::Session(id.clone()), cx.now.monotonic + NEW_MEMBER_JOIN_TIMEOUT);
        self.members.insert(join.into_member(id));
        self.rebalance_or_complete("new member", cx);
    }

    fn rejoin(&mut self, join: Join, reason: &'static str, cx: &mut Context<'_>) {
        self.update_member(&join.member_id.clone(), join, cx);
        self.rebalance_or_complete(reason, cx);
    }

    /// Takes over what the member says now, and lets it wait. An earlier request of it that waits still is told
    /// to come again: it can only be on a connection that is gone, but no request stays without an answer.
    fn update_member(&mut self, id: &str, join: Join, cx: &mut Context<'_>) {
        let parked = join.parked();
        if let Some(Parked { ticket: Some(ticket), version }) = self.members.take_join(id) {
            let answer = join_error(id, ErrorCode::RebalanceInProgress, version);
            cx.out.answer_now(ticket, Response::JoinGroup(answer));
        }
        self.members.update(id, |member| {
            let is_same = member.protocols == join.protocols
                && member.session_timeout == join.session_timeout
                && member.rebalance_timeout == join.rebalance_timeout
                && member.client_id == join.client_id
                && member.client_host == join.client_host;
            if !is_same {
                member.stored_in = None;
            }
            member.protocols = join.protocols;
            member.session_timeout = join.session_timeout;
            member.rebalance_timeout = join.rebalance_timeout;
            member.client_id = join.client_id;
            member.client_host = join.client_host;
            member.join = Some(parked);
        });
    }

    /// A new process takes the place of a static member. Whoever still speaks under the old id is fenced.
    fn replace_static(&mut self, join: Join, old: &Str, new: Str, cx: &mut Context<'_>) {
        let version = join.version;
        let led_by = self.members.leader().cloned();
        self.answer_parked(old, ErrorCode::FencedInstanceId, cx.out);
        self.timers.cancel_session(old);
        self.members.rename(old, &new);
        if self.pending_syncs.remove(old) {
            self.pending_syncs.insert(new.clone());
        }
        self.update_member(&new, join, cx);
        if let Some(member) = self.members.get_mut(&new) {
            *member.is_new = false;
            *member.stored_in = None;
        }
        self.restart_session(&new, cx);
        if self.state == ClassicState::Stable && self.members.choose_protocol() == self.protocol {
            self.store_member(&new, self.generation, cx.out);
            return self.answer_replaced(&new, version, led_by, cx);
        }
        self.store_replaced(&new, cx.out);
        // While a leader assigns, it may be assigning to the old id right now.
        self.rebalance_or_complete("static member returned", cx);
    }

    /// Nothing changes for anybody else. Before version 9 a leader cannot be told to leave the assignment alone,
    /// so it is named its former self and takes itself for a follower.
    fn answer_replaced(
        &mut self,
        id: &str,
        version: i16,
        led_by: Option<Str>,
        cx: &mut Context<'_>,
    ) {
        let can_skip = SKIPS_ASSIGNMENT_SINCE <= version;
        let is_leader = can_skip && self.members.is_leader(id);
        let mut answer = self.joined(id, version, is_leader);
        answer.skip_assignment = is_leader;
        if !can_skip {
            answer.leader = led_by.unwrap_or_default();
        }
        if let Some(Parked { ticket: Some(ticket), .. }) = self.members.take_join(id) {
            cx.out.answer(ticket, Response::JoinGroup(answer));
        }
    }

    fn refuse(&mut self, join: &Join, error: ErrorCode, cx: &mut Context<'_>) {
        self.refuse_with(join, &join.member_id, error, cx);
    }

    fn refuse_with(&mut self, join: &Join, id: &str, error: ErrorCode, cx: &mut Context<'_>) {
        let answer = join_error(id, error, join.version);
        cx.out.answer_now(join.ticket, Response::JoinGroup(answer));
    }
}

impl Join {
    fn new(ticket: Ticket, client: &Client, request: &JoinGroupRequest) -> Self {
        let session_timeout = millis(request.session_timeout_ms);
        let has_rebalance_timeout = 0 < client.version;
        Self {
            ticket,
            version: client.version,
            member_id: request.member_id.detach(),
            instance_id: request.group_instance_id.as_ref().map(Str::detach),
            client_id: client.id.as_str().into(),
            client_host: client.host.as_str().into(),
            session_timeout,
            rebalance_timeout: if has_rebalance_timeout {
                millis(request.rebalance_timeout_ms)
            } else {
                session_timeout
            },
            protocol_type: request.protocol_type.detach(),
            protocols: protocols::detached(&request.protocols),
        }
    }

    fn parked(&self) -> Parked {
        Parked { ticket: Some(self.ticket), version: self.version }
    }

    fn into_member(self, id: Str) -> Member {
        let join = Some(self.parked());
        Member {
            id,
            instance_id: self.instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            session_timeout: self.session_timeout,
            rebalance_timeout: self.rebalance_timeout,
            protocols: self.protocols,
            assignment: Bytes::new(),
            join,
            sync: None,
            is_new: true,
            stored_in: None,
            rest: Rest::new(),
        }
    }
}

fn check(request: &JoinGroupRequest, settings: &GroupSettings) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let allowed = settings.session_timeout_min..=settings.session_timeout_max;
    if request.session_timeout_ms < 0 || !allowed.contains(&millis(request.session_timeout_ms)) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    if settings.member_value_max < protocols::size(&request.protocols) {
        return Err(ErrorCode::MessageTooLarge);
    }
    Ok(())
}

/// `<client id or instance id>-<random UUID>`, as Kafka makes them.
fn member_id(prefix: &str, random: &mut dyn RngCore) -> Str {
    let mut bytes = [0u8; 16];
    random.fill_bytes(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("{prefix}-{}", parts.join("-")).into()
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// From here on a dynamic member must know its id before it joins.
pub(super) const REQUIRES_MEMBER_ID_SINCE: i16 = 4;
const SKIPS_ASSIGNMENT_SINCE: i16 = 9;
/// How many ids that were given out may be outstanding in a group.
const PENDING_MAX: usize = 10_000;
