//! AlterPartitionReassignments, 0 and 1. Carried out by the coordinator.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use ottla_protocol::messages::alter_partition_reassignments_response::AlterPartitionReassignmentsResponse;
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves AlterPartitionReassignments.
#[derive(Debug)]
pub struct AlterPartitionReassignments;

impl Handler for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: AlterPartitionReassignmentsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for AlterPartitionReassignmentsRequest {
    fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> AlterPartitionReassignmentsResponse {
        AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: self.allow_replication_factor_change,
            error_code: error.code(),
            error_message: Some(message.clone()),
            ..AlterPartitionReassignmentsResponse::default()
        }
    }
}
