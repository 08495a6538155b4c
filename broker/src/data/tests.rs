use ottla_metadata::model::LOST_DIR;
use ottla_protocol::ErrorCode;
use ottla_protocol::types::Offset;
use ottla_storage::SimIo;
use ottla_storage::io::{Fault, OpenMode, SimOp};

use super::*;
use crate::handlers::Produce;
use crate::partition::Role;
use crate::testing::data::{
    EPOCH, PATIENCE, TestBroker, TestCluster, TestTopic, batch, only, produce_request,
};

fn folders(broker: &TestBroker, dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(broker.path().join(dir)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn records_outlive_an_orderly_end() {
    let mut topic = TestTopic::new("orders", 2);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 1, &batch(&["a", "b"])).await;
    let cluster = broker.cluster.clone();
    // The next life is elected before it starts, as the controller does when it accepts the claim.
    let TestBroker { plane, services, .. } = broker;
    plane.shutdown(EPOCH).await;
    drop(services);
    (topic.leader_epoch, topic.broker_epoch) = (1, EPOCH + 1);
    cluster.put_topic(&topic).await;
    let broker = cluster.start(&["a"], EPOCH + 1).await;
    let handle = broker.leads(topic.id, 1).await;
    assert_eq!(handle.view().high_watermark, Offset(2));
    assert_eq!(broker.append(&topic, 1, &batch(&["c"])).await, 2);
}

#[tokio::test]
async fn clean_end_is_told_with_its_epoch() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let path = broker.path().join("a");
    let server = Arc::clone(&broker.services.config.server);
    let TestBroker { plane, cluster, .. } = broker;
    plane.shutdown(EPOCH).await;
    let config = DataConfig::new(
        server,
        BrokerId(1),
        Str::from_static(crate::testing::CLUSTER_ID),
        "boot".into(),
        vec![path],
    );
    let dirs = LogDirs::open(&ottla_storage::RealIo, config).unwrap();
    assert_eq!(dirs.previous_life(), PreviousLife::Clean { broker_epoch: Some(EPOCH) });
    drop(cluster);
}

#[tokio::test]
async fn former_life_does_not_lead() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    // A new claim was made, and the controller has not bumped the partition's epoch yet.
    broker.epoch.send(EPOCH + 1).unwrap();
    let handle = broker.plane.path.partitions.find(topic.id, 0).unwrap();
    broker.until(|| (handle.view().role == Role::Follower).then_some(())).await;
    let request = produce_request((&topic, 0), 1, batch(&["a"]).bytes);
    let response = broker.ask::<Produce>(9, request).await.unwrap();
    assert_eq!(only(&response).0, ErrorCode::NotLeaderOrFollower.code());
    let next =
        TestTopic { leader_epoch: 1, broker_epoch: EPOCH + 1, ..TestTopic::new("orders", 1) };
    broker.cluster.put_topic(&next).await;
    broker.leads(topic.id, 0).await;
}

#[tokio::test]
async fn deleted_topic_loses_its_folder_and_a_new_one_begins_at_0() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 0, &batch(&["a"])).await;
    let old = broker.leads(topic.id, 0).await;
    broker.cluster.delete_topic(&topic).await;
    broker.until(|| broker.plane.path.partitions.is_empty().then_some(())).await;
    let again = TestTopic { id: Uuid::ONE, ..TestTopic::new("orders", 1) };
    broker.cluster.put_topic(&again).await;
    broker.leads(again.id, 0).await;
    assert_eq!(broker.append(&again, 0, &batch(&["b"])).await, 0);
    assert_eq!(old.view().role, Role::Follower);
    broker.until(|| (folders(&broker, "a") == ["orders-0"]).then_some(())).await;
}

