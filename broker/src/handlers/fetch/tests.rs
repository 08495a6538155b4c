use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_protocol::record_batch::{Limits, batches};
use ottla_protocol::wire::Records;
use ottla_protocol::{Str, Uuid};
use ottla_storage::SimIo;

use super::*;
use crate::partition::Role;
use crate::testing::data::{EPOCH, TestBroker, TestCluster, TestTopic, batch};

const WAIT_MS: i32 = 15_000;

fn partition(index: i32, offset: i64) -> FetchPartition {
    FetchPartition {
        partition: index,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    }
}

/// A request without a session, by name.
fn request(topic: &TestTopic, partitions: &[(i32, i64)]) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: Str::from_static(topic.name),
            partitions: partitions
                .iter()
                .map(|(index, offset)| partition(*index, *offset))
                .collect(),
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn in_session(id: i32, epoch: i32, request: FetchRequest) -> FetchRequest {
    FetchRequest { session_id: id, session_epoch: epoch, ..request }
}

fn partitions(response: &FetchResponse) -> Vec<&PartitionData> {
    response.responses.iter().flat_map(|topic| &topic.partitions).collect()
}

fn values(data: &PartitionData) -> Vec<String> {
    let Some(Records::Memory(bytes)) = &data.records else { panic!("{data:?}") };
    let mut values = Vec::new();
    let mut scratch = Vec::new();
    for batch in batches(bytes.clone()) {
        let batch = batch.unwrap();
        for record in batch.records(&mut scratch, Limits::default()).unwrap() {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

fn first_values(response: &FetchResponse) -> Vec<String> {
    values(partitions(response)[0])
}

#[tokio::test]
async fn what_was_produced_comes_back_in_every_version() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 0, &batch(&["a", "b"])).await;
    broker.append(&topic, 0, &batch(&["c"])).await;
    for version in 4..=18 {
        let mut request = request(&topic, &[(0, 0)]);
        request.topics[0].topic_id = topic.id;
        let response = broker.ask::<Fetch>(version, request).await.unwrap();
        let data = partitions(&response)[0];
        assert_eq!(values(data), ["a", "b", "c"], "version {version}");
        assert_eq!((data.high_watermark, data.last_stable_offset), (3, 3));
        let topic_of_answer = &response.responses[0];
        if version < 13 {
            assert_eq!(topic_of_answer.topic, "orders");
        } else {
            assert_eq!(topic_of_answer.topic_id, topic.id);
        }
    }
}

#[tokio::test]
async fn offset_inside_a_batch_returns_the_whole_batch() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 0, &batch(&["a", "b"])).await;
    let response = broker.ask::<Fetch>(11, request(&topic, &[(0, 1)])).await.unwrap();
    assert_eq!(first_values(&response), ["a", "b"]);
}

#[tokio::test]
async fn offsets_beyond_the_log_are_errors_and_its_end_is_not() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 0, &batch(&["a"])).await;
    let error = async |offset| {
        let response = broker.ask::<Fetch>(11, request(&topic, &[(0, offset)])).await.unwrap();
        ErrorCode::from_code(partitions(&response)[0].error_code)
    };
    assert_eq!(error(1).await, ErrorCode::None);
    assert_eq!(error(2).await, ErrorCode::OffsetOutOfRange);
    assert_eq!(error(-1).await, ErrorCode::OffsetOutOfRange);
}

/// Its machine has just lost its unsynced end, say; the records are elsewhere.
#[tokio::test]
async fn replica_that_lacks_what_a_consumer_has_read_does_not_say_that_it_is_lost() {
    let mut topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 0, &batch(&["a"])).await;
    let handle = broker.leads(topic.id, 0).await;
    topic.broker_epoch += 1;
    broker.cluster.put_topic(&topic).await;
    broker.until(|| (handle.view().role == Role::Follower).then_some(())).await;
    for (version, expected) in
        [(10, ErrorCode::NotLeaderOrFollower), (11, ErrorCode::OffsetNotAvailable)]
    {
        let response = broker.ask::<Fetch>(version, request(&topic, &[(0, 2)])).await.unwrap();
        assert_eq!(ErrorCode::from_code(partitions(&response)[0].error_code), expected);
    }
}

#[tokio::test]
async fn first_batch_is_returned_whatever_the_limits() {
    let topic = TestTopic::new("orders", 2);
    let broker = TestBroker::leading(&[&topic]).await;
    let large = "x".repeat(10_000);
    broker.append(&topic, 0, &batch(&[&large])).await;
    broker.append(&topic, 1, &batch(&["small"])).await;
    let mut request = request(&topic, &[(0, 0), (1, 0)]);
    request.max_bytes = 100;
    let response = broker.ask::<Fetch>(11, request).await.unwrap();
    let [first, second] = partitions(&response)[..] else { panic!("{response:?}") };
    assert_eq!(values(first), [large]);
    assert_eq!(values(second), Vec::<String>::new(), "no room was left");
}

