//! LeaveGroup, 0 to 5: members leave a group, from version 3 on several at a time.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::LeaveGroupRequest;
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves LeaveGroup.
#[derive(Debug)]
pub struct LeaveGroup;

impl Handler for LeaveGroup {
    type Request = LeaveGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: LeaveGroupRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for LeaveGroupRequest {
    fn groups(&self) -> Vec<&str> {
        vec![&self.group_id]
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> LeaveGroupResponse {
        LeaveGroupResponse { error_code: error.code(), ..LeaveGroupResponse::default() }
    }
}
