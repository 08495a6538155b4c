//! ListGroups, DescribeGroups and ConsumerGroupDescribe.

use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_protocol::messages::{
    ListGroupsRequest, consumer_group_describe_response, describe_groups_response,
};
use ottla_protocol::{ErrorCode, Str};

use super::{Shard, World};
use crate::group::classic::describe_unknown;

/// Which groups are wanted; case does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// States; empty for all.
    states: Vec<String>,
    /// Types; empty for all.
    types: Vec<String>,
}

impl From<&ListGroupsRequest> for Filter {
    fn from(request: &ListGroupsRequest) -> Self {
        let texts = |texts: &[Str]| texts.iter().map(|text| text.trim().to_lowercase()).collect();
        Self { states: texts(&request.states_filter), types: texts(&request.types_filter) }
    }
}

impl Filter {
    fn takes(&self, listed: &ListedGroup) -> bool {
        let includes = |wanted: &[String], name: &str| {
            wanted.is_empty() || wanted.iter().any(|it| it.eq_ignore_ascii_case(name))
        };
        includes(&self.states, &listed.group_state) && includes(&self.types, &listed.group_type)
    }
}

impl Shard {
    /// The groups that a filter lets through, by name.
    pub fn list(&self, filter: &Filter) -> Vec<ListedGroup> {
        let listed = self.groups.values().map(|group| group.membership.listed());
        listed.filter(|listed| filter.takes(listed)).collect()
    }

    /// A group in the words of classic groups. One that is none is dead, and no error before version 6.
    pub(super) fn describe(
        &self,
        group: &str,
        version: i16,
    ) -> describe_groups_response::DescribedGroup {
        let found = self.groups.get(group);
        if let Some(described) = found.and_then(|found| found.membership.describe()) {
            return described;
        }
        let mut dead = describe_unknown(group, version);
        if found.is_some() && dead.error_message.is_some() {
            dead.error_message = Some(format!("Group {group} is not a classic group.").into());
        }
        dead
    }

    /// A group in the words of consumer groups.
    pub(super) fn describe_consumer(
        &self,
        group: &str,
        world: &mut World<'_>,
    ) -> consumer_group_describe_response::DescribedGroup {
        let refused = |code: ErrorCode, message: Option<String>| {
            consumer_group_describe_response::DescribedGroup {
                group_id: group.into(),
                error_code: code.code(),
                error_message: message.map(Str::from),
                ..Default::default()
            }
        };
        if group.is_empty() {
            return refused(ErrorCode::InvalidGroupId, None);
        }
        let found = self.groups.get(group);
        let cx = world.context(group);
        if let Some(described) = found.and_then(|found| found.membership.describe_consumer(&cx)) {
            return described;
        }
        let why = if found.is_some() { "is not a consumer group" } else { "not found" };
        refused(ErrorCode::GroupIdNotFound, Some(format!("Group {group} {why}.")))
    }
}
