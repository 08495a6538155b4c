//! Bare requests, noted by the codes of their answers.

use bytes::Bytes;
use ottla_protocol::{
    messages::{
        AlterPartitionReassignmentsRequest, CreateTopicsRequest, DescribeClusterRequest,
        DescribeQuorumRequest, ElectLeadersRequest, ProduceRequest, UnregisterBrokerRequest,
        UpdateFeaturesRequest,
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic},
        describe_quorum_request::{PartitionData, TopicData},
        elect_leaders_request::TopicPartitions,
        produce_request::{PartitionProduceData, TopicProduceData},
        update_features_request::FeatureUpdateKey,
    },
    record_batch::{Builder, BuilderOptions, NewRecord},
    wire::Records,
};

use crate::notes::{Notes, code};

const TIMEOUT_MS: i32 = 10_000;

fn batch() -> Bytes {
    let mut builder = Builder::new(BuilderOptions::default());
    let record =
        NewRecord { timestamp: 1_700_000_000_000, key: None, value: Some(b"v"), headers: &[] };
    builder.push(&record).expect("a small record");
    builder.build().expect("a batch").bytes
}

/// Produces one record to partition 0 by broker `leader`.
pub fn produce(notes: &mut Notes<'_>, topic: &str, (leader, acks): (u16, i16)) {
    let partition =
        PartitionProduceData { records: Some(Records::Memory(batch())), ..Default::default() };
    let data = TopicProduceData {
        name: topic.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![data],
        ..Default::default()
    };
    let response = notes.call(leader, 9, &request);
    let error = code(response.responses[0].partition_responses[0].error_code);
    notes.note(&format!("wire produce {topic} to {leader} acks {acks}"), error);
}

/// Creates a topic, with replicas named or their number alone.
pub fn create(notes: &mut Notes<'_>, topic: &str, factor: i16, replicas: &[i32]) {
    let assignment =
        CreatableReplicaAssignment { broker_ids: replicas.to_vec(), ..Default::default() };
    let topic = CreatableTopic {
        name: topic.into(),
        num_partitions: if replicas.is_empty() { 1 } else { -1 },
        replication_factor: factor,
        assignments: if replicas.is_empty() { vec![] } else { vec![assignment] },
        ..Default::default()
    };
    let step = format!("wire create {} factor {factor} {replicas:?}", topic.name);
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
    let response = notes.call(1, 7, &request);
    notes.note(&step, code(response.topics[0].error_code));
}

/// Moves a partition, or cancels its move.
pub fn reassign(notes: &mut Notes<'_>, topic: &str, index: i32, replicas: Option<&[i32]>) {
    let partition = ReassignablePartition {
        partition_index: index,
        replicas: replicas.map(<[i32]>::to_vec),
        ..Default::default()
    };
    let topics = vec![ReassignableTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let request =
        AlterPartitionReassignmentsRequest { timeout_ms: TIMEOUT_MS, topics, ..Default::default() };
    let response = notes.call(1, 0, &request);
    let inner = response.responses.first().map(|topic| code(topic.partitions[0].error_code));
    let outcome = format!("{} {}", code(response.error_code), inner.unwrap_or("nothing"));
    notes.note(&format!("wire reassign {topic}-{index} to {replicas:?}"), &outcome);
}

/// Elects a leader; kind 0 is the preferred one, 1 unclean.
pub fn elect(notes: &mut Notes<'_>, kind: i8, topic: &str, index: i32) {
    let partitions =
        TopicPartitions { topic: topic.into(), partitions: vec![index], ..Default::default() };
    let request = ElectLeadersRequest {
        election_type: kind,
        topic_partitions: Some(vec![partitions]),
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let response = notes.call(1, 2, &request);
    let results = &response.replica_election_results;
    let inner = results.first().map(|topic| code(topic.partition_result[0].error_code));
    let outcome = format!("{} {}", code(response.error_code), inner.unwrap_or("nothing"));
    notes.note(&format!("wire elect kind {kind} {topic}-{index}"), &outcome);
}

/// Takes a broker off the list.
pub fn unregister(notes: &mut Notes<'_>, broker_id: i32) {
    let request = UnregisterBrokerRequest { broker_id, ..Default::default() };
    let response = notes.call(1, 0, &request);
    notes.note(&format!("wire unregister {broker_id}"), code(response.error_code));
}

/// Asks for a level of a feature, and changes nothing; kind 1 is up, 2 down if safe, 3 down.
pub fn feature(notes: &mut Notes<'_>, feature: &str, level: i16, kind: i8) {
    let update = FeatureUpdateKey {
        feature: feature.into(),
        max_version_level: level,
        upgrade_type: kind,
        ..Default::default()
    };
    let request = UpdateFeaturesRequest {
        timeout_ms: TIMEOUT_MS,
        feature_updates: vec![update],
        validate_only: true,
        ..Default::default()
    };
    let response = notes.call(1, 1, &request);
    let inner = response.results.first().map(|result| code(result.error_code));
    let outcome = format!("{} {}", code(response.error_code), inner.unwrap_or("nothing"));
    notes.note(&format!("wire feature {feature} level {level} kind {kind}"), &outcome);
}

/// Asks who controls the cluster.
pub fn quorum(notes: &mut Notes<'_>, topic: &str) {
    let topics = vec![TopicData {
        topic_name: topic.into(),
        partitions: vec![PartitionData::default()],
        ..Default::default()
    }];
    let request = DescribeQuorumRequest { topics, ..Default::default() };
    let response = notes.call(1, 2, &request);
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let inner = partition.map(|found| (code(found.error_code), 0 < found.leader_id));
    let outcome = format!("{} {inner:?}", code(response.error_code));
    notes.note(&format!("wire quorum of {topic}"), &outcome);
}

/// Lists brokers; endpoints of kind 1 are brokers, 2 controllers.
pub fn cluster(notes: &mut Notes<'_>, kind: i8, include_fenced_brokers: bool) {
    let request = DescribeClusterRequest {
        endpoint_type: kind,
        include_fenced_brokers,
        ..Default::default()
    };
    let response = notes.call(1, 2, &request);
    let mut brokers: Vec<_> =
        response.brokers.iter().map(|broker| (broker.broker_id, broker.is_fenced)).collect();
    brokers.sort_unstable();
    let outcome = format!("{} {brokers:?}", code(response.error_code));
    notes.note(&format!("wire cluster kind {kind} fenced {include_fenced_brokers}"), &outcome);
}
