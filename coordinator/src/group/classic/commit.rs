//! Whether a member may commit and fetch offsets.

use ottla_protocol::ErrorCode;

use super::{ClassicGroup, ClassicState};
use crate::group::Context;

/// From when on committed offsets of a group count as unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetRetention {
    /// All are in use.
    Keep,
    /// Each from its own commit.
    SinceCommit,
    /// All from this moment, Unix milliseconds.
    Since(i64),
    /// Those of topics that nobody [subscribes to](ClassicGroup::is_subscribed), each from its own commit.
    UnsubscribedSinceCommit,
}

impl ClassicGroup {
    /// Whether offsets may be committed under these names; a commit of a member counts as a heartbeat.
    ///
    /// A negative generation without a member id is a consumer that assigns itself, or an operator's tool:
    /// allowed only while there are no members.
    pub fn check_commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        cx: &mut Context<'_>,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        let is_named = 0 <= generation || !member_id.is_empty() || instance_id.is_some();
        if !is_named {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == ClassicState::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.restart_session(member_id, cx);
        Ok(())
    }

    /// Whether offsets may be fetched: of a classic group by anybody. The member and its epoch are for consumer
    /// groups.
    pub fn check_fetch(&self, _member_id: Option<&str>, _epoch: i32) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether offsets may be deleted: with members only those of consumers, whose subscriptions are known.
    pub fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        if self.is_empty() || self.has_consumers() { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }

    /// Whether DeleteGroups may delete it.
    pub fn check_delete(&self) -> Result<(), ErrorCode> {
        if self.is_empty() { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }

    /// Which of its offsets count as unused, and from when on.
    pub fn offset_retention(&self) -> OffsetRetention {
        if self.protocol_type.is_none() {
            return OffsetRetention::SinceCommit;
        }
        match self.state {
            ClassicState::Empty if 0 <= self.state_since_ms => {
                OffsetRetention::Since(self.state_since_ms)
            }
            ClassicState::Empty => OffsetRetention::SinceCommit,
            ClassicState::Stable if self.has_consumers() && self.subscribed.is_some() => {
                OffsetRetention::UnsubscribedSinceCommit
            }
            _ => OffsetRetention::Keep,
        }
    }
}
