//! The requests that bare clients send again and again.

use ottla_protocol::{
    messages::{
        FetchRequest, ProduceRequest,
        fetch_request::{FetchPartition, FetchTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    record_batch::{Builder, BuilderOptions, NewRecord},
    wire::Records,
};

/// A request for one batch of one record, from nobody in particular.
///
/// # Panics
/// When the value is too large for a batch.
#[must_use]
pub fn produce_one(
    (topic, partition): (&str, i32),
    value: &str,
    acks: i16,
    timeout_ms: i32,
) -> ProduceRequest {
    let mut builder = Builder::new(BuilderOptions::default());
    let record = NewRecord {
        timestamp: 1_700_000_000_000,
        value: Some(value.as_bytes()),
        ..NewRecord::default()
    };
    builder.push(&record).expect("a small record");
    let records = builder.build().expect("a batch").bytes;
    let partition = PartitionProduceData {
        index: partition,
        records: Some(Records::Memory(records)),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms, topic_data: vec![topic], ..Default::default() }
}

/// A consumer's request for what comes from `offset` on, which waits a tenth of a second for it.
#[must_use]
pub fn fetch_from((topic, partition): (&str, i32), offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..Default::default()
    }
}
