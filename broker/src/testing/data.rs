//! A data plane on a temporary folder, over an image that the test writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::image::{FeedConfig, ImageFeed, ImageReader};
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{Cluster, DeletedTopic, Partition, Topic, Value, encode};
use ottla_metadata::store::embedded::EmbeddedStore;
use ottla_metadata::store::{GuardedWrite, KeyRange, MetaStore};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::record_batch::{Batch, Builder, BuilderOptions, NewRecord};
use ottla_protocol::types::{ProducerEpoch, ProducerId};
use ottla_protocol::wire::{Decoder, Piece, Records};
use ottla_protocol::{Message, Request, ResponseHeader, Str, Uuid};
use ottla_storage::{LogIo, RealIo};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{CLUSTER_ID, ImageBuilder, NoTransport};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::data::{DataConfig, DataPlane, LogDirs};
use crate::handlers::{Answer, Handler, Reply, ReplyBody, RequestContext};
use crate::listener::Router;
use crate::partition::{PartitionHandle, Role};
use crate::replication::Feed;
use crate::services::Services;

/// The broker epoch of the first life.
pub(crate) const EPOCH: i64 = 100;

/// Waiting for anything takes no longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Broker 1 without a network.
pub(crate) struct TestBroker {
    pub(crate) services: Arc<Services>,
    pub(crate) plane: DataPlane,
    pub(crate) cluster: TestCluster,
    pub(crate) epoch: watch::Sender<i64>,
}

/// The metadata that a broker sees; outlives it.
#[derive(Clone)]
pub(crate) struct TestCluster {
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) keys: KeySpace,
    pub(crate) image: ImageReader,
    pub(crate) folder: Arc<TempDir>,
}

/// A topic in the making: partitions of broker 1 alone, led by it, unless the test says otherwise.
pub(crate) struct TestTopic {
    pub(crate) name: &'static str,
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) broker_epoch: i64,
    pub(crate) configs: Vec<(&'static str, &'static str)>,
    pub(crate) internal: bool,
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}

impl TestTopic {
    pub(crate) fn new(name: &'static str, partitions: i32) -> Self {
        Self {
            name,
            id: super::topic_id(name),
            partitions,
            leader_epoch: 0,
            broker_epoch: EPOCH,
            configs: Vec::new(),
            internal: false,
            leader: 1,
            replicas: vec![1],
            in_sync: vec![1],
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.configs.push((name, value));
        self
    }
}

impl TestCluster {
    pub(crate) fn new() -> Self {
        let store = Arc::new(EmbeddedStore::in_memory(1));
        let keys = KeySpace::default();
        let (feed, image) =
            ImageFeed::new(Arc::clone(&store) as Arc<dyn MetaStore>, FeedConfig::new(keys.clone()));
        tokio::spawn(feed.run(CancellationToken::new()));
        Self { store, keys, image, folder: Arc::new(tempfile::tempdir().unwrap()) }
    }

    pub(crate) async fn write(&self, write: GuardedWrite) {
        let outcome = self.store.txn(write).await.unwrap();
        let ottla_metadata::store::Outcome::Committed { revision, .. } = outcome else {
            panic!("{outcome:?}")
        };
        self.image.wait_for(revision, PATIENCE).await.unwrap();
    }

    pub(crate) fn put<V: Value>(&self, write: GuardedWrite, key: &Key, value: &V) -> GuardedWrite {
        write.put(self.keys.format(key), encode(value))
    }

    /// Creates or replaces a topic with its partitions.
    pub(crate) async fn put_topic(&self, topic: &TestTopic) {
        let mut write = GuardedWrite::new();
        for number in 0..topic.partitions {
            let partition = Partition {
                replicas: topic.replicas.clone(),
                isr: topic.in_sync.clone(),
                ..partition_led_by(topic.leader, (topic.leader_epoch, topic.broker_epoch))
            };
            write = self.put(write, &Key::Partition(topic.id, number), &partition);
        }
        let configs = topic.configs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let value = Topic {
            id: topic.id,
            name: topic.name.into(),
            partitions: topic.partitions,
            configs,
            internal: topic.internal,
            rest: Default::default(),
        };
        self.write(self.put(write, &Key::Topic(topic.name.into()), &value)).await;
    }

    /// Lets in brokers, each in the life `100 · id` and a rack of its own.
    pub(crate) async fn put_brokers(&self, ids: &[i32]) {
        let mut write = GuardedWrite::new();
        for id in ids {
            let record = super::broker_record(*id, false, &["PLAINTEXT"]);
            write = self.put(write, &Key::Broker(*id), &record);
        }
        self.write(write).await;
    }

    /// Fences a broker that [`TestCluster::put_brokers`] let in.
    pub(crate) async fn fence(&self, id: i32) {
        let record = super::broker_record(id, true, &["PLAINTEXT"]);
        self.write(self.put(GuardedWrite::new(), &Key::Broker(id), &record)).await;
    }

