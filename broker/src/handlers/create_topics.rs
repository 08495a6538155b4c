//! CreateTopics, 2 to 7. Carried out by the coordinator, which writes the topic as a whole or not at all;
//! the client is answered once this broker knows the topic too.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicResult, CreateTopicsResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves CreateTopics.
#[derive(Debug)]
pub struct CreateTopics;

impl Handler for CreateTopics {
    type Request = CreateTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=7;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: CreateTopicsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for CreateTopicsRequest {
    fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> CreateTopicsResponse {
        let topics = self.topics.iter().map(|topic| CreatableTopicResult {
            name: topic.name.clone(),
            error_code: error.code(),
            error_message: Some(message.clone()),
            ..CreatableTopicResult::default()
        });
        CreateTopicsResponse { topics: topics.collect(), ..CreateTopicsResponse::default() }
    }
}
