use ottla_metadata::config::ConfigMap;
use ottla_protocol::Uuid;
use ottla_protocol::time::Now;

use super::*;
use crate::controller::brokers::sweep;
use crate::controller::decision::AdminSettings;
use crate::controller::testing::{World, partition, random};

/// Brokers 1 to 3, and a topic with one partition on these, led by broker 1.
fn world(replicas: &[i32]) -> (World, Uuid) {
    let mut world = World::new();
    let epochs: Vec<i64> = (1..=3).map(|broker| world.start_broker(broker)).collect();
    let topic = world.topic("t", &[partition(replicas, epochs[0])]);
    (world, topic)
}

fn ask(world: &mut World, items: &[BrokerDrain]) -> Vec<Result<(), ErrorCode>> {
    let settings = AdminSettings::default();
    let mut random = random(1);
    let mut context = Context {
        image: world.image(),
        settings: &settings,
        now: Now::default(),
        random: &mut random,
    };
    let decision = drain(&mut context, items, false);
    world.commit(decision.units);
    let swept = sweep(world.image(), &ConfigMap::new(), &[]);
    world.commit(swept.units);
    decision.results.into_iter().map(|result| result.map_err(|error| error.code)).collect()
}

fn item(broker: i32, draining: bool) -> BrokerDrain {
    BrokerDrain { broker, draining, force: false }
}

#[test]
fn drained_broker_leads_nothing_and_stays_registered() {
    let (mut world, topic) = world(&[1, 2, 3]);
    assert_eq!(ask(&mut world, &[item(1, true)]), [Ok(())]);
    let partition = world.partition(topic, 0);
    assert_eq!((partition.leader, &partition.isr[..]), (2, &[2, 3][..]));
    assert_eq!(partition.leader_epoch, 6);
    let record = world.image().broker(1).unwrap();
    assert!(record.draining && !record.fenced);

    assert_eq!(ask(&mut world, &[item(1, false)]), [Ok(())]);
    assert!(world.image().broker(1).unwrap().is_active());
}

#[test]
fn broker_that_a_partition_needs_is_drained_only_by_force() {
    let (mut world, topic) = world(&[1]);
    let refused = ask(&mut world, &[item(1, true)]);
    assert_eq!(refused, [Err(ErrorCode::EligibleLeadersNotAvailable)]);
    assert_eq!(world.partition(topic, 0).leader, 1);
    let forced = BrokerDrain { force: true, ..item(1, true) };
    assert_eq!(ask(&mut world, &[forced]), [Ok(())]);
    assert_eq!(world.partition(topic, 0).leader, NO_LEADER);
    assert_eq!(ask(&mut world, &[item(1, false)]), [Ok(())]);
    assert_eq!(world.partition(topic, 0).leader, 1, "it leads again what only it has");
}

#[test]
fn min_isr_is_kept() {
    let (mut world, _) = world(&[1, 2, 3]);
    world.configure("t", "min.insync.replicas", "3");
    assert_eq!(ask(&mut world, &[item(2, true)]), [Err(ErrorCode::NotEnoughReplicas)]);
}

#[test]
fn brokers_of_one_request_see_each_other() {
    let (mut world, _) = world(&[1, 2]);
    let results = ask(&mut world, &[item(1, true), item(2, true)]);
    assert_eq!(results, [Ok(()), Err(ErrorCode::EligibleLeadersNotAvailable)]);
}

#[test]
fn unknown_broker_and_no_change_are_told_apart() {
    let (mut world, _) = world(&[1, 2]);
    assert_eq!(ask(&mut world, &[item(9, true)]), [Err(ErrorCode::BrokerIdNotRegistered)]);
    let before = world.revision();
    assert_eq!(ask(&mut world, &[item(3, false)]), [Ok(())]);
    assert_eq!(world.revision(), before, "nothing was written");
}
