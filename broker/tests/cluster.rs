//! A broker and a coordinator in one process, over the embedded store and an in-memory link: the whole path
//! that clients take.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::broker::{Broker, Environment, Handle, StartError};
use ottla_broker::claim::ClaimError;
use ottla_broker::config::Config;
use ottla_broker::machine;
use ottla_client::admin::NewTopic;
use ottla_client::consumer::Start;
use ottla_client::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord,
};
use ottla_protocol::Str;
use ottla_protocol::types::PartitionId;
use ottla_storage::RealIo;
use tokio::time::Instant;

use support::Controller;

struct Cluster {
    controller: Controller,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Cluster {
    async fn start() -> Self {
        Self { controller: Controller::start().await }
    }

    async fn broker(&self, id: i32, dir: &Path, more: &str) -> Result<Handle, StartError> {
        let text = format!(
            "node.id={id}\nhttp.listener=:0\nlog.dirs={}\n{more}\n{}",
            dir.display(),
            if more.contains("listeners=") { "" } else { "listeners=PLAINTEXT://:0" }
        );
        let (config, warnings) = Config::parse("test", text.as_bytes(), &[]).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let environment = Environment {
            io: RealIo,
            boot_id: machine::boot_id(),
            store: Arc::new(self.controller.store.clone()),
            coordinators: self.controller.transport(),
        };
        tokio::time::timeout(PATIENCE, Broker::start_in(config, environment))
            .await
            .expect("a start or an error in time")
    }

    /// A broker after one that was dropped. A process that crashes lets go of its folders at once; the threads of a
    /// handle that is dropped need a moment for it.
    async fn broker_after_crash(&self, id: i32, dir: &Path) -> Handle {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.broker(id, dir, "").await {
                Ok(broker) => return broker,
                Err(error) => {
                    let is_locked = format!("{error:?}").contains("Locked");
                    assert!(is_locked && Instant::now() < deadline, "{error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}

fn client(broker: &Handle) -> Client {
    Client::new(ClientConfig::new(&broker.listeners()[0].1.to_string()).unwrap())
}

async fn create(client: &Client, name: &str, partitions: i32) {
    let topic = NewTopic { name: name.into(), partitions: Some(partitions), ..NewTopic::default() };
    let created = Admin::new(client.clone()).create_topics(&[topic], false).await.unwrap();
    assert_eq!(created[0].as_ref().unwrap().partitions, partitions);
}

fn record(topic: &str, number: usize) -> ProducerRecord {
    ProducerRecord {
        topic: topic.into(),
        partition: Some(PartitionId((number % 3) as i32)),
        key: Some(format!("key-{number}").into()),
        value: Some(format!("value-{number}").into()),
        ..ProducerRecord::default()
    }
}

async fn produce(client: &Client, topic: &str, numbers: std::ops::Range<usize>) {
    let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    let mut deliveries = Vec::new();
    for number in numbers {
        deliveries.push(producer.send(record(topic, number)).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

async fn consume(client: &Client, topic: &str, count: usize) -> Vec<String> {
    let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default());
    for partition in 0..3 {
        consumer.assign(topic, PartitionId(partition), Start::Earliest);
    }
    let mut values = Vec::new();
    let started = Instant::now();
    while values.len() < count && started.elapsed() < PATIENCE {
        for record in consumer.poll(Duration::from_secs(1)).await.unwrap() {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    values.sort();
    values
}

fn values(numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut values: Vec<_> = numbers.map(|number| format!("value-{number}")).collect();
    values.sort();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_produced_is_consumed_also_after_a_stop_and_after_a_crash() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster.broker(1, dir.path(), "").await.unwrap();
    let first = client(&broker);
    create(&first, "t", 3).await;
    // No waiting in between: whoever created a topic reads it.
    assert_eq!(Admin::new(first.clone()).list_topics().await.unwrap().len(), 1);
    produce(&first, "t", 0..300).await;
    assert_eq!(consume(&first, "t", 300).await, values(0..300));
    broker.stop().await;

    let broker = cluster.broker(1, dir.path(), "").await.unwrap();
    let second = client(&broker);
    produce(&second, "t", 300..400).await;
    assert_eq!(consume(&second, "t", 400).await, values(0..400));
    // A crash of the process, as far as it can be played in one: nothing is said to anybody.
    drop(broker);

    let broker = cluster.broker_after_crash(1, dir.path()).await;
    assert_eq!(consume(&client(&broker), "t", 400).await, values(0..400));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_come_into_being_when_they_are_named() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster.broker(1, dir.path(), "").await.unwrap();
    let mut config = ClientConfig::new(&broker.listeners()[0].1.to_string()).unwrap();
    config.allow_auto_create_topics = true;
    let client = Client::new(config);
    let name = Str::from_static("named");
    let metadata = client.topic(&name, PATIENCE).await.unwrap();
    assert_eq!(metadata.topic(&name).map(|topic| topic.partitions.len()), Some(1));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_process_with_an_id_or_a_directory_is_refused() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster.broker(1, dir.path(), "").await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let same_id = cluster.broker(1, other.path(), "broker.session.timeout.ms=1500").await;
    assert!(matches!(same_id, Err(StartError::Claim(ClaimError::InUse { .. }))), "{same_id:?}");
    let same_dir = cluster.broker(2, dir.path(), "").await.unwrap_err();
    assert!(same_dir.to_string().contains(&dir.path().display().to_string()), "{same_dir}");
    let port = broker.listeners()[0].1.port();
    let third = tempfile::tempdir().unwrap();
    let same_port =
        cluster.broker(3, third.path(), &format!("listeners=PLAINTEXT://:{port}")).await;
    assert!(matches!(same_port, Err(StartError::Listener(_))), "{same_port:?}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_served() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster.broker(1, dir.path(), "").await.unwrap();
    let client = client(&broker);
    create(&client, "t", 3).await;
    let get = |path: &'static str| {
        let address = broker.http();
        async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    };
    assert!(get("/health").await.contains(r#""status":"serving""#));
    assert!(get("/ready").await.starts_with("HTTP/1.1 200"));
    // The logs are made once this broker has seen the topic.
    let started = Instant::now();
    while broker.services().data.partitions.len() < 3 && started.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    produce(&client, "t", 0..30).await;
    assert_eq!(consume(&client, "t", 30).await.len(), 30);
    let metrics = get("/metrics").await;
    for line in [
        "kafka_network_requestmetrics_requests_total{request=\"CreateTopics\"} 1",
        "kafka_server_replicamanager_partitioncount 3",
        "kafka_server_replicamanager_leadercount 3",
        "kafka_server_replicamanager_underreplicatedpartitions 0",
        "kafka_log_log_size{topic=\"t\",partition=\"2\"}",
        "kafka_server_brokertopicmetrics_messagesin_total 30",
        "kafka_server_brokertopicmetrics_failedproducerequests_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_lives_on_when_the_store_forgets_its_claim() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster.broker(1, dir.path(), "").await.unwrap();
    let client = client(&broker);
    create(&client, "t", 3).await;
    produce(&client, "t", 0..10).await;
    let epoch = broker.services().identity.broker_epoch();
    let mut image = broker.services().image.clone();
    let lease = ottla_broker::claim::FormerLease::in_dir(dir.path()).read().unwrap();
    ottla_metadata::store::MetaStore::lease_revoke(&cluster.controller.store, lease).await.unwrap();
    let is_back = async {
        loop {
            let now = image.changed().await.unwrap();
            let leads = now.partitions().all(|(_, _, p)| epoch < p.leader_broker_epoch);
            let record = now.broker(1).unwrap();
            if epoch < record.broker_epoch && !record.fenced && leads {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, is_back).await.expect("a new life in time");
    produce(&client, "t", 10..20).await;
    assert_eq!(consume(&client, "t", 20).await, values(0..20));
    // The new epoch is on record, so that a crash now is known for what it is.
    drop(broker);
    let broker = cluster.broker(1, dir.path(), "").await.unwrap();
    let client = self::client(&broker);
    assert_eq!(consume(&client, "t", 20).await, values(0..20));
    broker.stop().await;
}
