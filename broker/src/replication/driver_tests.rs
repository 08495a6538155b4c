//! The fetchers over a real data plane, against a leader that the test plays.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ottla_client::connection::{Address, BoxedStream, ConnectError, Connector};
use ottla_metadata::config::ConfigMap;
use ottla_metadata::keys::{ConfigResource, Key as StoreKey};
use ottla_metadata::model::{
    BrokerRecord, ConfigEntry, Listener, Partition, SecurityProtocol, Topic,
};
use ottla_metadata::store::GuardedWrite;
use ottla_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use ottla_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla_protocol::record_batch::{Batch, TimestampPatch, patch_header};
use ottla_protocol::time::Now;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};
use ottla_protocol::wire::{Decoder, Records};
use ottla_protocol::{ApiKey, ErrorCode, Message, RequestHeader, Str, Uuid, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::clock::Clock;
use crate::identity::Identity;
use crate::partition::{PartitionHandle, Role};
use crate::testing::data::{EPOCH, PATIENCE, TestBroker, TestCluster, batch, partition_led_by};
use crate::testing::{CLUSTER_ID, topic_id};

/// A leader with one log, for whatever partition is asked for.
#[derive(Clone)]
struct PlayedLeader(Arc<Mutex<LeaderLog>>);

struct LeaderLog {
    epoch: i32,
    batches: Vec<Batch>,
    high_watermark: i64,
    connections: usize,
    /// Who asked last, from where, in which life.
    asked: Option<(i64, i32, i64)>,
    /// Close the connection instead of the next answer.
    breaks: bool,
}

impl PlayedLeader {
    fn new(epoch: i32) -> Self {
        Self(Arc::new(Mutex::new(LeaderLog {
            epoch,
            batches: Vec::new(),
            high_watermark: 0,
            connections: 0,
            asked: None,
            breaks: false,
        })))
    }

    fn log<T>(&self, change: impl FnOnce(&mut LeaderLog) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    async fn serve(self, mut stream: DuplexStream) -> std::io::Result<()> {
        loop {
            let len = stream.read_u32().await?;
            let mut request = vec![0; len as usize];
            stream.read_exact(&mut request).await?;
            let mut decoder = Decoder::new(Bytes::from(request));
            let header = RequestHeader::decode(&mut decoder).unwrap();
            let (version, id) = (header.api_version, header.correlation_id);
            let answer = match ApiKey::try_from(header.api_key).unwrap() {
                ApiKey::Fetch => {
                    let request = FetchRequest::decode(&mut decoder, version).unwrap();
                    let Some(response) = self.fetch(&request).await else { return Ok(()) };
                    frame::encode_response(ApiKey::Fetch, version, id, &response)
                }
                _ => frame::encode_response(ApiKey::ApiVersions, version, id, &served()),
            };
            stream.write_all(&answer.unwrap().into_contiguous().unwrap()).await?;
        }
    }

    async fn fetch(&self, request: &FetchRequest) -> Option<FetchResponse> {
        let replica = &request.replica_state;
        assert_eq!(replica.replica_id, 1);
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap().min(10));
        let answer = |partition: &FetchPartition| {
            self.log(|log| {
                log.asked = Some((
                    partition.fetch_offset,
                    partition.last_fetched_epoch,
                    replica.replica_epoch,
                ));
                log.answer(partition)
            })
        };
        if self.log(|log| std::mem::take(&mut log.breaks)) {
            return None;
        }
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        for topic in &request.topics {
            responses.push(FetchableTopicResponse {
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(answer).collect(),
                ..FetchableTopicResponse::default()
            });
        }
        let partitions = responses.iter().flat_map(|topic| &topic.partitions);
        let is_empty = |data: &PartitionData| data.records.as_ref().is_none_or(|r| r.is_empty());
        if partitions.clone().all(is_empty) {
            tokio::time::sleep(wait).await;
        }
        // It keeps no sessions.
        Some(FetchResponse { responses, ..FetchResponse::default() })
    }
}

impl LeaderLog {
    fn append(&mut self, values: &[&str]) {
        let base = self.end();
        let batch = batch(values);
        let header =
            patch_header(&batch, Offset(base), LeaderEpoch(self.epoch), TimestampPatch::Keep);
        let stored = [&header[..], batch.body()].concat();
        self.batches.push(Batch::parse(&stored.into()).unwrap());
    }

    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.header.next_offset().0)
    }

    fn answer(&self, asked: &FetchPartition) -> PartitionData {
        let mut data = PartitionData {
            partition_index: asked.partition,
            high_watermark: self.high_watermark,
            log_start_offset: 0,
            records: Some(Records::Memory(Bytes::new())),
            ..PartitionData::default()
        };
        if asked.current_leader_epoch != self.epoch {
            data.error_code = ErrorCode::FencedLeaderEpoch.code();
            return data;
        }
        let of_epoch =
            |batch: &&Batch| batch.header.partition_leader_epoch.0 <= asked.last_fetched_epoch;
        let last = self.batches.iter().rfind(of_epoch);
        let (epoch, end_offset) = last.map_or((0, 0), |batch| {
            (batch.header.partition_leader_epoch.0, batch.header.next_offset().0)
        });
        let knows = asked.last_fetched_epoch != -1;
        if knows && (epoch < asked.last_fetched_epoch || end_offset < asked.fetch_offset) {
            data.diverging_epoch =
                EpochEndOffset { epoch, end_offset, ..EpochEndOffset::default() };
            return data;
        }
        let from =
            self.batches.iter().filter(|batch| asked.fetch_offset <= batch.header.base_offset.0);
        let bytes: Vec<u8> = from.flat_map(|batch| batch.bytes.iter().copied()).collect();
        data.records = Some(Records::Memory(bytes.into()));
        data
    }
}

