//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup of members that speak the classic protocol in a consumer group.
//!
//! Nobody leads, and nothing is parked: JoinGroup is answered with the member's epoch as its generation, SyncGroup
//! with what it has. A heartbeat tells the member to join anew (REBALANCE_IN_PROGRESS) when there is a newer assignment,
//! when it has to give partitions up, and when those that it waits for have come free.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::model::group::{ConsumerMember, ReconciliationState};
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::leave_group_response::MemberResponse;
use ottla_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::ConsumerGroup;
use super::consumer_protocol::{PROTOCOL_TYPE, claimed, subscription, write_assignment};
use super::heartbeat::{check_size, random_id};
use super::join::{Entry, sorted};
use super::member::{Classic, Member};
use super::partitions::Claimed;
use crate::group::{Client, Context, Response, Ticket};

impl ConsumerGroup {
    /// JoinGroup of a member that speaks the classic protocol. An empty group is for a classic group to serve.
    pub fn join(
        &mut self,
        ticket: Ticket,
        client: &Client,
        request: &JoinGroupRequest,
        cx: &mut Context<'_>,
    ) {
        self.settle_in(cx);
        let result = self.try_join(client, request, cx);
        self.finish_step(cx);
        match result {
            Ok(response) => cx.out.answer(ticket, Response::JoinGroup(response)),
            Err((code, id)) => {
                let response = JoinGroupResponse {
                    error_code: code.code(),
                    member_id: id,
                    // Before version 7 the name cannot be missing.
                    protocol_name: (client.version < 7).then(Str::default),
                    ..Default::default()
                };
                cx.out.answer_now(ticket, Response::JoinGroup(response));
            }
        }
    }

    fn try_join(
        &mut self,
        client: &Client,
        request: &JoinGroupRequest,
        cx: &mut Context<'_>,
    ) -> Result<JoinGroupResponse, (ErrorCode, Str)> {
        let refused = |code: ErrorCode| (code, request.member_id.clone());
        let classic = self.check_join(client, request, cx).map_err(refused)?;
        let is_new = request.member_id.is_empty();
        let id = if is_new { random_id(cx) } else { request.member_id.to_string() };
        if cx.settings.consumer_size_max <= self.members.len() && !self.members.contains_key(&*id) {
            return Err(refused(ErrorCode::GroupMaxSizeReached));
        }
        if is_new
            && request.group_instance_id.is_none()
            && MEMBER_ID_REQUIRED_SINCE <= client.version
        {
            return Err((ErrorCode::MemberIdRequired, id.into()));
        }
        let entry = self.entry_of_classic(&id, is_new, request).map_err(refused)?;
        let metadata = classic.protocols.first().map(|(_, metadata)| metadata);
        let subscription = metadata.and_then(subscription);
        let subscription = subscription.ok_or_else(|| refused(ErrorCode::UnknownServerError))?;

        let about = ConsumerMember {
            instance_id: request.group_instance_id.as_deref().map(str::to_owned),
            rack_id: subscription.rack_id.as_deref().map(str::to_owned),
            client_id: client.id.clone(),
            client_host: client.host.clone(),
            rebalance_timeout_ms: rebalance_timeout(request),
            topics: sorted(&subscription.topics),
            classic: Some(classic.to_stored()),
            ..self.known_about(&entry)
        };
        check_size(&about, cx.settings.member_value_max).map_err(|error| refused(error.code()))?;
        self.enter(&id, entry);
        let is_other = self.members.get(&*id).is_some_and(|member| member.about != about);
        let changed = is_other && self.set_about(&id, about, cx);
        if changed {
            self.bump(cx);
        }
        self.assign_if_due(cx);
        let claimed = claimed(&subscription, cx.image);
        self.reconcile(&id, Some(Claimed(&claimed)), changed);
        self.note_progress(cx);
        self.joined(&id, &classic, cx).ok_or_else(|| refused(ErrorCode::UnknownMemberId))
    }

    fn joined(
        &mut self,
        id: &str,
        classic: &Classic,
        cx: &Context<'_>,
    ) -> Option<JoinGroupResponse> {
        let now = cx.now.monotonic;
        self.set_deadlines(id, |member| {
            member.deadlines.session = Some(now + classic.session_timeout);
            member.deadlines.sync = Some(now + member.rebalance_timeout());
            (member.deadlines.join, member.deadlines.rebalance) = (None, None);
        });
        let member = self.members.get(id)?;
        Some(JoinGroupResponse {
            member_id: id.into(),
            generation_id: member.current.epoch,
            protocol_type: Some(Str::from_static(PROTOCOL_TYPE)),
            protocol_name: classic.protocols.first().map(|(name, _)| name.as_str().into()),
            ..Default::default()
        })
    }

