//! The test plays broker 2, which has a replica of what broker 1 leads.

use ottla_metadata::keys::{ConfigResource, Key};
use ottla_metadata::model::ConfigEntry;
use ottla_metadata::store::GuardedWrite;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_protocol::types::Offset;
use ottla_protocol::{ErrorCode, Str};

use super::*;
use crate::handlers::Produce;
use crate::testing::data::{TestBroker, TestTopic, batch, produce_request};

const WAIT_MS: i32 = 15_000;
const EPOCH_OF_2: i64 = 200;

/// Broker 1 leads in epoch 3 and 2 follows, in sync if `in_sync` says so.
async fn led(in_sync: &[i32]) -> (TestBroker, TestTopic) {
    let mut topic = TestTopic::new("orders", 1);
    topic.leader_epoch = 3;
    (topic.replicas, topic.in_sync) = (vec![1, 2], in_sync.to_vec());
    let broker = TestBroker::leading(&[&topic]).await;
    broker.cluster.put_brokers(&[1, 2, 3]).await;
    (broker, topic)
}

/// What broker 2 asks from `offset` on, after a record of epoch 3 if there is one before.
fn from(topic: &TestTopic, offset: i64) -> FetchRequest {
    FetchRequest {
        replica_state: ReplicaState {
            replica_id: 2,
            replica_epoch: EPOCH_OF_2,
            ..ReplicaState::default()
        },
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: Str::from_static(topic.name),
            topic_id: topic.id,
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                current_leader_epoch: 3,
                last_fetched_epoch: if offset == 0 { -1 } else { 3 },
                log_start_offset: 0,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn only(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

fn len(data: &PartitionData) -> usize {
    data.records.as_ref().map_or(0, |records| records.len())
}

async fn fetch(broker: &TestBroker, request: FetchRequest) -> PartitionData {
    only(&broker.ask::<Fetch>(18, request).await.unwrap()).clone()
}

async fn until_watermark(broker: &TestBroker, topic: &TestTopic, offset: i64) {
    let handle = broker.leads(topic.id, 0).await;
    broker.until(|| (handle.view().high_watermark == Offset(offset)).then_some(())).await;
}

#[tokio::test]
async fn replica_reads_to_the_end_of_the_log_and_its_next_fetch_acknowledges() {
    let (broker, topic) = led(&[1, 2]).await;
    let produce = produce_request((&topic, 0), -1, batch(&["a", "b"]).bytes);
    let mut produced = Box::pin(broker.ask::<Produce>(9, produce));
    assert!(futures_util::poll!(&mut produced).is_pending());
    let handle = broker.leads(topic.id, 0).await;
    broker.until(|| (handle.view().log_end == Offset(2)).then_some(())).await;
    let consumer = FetchRequest { replica_state: ReplicaState::default(), ..from(&topic, 0) };
    assert_eq!(len(&fetch(&broker, consumer).await), 0, "consumers do not see it yet");
    let data = fetch(&broker, from(&topic, 0)).await;
    assert_eq!((len(&data) > 0, data.high_watermark), (true, 0));
    assert!(futures_util::poll!(&mut produced).is_pending());
    fetch(&broker, from(&topic, 2)).await;
    let response = produced.await.unwrap();
    assert_eq!(crate::testing::data::only(&response).0, 0);
    assert_eq!(handle.view().high_watermark, Offset(2));
}

#[tokio::test]
async fn who_is_no_replica_or_in_a_former_life_or_epoch_is_refused() {
    let (broker, topic) = led(&[1, 2]).await;
    let with = async |replica: (i32, i64), epoch: i32| {
        let mut request = from(&topic, 0);
        request.replica_state.replica_id = replica.0;
        request.replica_state.replica_epoch = replica.1;
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        ErrorCode::from_code(fetch(&broker, request).await.error_code)
    };
    assert_eq!(with((2, 200), 3).await, ErrorCode::None);
    assert_eq!(with((2, 199), 3).await, ErrorCode::NotLeaderOrFollower);
    assert_eq!(with((2, 201), 3).await, ErrorCode::None, "a life that is not known here yet");
    assert_eq!(with((2, 200), 2).await, ErrorCode::FencedLeaderEpoch);
    assert_eq!(with((2, 200), 4).await, ErrorCode::UnknownLeaderEpoch);
    assert_eq!(with((3, 300), 3).await, ErrorCode::UnknownLeaderEpoch);
    assert_eq!(with((3, 300), -1).await, ErrorCode::NotLeaderOrFollower);
    for version in [4, 9, 14] {
        let mut request = from(&topic, 0);
        request.replica_id = 3;
        request.topics[0].partitions[0].current_leader_epoch = -1;
        let response = broker.ask::<Fetch>(version, request).await.unwrap();
        let error = ErrorCode::from_code(only(&response).error_code);
        assert_eq!(error, ErrorCode::NotLeaderOrFollower, "version {version}");
    }
}

/// None of these has what it asks beyond, as far as the leader can tell.
#[tokio::test]
async fn only_what_the_leaders_log_confirms_counts_as_progress() {
    let (broker, topic) = led(&[1, 2]).await;
    broker.append_with(&topic, 1, &batch(&["a", "b"])).await;
    let spoilt = |spoil: fn(&mut FetchRequest)| {
        let mut request = from(&topic, 2);
        spoil(&mut request);
        request
    };
    let requests = [
        spoilt(|request| request.topics[0].partitions[0].last_fetched_epoch = 2),
        spoilt(|request| request.topics[0].partitions[0].last_fetched_epoch = -1),
        spoilt(|request| request.topics[0].partitions[0].current_leader_epoch = -1),
        spoilt(|request| request.replica_state.replica_epoch = -1),
        spoilt(|request| request.topics[0].partitions[0].fetch_offset = 3),
    ];
    for (number, request) in requests.into_iter().enumerate() {
        let data = fetch(&broker, request).await;
        let diverges = data.diverging_epoch.epoch != -1;
        assert_eq!(diverges, number == 0 || number == 4, "{number}: {data:?}");
        // A fetch that counts comes behind it in the queue.
        fetch(&broker, from(&topic, 0)).await;
        let handle = broker.leads(topic.id, 0).await;
        broker.until(|| (handle.view().followers[0].end == Offset(0)).then_some(())).await;
        assert_eq!(handle.view().high_watermark, Offset(0), "{number}");
    }
    fetch(&broker, from(&topic, 2)).await;
    until_watermark(&broker, &topic, 2).await;
}

#[tokio::test]
async fn parked_replica_wakes_for_records_that_consumers_cannot_see() {
    let (broker, topic) = led(&[1, 2]).await;
    let waiting = FetchRequest { max_wait_ms: WAIT_MS, ..from(&topic, 0) };
    let mut poll = Box::pin(broker.ask::<Fetch>(18, waiting));
    assert!(futures_util::poll!(&mut poll).is_pending());
    broker.append_with(&topic, 1, &batch(&["a"])).await;
    assert!(0 < len(only(&poll.await.unwrap())));
    assert!(broker.leads(topic.id, 0).await.followers.is_empty());
}

#[tokio::test]
async fn session_of_a_replica_hears_soon_of_the_high_watermark_that_it_moved() {
    let (broker, topic) = led(&[1, 2]).await;
    let open = FetchRequest { session_epoch: 0, ..from(&topic, 0) };
    let id = broker.ask::<Fetch>(18, open).await.unwrap().session_id;
    assert_ne!(id, 0);
    let stolen = FetchRequest {
        session_id: id,
        session_epoch: 1,
        replica_state: ReplicaState::default(),
        ..from(&topic, 0)
    };
    let response = broker.ask::<Fetch>(18, stolen).await.unwrap();
    assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound.code(), "not a consumer's");
    let next = |epoch, offset| FetchRequest {
        session_id: id,
        session_epoch: epoch,
        max_wait_ms: WAIT_MS,
        ..from(&topic, offset)
    };
    broker.append_with(&topic, 1, &batch(&["a"])).await;
    let response = broker.ask::<Fetch>(18, next(1, 0)).await.unwrap();
    assert_eq!((len(only(&response)) > 0, only(&response).high_watermark), (true, 0));
    // Nothing more comes, and yet it is answered long before its time is over.
    let answered = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        broker.ask::<Fetch>(18, next(2, 1)).await.unwrap()
    });
    let response = answered.await.unwrap();
    assert_eq!((len(only(&response)), only(&response).high_watermark), (0, 1));
    let idle = FetchRequest { topics: vec![], ..next(3, 1) };
    let mut poll = Box::pin(broker.ask::<Fetch>(18, idle));
    assert!(futures_util::poll!(&mut poll).is_pending(), "no news");
}

