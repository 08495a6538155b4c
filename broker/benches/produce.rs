//! How fast one connection can produce when the disk costs nothing: `cargo bench -p ottla-broker --bench produce`.
//!
//! Everything is the shipped code with its defaults, from the socket to the log worker; only what is
//! written to a `.log` file is thrown away. Printed beside what this machine needs for the least that has
//! to be done: to receive the bytes and to compute their checksums.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_broker::auto_create::AutoCreate;
use ottla_broker::clock::{Clock, SystemClock};
use ottla_broker::config::Config;
use ottla_broker::data::{DataConfig, DataPlane, LogDirs};
use ottla_broker::handlers::Produce;
use ottla_broker::identity::Identity;
use ottla_broker::listener::{
    AddressLimits, Endpoint, FrameMemory, Limits, Listener, Network, Router, SecurityProtocol,
};
use ottla_broker::metrics::Metrics;
use ottla_broker::producer_ids::ProducerIds;
use ottla_broker::relay::{
    Bounds, Connector, CoordinatorLink, CoordinatorTransport, LinkError, LinkFuture, NodeIdentity,
    Relay,
};
use ottla_broker::services::Services;
use ottla_metadata::image::{Image, ImageReader};
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, Partition, Topic, Value, encode};
use ottla_metadata::store::{KeyValue, Page};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::record_batch::{Batch, Builder, BuilderOptions, NewRecord, crc32c};
use ottla_protocol::types::BrokerId;
use ottla_protocol::wire::Records;
use ottla_protocol::{Str, Uuid, frame};
use ottla_storage::io::{DirEntry, OpenMode, RealFile, RealIo, Space};
use ottla_storage::{LogFile, LogIo};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Bytes of records in each run.
const RUN_BYTES: usize = 2 << 30;
const PARTITIONS: i32 = 16;
const RECORD_BYTES: usize = 1024;
const VERSION: i16 = 9;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let broker = runtime.block_on(start());
    println!("one connection, null disk, records of {RECORD_BYTES} bytes, {PARTITIONS} partitions");
    for (batch_bytes, batches) in [(16 << 10, 1), (64 << 10, 1), (64 << 10, 16), (1_000_000, 1)] {
        let frame = request(batch_bytes, batches);
        let count = RUN_BYTES / (batch_bytes * batches as usize);
        run(broker.address, &frame, count / 8);
        let speed = run(broker.address, &frame, count);
        let floor = floor(&frame, count);
        println!(
            "{batches:>3} batches of {batch_bytes:>7} bytes: {speed:>5.2} GB/s; \
             receive and checksum alone {floor:>5.2} GB/s; ratio {:.2}",
            speed / floor
        );
    }
}

/// Sends the same request `count` times, as fast as answers allow; GB/s.
fn run(address: SocketAddr, frame: &Bytes, count: usize) -> f64 {
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    stream.set_nodelay(true).expect("a socket option");
    let mut answers = stream.try_clone().expect("a second handle");
    let reader = std::thread::spawn(move || {
        let mut body = Vec::new();
        for _ in 0..count {
            let mut length = [0; 4];
            answers.read_exact(&mut length).expect("an answer");
            body.resize(u32::from_be_bytes(length) as usize, 0);
            answers.read_exact(&mut body).expect("an answer");
            // Correlation id, tags; topics, name, partitions; index, error.
            assert_eq!(error_of(&body), 0, "the broker refused a batch");
        }
    });
    let started = now();
    for _ in 0..count {
        stream.write_all(frame).expect("the broker reads");
    }
    reader.join().expect("all answers");
    (frame.len() * count) as f64 / started.elapsed().as_secs_f64() / 1e9
}

/// The error code of the first partition in a response of version 9.
fn error_of(body: &[u8]) -> i16 {
    let name = usize::from(body[6]) - 1;
    let at = 7 + name + 1 + 4;
    i16::from_be_bytes([body[at], body[at + 1]])
}

/// The least that must be done with the same bytes: receive them and compute a checksum; GB/s.
fn floor(frame: &Bytes, count: usize) -> f64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let len = frame.len();
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut buffer = vec![0; len];
        for _ in 0..count {
            stream.read_exact(&mut buffer).expect("a frame");
            black_box(crc32c(&buffer));
        }
    });
    let mut stream = TcpStream::connect(address).expect("the receiver listens");
    let started = now();
    for _ in 0..count {
        stream.write_all(frame).expect("the receiver reads");
    }
    receiver.join().expect("everything is received");
    (len * count) as f64 / started.elapsed().as_secs_f64() / 1e9
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

fn batch(bytes: usize) -> Batch {
    let now_ms = SystemClock::start().now().wall_ms;
    let value = vec![b'x'; RECORD_BYTES - 20];
    let mut builder = Builder::new(BuilderOptions::default());
    for _ in 0..bytes / RECORD_BYTES {
        let record = NewRecord {
            timestamp: now_ms,
            key: Some(b"key"),
            value: Some(&value),
            ..NewRecord::default()
        };
        builder.push(&record).expect("it fits");
    }
    builder.build().expect("a batch")
}

