//! Leaders that are killed, stopped or paused under load.

use ottla_integration_tests::harness::{
    Shape,
    history::{History, JavaProducer, Outcome, read_with_kcat},
};

use super::{TOPIC, assert_sound, load, three_brokers};

#[test]
fn leader_killed_five_times_in_a_row_loses_and_repeats_nothing() {
    let mut cluster = three_brokers(&Shape::default());
    let load = load(&cluster);
    for round in 0..5 {
        let leader = cluster.leader_of(TOPIC, round % 3);
        cluster.broker(leader).kill();
        load.await_each();
        cluster.restart_broker(leader);
        cluster.await_in_sync();
    }
    let history = assert_sound(load);
    // A foreign reader sees the very same.
    if let Some(read) = read_with_kcat(&cluster.bootstrap(), TOPIC) {
        assert_eq!(read, history.last);
    }
}

#[test]
fn kafkas_own_producer_loses_and_repeats_nothing_when_leaders_are_killed() {
    let mut cluster = three_brokers(&Shape::default());
    cluster.create_topic("java", 1, 3, &[("min.insync.replicas", "2")]);
    cluster.await_in_sync();
    let (folder, bootstrap) = (cluster.folder().to_owned(), cluster.bootstrap());
    let Some(producer) = JavaProducer::start(&folder, &bootstrap, "java", 9, 500) else { return };
    for _ in 0..2 {
        let leader = cluster.leader_of("java", 0);
        cluster.broker(leader).kill();
        producer.await_more(200);
        cluster.restart_broker(leader);
        cluster.await_in_sync();
    }
    let mut history = History::default();
    history.producers.extend([producer.finish()]);
    assert!(400 < history.acknowledged(), "too little was written");
    let Some(read) = read_with_kcat(&bootstrap, "java") else { return };
    history.last = read;
    history.assert_sound();
}

#[test]
fn rolling_restart_fails_no_write() {
    let mut cluster = three_brokers(&Shape::default());
    let load = load(&cluster);
    for id in 1..=3 {
        assert!(cluster.broker(id).stop().success());
        load.await_each();
        cluster.restart_broker(id);
        cluster.await_in_sync();
    }
    let history = assert_sound(load);
    let records = history.producers.values().flat_map(|producer| producer.records.values());
    let failed: Vec<_> =
        records.filter(|record| matches!(record.outcome, Outcome::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:?}");
}