#[tokio::test]
async fn follower_that_caught_up_is_proposed_once_the_controller_lets_it_in() {
    let (broker, topic) = led(&[1]).await;
    broker.append(&topic, 0, &batch(&["a"])).await;
    let open = FetchRequest { session_epoch: 0, ..from(&topic, 1) };
    broker.ask::<Fetch>(18, open).await.unwrap();
    let proposals = std::sync::Arc::clone(&broker.plane.path.proposals);
    let proposed = broker.until(|| proposals.take().pop()).await;
    let seats = proposed.proposal.isr;
    assert_eq!(seats, [(BrokerId(1), -1), (BrokerId(2), EPOCH_OF_2)]);
    broker.append_with(&topic, 1, &batch(&["b"])).await;
    let handle = broker.leads(topic.id, 0).await;
    assert_eq!(handle.view().high_watermark, Offset(1), "it may be in sync and has not got it");
}

#[tokio::test]
async fn consumers_are_sent_to_a_replica_in_their_rack_that_has_what_they_want() {
    let (broker, topic) = led(&[1, 2]).await;
    broker.append_with(&topic, 1, &batch(&["a", "b"])).await;
    fetch(&broker, from(&topic, 1)).await;
    let handle = broker.leads(topic.id, 0).await;
    broker.until(|| (handle.view().followers[0].end == Offset(1)).then_some(())).await;
    let mut terms = Terms::of(&from(&topic, 0), 18, &broker.plane.path);
    assert_eq!(terms.rack, None, "not asked for");
    terms.reader = Reader::Nearby;
    let nearby = |terms: &Terms, rack: &'static str, offset: i64| {
        let poll = Poll {
            data: Arc::clone(&broker.plane.path),
            context: broker.context::<Fetch>(18),
            session: Session::new(
                0,
                crate::fetch_session::TopicNaming::Ids,
                SessionOwner::Consumer,
            ),
            is_full: true,
            epoch: 1,
            terms: Terms { rack: Some(Str::from_static(rack)), ..terms.clone() },
            begun_at: tokio::time::Instant::now(),
        };
        read::nearby_replica(&poll, &handle.view(), Offset(offset))
    };
    assert_eq!(nearby(&terms, "rack-2", 1), Some(BrokerId(2)));
    assert_eq!(nearby(&terms, "rack-2", 2), None, "it has not got that yet");
    assert_eq!(nearby(&terms, "rack-1", 1), None, "the leader is there");
    assert_eq!(nearby(&terms, "rack-9", 1), None, "nobody is there");
}

