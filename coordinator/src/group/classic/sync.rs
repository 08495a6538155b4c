//! SyncGroup (versions 0 to 5): the leader brings everybody's assignment, the others fetch theirs.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use ottla_protocol::{ErrorCode, Str};
use tracing::info;

use super::members::Parked;
use super::timers::Timer;
use super::{ClassicGroup, ClassicState, sync_error};
use crate::group::{Client, Context, GroupSettings, Response, Ticket};

impl ClassicGroup {
    /// Handles a SyncGroup. Followers wait for the leader's; all are answered once the assignment is durable.
    pub fn sync(
        &mut self,
        ticket: Ticket,
        client: &Client,
        request: &SyncGroupRequest,
        cx: &mut Context<'_>,
    ) {
        if let Err(error) = self.check_sync(client.version, request, cx.settings) {
            return cx.out.answer_now(ticket, Response::SyncGroup(sync_error(error)));
        }
        let id = request.member_id.detach();
        match self.state {
            ClassicState::CompletingRebalance => {
                self.park_sync(&id, Parked { ticket: Some(ticket), version: client.version }, cx);
                if self.members.is_leader(&id) {
                    info!(group = self.id, generation = self.generation, leader = %id, "assigned");
                    self.assign(&request.assignments, cx);
                }
            }
            _ => {
                self.note_sync(&id);
                let answer = self.synced(&id);
                cx.out.answer(ticket, Response::SyncGroup(answer));
            }
        }
    }

    fn check_sync(
        &self,
        version: i16,
        request: &SyncGroupRequest,
        settings: &GroupSettings,
    ) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        if NAMES_PROTOCOL_SINCE <= version && !names_protocol {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let is_other = |asked: &Option<Str>, ours: &Option<Str>| {
            asked.is_some() && ours.is_some() && asked != ours
        };
        if is_other(&request.protocol_type, &self.protocol_type)
            || is_other(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.state == ClassicState::PreparingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        let largest = request.assignments.iter().map(|one| one.assignment.len()).max();
        if largest.is_some_and(|bytes| settings.member_value_max < bytes) {
            return Err(ErrorCode::MessageTooLarge);
        }
        Ok(())
    }

    /// An earlier SyncGroup that waits still is sent to join again; see the same for JoinGroup.
    fn park_sync(&mut self, id: &str, parked: Parked, cx: &mut Context<'_>) {
        self.answer_sync(id, ErrorCode::RebalanceInProgress, cx.out);
        if let Some(member) = self.members.get_mut(id) {
            *member.sync = Some(parked);
        }
        self.note_sync(id);
    }

    fn note_sync(&mut self, id: &str) {
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            self.timers.cancel(&Timer::Sync);
        }
    }

    /// Gives everybody what the leader says; nothing to those it does not name.
    fn assign(&mut self, assignments: &[SyncGroupRequestAssignment], cx: &mut Context<'_>) {
        let given: BTreeMap<&Str, &Bytes> =
            assignments.iter().map(|one| (&one.member_id, &one.assignment)).collect();
        let ids = self.members.ids();
        for id in &ids {
            let own = given.get(id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default();
            if let Some(member) = self.members.get_mut(id) {
                *member.assignment = own;
            }
        }
        self.enter(ClassicState::Stable, cx);
        self.store_generation(cx.out);
        for id in &ids {
            if self.answer_sync(id, ErrorCode::None, cx.out) {
                // Its silence was allowed until now.
                self.restart_session(id, cx);
            }
        }
    }

    pub(super) fn synced(&self, id: &str) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment: self.members.get(id).map(|m| m.assignment.clone()).unwrap_or_default(),
            ..SyncGroupResponse::default()
        }
    }
}

const NAMES_PROTOCOL_SINCE: i16 = 5;