    pub(crate) async fn delete_topic(&self, topic: &TestTopic) {
        let deleted = DeletedTopic {
            id: topic.id,
            name: topic.name.into(),
            partitions: topic.partitions,
            deleted_at_ms: 0,
            rest: Default::default(),
        };
        let key = self.keys.format(&Key::Topic(topic.name.into()));
        let write = GuardedWrite::new().delete(KeyRange::key(key));
        self.write(self.put(write, &Key::Deleted(topic.id), &deleted)).await;
    }

    /// Starts broker 1 in the life `epoch`, on the folders `a` (and `b`).
    pub(crate) async fn start(&self, dirs: &[&str], epoch: i64) -> TestBroker {
        self.start_on(RealIo, dirs, epoch).await
    }

    pub(crate) async fn start_on<I: LogIo>(&self, io: I, dirs: &[&str], epoch: i64) -> TestBroker {
        self.start_with(io, dirs, epoch, None).await
    }

    /// As [`TestCluster::start`]; `feed` is told what is to be followed.
    pub(crate) async fn start_following(
        &self,
        dirs: &[&str],
        epoch: i64,
        feed: Feed,
    ) -> TestBroker {
        self.start_with(RealIo, dirs, epoch, Some(feed)).await
    }

    async fn start_with<I: LogIo>(
        &self,
        io: I,
        dirs: &[&str],
        epoch: i64,
        feed: Option<Feed>,
    ) -> TestBroker {
        self.image.wait_for(1, PATIENCE).await.unwrap();
        let (config, _) = Config::parse("test", b"node.id=1", &[]).unwrap();
        let paths = dirs.iter().map(|dir| self.folder.path().join(dir)).collect();
        let config = DataConfig::new(
            Arc::clone(&config.server),
            config.broker_id,
            Str::from_static(CLUSTER_ID),
            "boot".into(),
            paths,
        );
        let image = self.image.clone();
        let mut log_dirs = LogDirs::open(&io, config).unwrap();
        log_dirs.recover(&image.load()).unwrap();
        log_dirs.set_broker_epoch(epoch);
        let (sender, receiver) = watch::channel(epoch);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let plane = DataPlane::start_following(log_dirs, image.clone(), receiver, &clock, feed);
        let plane = plane.unwrap();
        let mut services =
            super::services(ImageBuilder::new().build(), Arc::new(NoTransport), &Router::new());
        let parts = Arc::get_mut(&mut services).unwrap();
        parts.data = Arc::clone(&plane.path);
        parts.image = image;
        parts.clock = clock;
        TestBroker { services, plane, cluster: self.clone(), epoch: sender }
    }
}

impl TestBroker {
    /// A broker that leads these topics.
    pub(crate) async fn leading(topics: &[&TestTopic]) -> Self {
        let cluster = TestCluster::new();
        let value = Cluster {
            cluster_id: CLUSTER_ID.into(),
            format_version: 1,
            features: BTreeMap::new(),
            group_shards: 50,
            transaction_shards: 50,
            recovery: None,
            rest: Default::default(),
        };
        cluster.write(cluster.put(GuardedWrite::new(), &Key::Cluster, &value)).await;
        for topic in topics {
            cluster.put_topic(topic).await;
        }
        let broker = cluster.start(&["a"], EPOCH).await;
        for topic in topics {
            for partition in 0..topic.partitions {
                broker.leads(topic.id, partition).await;
            }
        }
        broker
    }

    /// Waits until this broker leads a partition.
    pub(crate) async fn leads(&self, topic: Uuid, partition: i32) -> Arc<PartitionHandle> {
        self.until(|| {
            let handle = self.plane.path.partitions.find(topic, partition)?;
            let role = handle.view().role;
            (role == Role::Leader).then_some(handle)
        })
        .await
    }

    /// Waits for a condition.
    pub(crate) async fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(value) = condition() {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the condition never held")
    }

    /// Sends a request through its handler; `None` if nothing is answered.
    pub(crate) async fn ask<H: Handler>(
        &self,
        version: i16,
        request: H::Request,
    ) -> Option<<H::Request as Request>::Response> {
        let context = self.context::<H>(version);
        let answer = H::handle(&self.services, &context, request).await;
        self.finish::<H>(version, answer).await
    }

    pub(crate) fn context<H: Handler>(&self, version: i16) -> RequestContext {
        let mut context = super::context::<H::Request>(version, "PLAINTEXT");
        context.received = self.services.clock.now();
        context
    }