    /// What can be said of a join without knowing who joins.
    fn check_join(
        &self,
        client: &Client,
        request: &JoinGroupRequest,
        cx: &Context<'_>,
    ) -> Result<Classic, ErrorCode> {
        let settings = cx.settings;
        let session_timeout = u64::try_from(request.session_timeout_ms).map(Duration::from_millis);
        let session_timeout = session_timeout.map_err(|_| ErrorCode::InvalidSessionTimeout)?;
        let range = settings.session_timeout_min..=settings.session_timeout_max;
        if !range.contains(&session_timeout) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if !settings.allows_upgrade && !settings.allows_downgrade {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let size: usize =
            request.protocols.iter().map(|it| it.name.len() + it.metadata.len()).sum();
        if settings.member_value_max < size + client.id.len() {
            return Err(ErrorCode::InvalidRequest);
        }
        let protocol =
            |protocol: &ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol| {
                (protocol.name.to_string(), Bytes::copy_from_slice(&protocol.metadata))
            };
        let protocols: Vec<_> = request.protocols.iter().map(protocol).collect();
        let all_speak = |(name, _): &(String, Bytes)| {
            let classic = self.members.values().filter_map(|member| member.classic.as_ref());
            classic.into_iter().all(|it| it.protocols.iter().any(|(other, _)| other == name))
        };
        if *request.protocol_type != *PROTOCOL_TYPE || !protocols.iter().any(all_speak) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(Classic { session_timeout, protocols })
    }

    fn entry_of_classic(
        &self,
        id: &str,
        is_new: bool,
        request: &JoinGroupRequest,
    ) -> Result<Entry, ErrorCode> {
        let Some(instance) = &request.group_instance_id else { return Ok(self.entry_of(id)) };
        if !is_new {
            let owner = self.check_static(id, instance).map_err(|error| error.code())?;
            return Ok(Entry::Member(Arc::clone(&owner.id)));
        }
        // A static member without an id is another process of the one that has the instance id.
        let owner = self.static_member(instance);
        Ok(owner.map_or(Entry::New, |owner| Entry::Replaces(Arc::clone(&owner.id))))
    }

    fn known_about(&self, entry: &Entry) -> ConsumerMember {
        let (Entry::Member(id) | Entry::Replaces(id) | Entry::Back(id)) = entry else {
            return ConsumerMember::default();
        };
        let mut about = self.members.get(id).map(|member| member.about.clone()).unwrap_or_default();
        // The classic protocol has no expressions, and assigns by itself.
        (about.topic_regex, about.assignor) = (None, None);
        if matches!(entry, Entry::Replaces(_)) {
            about.replaces = Some(id.to_string());
        }
        about
    }

    /// SyncGroup of a member that speaks the classic protocol.
    pub fn sync(
        &mut self,
        ticket: Ticket,
        _client: &Client,
        request: &SyncGroupRequest,
        cx: &mut Context<'_>,
    ) {
        self.settle_in(cx);
        let result = self.try_sync(request, cx);
        self.finish_step(cx);
        match result {
            Ok(response) => cx.out.answer(ticket, Response::SyncGroup(response)),
            Err(code) => {
                let response = SyncGroupResponse { error_code: code.code(), ..Default::default() };
                cx.out.answer_now(ticket, Response::SyncGroup(response));
            }
        }
    }

    fn try_sync(
        &mut self,
        request: &SyncGroupRequest,
        cx: &Context<'_>,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let instance = request.group_instance_id.as_deref();
        let member = self.classic_member(&request.member_id, instance)?;
        let Some(classic) = &member.classic else { return Err(ErrorCode::UnknownMemberId) };
        if member.current.epoch != request.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let Some((name, metadata)) = classic.protocols.first() else {
            return Err(ErrorCode::InconsistentGroupProtocol);
        };
        let other_type = request.protocol_type.as_deref().is_some_and(|it| it != PROTOCOL_TYPE);
        if other_type || request.protocol_name.as_deref().is_some_and(|it| it != name) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        // Whoever has partitions to give up has joined already, and learns here which it keeps.
        let must_rejoin = member.current.epoch < self.assignment_epoch
            && member.current.state != ReconciliationState::UnrevokedPartitions;
        let assignment = write_assignment(&member.current.assigned, metadata, cx.image);
        let (id, timeout) = (Arc::clone(&member.id), classic.session_timeout);
        if must_rejoin {
            self.wait_for_join(&id, cx);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let now = cx.now.monotonic;
        self.set_deadlines(&id, |member| {
            member.deadlines.session = Some(now + timeout);
            member.deadlines.sync = None;
        });
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        })
    }

