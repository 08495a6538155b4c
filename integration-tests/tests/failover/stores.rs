//! Coordinators and members of etcd that are killed or paused.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use ottla_integration_tests::harness::{Cluster, Shape};

use super::{TOPIC, assert_sound, load, three_brokers};

/// Longer than any lease of a broker or coordinator.
const OUTAGE: Duration = Duration::from_secs(5);

#[test]
fn killed_coordinator_leaves_a_topic_of_a_thousand_partitions_whole_or_absent() {
    let shape = Shape { brokers: 2, coordinators: 2, ..Shape::default() };
    let mut cluster = Cluster::start(&shape);
    let active = cluster.active_coordinator();
    let mut victim = std::mem::take(&mut cluster.coordinators);
    let (index, done) = (usize::from(active) - 1, AtomicBool::new(false));
    let of = |id| cluster.describe_by(id, "huge").map_or(0, |partitions| partitions.len());
    thread::scope(|scope| {
        let creation = scope.spawn(|| cluster.try_create_topic("huge", 1000, 2, &[]));
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for id in cluster.broker_ids() {
                    assert!([0, 1000].contains(&of(id)), "{} partitions are seen", of(id));
                }
            }
        });
        // The store has heard of it, and the decision is under way.
        cluster.await_partition_keys(100);
        victim[index].kill();
        let (code, message) = creation.join().expect("an answer");
        // Asked again after the failover, the topic may be there already.
        assert!([0, 36].contains(&code), "{code}: {message}");
        done.store(true, Ordering::Relaxed);
        watcher.join().expect("whole or absent");
    });
    cluster.coordinators = victim;
    cluster.await_partition(("huge", 999), "there", |_| true);
    cluster.await_in_sync();
}

#[test]
fn killed_leader_of_etcd_disturbs_nobody() {
    let mut cluster = three_brokers(&Shape { etcds: 3, ..Shape::default() });
    let load = load(&cluster);
    let leader = cluster.etcd_leader();
    cluster.etcd(leader).kill();
    load.await_each();
    cluster.create_topic("meanwhile", 3, 3, &[]);
    cluster.restart_etcd(leader);
    cluster.await_in_sync();
    assert_sound(load);
}

#[test]
fn data_goes_on_while_all_of_etcd_stands_still() {
    let mut cluster = three_brokers(&Shape { etcds: 3, ..Shape::default() });
    let load = load(&cluster);
    let leaders = [0, 1, 2].map(|partition| cluster.leader_of(TOPIC, partition));
    for id in 1..=3 {
        cluster.etcd(id).pause();
    }
    let since = load.elapsed();
    while load.elapsed() < since + OUTAGE {
        load.await_each();
    }
    for id in 1..=3 {
        cluster.etcd(id).resume();
    }
    // Every claim has lapsed, and none of it makes a broker a dead one.
    cluster.create_topic("at-once", 1, 3, &[]);
    load.await_each();
    cluster.await_in_sync();
    load.await_each();
    cluster.create_topic("afterwards", 1, 3, &[]);
    let after = [0, 1, 2].map(|partition| cluster.leader_of(TOPIC, partition));
    assert_eq!(after, leaders, "nobody else was elected");
    assert_sound(load);
}
