//! DeleteGroups, 0 to 2: empty groups go, with how far they had come.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::delete_groups_response::{
    DeletableGroupResult, DeleteGroupsResponse,
};

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves DeleteGroups.
#[derive(Debug)]
pub struct DeleteGroups;

impl Handler for DeleteGroups {
    type Request = DeleteGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DeleteGroupsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for DeleteGroupsRequest {
    fn groups(&self) -> Vec<&str> {
        self.groups_names.iter().map(|group| &**group).collect()
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> DeleteGroupsResponse {
        let groups = self.groups_names.iter().map(|group| DeletableGroupResult {
            group_id: group.clone(),
            error_code: error.code(),
            ..DeletableGroupResult::default()
        });
        DeleteGroupsResponse { results: groups.collect(), ..DeleteGroupsResponse::default() }
    }
}