#[tokio::test]
async fn what_a_complete_image_does_not_know_becomes_stray() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    broker.append(&topic, 0, &batch(&["a"])).await;
    let folder = Arc::clone(&broker.cluster.folder);
    broker.plane.shutdown(EPOCH).await;
    // Another history of the metadata, in which the name belongs to another topic.
    let other = TestCluster { folder, ..TestCluster::new() };
    let unrelated = TestTopic { id: Uuid::ONE, ..TestTopic::new("orders", 1) };
    other.put_topic(&unrelated).await;
    let broker = other.start(&["a"], EPOCH).await;
    let handle = broker.leads(Uuid::ONE, 0).await;
    assert_eq!(handle.view().log_end, Offset(0));
    let names = folders(&broker, "a");
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().any(|name| name.ends_with("-stray")), "{names:?}");
}

#[tokio::test]
async fn folder_whose_topic_is_gone_becomes_stray() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let folder = Arc::clone(&broker.cluster.folder);
    broker.plane.shutdown(EPOCH).await;
    let other = TestCluster { folder, ..TestCluster::new() };
    let unrelated = TestTopic { id: Uuid::ONE, ..TestTopic::new("invoices", 1) };
    other.put_topic(&unrelated).await;
    let broker = other.start(&["a"], EPOCH).await;
    broker.leads(Uuid::ONE, 0).await;
    let is_stray = |name: &String| name.starts_with("orders-0.") && name.ends_with("-stray");
    broker.until(|| folders(&broker, "a").iter().any(is_stray).then_some(())).await;
}

#[tokio::test]
async fn nothing_is_touched_before_the_image_is_complete() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let dirs = ["a"];
    let path = broker.path().join("a");
    let server = Arc::clone(&broker.services.config.server);
    let folder = Arc::clone(&broker.cluster.folder);
    broker.plane.shutdown(EPOCH).await;
    let config = DataConfig::new(
        server,
        BrokerId(1),
        Str::from_static(crate::testing::CLUSTER_ID),
        "boot".into(),
        vec![path],
    );
    let mut opened = LogDirs::open(&ottla_storage::RealIo, config).unwrap();
    opened.recover(&Image::default()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock::start());
    let (_epoch, receiver) = watch::channel(EPOCH);
    let incomplete = ImageReader::fixed(Image::default());
    let plane = DataPlane::start(opened, incomplete, receiver, &clock).unwrap();
    plane.shutdown(EPOCH).await;
    let names: Vec<_> = std::fs::read_dir(folder.path().join(dirs[0]))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name == "orders-0"), "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with("-stray")), "{names:?}");
}

#[tokio::test]
async fn topic_configuration_is_applied_while_it_runs() {
    let topic = TestTopic::new("orders", 1);
    let broker = TestBroker::leading(&[&topic]).await;
    let large = batch(&["x".repeat(2_000).as_str()]);
    broker.append(&topic, 0, &large).await;
    let small = TestTopic::new("orders", 1).with("max.message.bytes", "1000");
    broker.cluster.put_topic(&small).await;
    let handle = broker.leads(topic.id, 0).await;
    broker.until(|| (handle.view().settings.batch_bytes_max == 1000).then_some(())).await;
    let request = produce_request((&topic, 0), 1, large.bytes);
    let response = broker.ask::<Produce>(9, request).await.unwrap();
    assert_eq!(only(&response).0, ErrorCode::MessageTooLarge.code());
}

#[tokio::test]
async fn partitions_spread_over_the_directories() {
    let topic = TestTopic::new("orders", 8);
    let cluster = TestCluster::new();
    cluster.put_topic(&topic).await;
    let broker = cluster.start(&["a", "b"], EPOCH).await;
    for partition in 0..8 {
        broker.leads(topic.id, partition).await;
    }
    let of = |number| {
        let all = broker.plane.path.partitions.all();
        all.iter().filter(|handle| handle.log_dir == number).count()
    };
    assert_eq!(of(0) + of(1), 8);
    assert!(0 < of(0) && 0 < of(1), "{} and {}", of(0), of(1));
}