impl Connector for PlayedLeader {
    fn connect<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<BoxedStream, ConnectError>> {
        assert_eq!((&*at.host, at.port), ("leader.example", 9002));
        let (mine, theirs) = tokio::io::duplex(1 << 20);
        self.log(|log| log.connections += 1);
        tokio::spawn(self.clone().serve(theirs));
        async move { Ok(Box::new(mine) as BoxedStream) }.boxed()
    }
}

fn served() -> ApiVersionsResponse {
    let api_keys =
        [ApiKey::Fetch, ApiKey::ListOffsets, ApiKey::ApiVersions].map(|key| ApiVersion {
            api_key: key.code(),
            min_version: 0,
            max_version: match key {
                ApiKey::Fetch => 18,
                ApiKey::ListOffsets => 11,
                _ => 4,
            },
            ..ApiVersion::default()
        });
    ApiVersionsResponse { api_keys: api_keys.to_vec(), ..ApiVersionsResponse::default() }
}

/// Broker 1 with its fetchers.
struct Follows {
    broker: TestBroker,
    fetchers: Fetchers,
    leader: PlayedLeader,
    figures: ReplicationFigures,
    topic: Uuid,
}

fn led_by(leader: i32, epoch: i32) -> Partition {
    let replicas = vec![1, 2];
    Partition { isr: replicas.clone(), replicas, ..partition_led_by(leader, (epoch, 200)) }
}

async fn put_partition(cluster: &TestCluster, partition: &Partition) {
    put_partition_at(cluster, 0, partition).await;
}

async fn put_partition_at(cluster: &TestCluster, index: i32, partition: &Partition) {
    let key = StoreKey::Partition(topic_id("orders"), index);
    cluster.write(cluster.put(GuardedWrite::new(), &key, partition)).await;
}

async fn put_topic(cluster: &TestCluster) {
    put_topic_of(cluster, 1, Default::default()).await;
}

async fn put_topic_of(cluster: &TestCluster, partitions: i32, configs: ConfigMap) {
    let topic = Topic {
        id: topic_id("orders"),
        name: "orders".into(),
        partitions,
        configs,
        internal: false,
        rest: Default::default(),
    };
    let key = StoreKey::Topic("orders".into());
    cluster.write(cluster.put(GuardedWrite::new(), &key, &topic)).await;
}

async fn put_leader(cluster: &TestCluster) {
    let record = BrokerRecord {
        broker_epoch: 200,
        fenced: false,
        draining: false,
        boot_id: "b".into(),
        incarnation_id: Uuid::ONE,
        listeners: vec![Listener {
            name: "BROKERS".into(),
            host: "leader.example".into(),
            port: 9002,
            security_protocol: SecurityProtocol::Plaintext,
        }],
        inter_broker_listener: "BROKERS".into(),
        rack: None,
        log_dirs: vec![Uuid::ONE],
        offline_log_dirs: Vec::new(),
        features: Default::default(),
        version: "0".into(),
        http: None,
        recovered: None,
        rest: Default::default(),
    };
    cluster.write(cluster.put(GuardedWrite::new(), &StoreKey::Broker(2), &record)).await;
}

