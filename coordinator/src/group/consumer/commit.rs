//! Who may commit and fetch offsets in a consumer group.

use ottla_protocol::{ErrorCode, Uuid};

use super::ConsumerGroup;
use super::member::Member;

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
    /// Whether these partitions may be committed: in the member's epoch all of them, in an earlier one those
    /// that it has had since (KIP-1251). One that may not refuses them all, as in Kafka.
    ///
    /// # Errors
    /// The error for every partition of the request.
    pub fn check_commit(
        &self,
        claim: &CommitClaim<'_>,
        mut partitions: impl Iterator<Item = (Uuid, i32)>,
    ) -> Result<(), ErrorCode> {
        // Who is no member may commit while there are none.
        if claim.epoch < 0 && self.is_empty() {
            return Ok(());
        }
        let member = self.members.get(claim.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if member.classic.is_none() && claim.version < MEMBER_EPOCH_SINCE {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let known = member.current.epoch;
        if claim.epoch == known {
            return Ok(());
        }
        let has_had_since = |(topic, partition)| {
            let current = &member.current;
            let revoking = || current.revoking.epoch(topic, partition);
            let epoch = current.assigned.epoch(topic, partition).or_else(revoking);
            epoch.is_some_and(|epoch| epoch <= claim.epoch)
        };
        if claim.epoch < known && partitions.all(has_had_since) {
            Ok(())
        } else {
            Err(stale(member))
        }
    }

    /// Whether offsets may be fetched by this member; `None` and a negative epoch is who is no member.
    ///
    /// # Errors
    /// The error for the whole group.
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let id = member_id.unwrap_or_default();
        let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
        if epoch == member.current.epoch { Ok(()) } else { Err(stale(member)) }
    }
}

fn stale(member: &Member) -> ErrorCode {
    match member.classic {
        Some(_) => ErrorCode::IllegalGeneration,
        None => ErrorCode::StaleMemberEpoch,
    }
}

/// The first version of OffsetCommit whose generation is a member epoch.
const MEMBER_EPOCH_SINCE: i16 = 9;