#[tokio::test]
async fn many_partitions_come_and_stay_through_a_restart() {
    let mut topic = TestTopic::new("orders", 100);
    let broker = TestBroker::leading(&[&topic]).await;
    assert_eq!(broker.plane.path.partitions.len(), 100);
    let TestBroker { plane, cluster, .. } = broker;
    plane.shutdown(EPOCH).await;
    (topic.leader_epoch, topic.broker_epoch) = (1, EPOCH + 1);
    cluster.put_topic(&topic).await;
    let broker = cluster.start(&["a"], EPOCH + 1).await;
    for partition in 0..100 {
        broker.leads(topic.id, partition).await;
    }
}

#[tokio::test]
async fn failed_disk_takes_its_own_partitions_offline_and_no_others() {
    let topic = TestTopic::new("orders", 8);
    let cluster = TestCluster::new();
    cluster.put_topic(&topic).await;
    let io = SimIo::new(1);
    let mut broker = cluster.start_on(io.clone(), &["/a", "/b"], EPOCH).await;
    let mut homes = Vec::new();
    for partition in 0..8 {
        homes.push(broker.leads(topic.id, partition).await.log_dir);
    }
    io.inject(Fault::Fail { op: SimOp::Write, nth: 1, error: std::io::ErrorKind::Other });
    let request = produce_request((&topic, 0), 1, batch(&["a"]).bytes);
    let response = broker.ask::<Produce>(9, request).await.unwrap();
    assert_eq!(only(&response).0, ErrorCode::KafkaStorageError.code());
    for (partition, home) in (0..8).zip(&homes) {
        let handle = broker.plane.path.partitions.find(topic.id, partition).unwrap();
        if *home == homes[0] {
            broker.until(|| (handle.view().role == Role::Offline).then_some(())).await;
        } else {
            broker.append(&topic, partition, &batch(&["a"])).await;
        }
    }
    let failed = broker.plane.path.log_dirs[homes[0]].id;
    let offline = broker.plane.offline_dirs.wait_for(|dirs| !dirs.is_empty());
    let offline = tokio::time::timeout(PATIENCE, offline).await.unwrap().unwrap().clone();
    assert_eq!(offline, [failed]);
}

#[tokio::test]
async fn crash_of_the_process_loses_nothing_that_was_written() {
    let mut topic = TestTopic::new("orders", 1);
    let cluster = TestCluster::new();
    cluster.put_topic(&topic).await;
    let io = SimIo::new(1);
    let broker = cluster.start_on(io.clone(), &["/a"], EPOCH).await;
    broker.leads(topic.id, 0).await;
    broker.append(&topic, 0, &batch(&["a", "b"])).await;
    io.process_crash();
    drop(broker);
    (topic.leader_epoch, topic.broker_epoch) = (1, EPOCH + 1);
    cluster.put_topic(&topic).await;
    let broker = cluster.start_on(io, &["/a"], EPOCH + 1).await;
    let handle = broker.leads(topic.id, 0).await;
    assert_eq!(handle.view().high_watermark, Offset(2));
    assert_eq!(broker.append(&topic, 0, &batch(&["c"])).await, 2);
}

#[tokio::test]
async fn log_that_cannot_be_opened_is_reported_as_lost_and_others_are_served() {
    let mut topic = TestTopic::new("orders", 2);
    let cluster = TestCluster::new();
    cluster.put_topic(&topic).await;
    let io = SimIo::new(1);
    let broker = cluster.start_on(io.clone(), &["/a"], EPOCH).await;
    broker.leads(topic.id, 0).await;
    broker.leads(topic.id, 1).await;
    io.process_crash();
    drop(broker);
    let left = std::path::Path::new("/a/orders-0/00000000000000000000.log.swap");
    io.open(left, OpenMode::CreateNew).unwrap();
    (topic.leader_epoch, topic.broker_epoch) = (1, EPOCH + 1);
    cluster.put_topic(&topic).await;
    let broker = cluster.start_on(io, &["/a"], EPOCH + 1).await;
    broker.leads(topic.id, 1).await;
    let path = &broker.plane.path;
    broker.until(|| path.partitions.is_unusable(topic.id, 0).then_some(())).await;
    assert_eq!(path.placements.take().get(&(topic.id, 0)), Some(&LOST_DIR));
}
