//! The messages of the hot path: one partition with 1 MiB of records.

use bytes::Bytes;
use ottla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{FetchResponse, ProduceRequest};
use ottla_protocol::wire::Records;
use ottla_protocol::{Str, Uuid};

/// Versions in which clients of today speak: names in Produce, ids in Fetch.
pub const PRODUCE_VERSION: i16 = 12;
pub const FETCH_VERSION: i16 = 17;

pub fn records() -> Bytes {
    Bytes::from(vec![7; 1 << 20])
}

pub fn produce(records: &Bytes) -> ProduceRequest {
    let records = Some(Records::Memory(records.clone()));
    let partition = PartitionProduceData { index: 3, records, ..Default::default() };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: Str::from_static("orders"),
            partition_data: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub fn fetched(records: &Bytes) -> FetchResponse {
    let records = Some(Records::Memory(records.clone()));
    let partition = PartitionData { high_watermark: 100, records, ..Default::default() };
    let topic_id = Uuid::from_bytes([5; 16]);
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Where the records of a decoded request are.
pub fn produced_at(request: &ProduceRequest) -> Option<*const u8> {
    address(request.topic_data.first()?.partition_data.first()?.records.as_ref()?)
}

/// Where the records of a decoded response are.
pub fn fetched_at(response: &FetchResponse) -> Option<*const u8> {
    address(response.responses.first()?.partitions.first()?.records.as_ref()?)
}

fn address(records: &Records) -> Option<*const u8> {
    records.as_memory().map(|bytes| bytes.as_ptr())
}
