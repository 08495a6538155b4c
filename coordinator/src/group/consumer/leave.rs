//! Who goes, for good or for a while.

use ottla_metadata::model::group::ReconciliationState;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::ConsumerGroup;
use super::error::HeartbeatError;
use super::heartbeat::Answered;
use super::member::AWAY;
use super::partitions::Owned;
use crate::group::Context;

impl ConsumerGroup {
    pub(super) fn heartbeat_of_leaver(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        cx: &mut Context<'_>,
    ) -> Result<Answered, HeartbeatError> {
        let id = request.member_id.as_str();
        match &request.instance_id {
            Some(instance) => {
                self.check_static(id, instance)?;
            }
            None if self.members.contains_key(id) => {}
            None => return Err(HeartbeatError::UnknownMember(id.to_owned())),
        }
        if request.member_epoch == AWAY {
            self.go_away(id);
        } else {
            tracing::info!(group = self.id, member = id, "member leaves the consumer group");
            self.remove_member(id);
            self.bump(cx);
            self.assign_if_due(cx);
        }
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        };
        Ok(Answered { response, is_news: true })
    }

    /// A static member keeps what it has until its session ends. What it was giving up it has given up.
    fn go_away(&mut self, id: &str) {
        let Some(member) = self.members.get(id) else { return };
        tracing::info!(group = self.id, member = id, "static member goes away for a while");
        let mut current = member.current.clone();
        current.epoch = AWAY;
        current.revoking = Owned::default();
        current.assigned.forget_epochs();
        if current.state == ReconciliationState::UnrevokedPartitions {
            current.state = ReconciliationState::Stable;
        }
        self.set_current(id, current);
        self.set_deadlines(id, |member| member.deadlines.rebalance = None);
    }
}
