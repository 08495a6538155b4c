//! Networks that part some of the processes from others.

use std::time::Duration;

use ottla_integration_tests::harness::{Role, Shape, eventually};

use super::{TOPIC, assert_sound, load, three_brokers};

fn linked() -> Shape {
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
fn leader_cut_off_the_store_and_the_coordinator_is_replaced_and_nothing_is_lost() {
    let cluster = three_brokers(&linked());
    let load = load(&cluster);
    let leader = cluster.leader_of(TOPIC, 0);
    cluster.links().cut(Role::Broker(leader), Role::Etcd(1));
    cluster.links().cut(Role::Broker(leader), Role::Coordinator(1));
    let others: Vec<u16> = cluster.broker_ids().filter(|id| *id != leader).collect();
    let sees_another = |id: &u16| {
        let states = cluster.describe_by(*id, TOPIC)?;
        states[0].leader.filter(|new| *new != leader)
    };
    eventually("the others see another leader", Duration::from_secs(45), || {
        others.iter().all(|id| sees_another(id).is_some()).then_some(())
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
