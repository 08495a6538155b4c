//! Who may commit and fetch offsets in a consumer group.

use ottla_protocol::{ErrorCode, Uuid};

use super::ConsumerGroup;

/// Who a commit says it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitClaim<'a> {
    /// Its member id; empty for who is no member.
    pub member_id: &'a str,
    /// Its `group.instance.id`.
    pub instance_id: Option<&'a str>,
    /// Its member epoch, or generation.
    pub epoch: i32,
    /// The version of OffsetCommit.
    pub version: i16,
}

impl ConsumerGroup {
    /// Whether these partitions may be committed. One that may not refuses them all, as in Kafka.
    ///
    /// # Errors
    /// The error for every partition of the request.
    pub fn check_commit(
        &self,
        claim: &CommitClaim<'_>,
        _partitions: impl Iterator<Item = (Uuid, i32)>,
    ) -> Result<(), ErrorCode> {
        if claim.epoch < 0 && self.is_empty() {
            return Ok(());
        }
        Err(ErrorCode::UnknownMemberId)
    }

    /// Whether offsets may be fetched by this member; `None` and a negative epoch is who is no member.
    ///
    /// # Errors
    /// The error for the whole group.
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        Err(ErrorCode::UnknownMemberId)
    }
}
