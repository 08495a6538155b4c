use super::*;
use crate::controller::brokers::sweep;
use crate::controller::liveness::Verdict;
use crate::controller::testing::{World, partition};

const A: Uuid = Uuid::from_bytes([0xa; 16]);
const B: Uuid = Uuid::from_bytes([0xb; 16]);

/// Brokers 1, with directories A and B, and 2; two partitions on both, led by 1.
fn setup() -> (World, Uuid, i64) {
    let mut world = World::new();
    let epoch = world.start_broker(1);
    world.change_broker(1, |record| record.log_dirs = vec![A, B]);
    world.start_broker(2);
    let topic = world.topic("t", &[partition(&[1, 2], epoch), partition(&[1, 2], epoch)]);
    (world, topic, epoch)
}

fn report(topic: Uuid, broker_epoch: i64, directories: &[Uuid]) -> DirectoryReport {
    let placed = (0..).zip(directories).map(|(partition, directory)| Placed {
        topic_id: topic,
        partition,
        directory: *directory,
    });
    DirectoryReport { broker: 1, broker_epoch, placed: placed.collect() }
}

#[test]
fn what_a_broker_reports_is_written_once() {
    let (mut world, topic, epoch) = setup();
    let report = report(topic, epoch, &[A, B]);
    let (results, units) = assign(world.image(), &ConfigMap::new(), &report).unwrap();
    assert!(results.iter().all(Result::is_ok));
    world.commit(units);
    assert_eq!(world.partition(topic, 0).log_dir_of(1), A);
    assert_eq!(world.partition(topic, 1).log_dir_of(1), B);
    assert_eq!(world.partition(topic, 1).leader_epoch, 5, "nobody is elected for it");
    let (_, units) = assign(world.image(), &ConfigMap::new(), &report).unwrap();
    assert!(units.is_empty());
}

#[test]
fn partitions_in_a_failed_directory_lead_elsewhere_and_the_others_stay() {
    let (mut world, topic, epoch) = setup();
    let (_, units) =
        assign(world.image(), &ConfigMap::new(), &report(topic, epoch, &[A, B])).unwrap();
    world.commit(units);
    let verdict = Verdict::LogDirs { broker: 1, offline: vec![B] };
    let units = sweep(world.image(), &ConfigMap::new(), &[verdict]).units;
    // The record comes first: a successor finds the rest by itself.
    world.commit_some(units.iter().take(1).cloned().collect(), 1);
    let units = sweep(world.image(), &ConfigMap::new(), &[]).units;
    world.commit(units);
    let (stays, goes) = (world.partition(topic, 0), world.partition(topic, 1));
    assert_eq!((stays.leader, &stays.isr[..]), (1, &[1, 2][..]));
    assert_eq!((goes.leader, goes.leader_epoch, &goes.isr[..]), (2, 6, &[2][..]));
}

#[test]
fn report_of_a_directory_that_failed_already_moves_the_leader() {
    let (mut world, topic, epoch) = setup();
    world.change_broker(1, |record| record.offline_log_dirs = vec![B]);
    let (_, units) =
        assign(world.image(), &ConfigMap::new(), &report(topic, epoch, &[A, B])).unwrap();
    world.commit(units);
    assert_eq!((world.partition(topic, 0).leader, world.partition(topic, 1).leader), (1, 2));
}

#[test]
fn log_that_cannot_be_used_costs_its_seat_until_its_broker_has_another_word_for_it() {
    let (mut world, topic, epoch) = setup();
    world.configure("t", "min.insync.replicas", "2");
    let lost = report(topic, epoch, &[LOST_DIR]);
    let (_, units) = assign(world.image(), &ConfigMap::new(), &lost).unwrap();
    world.commit(units);
    let partition = world.partition(topic, 0);
    assert_eq!((partition.leader, &partition.isr[..]), (2, &[2][..]));
    assert_eq!((&partition.elr[..], &partition.last_known_elr[..]), (&[][..], &[1][..]));
    assert_eq!(partition.log_dir_of(1), LOST_DIR, "nothing forgets it by itself");
    assert_eq!(world.partition(topic, 1).leader, 1, "others stay");
    assert!(sweep(world.image(), &ConfigMap::new(), &[]).units.is_empty());
    let (_, units) = assign(world.image(), &ConfigMap::new(), &report(topic, epoch, &[A])).unwrap();
    world.commit(units);
    let partition = world.partition(topic, 0);
    assert_eq!((partition.log_dir_of(1), &partition.isr[..]), (A, &[2][..]));
}

#[test]
fn only_log_that_cannot_be_used_leads_nothing_and_is_waited_for() {
    let (mut world, _, epoch) = setup();
    let topic = world.topic("alone", &[partition(&[1], epoch)]);
    let told = |world: &mut World, dir| {
        let (_, units) =
            assign(world.image(), &ConfigMap::new(), &report(topic, epoch, &[dir])).unwrap();
        world.commit(units);
    };
    told(&mut world, LOST_DIR);
    assert_eq!(world.partition(topic, 0).leader, -1);
    told(&mut world, B);
    assert_eq!(world.partition(topic, 0).leader, 1);
}

#[test]
fn broker_whose_directories_all_failed_leads_nothing() {
    let (mut world, topic, _) = setup();
    let verdict = Verdict::LogDirs { broker: 1, offline: vec![A, B] };
    let units = sweep(world.image(), &ConfigMap::new(), &[verdict]).units;
    world.commit(units);
    assert!((0..2).all(|number| world.partition(topic, number).leader == 2));
    assert!(!world.image().broker(1).unwrap().fenced, "its process lives");
}

#[test]
fn strangers_and_former_lives_report_nothing() {
    let (world, topic, epoch) = setup();
    let ask = |report: &DirectoryReport| assign(world.image(), &ConfigMap::new(), report);
    let stale = ask(&report(topic, epoch - 1, &[A]));
    assert_eq!(stale.unwrap_err(), ErrorCode::StaleBrokerEpoch);
    let unknown = ask(&DirectoryReport { broker: 9, ..report(topic, epoch, &[A]) });
    assert_eq!(unknown.unwrap_err(), ErrorCode::BrokerIdNotRegistered);
    let (results, units) = ask(&report(topic, epoch, &[A, A, A])).unwrap();
    assert_eq!((results[2], units.len()), (Err(ErrorCode::UnknownTopicOrPartition), 2));
    let (results, _) = ask(&report(Uuid::ONE, epoch, &[A])).unwrap();
    assert_eq!(results[0], Err(ErrorCode::UnknownTopicId));
}