fn request(batch_bytes: usize, batches: i32) -> Bytes {
    let batch = batch(batch_bytes);
    let partition = |index| PartitionProduceData {
        index,
        records: Some(Records::Memory(batch.bytes.clone())),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: Str::from_static("bench"),
        partition_data: (0..batches).map(partition).collect(),
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    let frame = frame::encode_request(1, Some(&Str::from_static("bench")), VERSION, &request);
    frame.and_then(|pieces| pieces.into_contiguous()).expect("a frame")
}

// === the broker ===

struct Broker {
    address: SocketAddr,
    _network: Network,
    _plane: DataPlane,
    _folder: tempfile::TempDir,
    _epoch: watch::Sender<i64>,
}

async fn start() -> Broker {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, _) = Config::parse("bench", b"node.id=1", &[]).expect("a config");
    let image = ImageReader::fixed(image());
    let data = DataConfig::new(
        Arc::clone(&config.server),
        config.broker_id,
        Str::from_static("AAAAAAAAAAAAAAAAAAAAAQ"),
        "boot".into(),
        vec![folder.path().join("logs")],
    );
    let mut dirs = LogDirs::open(&NullIo, data).expect("log dirs");
    dirs.recover(&image.load()).expect("empty log dirs");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (epoch, receiver) = watch::channel(1);
    let plane = DataPlane::start(dirs, image.clone(), receiver, &clock).expect("workers");
    while plane.path.partitions.len() < PARTITIONS as usize {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let router = Router::new().on::<Produce>();
    let services = services(config, image, &plane, clock, &router);
    let memory = FrameMemory::new(64 << 20, 1 << 30);
    let addresses = AddressLimits::new(100, HashMap::new());
    let network = Network::new(services, router, Limits::default(), memory, (100, addresses));
    let endpoint = Endpoint {
        name: Str::from_static("PLAINTEXT"),
        protocol: SecurityProtocol::Plaintext,
        host: String::new(),
        port: 0,
    };
    let listener = Listener::bind(&endpoint, 128).expect("a port");
    let address = listener.address();
    network.start(listener);
    Broker { address, _network: network, _plane: plane, _folder: folder, _epoch: epoch }
}

fn services(
    config: Config,
    image: ImageReader,
    plane: &DataPlane,
    clock: Arc<dyn Clock>,
    router: &Router,
) -> Arc<Services> {
    let cluster = Str::from_static("AAAAAAAAAAAAAAAAAAAAAQ");
    let identity = Arc::new(Identity::new(cluster, BrokerId(1), 1));
    let node =
        NodeIdentity { identity: Arc::clone(&identity), boot_id: "boot".into(), secret: None };
    let connector = Connector::new(Arc::new(Nobody), image.clone(), node);
    let relay = Relay::new(&connector, Bounds::default(), Arc::clone(&identity), image.clone());
    tokio::spawn(connector.run(CancellationToken::new()));
    let (producer_ids, task) = ProducerIds::new(relay.clone());
    tokio::spawn(task.run());
    let apis: Arc<[_]> = router.served().cloned().collect();
    Arc::new(Services {
        clock,
        config: Arc::new(config),
        data: Arc::clone(&plane.path),
        identity,
        image,
        relay,
        producer_ids,
        auto_create: AutoCreate::default(),
        metrics: Arc::new(Metrics::new(apis.iter().map(|api| api.key))),
        apis,
    })
}

fn image() -> Image {
    let keys = KeySpace::default();
    let mut items = Vec::new();
    let mut put = |key: &Key, value: Bytes| {
        items.push(KeyValue {
            key: Bytes::from(keys.format(key)),
            value,
            create_revision: 1,
            mod_revision: 1,
            lease: None,
        });
    };
    for number in 0..PARTITIONS {
        put(&Key::Partition(Uuid::ONE, number), encoded(&partition()));
    }
    let topic = Topic {
        id: Uuid::ONE,
        name: "bench".into(),
        partitions: PARTITIONS,
        configs: BTreeMap::new(),
        internal: false,
        rest: model::Rest::default(),
    };
    put(&Key::Topic("bench".into()), encoded(&topic));
    let page = Page { store_id: 1, revision: 1, items, more: false };
    Image::from_items(&keys, &page).expect("an image")
}

fn encoded<V: Value>(value: &V) -> Bytes {
    encode(value)
}

fn partition() -> Partition {
    Partition {
        replicas: vec![1],
        log_dirs: vec![],
        adding: vec![],
        removing: vec![],
        isr: vec![1],
        elr: vec![],
        last_known_elr: vec![],
        leader: 1,
        leader_epoch: 0,
        leader_broker_epoch: 1,
        recovering: false,
        rest: model::Rest::default(),
    }
}

#[derive(Debug)]
struct Nobody;

impl CoordinatorTransport for Nobody {
    fn connect(
        &self,
        _: model::Endpoint,
    ) -> LinkFuture<'_, Result<Arc<dyn CoordinatorLink>, LinkError>> {
        Box::pin(std::future::ready(Err(LinkError::NotSent("a benchmark".into()))))
    }
}

// === the disk ===

/// The real disk, except that what goes into logs is thrown away.
#[derive(Debug, Clone)]
struct NullIo;

#[derive(Debug)]
struct NullFile {
    file: RealFile,
    is_log: bool,
}

impl LogIo for NullIo {
    type File = NullFile;
    type Lock = <RealIo as LogIo>::Lock;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<NullFile> {
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        Ok(NullFile { file: RealIo.open(path, mode)?, is_log })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealIo.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealIo.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealIo.sync_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealIo.list(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        RealIo.exists(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        RealIo.space(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>> {
        RealIo.lock(path)
    }
}

impl LogFile for NullFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(position, buf)
    }

    fn try_read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.try_read_at(position, buf)
    }

    fn write_at(&self, position: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        if self.is_log { Ok(()) } else { self.file.write_at(position, pieces) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn reserve(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}
