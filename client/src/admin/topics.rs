//! Topics and partitions.

use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use ottla_protocol::types::{BrokerId, TopicId};
use ottla_protocol::{ErrorCode, Str};

use crate::admin::{Admin, unanswered};
use crate::error::{ClientError, check};
use crate::metadata_cache::{Metadata, Topic};

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Str,
    /// How many partitions; the broker's default if none.
    pub partitions: Option<i32>,
    /// Replicas of each; the broker's default if none.
    pub replication_factor: Option<i16>,
    /// Brokers for each partition in turn, the preferred leader first. If given, the two numbers above are not.
    pub assignment: Vec<Vec<BrokerId>>,
    /// Names and values of its configs.
    pub configs: Vec<(Str, Str)>,
}

/// A topic that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Zero from old brokers.
    pub id: TopicId,
    /// How many partitions; −1 from old brokers.
    pub partitions: i32,
    /// Replicas of each; −1 from old brokers.
    pub replication_factor: i16,
}

/// Partitions to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPartitions {
    /// Of this topic.
    pub topic: Str,
    /// How many it shall have then.
    pub total: i32,
    /// Brokers for each new partition; chosen by the cluster if empty.
    pub assignment: Vec<Vec<BrokerId>>,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    /// Name.
    pub name: Str,
    /// Id; zero from old brokers.
    pub id: TopicId,
    /// Whether the cluster uses it itself.
    pub is_internal: bool,
}

/// What a broker's default for a number is asked for with.
const BROKER_DEFAULT: i32 = -1;

/// The first version that takes topics by id.
const DELETE_BY_ID_VERSION: i16 = 6;

impl Admin {
    /// Creates topics; with `validate_only` only says whether it would.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Vec<Result<CreatedTopic, ClientError>>, ClientError> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..CreateTopicsRequest::default()
        };
        let response = self
            .call_controller(&request, |response| {
                response.topics.iter().map(|topic| topic.error_code).collect()
            })
            .await?;
        let result = |topic: &NewTopic| {
            let answered = response.topics.iter().find(|answered| answered.name == topic.name);
            let answered = answered.ok_or_else(unanswered)?;
            check(answered.error_code, answered.error_message.as_deref())?;
            Ok(CreatedTopic {
                id: answered.topic_id,
                partitions: answered.num_partitions,
                replication_factor: answered.replication_factor,
            })
        };
        Ok(topics.iter().map(result).collect())
    }

    /// Deletes topics by name.
    pub async fn delete_topics(
        &self,
        names: &[Str],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let state = |name: &Str| DeleteTopicState {
            name: Some(name.clone()),
            ..DeleteTopicState::default()
        };
        let timeout_ms = self.timeout_ms();
        let link = self.client.controller().await?;
        let by_state = link.versions.pick::<DeleteTopicsRequest>()? >= DELETE_BY_ID_VERSION;
        let request = if by_state {
            let topics = names.iter().map(state).collect();
            DeleteTopicsRequest { topics, timeout_ms, ..Default::default() }
        } else {
            DeleteTopicsRequest { topic_names: names.to_vec(), timeout_ms, ..Default::default() }
        };
        let response = self
            .call_controller(&request, |response| {
                response.responses.iter().map(|topic| topic.error_code).collect()
            })
            .await?;
        names.iter().for_each(|name| self.client.forget_topic(name));
        let result = |name: &Str| {
            let mut answers = response.responses.iter();
            let answered = answers.find(|answered| answered.name.as_ref() == Some(name));
            let answered = answered.ok_or_else(unanswered)?;
            check(answered.error_code, answered.error_message.as_deref())
        };
        Ok(names.iter().map(result).collect())
    }

    /// Every topic, by name.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, ClientError> {
        let metadata = self.fetch_topics(None).await?;
        let mut topics: Vec<_> = metadata
            .topics()
            .map(|topic| TopicListing {
                name: topic.name.clone(),
                id: topic.id,
                is_internal: topic.is_internal,
            })
            .collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Partitions, leaders and replicas of topics.
    pub async fn describe_topics(
        &self,
        names: &[Str],
    ) -> Result<Vec<Result<Topic, ClientError>>, ClientError> {
        let metadata = self.fetch_topics(Some(names)).await?;
        let result = |name: &Str| match metadata.topic(name) {
            None => Err(ClientError::server(ErrorCode::UnknownTopicOrPartition, None)),
            Some(topic) if topic.error != ErrorCode::None => {
                Err(ClientError::server(topic.error, None))
            }
            Some(topic) => Ok(topic.clone()),
        };
        Ok(names.iter().map(result).collect())
    }

    /// Adds partitions; with `validate_only` only says whether it would.
    pub async fn create_partitions(
        &self,
        topics: &[NewPartitions],
        validate_only: bool,
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let request = CreatePartitionsRequest {
            topics: topics.iter().map(growing).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..CreatePartitionsRequest::default()
        };
        let response = self
            .call_controller(&request, |response| {
                response.results.iter().map(|topic| topic.error_code).collect()
            })
            .await?;
        let result = |topic: &NewPartitions| {
            let answered = response.results.iter().find(|answered| answered.name == topic.topic);
            let answered = answered.ok_or_else(unanswered)?;
            check(answered.error_code, answered.error_message.as_deref())
        };
        Ok(topics.iter().map(result).collect())
    }

    /// Metadata of its own: what others have asked for is neither needed nor changed, and nothing is created.
    pub(super) async fn fetch_topics(
        &self,
        names: Option<&[Str]>,
    ) -> Result<Metadata, ClientError> {
        let wanted = |name: &Str| MetadataRequestTopic {
            name: Some(name.clone()),
            ..MetadataRequestTopic::default()
        };
        let timeout = self.client.config().api_timeout;
        let make = |_| MetadataRequest {
            topics: names.map(|names| names.iter().map(wanted).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let response = self
            .client
            .retry("describing topics", timeout, || async move {
                self.client.any_broker().await?.call_from(4, make).await
            })
            .await?;
        Ok(Metadata::default().updated(&response))
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let assignments =
        (0..).zip(&topic.assignment).map(|(partition_index, brokers)| CreatableReplicaAssignment {
            partition_index,
            broker_ids: numbers(brokers),
            ..CreatableReplicaAssignment::default()
        });
    let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
        ..CreatableTopicConfig::default()
    });
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: topic.partitions.unwrap_or(BROKER_DEFAULT),
        replication_factor: topic.replication_factor.unwrap_or(BROKER_DEFAULT as i16),
        assignments: assignments.collect(),
        configs: configs.collect(),
        ..CreatableTopic::default()
    }
}

fn growing(topic: &NewPartitions) -> CreatePartitionsTopic {
    let assignment = |brokers: &Vec<BrokerId>| CreatePartitionsAssignment {
        broker_ids: numbers(brokers),
        ..CreatePartitionsAssignment::default()
    };
    let chosen = !topic.assignment.is_empty();
    CreatePartitionsTopic {
        name: topic.topic.clone(),
        count: topic.total,
        assignments: chosen.then(|| topic.assignment.iter().map(assignment).collect()),
        ..CreatePartitionsTopic::default()
    }
}

fn numbers(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.0).collect()
}
