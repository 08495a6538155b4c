//! CreatePartitions, 0 to 3. Carried out by the coordinator.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::create_partitions_request::CreatePartitionsRequest;
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves CreatePartitions.
#[derive(Debug)]
pub struct CreatePartitions;

impl Handler for CreatePartitions {
    type Request = CreatePartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: CreatePartitionsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for CreatePartitionsRequest {
    fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> CreatePartitionsResponse {
        let results = self.topics.iter().map(|topic| CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code: error.code(),
            error_message: Some(message.clone()),
            ..CreatePartitionsTopicResult::default()
        });
        CreatePartitionsResponse {
            results: results.collect(),
            ..CreatePartitionsResponse::default()
        }
    }
}
