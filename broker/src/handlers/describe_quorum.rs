//! DescribeQuorum, 0 to 2. Answered by the active coordinator, which is what Kafka's tools know as the
//! leader of the quorum.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use ottla_protocol::messages::describe_quorum_response::DescribeQuorumResponse;
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{DEFAULT_TIMEOUT_MS, Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves DescribeQuorum.
#[derive(Debug)]
pub struct DescribeQuorum;

impl Handler for DescribeQuorum {
    type Request = DescribeQuorumRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DescribeQuorumRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for DescribeQuorumRequest {
    fn timeout_ms(&self) -> i32 {
        DEFAULT_TIMEOUT_MS
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> DescribeQuorumResponse {
        DescribeQuorumResponse {
            error_code: error.code(),
            error_message: Some(message.clone()),
            ..DescribeQuorumResponse::default()
        }
    }
}
