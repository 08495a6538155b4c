//! Etcd is set back to an older state, or lost, under a cluster that lived on: every process refuses it, and
//! `ottla cluster recover` puts it right from the brokers' disks.

use std::{fs, path::Path, process::Command, time::Duration};

use ottla_integration_tests::harness::{
    Cluster, PartitionState, Process, Shape, WireClient, binary, eventually,
    history::{History, Load, LoadOptions},
};
use ottla_protocol::messages::{
    DeleteTopicsRequest, InitProducerIdRequest, delete_topics_request::DeleteTopicState,
};

const TOPIC: &str = "kept";
const PARTITIONS: i32 = 3;
const WITHIN: Duration = Duration::from_secs(45);

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn delete_topic(cluster: &Cluster, name: &str) {
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: Some(name.into()), ..DeleteTopicState::default() }],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    eventually("the topic is deleted", WITHIN, || {
        let mut client = WireClient::try_connect(cluster.broker_address(1), WITHIN).ok()?;
        let response = client.try_call(6, &request).ok()?;
        (response.responses.first()?.error_code == 0).then_some(())
    });
}

fn producer_id(cluster: &Cluster, broker: u16) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    eventually("a producer id", WITHIN, || {
        let mut client = WireClient::try_connect(cluster.broker_address(broker), WITHIN).ok()?;
        let response = client.try_call(4, &request).ok()?;
        (response.error_code == 0).then_some(response.producer_id)
    })
}

fn states(cluster: &Cluster) -> Vec<PartitionState> {
    let whole =
        |partition| cluster.await_partition((TOPIC, partition), "led", |s| s.leader.is_some());
    (0..PARTITIONS).map(whole).collect()
}

/// What the cluster lives through after its etcd was copied: topics come and go, leaders move, records come.
fn live_on(cluster: &mut Cluster, load: &Load) {
    cluster.create_topic("later", 2, 3, &[]);
    delete_topic(cluster, "doomed");
    for id in 1..=3 {
        cluster.crash_and_restart_broker(id);
        cluster.await_in_sync();
        load.await_each();
    }
}

fn stop_all(cluster: &mut Cluster) {
    for process in &mut cluster.brokers {
        process.stop();
    }
    cluster.coordinator(1).stop();
    cluster.etcd(1).stop();
}

fn assert_refuses(mut process: Process) {
    let status = process.wait();
    let log = process.log_text();
    assert!(!status.success(), "{} ended well:\n{log}", process.name());
    assert!(log.contains("ottla cluster recover"), "no cure is named:\n{log}");
}

/// Runs `ottla cluster recover apply` over the disks of all brokers; what it printed.
fn recover(cluster: &Cluster, last: &[&str]) -> (bool, String) {
    let dirs: Vec<_> =
        cluster.broker_ids().map(|id| cluster.broker_log_dir(id).display().to_string()).collect();
    let mut command = Command::new(binary("ottla"));
    command.args(["cluster", "recover", "apply", "--log-dirs", &dirs.join(",")]);
    command.args(["--etcd", &format!("http://{}", cluster.etcd_address(1))]).args(last);
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

fn start_all(cluster: &mut Cluster) {
    *cluster.coordinator(1) = cluster.spawn_coordinator(1);
    for id in 1..=3 {
        *cluster.broker(id) = cluster.spawn_broker(id);
    }
    cluster.await_ready();
    cluster.await_in_sync();
}

fn three_brokers() -> Cluster {
    let cluster = Cluster::start(&Shape::of(3));
    cluster.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")]);
    cluster.create_topic("doomed", 1, 3, &[]);
    cluster.await_in_sync();
    cluster
}

fn load(cluster: &Cluster, topic: &str) -> Load {
    let load = Load::start(&cluster.bootstrap(), LoadOptions::new(topic, PARTITIONS));
    load.await_each();
    load
}

/// What must hold whatever became of etcd.
fn assert_recovered(
    cluster: &Cluster,
    mut history: History,
    (before, highest): (Vec<PartitionState>, i64),
) {
    history.read_again(&cluster.bootstrap(), TOPIC);
    history.assert_sound();
    for (before, after) in before.iter().zip(states(cluster)) {
        assert!(before.leader_epoch < after.leader_epoch, "{before:?} {after:?}");
    }
    for id in 1..=3 {
        assert!(highest < producer_id(cluster, id), "an id is given again");
    }
    cluster.create_topic("afterwards", PARTITIONS, 3, &[("min.insync.replicas", "2")]);
    let load = load(cluster, "afterwards");
    load.await_more(300);
    load.finish().assert_sound();
}

#[test]
fn cluster_of_an_etcd_that_was_set_back_is_recovered_and_nothing_acknowledged_is_lost() {
    let mut cluster = three_brokers();
    let load = load(&cluster, TOPIC);
    load.await_more(300);
    let (data, snapshot) = (cluster.etcd_data_dir(1), cluster.folder().join("snapshot"));
    cluster.etcd(1).stop();
    copy(&data, &snapshot);
    cluster.restart_etcd(1);
    live_on(&mut cluster, &load);
    let (refused, text) = recover(&cluster, &["--yes"]);
    assert!(!refused && text.contains("locked"), "brokers run: {text}");
    let before = states(&cluster);
    let highest = (1..=3).map(|id| producer_id(&cluster, id)).max().expect("three");
    let history = load.finish();
    history.assert_sound();

    stop_all(&mut cluster);
    fs::remove_dir_all(&data).expect("it is there");
    copy(&snapshot, &data);
    cluster.restart_etcd(1);
    assert_refuses(cluster.spawn_coordinator(1));
    assert_refuses(cluster.spawn_broker(1));

    let (done, text) = recover(&cluster, &["--dry-run"]);
    assert!(done && text.contains("nothing was written"), "{text}");
    for finding in ["later", "its configs are lost", "doomed", "was deleted since"] {
        assert!(text.contains(finding), "nothing of {finding:?} in\n{text}");
    }
    assert_refuses(cluster.spawn_broker(2));
    let (done, text) = recover(&cluster, &["--yes"]);
    assert!(done, "{text}");
    start_all(&mut cluster);
    assert!(cluster.describe_by(1, "doomed").is_none(), "a deleted topic came back");
    assert_eq!(cluster.describe_by(1, "later").map(|partitions| partitions.len()), Some(2));
    assert_recovered(&cluster, history, (before, highest));
}

#[test]
fn cluster_whose_etcd_is_lost_is_made_anew_from_its_disks() {
    let mut cluster = three_brokers();
    let load = load(&cluster, TOPIC);
    load.await_more(300);
    cluster.crash_and_restart_broker(1);
    load.await_each();
    let before = states(&cluster);
    let highest = (1..=3).map(|id| producer_id(&cluster, id)).max().expect("three");
    let history = load.finish();
    // No orderly end, for anybody.
    for process in &mut cluster.brokers {
        process.kill();
    }
    cluster.coordinator(1).kill();
    cluster.etcd(1).kill();
    fs::remove_dir_all(cluster.etcd_data_dir(1)).expect("it is there");
    cluster.restart_etcd(1);
    assert_refuses(cluster.spawn_broker(1));
    let (done, text) = recover(&cluster, &["--yes"]);
    assert!(done, "{text}");
    start_all(&mut cluster);
    assert_recovered(&cluster, history, (before, highest));
}