#[tokio::test]
async fn followers_serve_consumers_of_version_11_and_later() {
    let (broker, mut topic) = led(&[1, 2]).await;
    broker.append_with(&topic, 1, &batch(&["a"])).await;
    fetch(&broker, from(&topic, 1)).await;
    until_watermark(&broker, &topic, 1).await;
    (topic.leader, topic.leader_epoch, topic.broker_epoch) = (2, 4, EPOCH_OF_2);
    broker.cluster.put_topic(&topic).await;
    let handle = broker.plane.path.partitions.find(topic.id, 0).unwrap();
    broker.until(|| (handle.view().leader_epoch.0 == 4).then_some(())).await;
    let ask = async |version: i16, replica: i32| {
        let mut request = from(&topic, 0);
        request.replica_state = ReplicaState { replica_id: replica, ..Default::default() };
        request.replica_id = replica;
        request.topics[0].partitions[0].current_leader_epoch = -1;
        let response = broker.ask::<Fetch>(version, request).await.unwrap();
        (ErrorCode::from_code(only(&response).error_code), 0 < len(only(&response)))
    };
    assert_eq!(ask(18, -1).await, (ErrorCode::None, true));
    assert_eq!(ask(11, -1).await, (ErrorCode::None, true));
    assert_eq!(ask(10, -1).await, (ErrorCode::NotLeaderOrFollower, false));
    assert_eq!(ask(4, -2).await, (ErrorCode::None, true), "a tool that compares replicas");
    assert_eq!(ask(18, 2).await.0, ErrorCode::NotLeaderOrFollower, "replicas ask the leader");
}

