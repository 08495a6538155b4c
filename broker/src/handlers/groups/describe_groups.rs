//! DescribeGroups, 0 to 6: classic groups and their members.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_groups_response::{DescribeGroupsResponse, DescribedGroup};

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves DescribeGroups.
#[derive(Debug)]
pub struct DescribeGroups;

impl Handler for DescribeGroups {
    type Request = DescribeGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DescribeGroupsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for DescribeGroupsRequest {
    fn groups(&self) -> Vec<&str> {
        self.groups.iter().map(|group| &**group).collect()
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> DescribeGroupsResponse {
        let groups = self.groups.iter().map(|group| DescribedGroup {
            group_id: group.clone(),
            error_code: error.code(),
            ..DescribedGroup::default()
        });
        DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() }
    }
}
