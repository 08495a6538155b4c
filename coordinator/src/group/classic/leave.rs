//! LeaveGroup (versions 0 to 5): members go, or an operator removes static ones by their instance ids.
//!
//! Version notes: up to 2 it names one member and has one error; from 3 on it has a list, each with its own.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use tracing::info;

use super::answers::left;
use super::{ClassicGroup, leave_error};
use crate::group::{Client, Context, Response, Ticket};

impl ClassicGroup {
    /// Handles a LeaveGroup. Answered once durable, if it leaves the group empty.
    pub fn leave(
        &mut self,
        ticket: Ticket,
        client: &Client,
        request: &LeaveGroupRequest,
        cx: &mut Context<'_>,
    ) {
        if request.group_id.is_empty() {
            let answer = leave_error(ErrorCode::InvalidGroupId);
            return cx.out.answer_now(ticket, Response::LeaveGroup(answer));
        }
        let leaving = who_leaves(request, client.version);
        let members_before = self.members.len();
        let results: Vec<ErrorCode> = leaving
            .iter()
            .map(|member| self.leave_one(member, cx).err().unwrap_or(ErrorCode::None))
            .collect();
        if self.members.len() < members_before {
            self.rebalance_or_complete("member left", cx);
        } else {
            // Somebody who was only given an id may have been all that was waited for.
            self.maybe_complete_join(cx);
        }
        let answer: LeaveGroupResponse = left(&leaving, &results, client.version);
        cx.out.answer(ticket, Response::LeaveGroup(answer));
    }

    fn leave_one(
        &mut self,
        leaving: &MemberIdentity,
        cx: &mut Context<'_>,
    ) -> Result<(), ErrorCode> {
        let instance = leaving.group_instance_id.as_deref();
        let id = if leaving.member_id.is_empty() {
            let holder = instance.and_then(|instance| self.members.by_instance(instance));
            holder.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            leaving.member_id.clone()
        };
        if self.pending.remove(&id) {
            self.timers.cancel_session(&id);
            return Ok(());
        }
        if !leaving.member_id.is_empty() {
            self.validate_member(&id, instance)?;
        }
        info!(group = self.id, member = %id, reason = leaving.reason.as_deref(), "member leaves");
        self.forget(&id, cx.out);
        Ok(())
    }
}

/// The members that a request of any version names.
pub(super) fn who_leaves(request: &LeaveGroupRequest, version: i16) -> Vec<MemberIdentity> {
    if HAS_MEMBERS_SINCE <= version {
        return request.members.clone();
    }
    vec![MemberIdentity { member_id: request.member_id.clone(), ..MemberIdentity::default() }]
}

/// From here on a request has a list of members.
pub(super) const HAS_MEMBERS_SINCE: i16 = 3;
