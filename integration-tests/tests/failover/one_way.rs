//! Networks in which one hears the other and is not heard.

use std::time::Duration;

use ottla_integration_tests::harness::{Cluster, Role, history::Load, short_or_long};

use super::{TOPIC, assert_sound, load, networks::linked, three_brokers};

/// Cuts these ways for a while, under load, and heals them; what was acknowledged is there.
fn cut_one_way(ways: impl Fn(u16, &Cluster) -> Vec<(Role, Role)>) {
    let mut shape = linked();
    shape.broker_settings.push("replica.lag.time.max.ms=1500".to_owned());
    let cluster = three_brokers(&shape);
    let load = load(&cluster);
    let leader = cluster.leader_of(TOPIC, 0);
    for (from, to) in ways(leader, &cluster) {
        cluster.links().cut_one_way(from, to);
    }
    endure(&load);
    cluster.links().heal_all();
    cluster.await_in_sync();
    load.await_each();
    assert_sound(load);
}

/// Whoever can goes on meanwhile.
fn endure(load: &Load) {
    let since = load.elapsed();
    let outage = short_or_long(Duration::from_secs(3), Duration::from_secs(30));
    while load.elapsed() < since + outage {
        load.await_more(1);
    }
}

/// Pairs of the leader with each of its followers.
fn with_followers(leader: u16, cluster: &Cluster) -> Vec<(Role, Role)> {
    let followers = cluster.broker_ids().filter(|id| *id != leader);
    followers.map(|id| (Role::Broker(leader), Role::Broker(id))).collect()
}

#[test]
fn leader_whose_followers_ask_and_hear_nothing_loses_nothing() {
    cut_one_way(with_followers);
}

#[test]
fn leader_that_its_followers_do_not_reach_and_that_reaches_them_loses_nothing() {
    cut_one_way(|leader, cluster| {
        with_followers(leader, cluster).into_iter().map(|(leader, other)| (other, leader)).collect()
    });
}

/// Its heartbeats and proposals arrive and are answered, and it learns of no answer.
#[test]
fn leader_that_the_coordinator_hears_and_that_does_not_hear_it_loses_nothing() {
    cut_one_way(|leader, _| vec![(Role::Coordinator(1), Role::Broker(leader))]);
}

/// The lease is kept alive, but what the store says does not arrive: the leader works by an image that grows old.
#[test]
fn leader_that_the_store_hears_and_that_does_not_hear_it_loses_nothing() {
    cut_one_way(|leader, _| vec![(Role::Etcd(1), Role::Broker(leader))]);
}
