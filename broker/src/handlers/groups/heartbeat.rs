//! Heartbeat, 0 to 4: a member of a classic group lives.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves Heartbeat.
#[derive(Debug)]
pub struct Heartbeat;

impl Handler for Heartbeat {
    type Request = HeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: HeartbeatRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for HeartbeatRequest {
    fn groups(&self) -> Vec<&str> {
        vec![&self.group_id]
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> HeartbeatResponse {
        HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() }
    }
}