#[tokio::test]
async fn follower_of_a_later_epoch_without_records_is_told_where_to_cut() {
    let (broker, mut topic) = led(&[1, 2]).await;
    broker.append_with(&topic, 1, &batch(&["a", "b"])).await;
    topic.leader_epoch = 6;
    broker.cluster.put_topic(&topic).await;
    let handle = broker.leads(topic.id, 0).await;
    broker.until(|| (handle.view().leader_epoch.0 == 6).then_some(())).await;
    let diverging = async |last: i32, offset: i64| {
        let mut request = from(&topic, offset);
        request.topics[0].partitions[0].current_leader_epoch = 6;
        request.topics[0].partitions[0].last_fetched_epoch = last;
        let data = fetch(&broker, request).await;
        assert_eq!(data.error_code, 0, "{data:?}");
        (data.diverging_epoch.epoch, data.diverging_epoch.end_offset)
    };
    assert_eq!(diverging(5, 9).await, (3, 2), "it followed another leader meanwhile");
    assert_eq!(diverging(5, 2).await, (3, 2));
    assert_eq!(diverging(3, 2).await, (-1, -1));
    assert_eq!(diverging(3, 3).await, (3, 2));
    assert_eq!(diverging(6, 3).await, (6, 2));
}

// === throttling ===

/// Sets `leader.replication.throttled.rate` for broker 1.
async fn set_rate(broker: &TestBroker, rate: &str) {
    let rate = ("leader.replication.throttled.rate".to_owned(), rate.to_owned());
    let entry = ConfigEntry { configs: [rate].into(), ..ConfigEntry::default() };
    let cluster = &broker.cluster;
    let key = Key::Config(ConfigResource::Broker(1));
    cluster.write(cluster.put(GuardedWrite::new(), &key, &entry)).await;
}

/// Broker 1 leads `slow`, which is throttled there, and `fast`; 2 is in sync if `in_sync` says so.
async fn throttled(in_sync: &[i32]) -> (TestBroker, [TestTopic; 2]) {
    let topics = ["slow", "fast"].map(|name| {
        let mut topic = TestTopic::new(name, 1);
        topic.leader_epoch = 3;
        (topic.replicas, topic.in_sync) = (vec![1, 2], in_sync.to_vec());
        match name {
            "slow" => topic.with("leader.replication.throttled.replicas", "7:1,0:1"),
            _ => topic.with("leader.replication.throttled.replicas", "0:2"),
        }
    });
    let broker = TestBroker::leading(&[&topics[0], &topics[1]]).await;
    broker.cluster.put_brokers(&[1, 2]).await;
    for topic in &topics {
        broker.append_with(topic, 1, &batch(&["a", "b"])).await;
    }
    (broker, topics)
}

/// Bytes that broker 2 gets of each, from the beginning.
async fn fetch_both(broker: &TestBroker, topics: &[TestTopic; 2]) -> [usize; 2] {
    let mut request = from(&topics[0], 0);
    request.topics.extend(from(&topics[1], 0).topics);
    let response = broker.ask::<Fetch>(18, request).await.unwrap();
    [0, 1].map(|index| len(&response.responses[index].partitions[0]))
}

#[tokio::test]
async fn throttled_replica_gets_nothing_while_too_much_was_sent_and_others_do() {
    let (broker, topics) = throttled(&[1]).await;
    let all = fetch_both(&broker, &topics).await;
    assert!(all.iter().all(|len| 0 < *len), "no limit: {all:?}");
    assert_eq!(fetch_both(&broker, &topics).await, all);
    // A byte in a second: a batch takes longer than any test.
    set_rate(&broker, "1").await;
    assert_eq!(fetch_both(&broker, &topics).await, all, "nothing was sent yet under this rate");
    assert_eq!(fetch_both(&broker, &topics).await, [0, all[1]]);
    let figures = &broker.plane.path.figures.throttle;
    assert_eq!((figures.bytes.get(), figures.waits.get()), (all[0] as u64, 1));
    set_rate(&broker, &i64::MAX.to_string()).await;
    assert_eq!(fetch_both(&broker, &topics).await, all);
}

#[tokio::test]
async fn replica_in_sync_is_not_throttled() {
    let (broker, topics) = throttled(&[1, 2]).await;
    set_rate(&broker, "1").await;
    for _ in 0..3 {
        let got = fetch_both(&broker, &topics).await;
        assert!(got.iter().all(|len| 0 < *len), "{got:?}");
    }
    let sent = fetch_both(&broker, &topics).await[0] as u64;
    let figures = &broker.plane.path.figures.throttle;
    assert_eq!((figures.bytes.get(), figures.waits.get()), (4 * sent, 0), "but it is counted");
}
