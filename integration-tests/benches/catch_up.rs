//! How fast a follower comes back that is far behind, alone and beside producers, and what it costs them.
//!
//! `cargo bench -p ottla-integration-tests --bench catch_up`. `BEHIND_MIB=1024`, `PARTITIONS=4`, `PRODUCE_MIB_S=20` and
//! `BASE_SECS=15` change what is done. Release binaries, default settings. The rate stands beside that of a bare program that
//! reads as much from a file, sends it over loopback and writes it to another: what copying cannot do without.

mod support;

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ottla_client::{
    Client, ClientConfig, Producer, ProducerConfig, ProducerRecord, producer::Delivery,
};
use ottla_integration_tests::harness::{Cluster, Shape, eventually};
use ottla_protocol::types::PartitionId;
use support::{ms, now, p99, print_load, rate, report, size};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

const TOPIC: &str = "behind";
const FOLLOWER: u16 = 3;
const LONG: Duration = Duration::from_secs(600);
const MIB: u64 = 1 << 20;
/// A record's value while the log is filled, and while it is written to at a pace.
const LARGE: usize = 100 << 10;
const SMALL: usize = 10 << 10;
const TICK: Duration = Duration::from_millis(10);

fn main() {
    if !support::is_prepared() {
        return;
    }
    print_load();
    let bytes = size("BEHIND_MIB", 1024) * MIB;
    let partitions = i32::try_from(size("PARTITIONS", 4)).expect("a count");
    report(&format!("a follower {} MiB behind, {partitions} partitions", bytes / MIB), "figure");
    let floor = copy(bytes);
    report("floor: file, loopback, file", &format!("{floor:.0} MiB/s"));
    let mut cluster = Cluster::start(&Shape::of(3));
    cluster.create_topic(TOPIC, partitions, 3, &[("min.insync.replicas", "2")]);
    cluster.await_in_sync();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");

    fall_behind(&mut cluster, &runtime, (bytes, partitions));
    let took = catch_up(&mut cluster);
    let alone = rate(bytes, took);
    report("alone: from the start of its process until it is in sync", &ms(took));
    report("alone: rate", &format!("{alone:.0} MiB/s"));
    report("alone: share of the floor (goal: 50 %)", &format!("{:.0} %", 100.0 * alone / floor));

    fall_behind(&mut cluster, &runtime, (bytes, partitions));
    let pace = size("PRODUCE_MIB_S", 20);
    let load = Load::start(&runtime, &cluster.bootstrap(), partitions, pace * MIB);
    let since = now();
    thread::sleep(Duration::from_secs(size("BASE_SECS", 15)));
    let began = now();
    let took = catch_up(&mut cluster);
    let ended = now();
    let latencies = runtime.block_on(load.finish());
    let within = |from: Instant, to: Instant| {
        let sent = latencies.iter().filter(|(at, _)| from <= *at && *at < to);
        p99(sent.map(|(_, latency)| *latency).collect())
    };
    let (before, beside) = (within(since, began), within(began, ended));
    report(&format!("beside {pace} MiB/s: until it is in sync"), &ms(took));
    report(&format!("beside {pace} MiB/s: rate"), &format!("{:.0} MiB/s", rate(bytes, took)));
    report("producers' p99 before", &ms(before));
    report("producers' p99 beside it", &ms(beside));
    let ratio = beside.as_secs_f64() / before.as_secs_f64();
    report("producers' p99, ratio (goal: 1.5)", &format!("{ratio:.2}"));
    print_load();
}

/// Stops the follower and writes that much meanwhile.
fn fall_behind(cluster: &mut Cluster, runtime: &Runtime, (bytes, partitions): (u64, i32)) {
    assert!(cluster.broker(FOLLOWER).stop().success());
    for partition in 0..partitions {
        cluster.await_partition((TOPIC, partition), "without the follower", |state| {
            state.leader.is_some_and(|leader| leader != FOLLOWER) && !state.isr.contains(&FOLLOWER)
        });
    }
    runtime.block_on(fill(&cluster.bootstrap(), bytes, partitions));
}

/// Starts the follower; until it is in sync everywhere.
fn catch_up(cluster: &mut Cluster) -> Duration {
    let start = now();
    cluster.start_broker(FOLLOWER);
    eventually("the follower is in sync", LONG, || {
        let states = cluster.describe_by(1, TOPIC)?;
        states.iter().all(|state| state.isr.contains(&FOLLOWER)).then_some(())
    });
    start.elapsed()
}

