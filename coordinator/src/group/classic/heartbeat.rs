//! Heartbeat (versions 0 to 4): a member lives, and learns whether it must join again.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::HeartbeatRequest;

use super::{ClassicGroup, ClassicState, heartbeat_error};
use crate::group::{Client, Context, Response, Ticket};

impl ClassicGroup {
    /// Handles a heartbeat. Answered from memory at once: what it says needs no write.
    pub fn heartbeat(
        &mut self,
        ticket: Ticket,
        _client: &Client,
        request: &HeartbeatRequest,
        cx: &mut Context<'_>,
    ) {
        let error = match self.check_heartbeat(request) {
            Err(error) => error,
            Ok(()) => {
                self.restart_session(&request.member_id, cx);
                match self.state {
                    ClassicState::PreparingRebalance => ErrorCode::RebalanceInProgress,
                    _ => ErrorCode::None,
                }
            }
        };
        cx.out.answer_now(ticket, Response::Heartbeat(heartbeat_error(error)));
    }

    fn check_heartbeat(&self, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(())
    }

    /// Whether this is a member, and the one that the instance id stands for.
    pub(super) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            let holder = self.members.by_instance(instance).ok_or(ErrorCode::UnknownMemberId)?;
            if &**holder != member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        if self.members.contains(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }
}
