//! ConsumerGroupHeartbeat, 0 and 1: a member of a consumer group joins, lives, leaves (KIP-848).
//! Without the feature `group.version` it is UNSUPPORTED_VERSION.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;

use super::{GroupRequest, has_consumer_protocol, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves ConsumerGroupHeartbeat.
#[derive(Debug)]
pub struct ConsumerGroupHeartbeat;

impl Handler for ConsumerGroupHeartbeat {
    type Request = ConsumerGroupHeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Answer {
        if !has_consumer_protocol(services) {
            let response = request.refuse(context.api_version, ErrorCode::UnsupportedVersion);
            return Answer::ready::<ConsumerGroupHeartbeatRequest>(context, &response);
        }
        relay(services, context, request)
    }
}

impl GroupRequest for ConsumerGroupHeartbeatRequest {
    fn groups(&self) -> Vec<&str> {
        vec![&self.group_id]
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse {
            error_code: error.code(),
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }
}