fn producer(bootstrap: &str) -> Producer {
    let config = ProducerConfig { batch_size: 900 << 10, ..ProducerConfig::default() };
    Producer::new(Client::new(ClientConfig::new(bootstrap).expect("addresses")), config)
        .expect("settings that go together")
}

fn record(partition: i32, value: &Bytes) -> ProducerRecord {
    ProducerRecord {
        topic: TOPIC.into(),
        partition: Some(PartitionId(partition)),
        value: Some(value.clone()),
        ..ProducerRecord::default()
    }
}

async fn fill(bootstrap: &str, bytes: u64, partitions: i32) {
    let (producer, value) = (producer(bootstrap), Bytes::from(vec![b'f'; LARGE]));
    let count = bytes / LARGE as u64;
    let mut deliveries = std::collections::VecDeque::new();
    for number in 0..count {
        let partition = i32::try_from(number % partitions.unsigned_abs() as u64).expect("a number");
        deliveries.push_back(producer.send(record(partition, &value)).await.expect("room"));
        if 256 < deliveries.len() {
            deliveries.pop_front().expect("one").await.expect("an acknowledgement");
        }
    }
    for delivery in deliveries {
        delivery.await.expect("an acknowledgement");
    }
}

/// One producer for each partition, at a pace, whose latencies are kept.
struct Load {
    stop: watch::Sender<bool>,
    tasks: JoinSet<Vec<(Instant, Duration)>>,
}

impl Load {
    /// Writes that many bytes a second in all.
    fn start(runtime: &Runtime, bootstrap: &str, partitions: i32, bytes: u64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (mut tasks, _guard) = (JoinSet::new(), runtime.enter());
        let each = bytes / u64::from(partitions.unsigned_abs()) / (SMALL as u64);
        let per_tick = each as f64 * TICK.as_secs_f64();
        for partition in 0..partitions {
            let (producer, stopped) = (producer(bootstrap), stopped.clone());
            tasks.spawn(pace(producer, partition, per_tick, stopped));
        }
        Self { stop, tasks }
    }

    /// When each record was sent, and how long it took to be acknowledged.
    async fn finish(self) -> Vec<(Instant, Duration)> {
        self.stop.send_replace(true);
        self.tasks.join_all().await.concat()
    }
}

async fn pace(
    producer: Producer,
    partition: i32,
    per_tick: f64,
    stopped: watch::Receiver<bool>,
) -> Vec<(Instant, Duration)> {
    let (sent, acknowledged) = mpsc::channel::<(Instant, Delivery)>(10_000);
    let note = async move {
        let (mut acknowledged, mut latencies) = (acknowledged, Vec::new());
        while let Some((at, delivery)) = acknowledged.recv().await {
            delivery.await.expect("an acknowledgement");
            latencies.push((at, now().duration_since(at)));
        }
        latencies
    };
    let send = async move {
        let value = Bytes::from(vec![b'p'; SMALL]);
        let (mut ticks, mut due) = (interval(TICK), 0.0);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !*stopped.borrow() {
            ticks.tick().await;
            due += per_tick;
            while 1.0 <= due {
                due -= 1.0;
                let at = now();
                let delivery = producer.send(record(partition, &value)).await.expect("room");
                sent.send((at, delivery)).await.expect("somebody notes it");
            }
        }
        producer.flush().await;
    };
    tokio::join!(send, note).1
}

/// Copies that many bytes as barely as can be; MiB a second.
fn copy(bytes: u64) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("source");
    write_file(&source, bytes);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let start = now();
    let sender = thread::spawn(move || {
        let mut file = File::open(source).expect("the source");
        let mut stream = TcpStream::connect(address).expect("a connection");
        let mut buffer = vec![0; 256 << 10];
        while let Ok(len @ 1..) = file.read(&mut buffer) {
            stream.write_all(&buffer[..len]).expect("a reader");
        }
    });
    let mut stream = listener.accept().expect("a sender").0;
    let mut file = File::create(folder.path().join("copy")).expect("a file");
    let (mut buffer, mut copied) = (vec![0; 256 << 10], 0);
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        file.write_all(&buffer[..len]).expect("room on the disk");
        copied += len as u64;
    }
    let took = start.elapsed();
    sender.join().expect("the sender");
    assert_eq!(copied, fs::metadata(folder.path().join("copy")).expect("the copy").len());
    rate(copied, took)
}

fn write_file(path: &Path, bytes: u64) {
    let mut file = File::create(path).expect("a file");
    let buffer = vec![7; 1 << 20];
    for _ in 0..bytes / MIB {
        file.write_all(&buffer).expect("room on the disk");
    }
}
