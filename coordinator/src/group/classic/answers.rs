//! The answers of a classic group, and those for a group that is not there.

use bytes::Bytes;
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::leave_group_response::MemberResponse;
use ottla_protocol::messages::{
    HeartbeatResponse, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::ClassicGroup;
use super::leave::{HAS_MEMBERS_SINCE, who_leaves};
use super::members::Member;

impl ClassicGroup {
    /// The answer to a member of the present generation; the list of all members is only for the leader.
    pub(super) fn joined(&self, id: &str, version: i16, with_members: bool) -> JoinGroupResponse {
        let members = if with_members {
            self.members.iter().map(|member| self.listed_member(member)).collect()
        } else {
            Vec::new()
        };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: protocol_name(self.protocol.clone(), version),
            leader: self.members.leader().cloned().unwrap_or_default(),
            member_id: id.into(),
            members,
            ..JoinGroupResponse::default()
        }
    }

    fn listed_member(&self, member: &Member) -> JoinGroupResponseMember {
        JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: self.metadata_of(member),
            ..JoinGroupResponseMember::default()
        }
    }

    /// What a member says in the chosen protocol.
    pub(super) fn metadata_of(&self, member: &Member) -> Bytes {
        let is_chosen = |name: &Str| self.protocol.as_ref() == Some(name);
        let spoken = member.protocols.iter().find(|one| is_chosen(&one.name));
        spoken.map(|one| one.metadata.clone()).unwrap_or_default()
    }
}

/// A JoinGroup is refused. `member_id` is what the client is to call itself next.
pub fn join_error(member_id: &str, error: ErrorCode, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        member_id: member_id.into(),
        protocol_name: protocol_name(None, version),
        ..JoinGroupResponse::default()
    }
}

/// A SyncGroup is refused.
pub fn sync_error(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() }
}

/// The answer to a heartbeat says nothing but this.
pub fn heartbeat_error(error: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() }
}

/// A LeaveGroup is refused as a whole.
pub fn leave_error(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..LeaveGroupResponse::default() }
}

/// The answer to a LeaveGroup for a group that is not there: it knows none of these members.
pub fn leave_unknown(request: &LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let leaving = who_leaves(request, version);
    let results = vec![ErrorCode::UnknownMemberId; leaving.len()];
    left(&leaving, &results, version)
}

/// One result for each member that leaves, as the version can say it.
pub(super) fn left(
    leaving: &[MemberIdentity],
    results: &[ErrorCode],
    version: i16,
) -> LeaveGroupResponse {
    if version < HAS_MEMBERS_SINCE {
        return leave_error(results.first().copied().unwrap_or(ErrorCode::None));
    }
    let answer = |(member, error): (&MemberIdentity, &ErrorCode)| MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: error.code(),
        ..MemberResponse::default()
    };
    let members = leaving.iter().zip(results).map(answer).collect();
    LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
}

/// What DescribeGroups says of a group that is not there: an error from version 6 on, a dead group before.
pub fn describe_unknown(group: &str, version: i16) -> DescribedGroup {
    let mut described = DescribedGroup {
        group_id: group.into(),
        group_state: Str::from_static("Dead"),
        ..DescribedGroup::default()
    };
    if 6 <= version {
        described.error_code = ErrorCode::GroupIdNotFound.code();
        described.error_message = Some(format!("Group {group} not found.").into());
    }
    described
}

/// Null only where the version has a null.
fn protocol_name(name: Option<Str>, version: i16) -> Option<Str> {
    if version < 7 { Some(name.unwrap_or_default()) } else { name }
}
