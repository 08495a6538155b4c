//! One fetch request to one broker.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset, TopicId};
use ottla_protocol::wire::Records;
use ottla_protocol::{ErrorCode, Message, Str};

use crate::client::Client;
use crate::consumer::config::ConsumerConfig;
use crate::consumer::partition::Assigned;
use crate::consumer::{SharedMetadata, TopicPartition};
use crate::error::{ClientError, check};
use crate::metadata_cache::{Broker, LeaderHint, Metadata};
use crate::node::PATIENCE;

/// Lowest version that answers with batches of magic 2.
const VERSION_MIN: i16 = 4;

/// First version that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;

/// What is fetched from a broker.
#[derive(Debug)]
pub(super) struct FetchPlan {
    pub(super) broker: BrokerId,
    /// By which leaders and ids were chosen.
    pub(super) metadata: SharedMetadata,
    /// With their generations and positions.
    pub(super) partitions: Vec<(TopicPartition, u64, Offset)>,
}

/// What came of one partition.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) high_watermark: Offset,
    /// Batches, if there are any.
    pub(super) records: Option<Bytes>,
}

/// Adds a partition to the plan of its leader.
pub(super) fn plan(
    plans: &mut BTreeMap<BrokerId, FetchPlan>,
    metadata: &SharedMetadata,
    key: &TopicPartition,
    assigned: &Assigned,
) {
    let Some((broker, _)) = metadata.leader(&key.0, key.1) else { return };
    let Some(position) = assigned.position else { return };
    let plan = plans.entry(broker).or_insert_with(|| FetchPlan {
        broker,
        metadata: metadata.clone(),
        partitions: Vec::new(),
    });
    plan.partitions.push((key.clone(), assigned.generation, position));
}

/// Carries out a plan.
pub(super) async fn run(
    client: Client,
    config: ConsumerConfig,
    plan: FetchPlan,
) -> (FetchPlan, Result<FetchResponse, ClientError>) {
    let call = async {
        let link = client.broker(plan.broker).await?;
        let id = |topic: &Str| plan.metadata.topic(topic).map_or(TopicId::ZERO, |topic| topic.id);
        let ids_known = plan.partitions.iter().all(|((topic, _), ..)| id(topic) != TopicId::ZERO);
        let max = if ids_known { FetchRequest::MAX_VERSION } else { TOPIC_ID_VERSION - 1 };
        let version = link.versions.pick_between::<FetchRequest>(VERSION_MIN, max)?;
        let request = request(&plan, &config, TOPIC_ID_VERSION <= version);
        let timeout = client.config().request_timeout + config.fetch_max_wait;
        link.judge(link.connection.call_within(version, &request, timeout).await)
    };
    let has_moved = |metadata: &Metadata| {
        let mut keys = plan.partitions.iter().map(|(key, ..)| key);
        keys.any(|(topic, id)| metadata.has_moved_since(&plan.metadata, topic, *id))
    };
    let result = client.unless_moved(PATIENCE + config.fetch_max_wait, call, has_moved).await;
    (plan, result)
}

fn request(plan: &FetchPlan, config: &ConsumerConfig, by_id: bool) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut last = None;
    for ((topic, partition), _, position) in &plan.partitions {
        let epoch = plan.metadata.leader(topic, *partition).map_or(LeaderEpoch::NONE, |(_, e)| e);
        let wanted = FetchPartition {
            partition: partition.0,
            current_leader_epoch: epoch.0,
            fetch_offset: position.0,
            partition_max_bytes: config.partition_fetch_bytes,
            ..FetchPartition::default()
        };
        // Partitions come ordered by topic.
        match topics.last_mut().filter(|_| last == Some(topic)) {
            Some(same) => same.partitions.push(wanted),
            None => {
                let id = plan.metadata.topic(topic).map_or(TopicId::ZERO, |topic| topic.id);
                topics.push(FetchTopic {
                    topic: if by_id { Str::default() } else { topic.clone() },
                    topic_id: if by_id { id } else { TopicId::ZERO },
                    partitions: vec![wanted],
                    ..FetchTopic::default()
                });
            }
        }
        last = Some(topic);
    }
    FetchRequest {
        max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.fetch_min_bytes,
        max_bytes: config.fetch_max_bytes,
        topics,
        ..FetchRequest::default()
    }
}

/// Believes what an answer says of other leaders.
pub(super) fn adopt_leaders(client: &Client, plan: &FetchPlan, response: &FetchResponse) {
    let hint = |key: &TopicPartition| {
        let answer = part(response, &plan.metadata, key)?;
        let leader = &answer.current_leader;
        let (topic, partition) = key.clone();
        let (leader, epoch) = (BrokerId(leader.leader_id), LeaderEpoch(leader.leader_epoch));
        let hint = LeaderHint { topic, partition, leader, epoch };
        (answer.error_code != 0 && leader != BrokerId::NONE).then_some(hint)
    };
    let hints: Vec<_> = plan.partitions.iter().filter_map(|(key, ..)| hint(key)).collect();
    if hints.is_empty() {
        return;
    }
    let endpoints = response.node_endpoints.iter();
    let brokers: Vec<_> = endpoints
        .filter_map(|node| Broker::read(node.node_id, (&node.host, node.port), node.rack.as_ref()))
        .collect();
    client.adopt(&hints, &brokers);
}

/// A partition's part of an answer.
pub(super) fn find(
    response: &FetchResponse,
    metadata: &SharedMetadata,
    key: &TopicPartition,
) -> Result<Answer, ClientError> {
    let Some(found) = part(response, metadata, key) else {
        let message = "the broker's answer leaves the partition out";
        return Err(ClientError::server(ErrorCode::UnknownServerError, Some(message)));
    };
    check(found.error_code, None)?;
    let records = found.records.as_ref().and_then(Records::as_memory).cloned();
    Ok(Answer {
        high_watermark: Offset(found.high_watermark),
        records: records.filter(|bytes| !bytes.is_empty()),
    })
}

fn part<'a>(
    response: &'a FetchResponse,
    metadata: &SharedMetadata,
    (topic, partition): &TopicPartition,
) -> Option<&'a PartitionData> {
    let id = metadata.topic(topic).map_or(TopicId::ZERO, |topic| topic.id);
    response
        .responses
        .iter()
        .filter(|answer| {
            if answer.topic_id == TopicId::ZERO {
                answer.topic == *topic
            } else {
                answer.topic_id == id
            }
        })
        .flat_map(|answer| &answer.partitions)
        .find(|answer| answer.partition_index == partition.0)
}
