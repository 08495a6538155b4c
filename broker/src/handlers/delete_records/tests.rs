//! Deleting on one replica, and on two.

use ottla_protocol::Str;
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use ottla_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ReplicaState,
};

use super::*;
use crate::handlers::Fetch;
use crate::testing::data::{TestBroker, TestTopic, batch};

async fn delete(broker: &TestBroker, name: &'static str, offset: i64) -> (ErrorCode, i64) {
    delete_within(broker, name, offset, 10_000).await
}

async fn delete_within(
    broker: &TestBroker,
    name: &'static str,
    offset: i64,
    timeout_ms: i32,
) -> (ErrorCode, i64) {
    let partition = DeleteRecordsPartition { offset, ..DeleteRecordsPartition::default() };
    let topic = DeleteRecordsTopic {
        name: Str::from_static(name),
        partitions: vec![partition],
        ..DeleteRecordsTopic::default()
    };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms, ..Default::default() };
    let response = broker.ask::<DeleteRecords>(2, request).await.unwrap();
    let answer = &response.topics[0].partitions[0];
    (ErrorCode::from_code(answer.error_code), answer.low_watermark)
}

async fn fetch_error(broker: &TestBroker, topic: &TestTopic, fetch_offset: i64) -> ErrorCode {
    let partition =
        FetchPartition { fetch_offset, partition_max_bytes: 1000, ..Default::default() };
    let topic = FetchTopic {
        topic: Str::from_static(topic.name),
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    let request = FetchRequest { topics: vec![topic], ..FetchRequest::default() };
    let response = broker.ask::<Fetch>(11, request).await.unwrap();
    ErrorCode::from_code(response.responses[0].partitions[0].error_code)
}

#[tokio::test]
async fn records_below_the_new_start_are_gone_even_within_a_batch() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 0, &batch(&["a", "b", "c"])).await;
    assert_eq!(delete(&broker, "orders", 2).await, (ErrorCode::None, 2));
    assert_eq!(fetch_error(&broker, &topic, 1).await, ErrorCode::OffsetOutOfRange);
    assert_eq!(fetch_error(&broker, &topic, 2).await, ErrorCode::None);
    assert_eq!(delete(&broker, "orders", 4).await, (ErrorCode::OffsetOutOfRange, -1));
    assert_eq!(delete(&broker, "orders", -1).await, (ErrorCode::None, 3));
    assert_eq!(broker.append(&topic, 0, &batch(&["d"])).await, 3);
}

#[tokio::test]
async fn policies_are_kept() {
    let compacted = TestTopic::new("compacted", 1).with("cleanup.policy", "compact");
    let mut internal = TestTopic::new("__share_group_state", 1);
    internal.internal = true;
    let broker = TestBroker::leading(&[&compacted, &internal]).await;
    assert_eq!(delete(&broker, "compacted", 0).await, (ErrorCode::PolicyViolation, -1));
    let error = (ErrorCode::InvalidTopicException, -1);
    assert_eq!(delete(&broker, "__share_group_state", 0).await, error);
    let error = (ErrorCode::UnknownTopicOrPartition, -1);
    assert_eq!(delete(&broker, "unknown", 0).await, error);
}

// === replicas elsewhere ===

const EPOCH_OF_2: i64 = 200;

/// Broker 1 leads three records of what broker 2 follows, in sync; the test plays broker 2.
async fn followed() -> (TestBroker, TestTopic) {
    let mut topic = TestTopic::new("orders", 1);
    (topic.replicas, topic.in_sync) = (vec![1, 2], vec![1, 2]);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.cluster.put_brokers(&[1, 2]).await;
    broker.append_with(&topic, 1, &batch(&["a", "b", "c"])).await;
    fetch_as_2(&broker, &topic, (3, 0)).await;
    let handle = broker.leads(topic.id, 0).await;
    broker.until(|| (handle.view().high_watermark == Offset(3)).then_some(())).await;
    (broker, topic)
}

/// Broker 2 has the records up to `end`, from `log_start` on.
async fn fetch_as_2(broker: &TestBroker, topic: &TestTopic, (end, log_start): (i64, i64)) {
    let partition = FetchPartition {
        fetch_offset: end,
        current_leader_epoch: 0,
        last_fetched_epoch: 0,
        log_start_offset: log_start,
        partition_max_bytes: 1000,
        ..FetchPartition::default()
    };
    let request = FetchRequest {
        replica_state: ReplicaState {
            replica_id: 2,
            replica_epoch: EPOCH_OF_2,
            ..ReplicaState::default()
        },
        topics: vec![FetchTopic {
            topic_id: topic.id,
            partitions: vec![partition],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let response = broker.ask::<Fetch>(18, request).await.unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
}

#[tokio::test]
async fn answer_waits_until_the_last_replica_has_deleted_too() {
    let (broker, topic) = followed().await;
    let mut deletion = Box::pin(delete(&broker, "orders", 2));
    let handle = broker.leads(topic.id, 0).await;
    assert!(futures_util::poll!(&mut deletion).is_pending());
    broker.until(|| (handle.view().log_start == Offset(2)).then_some(())).await;
    assert!(futures_util::poll!(&mut deletion).is_pending(), "broker 2 still starts at 0");
    fetch_as_2(&broker, &topic, (3, 1)).await;
    assert!(futures_util::poll!(&mut deletion).is_pending(), "broker 2 still starts at 1");
    fetch_as_2(&broker, &topic, (3, 2)).await;
    assert_eq!(deletion.await, (ErrorCode::None, 2));
    assert!(handle.subscribers.is_empty(), "who waited leaves nothing behind");
    assert_eq!(delete(&broker, "orders", 1).await, (ErrorCode::None, 2), "that is so already");
}

#[tokio::test]
async fn replica_that_does_not_delete_in_time_is_told_of() {
    let (broker, topic) = followed().await;
    let timed_out = delete_within(&broker, "orders", -1, 50).await;
    assert_eq!(timed_out, (ErrorCode::RequestTimedOut, 0));
    let handle = broker.leads(topic.id, 0).await;
    assert_eq!(handle.view().log_start, Offset(3), "the leader has deleted them all the same");
    assert!(handle.subscribers.is_empty(), "who waited leaves nothing behind");
}

#[tokio::test]
async fn dead_replica_is_not_waited_for_also_if_it_dies_meanwhile() {
    let (broker, topic) = followed().await;
    let mut deletion = Box::pin(delete(&broker, "orders", 2));
    let handle = broker.leads(topic.id, 0).await;
    assert!(futures_util::poll!(&mut deletion).is_pending());
    broker.until(|| (handle.view().log_start == Offset(2)).then_some(())).await;
    assert!(futures_util::poll!(&mut deletion).is_pending());
    broker.cluster.fence(2).await;
    assert_eq!(deletion.await, (ErrorCode::None, 2));
}

#[tokio::test]
async fn leader_that_loses_its_office_says_so() {
    let (broker, mut topic) = followed().await;
    let mut deletion = Box::pin(delete(&broker, "orders", 2));
    assert!(futures_util::poll!(&mut deletion).is_pending());
    let handle = broker.leads(topic.id, 0).await;
    broker.until(|| (handle.view().log_start == Offset(2)).then_some(())).await;
    assert!(futures_util::poll!(&mut deletion).is_pending());
    (topic.leader, topic.leader_epoch) = (2, 1);
    broker.cluster.put_topic(&topic).await;
    assert_eq!(deletion.await, (ErrorCode::NotLeaderOrFollower, -1));
}
