//! ListGroups, 0 to 5: the groups of this broker's shards. Clients ask every broker and put the answers together.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::ListGroupsResponse;

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves ListGroups.
#[derive(Debug)]
pub struct ListGroups;

impl Handler for ListGroups {
    type Request = ListGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: ListGroupsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for ListGroupsRequest {
    /// Clients of this one API do not know NOT_COORDINATOR.
    const UNAVAILABLE: ErrorCode = ErrorCode::CoordinatorNotAvailable;

    fn groups(&self) -> Vec<&str> {
        Vec::new()
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> ListGroupsResponse {
        ListGroupsResponse { error_code: error.code(), ..ListGroupsResponse::default() }
    }
}
