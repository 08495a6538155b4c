//! Networks that part some of the processes from others.

use std::time::Duration;

use ottla_integration_tests::harness::{Role, Shape, short_or_long};

use super::{TOPIC, assert_sound, load, three_brokers};

/// Processes whose links can be cut.
pub fn linked() -> Shape {
    Shape { linked: true, ..Shape::default() }
}

#[test]
fn leader_that_its_followers_cannot_reach_acknowledges_nothing_that_is_lost() {
    let mut shape = linked();
    shape.broker_settings.push("replica.lag.time.max.ms=2000".to_owned());
    let cluster = three_brokers(&shape);
    let load = load(&cluster);
    let leader = cluster.leader_of(TOPIC, 0);
    for id in cluster.broker_ids().filter(|id| *id != leader) {
        cluster.links().cut(Role::Broker(id), Role::Broker(leader));
    }
    cluster.await_partition((TOPIC, 0), "left by its followers, or led by another", |state| {
        state.isr == [leader] || state.leader != Some(leader)
    });
    cluster.links().heal_all();
    cluster.await_in_sync();
    load.await_each();
    assert_sound(load);
}

#[test]
fn slow_link_between_brokers_slows_and_loses_nothing() {
    let cluster = three_brokers(&linked());
    let load = load(&cluster);
    let slow = Duration::from_millis(100);
    for from in cluster.broker_ids() {
        for to in cluster.broker_ids().filter(|to| *to != from) {
            cluster.links().delay(Role::Broker(from), Role::Broker(to), slow);
        }
    }
    load.await_each();
    load.await_each();
    cluster.links().heal_all();
    assert_sound(load);
}

/// The brokers' leases run out, and what they know of the cluster grows old; but they serve, and the coordinator hears them.
#[test]
fn brokers_that_are_all_cut_off_the_store_alone_keep_every_partition_online() {
    let mut shape = linked();
    // So that the time of grace, too, would be over in the short form.
    for settings in [&mut shape.broker_settings, &mut shape.coordinator_settings] {
        settings.push("broker.session.timeout.ms=1500".to_owned());
    }
    let cluster = three_brokers(&shape);
    let load = load(&cluster);
    let elections = || cluster.coordinator_metric("ottla_coordinator_leader_elections_total");
    let assert_online = || {
        let offline = cluster.coordinator_metric("ottla_coordinator_offline_partitions");
        assert!(offline == 0.0, "{offline} partitions are offline");
    };
    let before = elections();
    for id in cluster.broker_ids() {
        cluster.links().cut(Role::Broker(id), Role::Etcd(1));
    }
    let outage = short_or_long(Duration::from_secs(7), Duration::from_secs(60));
    let since = load.elapsed();
    for id in cluster.broker_ids() {
        cluster.await_claim_lapsed(id);
    }
    while load.elapsed() < since + outage {
        load.await_each();
        assert_online();
    }
    assert!(elections() == before, "nobody else was elected");
    cluster.links().heal_all();
    load.await_each();
    cluster.create_topic("afterwards", 1, 3, &[]);
    cluster.await_in_sync();
    assert_online();
    load.await_each();
    assert_sound(load);
}
