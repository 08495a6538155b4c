//! No answer precedes what it promises: three brokers write to disks that note when a write and when a sync has ended, bare
//! clients note when an answer is there, and one counter orders all of it.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

mod check;
mod disk;
mod load;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ottla_broker::broker::{Broker, Environment, Handle};
use ottla_broker::config::Config;
use ottla_broker::machine;
use ottla_broker::partition::{PartitionHandle, Role};
use ottla_client::admin::NewTopic;
use ottla_client::{Admin, Client, ClientConfig};
use tokio::time::Instant;

use check::{Event, Trace, Watched, check};
use disk::TraceIo;
use load::Target;
use support::Controller;

const PATIENCE: Duration = Duration::from_secs(60);
const BROKERS: [i32; 3] = [1, 2, 3];
/// Topics, and whether what is acknowledged in them is on the disk.
const TOPICS: [(&str, bool); 2] = [("cached", false), ("durable", true)];
const PARTITIONS: i32 = 2;
/// Batches of each producer.
const BATCHES: usize = 40;

/// Three brokers that nobody disturbs: whoever is slow is neither fenced nor put out of sync.
async fn start(controller: &Controller, folder: &std::path::Path, trace: &Trace) -> Vec<Handle> {
    let mut brokers = Vec::new();
    for id in BROKERS {
        let text = format!(
            "node.id={id}\nhttp.listener=:0\nlog.dirs={}\nlisteners=PLAINTEXT://:0\n\
             broker.session.timeout.ms=60000\nreplica.lag.time.max.ms=120000\n",
            folder.join(id.to_string()).display()
        );
        let (config, _) = Config::parse("test", text.as_bytes(), &[]).unwrap();
        let environment = Environment {
            io: TraceIo::new(id, trace),
            boot_id: machine::boot_id(),
            store: Arc::new(controller.store.clone()),
            coordinators: controller.transport(),
        };
        let start = Broker::start_in(config, environment);
        brokers.push(tokio::time::timeout(PATIENCE, start).await.unwrap().unwrap());
    }
    brokers
}

async fn create_topics(brokers: &[Handle]) {
    let address = brokers[0].listeners()[0].1.to_string();
    let admin = Admin::new(Client::new(ClientConfig::new(&address).unwrap()));
    let topics = TOPICS.map(|(name, is_durable)| NewTopic {
        name: name.into(),
        partitions: Some(PARTITIONS),
        replication_factor: Some(3),
        configs: [("min.insync.replicas", "3"), ("flush.messages", "1")]
            .iter()
            .take(1 + usize::from(is_durable))
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..NewTopic::default()
    });
    for created in admin.create_topics(&topics, false).await.unwrap() {
        created.unwrap();
    }
}

fn replica(broker: &Handle, topic: &str, index: i32) -> Option<Arc<PartitionHandle>> {
    let data = &broker.services().data;
    data.partitions.find(data.image.load().topic(topic)?.id, index)
}

/// A partition, once its leader leads it and its followers follow that; and who is in sync.
fn target(brokers: &[Handle], (topic, index): (&'static str, i32)) -> Option<(Target, Watched)> {
    let role = |broker| Some(replica(broker, topic, index)?.view().role);
    let leader = brokers.iter().position(|broker| role(broker) == Some(Role::Leader))?;
    let handle = replica(&brokers[leader], topic, index)?;
    let image = brokers[leader].services().data.image.load();
    let state = &image.partition(handle.topic_id, index)?.value;
    let is_served = |broker| replica(broker, topic, index).map(|r| r.view().leader_epoch);
    let epochs = brokers.iter().map(is_served);
    let whole = epochs.into_iter().all(|epoch| epoch == Some(handle.view().leader_epoch));
    let (_, is_durable) = *TOPICS.iter().find(|(name, _)| *name == topic)?;
    let watched = Watched { leader: BROKERS[leader], in_sync: state.isr.clone(), is_durable };
    let address = brokers[leader].listeners()[0].1;
    whole.then_some((Target { topic, index, address, handle }, watched))
}

async fn targets(brokers: &[Handle]) -> Vec<(Target, Watched)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let names = TOPICS.iter().flat_map(|(name, _)| (0..PARTITIONS).map(move |p| (*name, p)));
        let found: Option<Vec<_>> = names.map(|name| target(brokers, name)).collect();
        if let Some(found) = found {
            return found;
        }
        assert!(Instant::now() < deadline, "the topics are not served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Everything that producers and readers do, until the producers have all their answers.
fn run_load(targets: &[Target], trace: &Trace) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for target in targets {
            scope.spawn(|| load::read(target, trace, &done));
        }
        let producers: Vec<_> = targets
            .iter()
            .flat_map(|target| [1, -1].map(|acks| (target, acks)))
            .map(|(target, acks)| scope.spawn(move || load::produce(target, acks, BATCHES, trace)))
            .collect();
        let ended: Vec<_> = producers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a producer has failed");
    });
}

#[test]
fn no_answer_precedes_the_sync_or_the_high_watermark_that_it_promises() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (trace, folder) = (Trace::default(), tempfile::tempdir().unwrap());
    let controller = runtime.block_on(Controller::start());
    let (brokers, found) = runtime.block_on(async {
        let brokers = start(&controller, folder.path(), &trace).await;
        create_topics(&brokers).await;
        let found = targets(&brokers).await;
        (brokers, found)
    });
    let watched: BTreeMap<_, _> =
        found.iter().map(|(target, watched)| (target.name(), watched.clone())).collect();
    let targets: Vec<_> = found.into_iter().map(|(target, _)| target).collect();
    run_load(&targets, &trace);

    let events = trace.events();
    let after = runtime.block_on(self::targets(&brokers));
    for (target, now) in &after {
        let before = &watched[&target.name()];
        assert_eq!((now.leader, &now.in_sync), (before.leader, &before.in_sync), "undisturbed");
        assert_eq!(now.in_sync.len(), BROKERS.len());
    }
    runtime.block_on(async {
        for broker in brokers {
            broker.stop().await;
        }
    });
    let answers = events.iter().filter(|event| matches!(event, Event::Answered { .. })).count();
    assert_eq!(answers, targets.len() * 2 * BATCHES);
    assert!(events.iter().any(|event| matches!(event, Event::Synced { .. })));
    let too_soon: Vec<_> = check(&events, &watched).iter().map(ToString::to_string).collect();
    assert!(too_soon.is_empty(), "{} of them:\n{}", too_soon.len(), too_soon[..1].join("\n"));
}