    /// The response of an answer, with what is in files filled in.
    pub(crate) async fn finish<H: Handler>(
        &self,
        version: i16,
        answer: Answer,
    ) -> Option<<H::Request as Request>::Response> {
        let reply = match answer {
            Answer::Ready(reply) => reply,
            Answer::Later(later) => tokio::time::timeout(PATIENCE, later).await.unwrap(),
            Answer::None => return None,
            Answer::Close => panic!("the connection was closed"),
        };
        decode::<H::Request>(version, reply)
    }

    /// Appends a batch to partition 0 with these acks, which must succeed; its base offset.
    pub(crate) async fn append_with(&self, topic: &TestTopic, acks: i16, batch: &Batch) -> i64 {
        self.produce((topic, 0), acks, batch).await
    }

    /// Appends a batch, which must succeed; its base offset.
    pub(crate) async fn append(&self, topic: &TestTopic, partition: i32, batch: &Batch) -> i64 {
        self.produce((topic, partition), -1, batch).await
    }

    async fn produce(&self, to: (&TestTopic, i32), acks: i16, batch: &Batch) -> i64 {
        let request = produce_request(to, acks, batch.bytes.clone());
        let response = self.ask::<crate::handlers::Produce>(9, request).await.unwrap();
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(answer.error_code, 0, "{answer:?}");
        answer.base_offset
    }

    pub(crate) fn path(&self) -> &Path {
        self.cluster.folder.path()
    }
}

fn decode<R: Request>(version: i16, reply: Reply) -> Option<R::Response> {
    let (pieces, slices) = match reply.body {
        ReplyBody::Frame { pieces, slices } => (pieces, slices),
        ReplyBody::None => return None,
        ReplyBody::Close => panic!("the connection was closed"),
    };
    let mut frame = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Memory(bytes) => frame.extend_from_slice(&bytes),
            Piece::External { id, len } => {
                let slice = slices.iter().find(|slice| slice.id == id).unwrap();
                assert_eq!(slice.len, len);
                let start = frame.len();
                frame.resize(start + len as usize, 0);
                let mut at = 0;
                while at < len as usize {
                    let position = slice.position + at as u64;
                    at += slice.source.read_cold(position, &mut frame[start + at..]).unwrap();
                }
            }
        }
    }
    let mut decoder = Decoder::new(Bytes::from(frame).slice(4..));
    ResponseHeader::decode(&mut decoder, R::KEY, version).unwrap();
    let response = R::Response::decode(&mut decoder, version).unwrap();
    decoder.finish().unwrap();
    Some(response)
}

/// A partition whose only replica is `broker`.
pub(crate) fn partition_led_by(
    broker: i32,
    (leader_epoch, leader_broker_epoch): (i32, i64),
) -> Partition {
    Partition {
        replicas: vec![broker],
        log_dirs: Vec::new(),
        adding: Vec::new(),
        removing: Vec::new(),
        isr: vec![broker],
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: broker,
        leader_epoch,
        leader_broker_epoch,
        recovering: false,
        rest: Default::default(),
    }
}

/// A batch of records with these values, at these times.
pub(crate) fn batch_at(records: &[(i64, &str)]) -> Batch {
    batch_with(BuilderOptions::default(), records)
}

/// A batch of records with these values, now.
pub(crate) fn batch(values: &[&str]) -> Batch {
    let now = SystemClock::start().now().wall_ms;
    let records: Vec<_> = values.iter().map(|value| (now, *value)).collect();
    batch_at(&records)
}

/// A batch of an idempotent producer.
pub(crate) fn sequenced(producer: i64, epoch: i16, sequence: i32, values: &[&str]) -> Batch {
    let now = SystemClock::start().now().wall_ms;
    let records: Vec<_> = values.iter().map(|value| (now, *value)).collect();
    let options = BuilderOptions {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BuilderOptions::default()
    };
    batch_with(options, &records)
}

pub(crate) fn batch_with(options: BuilderOptions, records: &[(i64, &str)]) -> Batch {
    let mut builder = Builder::new(options);
    for (timestamp, value) in records {
        let key = Some(&b"key"[..]);
        let value = Some(value.as_bytes());
        builder
            .push(&NewRecord { timestamp: *timestamp, key, value, ..NewRecord::default() })
            .unwrap();
    }
    builder.build().unwrap()
}

/// A produce request for one partition, by name.
pub(crate) fn produce_request(
    (topic, partition): (&TestTopic, i32),
    acks: i16,
    records: Bytes,
) -> ProduceRequest {
    let partition = PartitionProduceData {
        index: partition,
        records: Some(Records::Memory(records)),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: Str::from_static(topic.name),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    };
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    }
}

/// The error, base offset and log append time of the only partition.
pub(crate) fn only(response: &ProduceResponse) -> (i16, i64, i64) {
    let answer = &response.responses[0].partition_responses[0];
    (answer.error_code, answer.base_offset, answer.log_append_time_ms)
}
