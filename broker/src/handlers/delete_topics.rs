//! DeleteTopics, 1 to 6: by name, from version 6 on also by id. Carried out by the coordinator.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use ottla_protocol::{ErrorCode, Str, Uuid};

use super::relayed::{Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves DeleteTopics.
#[derive(Debug)]
pub struct DeleteTopics;

impl Handler for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=6;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DeleteTopicsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for DeleteTopicsRequest {
    fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> DeleteTopicsResponse {
        let refused = |name: Option<Str>, topic_id: Uuid| DeletableTopicResult {
            name,
            topic_id,
            error_code: error.code(),
            error_message: Some(message.clone()),
            ..DeletableTopicResult::default()
        };
        let by_name = self.topic_names.iter().map(|name| refused(Some(name.clone()), Uuid::ZERO));
        let by_either = self.topics.iter().map(|topic| refused(topic.name.clone(), topic.topic_id));
        DeleteTopicsResponse {
            responses: by_name.chain(by_either).collect(),
            ..DeleteTopicsResponse::default()
        }
    }
}