    /// Heartbeat of a member that speaks the classic protocol.
    pub fn classic_heartbeat(
        &mut self,
        ticket: Ticket,
        _client: &Client,
        request: &HeartbeatRequest,
        cx: &mut Context<'_>,
    ) {
        self.settle_in(cx);
        let error_code = self.try_classic_heartbeat(request, cx).err().unwrap_or(ErrorCode::None);
        self.finish_step(cx);
        let error_code = error_code.code();
        let response = HeartbeatResponse { error_code, ..Default::default() };
        cx.out.answer_now(ticket, Response::Heartbeat(response));
    }

    fn try_classic_heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        cx: &Context<'_>,
    ) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_deref();
        let member = self.classic_member(&request.member_id, instance)?;
        let Some(classic) = &member.classic else { return Err(ErrorCode::UnknownMemberId) };
        if member.current.epoch != request.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let must_join = member.current.epoch < self.assignment_epoch
            || match member.current.state {
                ReconciliationState::Stable => false,
                ReconciliationState::UnrevokedPartitions => true,
                ReconciliationState::UnreleasedPartitions => !self.waits_for_others(member),
            };
        let (id, timeout) = (Arc::clone(&member.id), classic.session_timeout);
        let deadline = cx.now.monotonic + timeout;
        self.set_deadlines(&id, |member| member.deadlines.session = Some(deadline));
        if must_join {
            self.wait_for_join(&id, cx);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Whether a partition that the member is to have still is another's.
    fn waits_for_others(&self, member: &Member) -> bool {
        member.target.iter().any(|(topic, partition)| {
            !member.current.assigned.contains(topic, partition)
                && self.owners.contains_key(&(topic, partition))
        })
    }

    /// The member was told to join anew, and has its rebalance timeout to do so.
    fn wait_for_join(&mut self, id: &str, cx: &Context<'_>) {
        let now = cx.now.monotonic;
        self.set_deadlines(id, |member| {
            let deadline = now + member.rebalance_timeout();
            member.deadlines.join.get_or_insert(deadline);
        });
    }

    fn classic_member(&self, id: &str, instance: Option<&str>) -> Result<&Member, ErrorCode> {
        match instance {
            Some(instance) => self.check_static(id, instance).map_err(|error| error.code()),
            None => self.members.get(id).ok_or(ErrorCode::UnknownMemberId),
        }
    }

    /// LeaveGroup: members that speak the classic protocol, and others that an administrator removes.
    pub fn leave(
        &mut self,
        ticket: Ticket,
        client: &Client,
        request: &LeaveGroupRequest,
        cx: &mut Context<'_>,
    ) {
        self.settle_in(cx);
        let alone = [MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }];
        let has_list = LIST_OF_LEAVERS_SINCE <= client.version;
        let leavers = if has_list { request.members.as_slice() } else { &alone };
        let mut members = Vec::with_capacity(leavers.len());
        for leaver in leavers {
            let result = self.leaver(leaver);
            if let Ok(id) = &result {
                tracing::info!(group = self.id, member = %id, "member leaves the consumer group");
                self.remove_member(id);
                self.bump(cx);
            }
            members.push(MemberResponse {
                member_id: leaver.member_id.clone(),
                group_instance_id: leaver.group_instance_id.clone(),
                error_code: result.err().unwrap_or(ErrorCode::None).code(),
                ..Default::default()
            });
        }
        self.assign_if_due(cx);
        self.finish_step(cx);
        let mut response = LeaveGroupResponse::default();
        if has_list {
            response.members = members;
        } else {
            response.error_code = members.first().map_or(0, |member| member.error_code);
        }
        cx.out.answer(ticket, Response::LeaveGroup(response));
    }

    fn leaver(&self, leaver: &MemberIdentity) -> Result<Arc<str>, ErrorCode> {
        let Some(instance) = leaver.group_instance_id.as_deref() else {
            let member = self.members.get(&*leaver.member_id);
            return member.map(|it| Arc::clone(&it.id)).ok_or(ErrorCode::UnknownMemberId);
        };
        // An administrator need not know the member's id.
        let owner = if leaver.member_id.is_empty() {
            self.static_member(instance).ok_or(ErrorCode::UnknownMemberId)?
        } else {
            self.check_static(&leaver.member_id, instance).map_err(|error| error.code())?
        };
        Ok(Arc::clone(&owner.id))
    }
}

/// Version 0 has none: its session timeout is taken.
fn rebalance_timeout(request: &JoinGroupRequest) -> i32 {
    match request.rebalance_timeout_ms {
        -1 => request.session_timeout_ms,
        timeout => timeout,
    }
}

/// The first version of JoinGroup whose members join with an id that they are given first.
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// The first version of LeaveGroup that names several members.
const LIST_OF_LEAVERS_SINCE: i16 = 3;
