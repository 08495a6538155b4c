//! Three brokers and a coordinator in one process: brokers reach each other over loopback, everything else is as in
//! a cluster.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::broker::{Broker, Environment, Handle};
use ottla_broker::config::Config;
use ottla_broker::machine;
use ottla_broker::partition::{Role, View};
use ottla_client::admin::NewTopic;
use ottla_client::{Admin, Client, ClientConfig, Producer, ProducerConfig, ProducerRecord};
use ottla_protocol::Str;
use ottla_protocol::types::{Offset, PartitionId};
use ottla_storage::io::{Fault, SimOp};
use ottla_storage::{LogIo, RealIo, SimIo};
use tokio::time::Instant;

use support::Controller;

struct Cluster {
    controller: Controller,
    folder: tempfile::TempDir,
    brokers: BTreeMap<i32, Handle>,
}

const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;

impl Cluster {
    /// With brokers 1 to 3.
    async fn start() -> Self {
        let mut cluster = Self::without_brokers().await;
        for id in 1..=3 {
            cluster.start_broker(id).await;
        }
        cluster
    }

    async fn without_brokers() -> Self {
        Self {
            controller: Controller::start().await,
            folder: tempfile::tempdir().unwrap(),
            brokers: BTreeMap::new(),
        }
    }

    fn dir(&self, id: i32) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    async fn start_broker(&mut self, id: i32) {
        let dirs = self.dir(id).display().to_string();
        self.start_broker_on(id, RealIo, &dirs).await;
    }

