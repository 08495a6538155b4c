//! CreateTopics, versions 0 to 7: 1 brought `validate_only` and messages, 5 the configs in the answer, 7
//! topic ids.

use std::collections::BTreeSet;

use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use ottla_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::{Call, Handler, Relayed};
use crate::admin::{AdminError, CreatedTopic, EffectiveConfig, NewTopic, Options, Unavailable};

pub(super) struct CreateTopics;

impl Handler for CreateTopics {
    type Request = CreateTopicsRequest;

    async fn handle(
        call: &Call<'_>,
        request: CreateTopicsRequest,
    ) -> Result<Relayed<CreateTopicsResponse>, Unavailable> {
        let options = Options {
            validate_only: request.validate_only,
            timeout: call.timeout(request.timeout_ms),
        };
        let topics = request.topics.iter().map(new_topic).collect();
        let answer = call.admin.create_topics(&call.caller, topics, options).await?;
        let mut answered = BTreeSet::new();
        let results = request
            .topics
            .iter()
            .zip(answer.results)
            // A name that occurs twice is answered once.
            .filter(|(topic, _)| answered.insert(topic.name.clone()))
            .map(|(topic, result)| topic_result(topic, result))
            .collect();
        let response = CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() };
        Ok(Relayed { response, revision: answer.revision })
    }
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.as_str().to_owned(),
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| (assignment.partition_index, assignment.broker_ids.clone()))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| {
                let value = config.value.as_ref().map(|value| value.as_str().to_owned());
                (config.name.as_str().to_owned(), value)
            })
            .collect(),
    }
}

fn topic_result(
    topic: &CreatableTopic,
    result: Result<CreatedTopic, AdminError>,
) -> CreatableTopicResult {
    let name = topic.name.clone();
    match result {
        Ok(created) => CreatableTopicResult {
            name,
            topic_id: created.topic_id,
            error_message: None,
            num_partitions: created.partitions,
            replication_factor: created.replication_factor,
            configs: Some(created.configs.iter().map(topic_config).collect()),
            ..CreatableTopicResult::default()
        },
        Err(error) => CreatableTopicResult {
            name,
            error_code: error.code.code(),
            error_message: Some(error.message.into()),
            ..CreatableTopicResult::default()
        },
    }
}

fn topic_config(config: &EffectiveConfig) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: config.name.as_str().into(),
        value: config.value.as_deref().map(Into::into),
        read_only: config.read_only,
        config_source: config.source,
        is_sensitive: config.is_sensitive,
        ..CreatableTopicConfigs::default()
    }
}
