use ottla_protocol::Str;
use ottla_protocol::messages::list_offsets_request::ListOffsetsTopic;

use super::*;
use crate::testing::data::{TestBroker, TestTopic, batch_at};

const HOUR: i64 = 3_600_000;

fn request(topic: &TestTopic, timestamps: &[i64]) -> ListOffsetsRequest {
    let partitions = timestamps.iter().map(|timestamp| ListOffsetsPartition {
        timestamp: *timestamp,
        ..ListOffsetsPartition::default()
    });
    // One entry per timestamp would repeat the partition, so each is asked for in a request of its own.
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: Str::from_static(topic.name),
            partitions: partitions.collect(),
            ..ListOffsetsTopic::default()
        }],
        ..ListOffsetsRequest::default()
    }
}

async fn ask(
    broker: &TestBroker,
    topic: &TestTopic,
    (version, timestamp): (i16, i64),
) -> (ErrorCode, i64, i64, i32) {
    let request = request(topic, &[timestamp]);
    let response = broker.ask::<ListOffsets>(version, request).await.unwrap();
    let answer = &response.topics[0].partitions[0];
    let error = ErrorCode::from_code(answer.error_code);
    (error, answer.timestamp, answer.offset, answer.leader_epoch)
}

/// Times of the records at offsets 0 to 4.
fn times() -> [i64; 5] {
    let base = 1_700_000_000_000;
    [base, base + HOUR, base + 3 * HOUR, base + 2 * HOUR, base + 3 * HOUR]
}

async fn with_records() -> (TestBroker, TestTopic) {
    let mut topic = TestTopic::new("orders", 1);
    topic.leader_epoch = 3;
    let broker = TestBroker::leading(&[&topic]).await;
    let t = times();
    broker.append(&topic, 0, &batch_at(&[(t[0], "a"), (t[1], "b")])).await;
    broker.append(&topic, 0, &batch_at(&[(t[2], "c"), (t[3], "d"), (t[4], "e")])).await;
    (broker, topic)
}

#[tokio::test]
async fn named_places_are_told_in_the_versions_that_know_them() {
    let (broker, topic) = with_records().await;
    let ok = |timestamp, offset, epoch| (ErrorCode::None, timestamp, offset, epoch);
    for version in 1..=11 {
        let epoch = |epoch| if version < 4 { -1 } else { epoch };
        let of = |timestamp| ask(&broker, &topic, (version, timestamp));
        let unsupported = (ErrorCode::UnsupportedVersion, -1, -1, -1);
        let known = |from, answer| if version < from { unsupported } else { answer };
        assert_eq!(of(LATEST).await, ok(-1, 5, epoch(3)), "version {version}");
        assert_eq!(of(EARLIEST).await, ok(-1, 0, epoch(3)));
        assert_eq!(of(MAX_TIMESTAMP).await, known(7, ok(times()[2], 2, 3)));
        assert_eq!(of(EARLIEST_LOCAL).await, known(8, ok(-1, 0, 3)));
        assert_eq!(of(LATEST_TIERED).await, known(9, ok(-1, -1, -1)));
        assert_eq!(of(EARLIEST_PENDING_UPLOAD).await, known(11, ok(-1, -1, -1)));
    }
}

#[tokio::test]
async fn timestamp_finds_the_first_record_at_or_after_it() {
    let (broker, topic) = with_records().await;
    let t = times();
    let of = async |timestamp| ask(&broker, &topic, (5, timestamp)).await;
    assert_eq!(of(0).await, (ErrorCode::None, t[0], 0, 3));
    assert_eq!(of(t[0]).await, (ErrorCode::None, t[0], 0, 3));
    assert_eq!(of(t[0] + 1).await, (ErrorCode::None, t[1], 1, 3));
    assert_eq!(of(t[1] + 1).await, (ErrorCode::None, t[2], 2, 3), "offset 2 comes before 3");
    assert_eq!(of(t[2] + 1).await, (ErrorCode::None, -1, -1, -1), "nothing is so late");
}

#[tokio::test]
async fn partition_named_twice_is_an_invalid_request() {
    let (broker, topic) = with_records().await;
    let twice = request(&topic, &[LATEST, EARLIEST]);
    let response = broker.ask::<ListOffsets>(5, twice).await.unwrap();
    for answer in &response.topics[0].partitions {
        assert_eq!(answer.error_code, ErrorCode::InvalidRequest.code());
    }
}

#[tokio::test]
async fn wrong_partition_epoch_or_reader_is_refused() {
    let (broker, topic) = with_records().await;
    let unknown = TestTopic::new("unknown", 1);
    let answer = ask(&broker, &unknown, (5, LATEST)).await;
    assert_eq!(answer.0, ErrorCode::UnknownTopicOrPartition);
    for (epoch, error) in [
        (2, ErrorCode::FencedLeaderEpoch),
        (4, ErrorCode::UnknownLeaderEpoch),
        (3, ErrorCode::None),
    ] {
        let mut request = request(&topic, &[LATEST]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let response = broker.ask::<ListOffsets>(5, request).await.unwrap();
        assert_eq!(response.topics[0].partitions[0].error_code, error.code());
    }
}

#[tokio::test]
async fn replicas_see_the_end_of_the_log_and_consumers_what_is_in_sync() {
    let mut topic = TestTopic::new("orders", 1);
    (topic.replicas, topic.in_sync) = (vec![1, 2], vec![1, 2]);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append_with(&topic, 1, &batch_at(&[(times()[0], "a")])).await;
    for (replica, end) in [(-1, 0), (-2, 1), (2, 1)] {
        let mut request = request(&topic, &[LATEST]);
        request.replica_id = replica;
        let response = broker.ask::<ListOffsets>(5, request).await.unwrap();
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.offset), (0, end), "replica {replica}");
    }
}
