//! Clients of these tests: producers that write on and on, and readers of everything there is.

use std::{
    collections::VecDeque,
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use ottla_client::{
    Client, ClientConfig,
    admin::{Admin, NewTopic},
    consumer::{Consumer, ConsumerConfig, Start},
    producer::{Delivery, Producer, ProducerConfig, ProducerRecord},
};
use ottla_integration_tests::harness::{Cluster, Machines, WireClient, eventually};
use ottla_protocol::{
    messages::{
        ProduceRequest,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    record_batch::{Builder, BuilderOptions, NewRecord},
    types::PartitionId,
    wire::Records,
};
use tokio::{runtime::Runtime, task::JoinHandle};

pub const SOON: Duration = Duration::from_secs(60);

/// Records that one producer has under way.
const WINDOW: usize = 32;

pub fn client(bootstrap: &str) -> Client {
    Client::new(ClientConfig::new(bootstrap).expect("addresses"))
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    Runtime::new().expect("a runtime").block_on(future)
}

pub fn create(
    cluster: &Cluster,
    name: &str,
    (partitions, replicas): (i32, i16),
    configs: &[(&str, &str)],
) {
    let topic = NewTopic {
        name: name.into(),
        partitions: Some(partitions),
        replication_factor: Some(replicas),
        configs: configs.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
        ..NewTopic::default()
    };
    let created = block_on(async {
        Admin::new(client(&cluster.bootstrap())).create_topics(&[topic], false).await
    });
    created.expect("an answer").remove(0).expect("a new topic");
}

/// The folder of a partition, in whichever log dir of broker `id` it is.
pub fn folder(
    cluster: &Cluster,
    machines: &Machines,
    id: u16,
    partition: &str,
) -> (usize, PathBuf) {
    let folders =
        (0..).map(|number| (number, machines.log_dir(cluster, id, number).join(partition)));
    folders.take(8).find(|(_, path)| path.exists()).expect("the partition is on this broker")
}

/// One batch of one record, with acks=all; the error code and the offset.
pub fn produce(client: &mut WireClient, topic: &str, partition: i32, value: &str) -> (i16, i64) {
    let mut builder = Builder::new(BuilderOptions::default());
    let record = NewRecord {
        timestamp: 1_700_000_000_000,
        value: Some(value.as_bytes()),
        ..NewRecord::default()
    };
    builder.push(&record).expect("a small record");
    let records = builder.build().expect("a batch").bytes;
    let partition = PartitionProduceData {
        index: partition,
        records: Some(Records::Memory(records)),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let response = client.call(9, &request);
    let answer = &response.responses[0].partition_responses[0];
    (answer.error_code, answer.base_offset)
}

/// A value and where it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    pub partition: i32,
    pub offset: i64,
    pub value: Bytes,
}

/// Idempotent acks=all producers that write until they are told to stop, each into one partition: `3:0`, `3:1`, … from the
/// third.
pub struct Load {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    acked: Arc<Mutex<Vec<Written>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(cluster: &Cluster, topic: &str, partitions: i32, producers: i32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut load =
            Self { runtime, stop: Arc::default(), acked: Arc::default(), tasks: Vec::new() };
        for number in 0..producers {
            let (stop, acked) = (Arc::clone(&load.stop), Arc::clone(&load.acked));
            let (bootstrap, topic) = (cluster.bootstrap(), topic.to_owned());
            let place = (topic, number % partitions);
            load.tasks.push(load.runtime.spawn(write(bootstrap, place, number, stop, acked)));
        }
        load
    }

    pub fn acked(&self) -> usize {
        self.acked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until so many more records are acknowledged.
    pub fn await_more(&self, count: usize) {
        let enough = self.acked() + count;
        eventually("more records are acknowledged", SOON, || {
            assert!(!self.tasks.iter().any(JoinHandle::is_finished), "a producer gave up");
            (enough <= self.acked()).then_some(())
        });
    }

    /// Waits for what is under way; everything that was acknowledged.
    pub fn stop(self) -> Vec<Written> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            self.runtime.block_on(task).expect("a producer that wrote everything");
        }
        self.acked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn write(
    bootstrap: String,
    (topic, partition): (String, i32),
    number: i32,
    stop: Arc<AtomicBool>,
    acked: Arc<Mutex<Vec<Written>>>,
) {
    // Batches of a few records, so that a cut meets many of them.
    let config = ProducerConfig { batch_size: 256, linger: Duration::ZERO, ..Default::default() };
    let producer = Producer::new(client(&bootstrap), config).expect("a producer");
    let mut under_way: VecDeque<(Bytes, Delivery)> = VecDeque::new();
    let mut count = 0;
    loop {
        let is_over = stop.load(Ordering::Relaxed);
        while !is_over && under_way.len() < WINDOW {
            let value = Bytes::from(format!("{number}:{count}"));
            count += 1;
            let record = ProducerRecord {
                topic: topic.as_str().into(),
                partition: Some(PartitionId(partition)),
                value: Some(value.clone()),
                ..Default::default()
            };
            under_way.push_back((value, producer.send(record).await.expect("room")));
        }
        let Some((value, delivery)) = under_way.pop_front() else { return };
        let metadata = delivery.await.expect("a record that is written in the end");
        let written = Written { partition, offset: metadata.offset.0, value };
        acked.lock().unwrap_or_else(PoisonError::into_inner).push(written);
    }
}

/// Every record of a topic, by partition and offset.
pub fn read_all(cluster: &Cluster, topic: &str, partitions: i32) -> Vec<Written> {
    let read = async {
        let mut consumer = Consumer::new(client(&cluster.bootstrap()), ConsumerConfig::default());
        for partition in 0..partitions {
            consumer.assign(topic, PartitionId(partition), Start::Earliest);
        }
        let mut all = Vec::new();
        let is_done = |consumer: &Consumer, partition| {
            consumer.is_at_end(&topic.into(), PartitionId(partition)).expect("it is assigned")
        };
        while !(0..partitions).all(|partition| is_done(&consumer, partition)) {
            for record in consumer.poll(Duration::from_secs(1)).await.expect("sound records") {
                let value = record.value.expect("a value");
                let (partition, offset) = (record.partition.0, record.offset.0);
                // Not to keep whole answers in memory.
                let value = Bytes::copy_from_slice(&value);
                all.push(Written { partition, offset, value });
            }
        }
        all.sort();
        all
    };
    block_on(async { tokio::time::timeout(SOON, read).await }).expect("everything can be read")
}

/// What was acknowledged is where it was said to be; nothing is there twice, out of its producer's order, or missing
/// between.
pub fn assert_kept(mut acked: Vec<Written>, read: &[Written]) {
    acked.sort();
    for written in &acked {
        assert!(
            read.binary_search(written).is_ok(),
            "lost: {written:?}; read instead: {:?}",
            read.iter().find(|r| (r.partition, r.offset) == (written.partition, written.offset))
        );
    }
    let mut next_offset = std::collections::BTreeMap::new();
    let mut next_of_producer = std::collections::BTreeMap::new();
    for Written { partition, offset, value } in read {
        let expected = next_offset.entry(*partition).or_insert(0);
        assert_eq!(offset, expected, "a gap in partition {partition}");
        *expected += 1;
        let text = std::str::from_utf8(value).expect("text");
        let (producer, count) = text.split_once(':').expect("as it was written");
        let expected = next_of_producer.entry(producer.to_owned()).or_insert(0_u64);
        assert_eq!(count.parse(), Ok(*expected), "order of producer {producer}");
        *expected += 1;
    }
}
