//! Every replica down, and what a cluster that is too small refuses.

use ottla_integration_tests::harness::{
    Cluster, Shape,
    history::{Load, LoadOptions, read_with_kcat},
};

use super::{TOPIC, assert_sound, load, three_brokers};

const INVALID_REPLICATION_FACTOR: i16 = 38;

/// Writes, ends the brokers in one order and starts them in another: what was written is there.
fn all_down_and_back(kill: bool, down: [u16; 3], up: [u16; 3]) {
    let mut cluster = three_brokers(&Shape::default());
    let load = load(&cluster);
    load.await_more(600);
    let history = assert_sound(load);
    for id in down {
        if kill {
            cluster.broker(id).kill();
        } else {
            cluster.broker(id).stop();
        }
    }
    for id in up {
        cluster.start_broker(id);
    }
    cluster.await_ready();
    cluster.await_in_sync();
    if let Some(read) = read_with_kcat(&cluster.bootstrap(), TOPIC) {
        assert_eq!(read, history.last);
    }
    assert_sound(load_again(&cluster));
}

/// A second load on a topic of its own: the cluster takes writes again.
fn load_again(cluster: &Cluster) -> Load {
    cluster.create_topic("again", 3, 3, &[("min.insync.replicas", "2")]);
    let options = LoadOptions::new("again", 3);
    let load = Load::start(&cluster.bootstrap(), options);
    load.await_more(600);
    load
}

#[test]
fn all_replicas_killed_and_back_in_another_order_have_everything() {
    all_down_and_back(true, [1, 2, 3], [2, 3, 1]);
}

#[test]
fn all_replicas_stopped_one_by_one_and_back_with_the_last_leader_last_have_everything() {
    all_down_and_back(false, [2, 3, 1], [2, 3, 1]);
}

#[test]
fn more_replicas_than_live_brokers_are_refused() {
    let mut cluster = three_brokers(&Shape::default());
    let (code, message) = cluster.try_create_topic("wide", 1, 4, &[]);
    assert_eq!(code, INVALID_REPLICATION_FACTOR, "{message}");
    assert!(message.contains('3') && message.contains('4'), "{message}");
    cluster.broker(3).kill();
    cluster.await_isr(TOPIC, 0, &[1, 2]);
    let (code, message) = cluster.try_create_topic("wide", 1, 3, &[]);
    assert_eq!(code, INVALID_REPLICATION_FACTOR, "{message}");
}
