//! DeleteTopics, versions 0 to 6: 3 brought the error for clusters that delete nothing, 5 messages, 6
//! deletion by id.

use std::collections::BTreeSet;

use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::delete_topics_response::DeletableTopicResult;
use ottla_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_protocol::{ErrorCode, Uuid};

use super::{Call, Handler, Relayed};
use crate::admin::{AdminError, DeletedTopic, Options, TopicRef, Unavailable};

pub(super) struct DeleteTopics;

impl Handler for DeleteTopics {
    type Request = DeleteTopicsRequest;

    async fn handle(
        call: &Call<'_>,
        request: DeleteTopicsRequest,
    ) -> Result<Relayed<DeleteTopicsResponse>, Unavailable> {
        let options = Options { validate_only: false, timeout: call.timeout(request.timeout_ms) };
        let named = request
            .topic_names
            .iter()
            .map(|name| DeleteTopicState { name: Some(name.clone()), ..Default::default() });
        let asked: Vec<DeleteTopicState> =
            if call.version < 6 { named.collect() } else { request.topics };
        // Those that name no topic, or two ways to find one, are refused here and not passed on.
        let (valid, refused): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|topic| topic.name.is_some() == topic.topic_id.is_zero());
        let topics = valid.iter().map(reference).collect();
        let answer = call.admin.delete_topics(&call.caller, topics, options).await?;
        let mut seen = BTreeSet::new();
        let mut responses: Vec<DeletableTopicResult> = refused.iter().map(ambiguous).collect();
        let answered = valid
            .iter()
            .zip(answer.results)
            .filter(|(topic, _)| seen.insert((topic.name.clone(), topic.topic_id)))
            .map(|(topic, result)| topic_result(call.version, topic, result));
        responses.extend(answered);
        let response = DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() };
        Ok(Relayed { response, revision: answer.revision })
    }
}

fn reference(topic: &DeleteTopicState) -> TopicRef {
    match &topic.name {
        Some(name) => TopicRef::Name(name.as_str().to_owned()),
        None => TopicRef::Id(topic.topic_id),
    }
}

fn ambiguous(topic: &DeleteTopicState) -> DeletableTopicResult {
    DeletableTopicResult {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        error_code: ErrorCode::InvalidRequest.code(),
        error_message: Some("give either the name or the id of a topic".into()),
        ..DeletableTopicResult::default()
    }
}

fn topic_result(
    version: i16,
    topic: &DeleteTopicState,
    result: Result<DeletedTopic, AdminError>,
) -> DeletableTopicResult {
    match result {
        Ok(deleted) => DeletableTopicResult {
            name: Some(deleted.name.into()),
            topic_id: deleted.topic_id,
            ..DeletableTopicResult::default()
        },
        Err(error) => {
            let known = version < 3 && error.code == ErrorCode::TopicDeletionDisabled;
            let code = if known { ErrorCode::InvalidRequest } else { error.code };
            let topic_id = if topic.name.is_some() { Uuid::ZERO } else { topic.topic_id };
            DeletableTopicResult {
                name: topic.name.clone(),
                topic_id,
                error_code: code.code(),
                error_message: Some(error.message.into()),
                ..DeletableTopicResult::default()
            }
        }
    }
}