#[tokio::test]
async fn wrong_epochs_are_fenced() {
    let mut topic = TestTopic::new("orders", 1);
    topic.leader_epoch = 5;
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 0, &batch(&["a", "b"])).await;
    let ask = async |current: i32, fetched: i32, offset: i64| {
        let mut request = request(&topic, &[(0, offset)]);
        request.topics[0].partitions[0].current_leader_epoch = current;
        request.topics[0].partitions[0].last_fetched_epoch = fetched;
        let response = broker.ask::<Fetch>(12, request).await.unwrap();
        let data = partitions(&response)[0].clone();
        let diverging = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
        (ErrorCode::from_code(data.error_code), diverging)
    };
    assert_eq!(ask(4, -1, 0).await.0, ErrorCode::FencedLeaderEpoch);
    assert_eq!(ask(6, -1, 0).await.0, ErrorCode::UnknownLeaderEpoch);
    assert_eq!(ask(5, 5, 1).await, (ErrorCode::None, (-1, -1)));
    assert_eq!(ask(5, 4, 1).await, (ErrorCode::None, (4, 0)), "epoch 4 ended before the log began");
    assert_eq!(ask(5, 5, 9).await, (ErrorCode::None, (5, 2)));
}

#[tokio::test]
async fn waits_for_records_and_wakes_when_there_are_enough() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let one = batch(&["a"]);
    let mut waiting = request(&topic, &[(0, 0)]);
    waiting.max_wait_ms = WAIT_MS;
    waiting.min_bytes = i32::try_from(one.bytes.len()).unwrap() * 2;
    let mut poll = Box::pin(broker.ask::<Fetch>(11, waiting));
    assert!(futures_util::poll!(&mut poll).is_pending());
    broker.append(&topic, 0, &one).await;
    assert!(futures_util::poll!(&mut poll).is_pending(), "half of what is wanted is there");
    broker.append(&topic, 0, &one).await;
    let response = poll.await.unwrap();
    assert_eq!(first_values(&response), ["a", "a"]);
    let subscribers = broker.leads(topic.id, 0).await.subscribers.len();
    assert_eq!(subscribers, 0, "a poll without a session leaves nothing behind");
}

#[tokio::test]
async fn poll_ends_when_the_partition_moves_away() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let mut waiting = request(&topic, &[(0, 0)]);
    waiting.max_wait_ms = WAIT_MS;
    let poll = broker.ask::<Fetch>(11, waiting);
    let delete = broker.cluster.delete_topic(&topic);
    let (response, ()) = tokio::join!(poll, delete);
    let error = partitions(response.as_ref().unwrap())[0].error_code;
    assert_eq!(ErrorCode::from_code(error), ErrorCode::UnknownTopicOrPartition);
}

#[tokio::test]
async fn session_tells_only_what_changed() {
    let topic = TestTopic::new("orders", 3);
    let broker = TestBroker::leading(&[&topic]).await;
    let all = request(&topic, &[(0, 0), (1, 0), (2, 0)]);
    let response = broker.ask::<Fetch>(11, in_session(0, 0, all)).await.unwrap();
    let id = response.session_id;
    assert_ne!(id, 0);
    assert_eq!(partitions(&response).len(), 3, "the first answer is full");

    let nothing = FetchRequest { topics: vec![], ..request(&topic, &[]) };
    let response = broker.ask::<Fetch>(11, in_session(id, 1, nothing.clone())).await.unwrap();
    assert!(partitions(&response).is_empty());

    let waiting = FetchRequest { max_wait_ms: WAIT_MS, ..nothing.clone() };
    let mut poll = Box::pin(broker.ask::<Fetch>(11, in_session(id, 2, waiting)));
    assert!(futures_util::poll!(&mut poll).is_pending());
    broker.append(&topic, 1, &batch(&["a"])).await;
    let response = poll.await.unwrap();
    assert_eq!(response.session_id, id);
    let [data] = partitions(&response)[..] else { panic!("{response:?}") };
    assert_eq!((data.partition_index, values(data)), (1, vec!["a".to_owned()]));

    let response = broker.ask::<Fetch>(11, in_session(id, 3, nothing.clone())).await.unwrap();
    assert_eq!(first_values(&response), ["a"], "not taken yet, so told again");
    let moved = request(&topic, &[(1, 1)]);
    let response = broker.ask::<Fetch>(11, in_session(id, 4, moved)).await.unwrap();
    assert!(partitions(&response).is_empty());
}