    async fn start_broker_on<I: LogIo>(&mut self, id: i32, io: I, dirs: &str) {
        let text = format!(
            "node.id={id}\nhttp.listener=:0\nlog.dirs={dirs}\nlisteners=PLAINTEXT://:0\n\
             broker.session.timeout.ms=1500\n",
        );
        let deadline = Instant::now() + PATIENCE;
        let broker = loop {
            let (config, _) = Config::parse("test", text.as_bytes(), &[]).unwrap();
            let environment = Environment {
                io: io.clone(),
                boot_id: machine::boot_id(),
                store: Arc::new(self.controller.store.clone()),
                coordinators: self.controller.transport(),
            };
            match tokio::time::timeout(PATIENCE, Broker::start_in(config, environment))
                .await
                .unwrap()
            {
                Ok(broker) => break broker,
                Err(error) => {
                    // The threads of a handle that was dropped need a moment to let go of its folder.
                    assert!(format!("{error:?}").contains("Locked"), "{error}");
                    assert!(Instant::now() < deadline, "{error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        self.brokers.insert(id, broker);
    }

    fn client(&self) -> Client {
        let broker = self.brokers.values().next().unwrap();
        Client::new(ClientConfig::new(&broker.listeners()[0].1.to_string()).unwrap())
    }

    async fn create_topic(&self, configs: &[(&str, &str)]) {
        self.create_topic_of(PARTITIONS, configs).await;
    }

    async fn create_topic_of(&self, partitions: i32, configs: &[(&str, &str)]) {
        let topic = NewTopic {
            name: TOPIC.into(),
            partitions: Some(partitions),
            replication_factor: Some(3),
            configs: configs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..NewTopic::default()
        };
        let created = Admin::new(self.client()).create_topics(&[topic], false).await.unwrap();
        created[0].as_ref().unwrap();
    }

    async fn produce(&self, numbers: std::ops::Range<usize>) {
        self.produce_to(PARTITIONS, numbers).await;
    }

    async fn produce_to(&self, partitions: i32, numbers: std::ops::Range<usize>) {
        let producer = Producer::new(self.client(), ProducerConfig::default()).unwrap();
        let mut deliveries = Vec::new();
        for number in numbers {
            let record = ProducerRecord {
                topic: TOPIC.into(),
                partition: Some(PartitionId((number % partitions as usize) as i32)),
                value: Some(format!("value-{number}").into()),
                ..ProducerRecord::default()
            };
            deliveries.push(producer.send(record).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    }

    fn view(&self, broker: i32, partition: i32) -> Option<Arc<View>> {
        let data = &self.brokers.get(&broker)?.services().data;
        let topic = data.image.load().topic(TOPIC)?.id;
        Some(data.partitions.find(topic, partition)?.view_full())
    }

    fn leader(&self, partition: i32) -> Option<i32> {
        let leads = |id: &&i32| self.view(**id, partition).is_some_and(|v| v.role == Role::Leader);
        self.brokers.keys().find(leads).copied()
    }

    /// Waits for a condition, which says what it saw.
    async fn until(&self, what: &str, condition: impl Fn() -> Result<(), String>) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(seen) = condition() {
            assert!(Instant::now() < deadline, "{what}: {seen}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the leader of partition 0 as in a crash of its process, as far as that can be played in one, and waits until
    /// others lead.
    async fn crash_a_leader(&mut self) -> i32 {
        let gone = self.leader(0).unwrap();
        drop(self.brokers.remove(&gone));
        let others_lead = || {
            let led = (0..PARTITIONS).all(|partition| self.leader(partition).is_some());
            if led { Ok(()) } else { Err("partitions without a leader".into()) }
        };
        self.until("others are elected", others_lead).await;
        gone
    }

    /// Waits until all replicas of all partitions end at `ends` and may be read up to there.
    async fn agree(&self, ends: i64) {
        let agree = || {
            for (id, partition) in
                self.brokers.keys().flat_map(|id| (0..PARTITIONS).map(move |p| (*id, p)))
            {
                let view = self.view(id, partition).ok_or("a replica is missing")?;
                let seen = (view.log_end.0, view.high_watermark.0);
                if seen != (ends, ends) {
                    return Err(format!("broker {id}, partition {partition}: {seen:?}"));
                }
            }
            Ok(())
        };
        self.until("replicas agree", agree).await;
    }

    /// The bytes of a partition's log on a broker.
    fn log(&self, broker: i32, partition: i32) -> Vec<u8> {
        let folder = self.dir(broker).join(format!("{TOPIC}-{partition}"));
        let view = self.view(broker, partition).unwrap();
        let mut bytes = read_log(&folder);
        bytes.truncate(usize::try_from(view.log.size()).unwrap());
        bytes
    }

    fn assert_same_bytes(&self) {
        for partition in 0..PARTITIONS {
            let logs: Vec<_> = self.brokers.keys().map(|id| self.log(*id, partition)).collect();
            assert!(!logs[0].is_empty());
            assert!(logs.iter().all(|log| *log == logs[0]), "partition {partition}");
        }
    }

    async fn stop(self) {
        for (_, broker) in self.brokers {
            broker.stop().await;
        }
    }
}

fn read_log(folder: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
    segments.sort();
    segments.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_on_all_replicas_in_the_same_bytes() {
    let cluster = Cluster::start().await;
    cluster.create_topic(&[("min.insync.replicas", "3")]).await;
    cluster.produce(0..300).await;
    cluster.agree(100).await;
    cluster.assert_same_bytes();
    cluster.produce(300..600).await;
    cluster.agree(200).await;
    cluster.assert_same_bytes();
    let metrics = cluster.brokers[&1].services().metrics.text().unwrap();
    for figure in [
        "kafka_server_replicafetchermanager_maxlag{leader=\"2\",lane=\"in-sync\"} 0",
        "kafka_server_replicafetchermanager_failedpartitionscount{leader=\"2\",lane=\"in-sync\"} 0",
        "kafka_server_replicafetchermanager_deadthreadcount 0",
        "kafka_server_fetcherstats_bytes_total{leader=\"2\",lane=\"in-sync\"}",
        "kafka_server_fetcherstats_requests_total{leader=\"2\",lane=\"in-sync\"}",
    ] {
        assert!(metrics.contains(figure), "{figure} is not in {metrics}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_topic_is_replicated_and_acknowledged() {
    let cluster = Cluster::start().await;
    cluster.create_topic(&[("min.insync.replicas", "3"), ("flush.messages", "1")]).await;
    cluster.produce(0..60).await;
    cluster.agree(20).await;
    cluster.assert_same_bytes();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_that_was_gone_catches_up_with_the_leaders_elected_meanwhile() {
    let mut cluster = Cluster::start().await;
    cluster.create_topic(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0..30).await;
    cluster.agree(10).await;
    let gone = cluster.crash_a_leader().await;
    cluster.produce(30..330).await;
    cluster.agree(110).await;
    cluster.start_broker(gone).await;
    cluster.agree(110).await;
    cluster.assert_same_bytes();
    cluster.produce(330..630).await;
    cluster.agree(210).await;
    cluster.assert_same_bytes();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_that_missed_what_was_deleted_begins_anew_at_the_leaders_start() {
    let mut cluster = Cluster::start().await;
    cluster.create_topic(&[("min.insync.replicas", "2")]).await;
    cluster.produce(0..30).await;
    cluster.agree(10).await;
    let gone = cluster.crash_a_leader().await;
    cluster.produce(30..330).await;
    cluster.agree(110).await;
    let before: Vec<_> = (0..PARTITIONS)
        .map(|partition| (Str::from(TOPIC), PartitionId(partition), Offset(110)))
        .collect();
    for deleted in Admin::new(cluster.client()).delete_records(&before).await {
        assert_eq!(deleted.unwrap(), Offset(110));
    }
    cluster.start_broker(gone).await;
    cluster.produce(330..360).await;
    cluster.agree(120).await;
    for partition in 0..PARTITIONS {
        assert_eq!(cluster.view(gone, partition).unwrap().log_start, Offset(110));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_gone_on_every_replica_once_that_is_answered() {
    let cluster = Cluster::start().await;
    cluster.create_topic(&[("min.insync.replicas", "3")]).await;
    cluster.produce(0..90).await;
    cluster.agree(30).await;
    let before: Vec<_> = (0..PARTITIONS)
        .map(|partition| (Str::from(TOPIC), PartitionId(partition), Offset(20)))
        .collect();
    for deleted in Admin::new(cluster.client()).delete_records(&before).await {
        assert_eq!(deleted.unwrap(), Offset(20));
    }
    for partition in 0..PARTITIONS {
        let start = |id: &i32| cluster.view(*id, partition).unwrap().log_start;
        let starts: Vec<_> = cluster.brokers.keys().map(start).collect();
        assert_eq!(starts, [Offset(20); 3], "partition {partition}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_log_directory_costs_the_leaders_in_it_and_no_others() {
    const MANY: i32 = 12;
    let mut cluster = Cluster::without_brokers().await;
    let (disk, dirs) = (SimIo::new(1), ["a", "b"].map(|name| cluster.dir(1).join(name)));
    // What is not a log is in real files.
    std::fs::create_dir_all(&dirs[0]).unwrap();
    for folder in cluster.dir(1).ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
        disk.create_dir(folder).unwrap();
    }
    let names = dirs.map(|dir| dir.display().to_string()).join(",");
    cluster.start_broker_on(1, disk.clone(), &names).await;
    cluster.start_broker(2).await;
    cluster.start_broker(3).await;
    cluster.create_topic_of(MANY, &[("min.insync.replicas", "2")]).await;
    let data = Arc::clone(&cluster.brokers[&1].services().data);
    let partition = |number| {
        let image = data.image.load();
        image.partition(image.topic(TOPIC)?.id, number).map(|partition| partition.value.clone())
    };
    let home = |number| {
        let topic = data.image.load().topic(TOPIC)?.id;
        data.partitions.find(topic, number).map(|handle| handle.log_dir)
    };
    let is_reported = |number| {
        let (known, home) = (partition(number)?.log_dir_of(1), home(number)?);
        (known == data.log_dirs[home].id && partition(number)?.isr.len() == 3).then_some(())
    };
    let reported = || match (0..MANY).filter(|number| is_reported(*number).is_none()).count() {
        0 => Ok(()),
        missing => Err(format!("{missing} are missing")),
    };
    cluster.until("the controller knows where every replica is", reported).await;
    let homes: Vec<_> = (0..MANY).map(|number| home(number).unwrap()).collect();
    let led: Vec<_> = (0..MANY).filter(|number| cluster.leader(*number) == Some(1)).collect();
    let epochs: Vec<_> = (0..MANY).map(|number| partition(number).unwrap().leader_epoch).collect();
    // Where the controller begins to place is drawn, so all that it leads may lie in one of the two.
    assert!(!led.is_empty() && homes.contains(&0) && homes.contains(&1), "{led:?} in {homes:?}");

    disk.inject(Fault::Fail { op: SimOp::Write, nth: 1, error: std::io::ErrorKind::Other });
    cluster.produce_to(MANY, 0..120).await;
    let offline = || data.log_dirs.iter().filter(|dir| dir.is_offline()).count();
    assert_eq!(offline(), 1);
    let failed = data.log_dirs.iter().position(|dir| dir.is_offline()).unwrap();
    let moved = || {
        for number in 0..MANY {
            let now = partition(number).ok_or("a partition is missing")?;
            let is_in_failed = homes[number as usize] == failed;
            if is_in_failed && (now.leader == 1 || now.isr.contains(&1)) {
                return Err(format!("{number} is not given up: {now:?}"));
            }
        }
        Ok(())
    };
    cluster.until("the replicas of the directory are given up", moved).await;
    for number in led.into_iter().filter(|number| homes[*number as usize] != failed) {
        let now = partition(number).unwrap();
        assert_eq!((now.leader, now.leader_epoch), (1, epochs[number as usize]), "{number}");
        assert_eq!(now.isr.len(), 3, "{number}");
    }
    cluster.produce_to(MANY, 120..240).await;
    cluster.stop().await;
}
