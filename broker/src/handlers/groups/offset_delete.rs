//! OffsetDelete, 0: forgets how far a group has come.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use ottla_protocol::messages::offset_delete_response::OffsetDeleteResponse;

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves OffsetDelete.
#[derive(Debug)]
pub struct OffsetDelete;

impl Handler for OffsetDelete {
    type Request = OffsetDeleteRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: OffsetDeleteRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for OffsetDeleteRequest {
    fn groups(&self) -> Vec<&str> {
        vec![&self.group_id]
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> OffsetDeleteResponse {
        OffsetDeleteResponse { error_code: error.code(), ..OffsetDeleteResponse::default() }
    }
}
