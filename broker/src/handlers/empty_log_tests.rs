//! Topics that are metadata alone: no broker has a log of them, and readers find an empty one.

use std::time::Duration;

use ottla_metadata::internal_topics::CONSUMER_OFFSETS;
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_protocol::{ErrorCode, Str};

use super::{DeleteRecords, Fetch, ListOffsets, OffsetForLeaderEpoch, Produce};
use crate::testing::data::{TestBroker, TestTopic, batch, produce_request};

const EPOCH: i32 = 3;

/// A broker that leads `orders-0` and the two partitions of a topic without logs.
async fn broker() -> (TestBroker, TestTopic) {
    let orders = TestTopic::new("orders", 1);
    let mut internal = TestTopic::new(CONSUMER_OFFSETS, 2);
    (internal.internal, internal.leader_epoch) = (true, EPOCH);
    let broker = TestBroker::leading(&[&orders]).await;
    broker.cluster.put_topic(&internal).await;
    // Once a later topic is led, the one before it has been looked at.
    let later = TestTopic::new("later", 1);
    broker.cluster.put_topic(&later).await;
    broker.leads(later.id, 0).await;
    (broker, internal)
}

fn fetch(offset: i64, epoch: i32, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset: offset,
        current_leader_epoch: epoch,
        partition_max_bytes: 1000,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: Str::from_static(CONSUMER_OFFSETS),
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    FetchRequest { topics: vec![topic], max_wait_ms, min_bytes: 1, ..FetchRequest::default() }
}

#[tokio::test]
async fn nothing_is_made_for_it_on_disk() {
    let (broker, internal) = broker().await;
    let folders: Vec<_> = std::fs::read_dir(broker.path().join("a"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("__"))
        .collect();
    assert_eq!(folders, Vec::<String>::new());
    assert!(broker.plane.path.partitions.find(internal.id, 0).is_none());
}

#[tokio::test]
async fn fetch_finds_nothing_and_waits() {
    let (broker, _) = broker().await;
    let began = broker.services.clock.now().monotonic;
    let response = broker.ask::<Fetch>(11, fetch(0, -1, 50)).await.unwrap();
    assert!(began + Duration::from_millis(50) <= broker.services.clock.now().monotonic);
    let answer = &response.responses[0].partitions[0];
    assert_eq!((answer.error_code, answer.high_watermark, answer.log_start_offset), (0, 0, 0));
    let error = async |request| {
        let response = broker.ask::<Fetch>(11, request).await.unwrap();
        ErrorCode::from_code(response.responses[0].partitions[0].error_code)
    };
    assert_eq!(error(fetch(7, -1, 0)).await, ErrorCode::OffsetOutOfRange);
    assert_eq!(error(fetch(0, EPOCH - 1, 0)).await, ErrorCode::FencedLeaderEpoch);
    assert_eq!(error(fetch(0, EPOCH + 1, 0)).await, ErrorCode::UnknownLeaderEpoch);
}

#[tokio::test]
async fn session_hears_when_it_is_led_elsewhere() {
    let (broker, mut internal) = broker().await;
    let opened = broker.ask::<Fetch>(11, FetchRequest { session_epoch: 0, ..fetch(0, -1, 0) });
    let session_id = opened.await.unwrap().session_id;
    assert_ne!(session_id, 0);
    let next = async |session_epoch| {
        let request =
            FetchRequest { session_id, session_epoch, max_wait_ms: 0, ..FetchRequest::default() };
        broker.ask::<Fetch>(11, request).await.unwrap().responses
    };
    assert_eq!(next(1).await, []);
    (internal.leader, internal.leader_epoch) = (2, EPOCH + 1);
    broker.cluster.put_topic(&internal).await;
    let image = broker.services.image.clone();
    broker.until(|| (image.load().partition(internal.id, 0)?.leader == 2).then_some(())).await;
    let told = next(2).await;
    assert_eq!(told[0].partitions[0].error_code, ErrorCode::NotLeaderOrFollower.code());
}

#[tokio::test]
async fn it_begins_and_ends_at_0() {
    let (broker, _) = broker().await;
    for (timestamp, offset) in [(-1, 0), (-2, 0), (-4, 0), (-3, -1), (1_700_000_000_000, -1)] {
        let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
        let topic = ListOffsetsTopic {
            name: Str::from_static(CONSUMER_OFFSETS),
            partitions: vec![partition],
            ..ListOffsetsTopic::default()
        };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = broker.ask::<ListOffsets>(8, request).await.unwrap();
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.offset), (0, offset), "{timestamp}");
    }
    for (leader_epoch, end) in [(EPOCH, (EPOCH, 0)), (EPOCH + 1, (-1, -1)), (1, (1, 0))] {
        let partition = OffsetForLeaderPartition { leader_epoch, ..Default::default() };
        let topic = OffsetForLeaderTopic {
            topic: Str::from_static(CONSUMER_OFFSETS),
            partitions: vec![partition],
            ..OffsetForLeaderTopic::default()
        };
        let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
        let response = broker.ask::<OffsetForLeaderEpoch>(4, request).await.unwrap();
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.leader_epoch, answer.end_offset), end, "{leader_epoch}");
    }
}

#[tokio::test]
async fn clients_neither_write_to_it_nor_delete_from_it() {
    let (broker, internal) = broker().await;
    let request = produce_request((&internal, 0), -1, batch(&["a"]).bytes);
    let response = broker.ask::<Produce>(9, request).await.unwrap();
    let code = response.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::InvalidTopicException.code());
    let partition = DeleteRecordsPartition { offset: -1, ..DeleteRecordsPartition::default() };
    let topic = DeleteRecordsTopic {
        name: Str::from_static(CONSUMER_OFFSETS),
        partitions: vec![partition],
        ..DeleteRecordsTopic::default()
    };
    let request = DeleteRecordsRequest { topics: vec![topic], ..DeleteRecordsRequest::default() };
    let response = broker.ask::<DeleteRecords>(2, request).await.unwrap();
    let code = response.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::InvalidTopicException.code());
}