#[tokio::test]
async fn session_forgets_partitions_and_ends_with_the_last() {
    let topic = TestTopic::new("orders", 2);
    let broker = TestBroker::leading(&[&topic]).await;
    let all = request(&topic, &[(0, 0), (1, 0)]);
    let id = broker.ask::<Fetch>(11, in_session(0, 0, all)).await.unwrap().session_id;
    let forget = |partitions: &[i32]| {
        let forgotten = ForgottenTopic {
            topic: Str::from_static(topic.name),
            partitions: partitions.to_vec(),
            ..ForgottenTopic::default()
        };
        FetchRequest {
            topics: vec![],
            forgotten_topics_data: vec![forgotten],
            ..request(&topic, &[])
        }
    };
    broker.append(&topic, 0, &batch(&["a"])).await;
    let response = broker.ask::<Fetch>(11, in_session(id, 1, forget(&[0]))).await.unwrap();
    assert!(partitions(&response).is_empty());
    assert!(broker.leads(topic.id, 0).await.subscribers.is_empty());
    let response = broker.ask::<Fetch>(11, in_session(id, 2, forget(&[1]))).await.unwrap();
    assert_eq!((response.session_id, response.error_code), (0, 0));
    assert!(broker.plane.path.fetch_sessions.is_empty());
}

#[tokio::test]
async fn wrong_sessions_have_their_errors() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let ask = async |version, id, epoch| {
        let mut request = in_session(id, epoch, request(&topic, &[(0, 0)]));
        request.topics[0].topic_id = topic.id;
        let response = broker.ask::<Fetch>(version, request).await.unwrap();
        (response.session_id, ErrorCode::from_code(response.error_code))
    };
    assert_eq!(ask(11, 77, 1).await, (0, ErrorCode::FetchSessionIdNotFound));
    let (id, _) = ask(11, 0, 0).await;
    assert_eq!(ask(11, id, 2).await, (0, ErrorCode::InvalidFetchSessionEpoch));
    assert_eq!(ask(13, id, 1).await, (0, ErrorCode::FetchSessionTopicIdError));
    assert_eq!(ask(11, id, 1).await, (id, ErrorCode::None));
    assert_eq!(ask(11, id, -1).await, (0, ErrorCode::None), "this ends it");
    assert_eq!(ask(11, id, 2).await, (0, ErrorCode::FetchSessionIdNotFound));
}

#[tokio::test]
async fn unknown_partitions_have_their_errors() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let mut named = request(&topic, &[(9, 0)]);
    named.topics.extend(request(&TestTopic::new("unknown", 1), &[(0, 0)]).topics);
    let response = broker.ask::<Fetch>(11, named).await.unwrap();
    let errors: Vec<_> = partitions(&response).iter().map(|data| data.error_code).collect();
    assert_eq!(errors, [3, 3]);
    let mut by_id = request(&topic, &[(0, 0)]);
    by_id.topics[0].topic_id = Uuid::ONE;
    let response = broker.ask::<Fetch>(13, by_id).await.unwrap();
    assert_eq!(partitions(&response)[0].error_code, ErrorCode::UnknownTopicId.code());
}

/// Whoever parks beside records that are there would wait for the whole of `max_wait_ms`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_poll_sleeps_beside_records() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    const ROUNDS: i64 = 200;
    let produce = async {
        for _ in 0..ROUNDS {
            broker.append(&topic, 0, &batch(&["a"])).await;
        }
    };
    let consume = async {
        let mut offset = 0;
        while offset < ROUNDS {
            let mut request = request(&topic, &[(0, offset)]);
            request.max_wait_ms = i32::MAX;
            let response = broker.ask::<Fetch>(11, request).await.unwrap();
            offset += first_values(&response).len() as i64;
        }
    };
    tokio::join!(produce, consume);
}

#[tokio::test]
async fn what_is_not_in_memory_is_read_by_threads_that_may_wait() {
    let topic = TestTopic::new("orders", 1);
    let cluster = TestCluster::new();
    cluster.put_topic(&topic).await;
    let io = SimIo::new(1);
    let broker = cluster.start_on(io.clone(), &["/a"], EPOCH).await;
    broker.leads(topic.id, 0).await;
    broker.append(&topic, 0, &batch(&["a"])).await;
    io.set_cold(true);
    let response = broker.ask::<Fetch>(11, request(&topic, &[(0, 0)])).await.unwrap();
    assert_eq!(first_values(&response), ["a"]);
}
