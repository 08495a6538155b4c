use ottla_metadata::keys::Key;
use ottla_metadata::store::GuardedWrite;
use ottla_protocol::messages::produce_request::TopicProduceData;
use ottla_protocol::record_batch::{BuilderOptions, NO_TIMESTAMP};
use ottla_protocol::types::Offset;

use super::*;
use crate::testing::data::{
    TestBroker, TestTopic, batch, batch_with, only, partition_led_by, produce_request, sequenced,
};

const OK: i16 = 0;

#[tokio::test]
async fn offsets_follow_one_another() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    assert_eq!(broker.append(&topic, 0, &batch(&["a", "b", "c"])).await, 0);
    assert_eq!(broker.append(&topic, 0, &batch(&["d"])).await, 3);
    let view = broker.leads(topic.id, 0).await.view_full();
    assert_eq!((view.log_end, view.high_watermark), (Offset(4), Offset(4)));
}

#[tokio::test]
async fn unknown_acks_are_refused_for_every_partition() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let request = produce_request((&topic, 0), 2, batch(&["a"]).bytes);
    let response = broker.ask::<Produce>(9, request).await.unwrap();
    assert_eq!(only(&response), (ErrorCode::InvalidRequiredAcks.code(), -1, -1));
}

#[tokio::test]
async fn acks_0_is_not_answered_and_any_error_closes() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let sound = batch(&["a"]);
    let request = produce_request((&topic, 0), 0, sound.bytes.clone());
    assert!(broker.ask::<Produce>(9, request).await.is_none());
    // What the client asks next finds it.
    assert_eq!(broker.plane.path.partitions.all()[0].view().log_end.0, 1);

    let context = broker.context::<Produce>(9);
    let unknown = produce_request((&topic, 7), 0, sound.bytes.clone());
    let answer = Produce::handle(&broker.services, &context, unknown).await;
    assert!(matches!(answer, Answer::Close), "{answer:?}");

    let fenced = sequenced(5, 1, 0, &["a"]);
    broker.append(&topic, 0, &fenced).await;
    let older = produce_request((&topic, 0), 0, sequenced(5, 0, 1, &["b"]).bytes);
    let answer = Produce::handle(&broker.services, &context, older).await;
    assert!(matches!(answer, Answer::Close), "{answer:?}");
}

#[tokio::test]
async fn repeated_batch_gets_its_first_offset_and_a_gap_is_refused() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let first = sequenced(9, 0, 0, &["a", "b"]);
    assert_eq!(broker.append(&topic, 0, &first).await, 0);
    assert_eq!(broker.append(&topic, 0, &sequenced(9, 0, 2, &["c"])).await, 2);
    assert_eq!(broker.append(&topic, 0, &first).await, 0, "not appended twice");
    let ask = async |batch: &ottla_protocol::record_batch::Batch| {
        let request = produce_request((&topic, 0), -1, batch.bytes.clone());
        only(&broker.ask::<Produce>(9, request).await.unwrap())
    };
    let gap = sequenced(9, 0, 7, &["d"]);
    assert_eq!(ask(&gap).await.0, ErrorCode::OutOfOrderSequenceNumber.code());
    assert_eq!(ask(&sequenced(9, 1, 0, &["e"])).await, (OK, 3, -1));
    let fenced = sequenced(9, 0, 3, &["f"]);
    assert_eq!(ask(&fenced).await.0, ErrorCode::InvalidProducerEpoch.code());
}

#[tokio::test]
async fn log_append_time_is_told() {
    let topic = TestTopic::new("orders", 1).with("message.timestamp.type", "LogAppendTime");
    let broker = TestBroker::leading(&[&topic]).await;
    let old = batch_with(BuilderOptions::default(), &[(NO_TIMESTAMP, "a")]);
    let request = produce_request((&topic, 0), 1, old.bytes);
    let response = broker.ask::<Produce>(9, request).await.unwrap();
    assert!(1_600_000_000_000 < only(&response).2, "{response:?}");
}

#[tokio::test]
async fn each_wrong_partition_has_its_error_and_the_others_go_on() {
    let topic = TestTopic::new("orders", 1);
    let mut internal = TestTopic::new("__share_group_state", 1);
    internal.internal = true;
    let broker = TestBroker::leading(&[&topic, &internal]).await;
    let sound = batch(&["a"]).bytes;
    let mut request = produce_request((&topic, 0), -1, sound.clone());
    let others = [
        produce_request((&topic, 1), -1, sound.clone()),
        produce_request((&TestTopic::new("unknown", 1), 0), -1, sound.clone()),
        produce_request((&internal, 0), -1, sound.clone()),
        produce_request((&topic, 0), -1, bytes::Bytes::new()),
        produce_request((&topic, 0), -1, bytes::Bytes::from([&sound[..], &sound[..]].concat())),
    ];
    request.topic_data.extend(others.into_iter().flat_map(|other| other.topic_data));
    let response = broker.ask::<Produce>(9, request).await.unwrap();
    let errors: Vec<_> = response
        .responses
        .iter()
        .map(|topic| ErrorCode::from_code(topic.partition_responses[0].error_code))
        .collect();
    assert_eq!(
        errors,
        [
            ErrorCode::None,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::InvalidTopicException,
            ErrorCode::InvalidRecord,
            ErrorCode::InvalidRecord,
        ]
    );
}

#[tokio::test]
async fn version_13_names_topics_by_id() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let by_id = |id| {
        let mut request = produce_request((&topic, 0), -1, batch(&["a"]).bytes);
        request.topic_data[0] = TopicProduceData {
            name: Default::default(),
            topic_id: id,
            ..request.topic_data[0].clone()
        };
        request
    };
    let response = broker.ask::<Produce>(13, by_id(topic.id)).await.unwrap();
    assert_eq!(only(&response), (OK, 0, -1));
    assert_eq!(response.responses[0].topic_id, topic.id);
    let response = broker.ask::<Produce>(13, by_id(Uuid::ONE)).await.unwrap();
    assert_eq!(only(&response).0, ErrorCode::UnknownTopicId.code());
}

#[tokio::test]
async fn wrong_leader_names_the_right_one_from_version_10_on() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let elsewhere = partition_led_by(2, (8, 200));
    let cluster = &broker.cluster;
    let key = Key::Partition(topic.id, 0);
    cluster.write(cluster.put(GuardedWrite::new(), &key, &elsewhere)).await;
    broker.until(|| broker.plane.path.partitions.is_empty().then_some(())).await;
    for version in [9, 10] {
        let request = produce_request((&topic, 0), -1, batch(&["a"]).bytes);
        let response = broker.ask::<Produce>(version, request).await.unwrap();
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower.code());
        let leader = (answer.current_leader.leader_id, answer.current_leader.leader_epoch);
        assert_eq!(leader, if version < 10 { (-1, -1) } else { (2, 8) });
    }
}

#[tokio::test]
async fn durable_topic_answers_after_the_sync() {
    let topic = TestTopic::new("orders", 2).with("flush.messages", "1");
    let broker = TestBroker::leading(&[&topic]).await;
    let appends = (0..20).map(|index| {
        let (broker, topic) = (&broker, &topic);
        async move { broker.append(topic, index % 2, &batch(&["a"])).await }
    });
    let offsets = futures_util::future::join_all(appends).await;
    assert_eq!(offsets.len(), 20);
    let view = broker.leads(topic.id, 1).await.view_full();
    assert_eq!(view.high_watermark, Offset(10));
}
