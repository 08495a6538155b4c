//! CreatePartitions, versions 0 to 3.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::{Call, Handler, Relayed};
use crate::admin::{AdminError, NewPartitions, Options, Unavailable};

pub(super) struct CreatePartitions;

impl Handler for CreatePartitions {
    type Request = CreatePartitionsRequest;

    async fn handle(
        call: &Call<'_>,
        request: CreatePartitionsRequest,
    ) -> Result<Relayed<CreatePartitionsResponse>, Unavailable> {
        let options = Options {
            validate_only: request.validate_only,
            timeout: call.timeout(request.timeout_ms),
        };
        let topics = request.topics.iter().map(new_partitions).collect();
        let answer = call.admin.create_partitions(&call.caller, topics, options).await?;
        let mut answered = BTreeSet::new();
        let results = request
            .topics
            .iter()
            .zip(answer.results)
            .filter(|(topic, _)| answered.insert(topic.name.clone()))
            .map(|(topic, result)| topic_result(topic, result))
            .collect();
        let response = CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() };
        Ok(Relayed { response, revision: answer.revision })
    }
}

fn new_partitions(topic: &CreatePartitionsTopic) -> NewPartitions {
    let assignments = topic.assignments.iter().flatten();
    NewPartitions {
        topic: topic.name.as_str().to_owned(),
        count: topic.count,
        assignments: assignments.map(|assignment| assignment.broker_ids.clone()).collect(),
    }
}

fn topic_result(
    topic: &CreatePartitionsTopic,
    result: Result<(), AdminError>,
) -> CreatePartitionsTopicResult {
    let (code, message) = match result {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error.code, Some(error.message.into())),
    };
    CreatePartitionsTopicResult {
        name: topic.name.clone(),
        error_code: code.code(),
        error_message: message,
        ..CreatePartitionsTopicResult::default()
    }
}
