//! What DescribeGroups and ListGroups say of a classic group.

use ottla_protocol::Str;
use ottla_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ottla_protocol::messages::list_groups_response::ListedGroup;

use super::members::Member;
use super::{ClassicGroup, ClassicState};

impl ClassicGroup {
    /// For DescribeGroups. Protocol and metadata are shown only while it is stable: before that the members have
    /// not agreed.
    pub fn describe(&self) -> DescribedGroup {
        let is_stable = self.state == ClassicState::Stable;
        DescribedGroup {
            group_id: self.id.as_str().into(),
            group_state: Str::from_static(self.state.name()),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: self.protocol.clone().filter(|_| is_stable).unwrap_or_default(),
            members: self.members.iter().map(|m| self.describe_member(m, is_stable)).collect(),
            ..DescribedGroup::default()
        }
    }

    /// For ListGroups.
    pub fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.as_str().into(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            group_state: Str::from_static(self.state.name()),
            group_type: Str::from_static("classic"),
            ..ListedGroup::default()
        }
    }

    fn describe_member(&self, member: &Member, is_stable: bool) -> DescribedGroupMember {
        DescribedGroupMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            member_metadata: if is_stable { self.metadata_of(member) } else { bytes::Bytes::new() },
            member_assignment: member.assignment.clone(),
            ..DescribedGroupMember::default()
        }
    }
}