impl Follows {
    /// Follows broker 2 in epoch 1.
    async fn start() -> Self {
        Self::start_with_clock(|broker| Arc::clone(&broker.services.clock)).await
    }

    async fn start_with_clock(clock: impl FnOnce(&TestBroker) -> Arc<dyn Clock>) -> Self {
        let broker = TestBroker::leading(&[]).await;
        let TestBroker { cluster, plane, .. } = broker;
        plane.shutdown(EPOCH).await;
        put_leader(&cluster).await;
        put_topic(&cluster).await;
        put_partition(&cluster, &led_by(2, 1)).await;
        let (feed, changes) = channel();
        let broker = cluster.start_following(&["a"], EPOCH + 1, feed).await;
        let leader = PlayedLeader::new(1);
        let identity = Identity::new(Str::from_static(CLUSTER_ID), BrokerId(1), EPOCH + 1);
        let transport = Transport {
            connector: Arc::new(leader.clone()),
            image: cluster.image.clone(),
            identity: Arc::new(identity),
            timeout: PATIENCE,
        };
        let clock = clock(&broker);
        let figures = ReplicationFigures::default();
        let server = &broker.services.config.server;
        let fetchers = Fetchers::start(transport, server, (clock, figures.clone()), changes);
        Self { broker, fetchers, leader, figures, topic: topic_id("orders") }
    }

    fn handle(&self) -> Option<Arc<PartitionHandle>> {
        self.handle_of(0)
    }

    fn handle_of(&self, partition: i32) -> Option<Arc<PartitionHandle>> {
        self.broker.plane.path.partitions.find(self.topic, partition)
    }

    /// Where the log of a partition ends here, −1 if there is none.
    fn end_of(&self, partition: i32) -> i64 {
        self.handle_of(partition).map_or(-1, |handle| handle.view().log_end.0)
    }

    /// Waits until the log here ends at `end` and is visible to `high_watermark`.
    async fn reaches(&self, end: i64, high_watermark: i64) {
        let reached = || {
            let handle = self.handle()?;
            let view = handle.view();
            (view.log_end == Offset(end) && view.high_watermark == Offset(high_watermark))
                .then_some(())
        };
        self.broker.until(reached).await;
    }
}

#[tokio::test]
async fn log_of_the_leader_is_copied_and_what_is_there_reported() {
    let follows = Follows::start().await;
    follows.leader.log(|log| {
        log.append(&["a", "b"]);
        log.append(&["c"]);
        log.high_watermark = 2;
    });
    follows.reaches(3, 2).await;
    let asked = || follows.leader.log(|log| log.asked);
    let life = EPOCH + 1;
    follows.broker.until(|| (asked() == Some((3, 1, life))).then_some(())).await;
    follows.leader.log(|log| {
        log.append(&["d"]);
        log.high_watermark = 3;
    });
    follows.reaches(4, 3).await;
    assert_eq!(follows.leader.log(|log| log.connections), 1, "nobody is catching up");
    follows.fetchers.stop().await;
    follows.broker.plane.shutdown(life).await;
}

#[tokio::test]
async fn broken_connection_is_made_again() {
    let follows = Follows::start().await;
    follows.leader.log(|log| log.append(&["a"]));
    follows.reaches(1, 0).await;
    follows.leader.log(|log| {
        log.breaks = true;
        log.append(&["b"]);
    });
    follows.reaches(2, 0).await;
    assert!(1 < follows.leader.log(|log| log.connections));
}

#[tokio::test]
async fn what_the_next_leader_does_not_have_is_cut_off() {
    let follows = Follows::start().await;
    follows.leader.log(|log| {
        log.append(&["a"]);
        log.append(&["b"]);
        log.append(&["c"]);
        log.high_watermark = 1;
    });
    follows.reaches(3, 1).await;
    // The next leader has only the first batch of epoch 1, and others since.
    follows.leader.log(|log| {
        log.batches.truncate(1);
        log.epoch = 2;
        log.append(&["x", "y"]);
        log.append(&["z"]);
        log.high_watermark = 4;
    });
    put_partition(&follows.broker.cluster, &led_by(2, 2)).await;
    follows.reaches(4, 4).await;
    let handle = follows.handle().unwrap();
    let epochs = [1, 2].map(|epoch| handle.view().log.epoch_end(LeaderEpoch(epoch)).unwrap().1);
    assert_eq!(epochs, [Offset(1), Offset(4)]);
}

#[tokio::test]
async fn follower_that_is_elected_stops_and_one_that_loses_the_election_follows() {
    let follows = Follows::start().await;
    follows.leader.log(|log| log.append(&["a"]));
    follows.reaches(1, 0).await;
    let mine = Partition { leader_broker_epoch: EPOCH + 1, ..led_by(1, 2) };
    put_partition(&follows.broker.cluster, &mine).await;
    follows.broker.leads(follows.topic, 0).await;
    // Whatever the former leader still sends is not appended.
    follows.leader.log(|log| log.append(&["b"]));
    let handle = follows.handle().unwrap();
    assert_eq!(handle.view().log_end, Offset(1));
    follows.leader.log(|log| log.epoch = 3);
    put_partition(&follows.broker.cluster, &led_by(2, 3)).await;
    follows.reaches(2, 0).await;
    assert_eq!(handle.view().role, Role::Follower);
}

#[tokio::test]
async fn replica_that_was_moved_away_stops_and_its_folder_goes() {
    let follows = Follows::start().await;
    follows.leader.log(|log| log.append(&["a"]));
    follows.reaches(1, 0).await;
    let dir = follows.broker.path().join("a");
    let folders = || {
        let entries = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| name.into_string().unwrap());
        names.filter(|name| name.starts_with("orders")).collect::<Vec<_>>()
    };
    assert_eq!(folders(), ["orders-0"]);
    let moved = Partition { replicas: vec![2, 3], isr: vec![2, 3], ..led_by(2, 1) };
    put_partition(&follows.broker.cluster, &moved).await;
    let is_gone = || {
        let folders = folders();
        let goes = |name: &String| name.ends_with("-delete");
        (follows.handle().is_none() && folders.iter().all(goes)).then_some(())
    };
    follows.broker.until(is_gone).await;
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
struct StillClock(Mutex<Duration>);

impl Clock for StillClock {
    fn now(&self) -> Now {
        Now { monotonic: *self.0.lock().unwrap(), wall_ms: 0 }
    }
}

#[tokio::test]
async fn throttled_replica_waits_while_it_catches_up_and_others_go_on() {
    let clock = Arc::new(StillClock::default());
    let follows = Follows::start_with_clock(|_| Arc::clone(&clock) as Arc<dyn Clock>).await;
    let cluster = &follows.broker.cluster;
    let slow = ("follower.replication.throttled.replicas".to_owned(), "0:1".to_owned());
    put_topic_of(cluster, 2, [slow].into()).await;
    let rate = ("follower.replication.throttled.rate".to_owned(), "1".to_owned());
    let entry = ConfigEntry { configs: [rate].into(), ..ConfigEntry::default() };
    let key = StoreKey::Config(ConfigResource::Broker(1));
    cluster.write(cluster.put(GuardedWrite::new(), &key, &entry)).await;
    put_partition_at(cluster, 1, &led_by(2, 1)).await;
    // Both are behind all the time, by what the leader says is to come.
    follows.leader.log(|log| {
        log.append(&["a"]);
        log.high_watermark = 100;
    });
    let reach = async |ends: [i64; 2]| {
        let reached = || ([0, 1].map(|partition| follows.end_of(partition)) == ends).then_some(());
        follows.broker.until(reached).await;
    };
    reach([1, 1]).await;
    // What is fetched while it catches up takes longer than any test, at a byte in a second.
    follows.leader.log(|log| log.append(&["b"]));
    reach([2, 2]).await;
    for number in 3..=5 {
        follows.leader.log(|log| log.append(&["c"]));
        reach([2, number]).await;
    }
    let figures = &follows.figures.throttle;
    assert_eq!((0 < figures.bytes.get(), figures.waits.get()), (true, 1));
    *clock.0.lock().unwrap() = Duration::from_secs(10);
    reach([5, 5]).await;
}
