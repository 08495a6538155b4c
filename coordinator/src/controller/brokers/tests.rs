use ottla_metadata::model::NO_LEADER;

use super::*;
use crate::controller::liveness::FenceReason;
use crate::controller::testing::{World, partition};

fn run(world: &mut World, verdicts: &[Verdict]) -> Sweep {
    let sweep = sweep(world.image(), &ConfigMap::new(), verdicts);
    world.commit(sweep.units.clone());
    sweep
}

fn lapsed(broker: i32) -> Verdict {
    Verdict::Fence { broker, reason: FenceReason::Lapsed }
}

#[test]
fn new_life_raises_the_epoch_of_all_it_led_before_it_is_unfenced() {
    let mut world = World::new();
    let former = world.start_broker(1);
    let topic = world.topic("t", &vec![partition(&[1], former); 300]);
    let epoch = world.claim(1, PreviousLife::ProcessCrash { broker_epoch: former });
    let sweep =
        sweep(world.image(), &ConfigMap::new(), &[Verdict::Register { broker: 1, heard: true }]);
    assert_eq!(sweep.units.len(), 301);
    let last = &sweep.units[300].changes[0];
    assert_eq!(last.key, Key::Broker(1), "the record comes last");
    world.commit(sweep.units);
    assert!(!world.image().broker(1).unwrap().fenced);
    for number in 0..300 {
        let partition = world.partition(topic, number);
        assert_eq!((partition.leader, partition.leader_epoch), (1, 6));
        assert_eq!(partition.leader_broker_epoch, epoch);
    }
}

#[test]
fn registration_that_was_cut_short_is_finished_by_a_successor() {
    let mut world = World::new();
    let former = world.start_broker(1);
    let topic = world.topic("t", &vec![partition(&[1], former); 300]);
    let epoch = world.claim(1, PreviousLife::ProcessCrash { broker_epoch: former });
    let register = [Verdict::Register { broker: 1, heard: true }];
    let cut = sweep(world.image(), &ConfigMap::new(), &register);
    world.commit_some(cut.units, 1);
    assert_eq!(world.image().broker(1).unwrap().broker_epoch, former, "not registered yet");
    run(&mut world, &register);
    assert_eq!(world.image().broker(1).unwrap().broker_epoch, epoch);
    assert!((0..300).all(|number| {
        let partition = world.partition(topic, number);
        partition.leader_broker_epoch == epoch && partition.leader_epoch == 6
    }));
}

#[test]
fn crash_of_the_machine_costs_the_seats_and_that_of_the_process_does_not() {
    for (previous_of, isr) in [
        (
            (|broker_epoch| PreviousLife::MachineCrash { broker_epoch }) as fn(i64) -> PreviousLife,
            vec![2],
        ),
        (|_| PreviousLife::None, vec![2]),
        (|broker_epoch| PreviousLife::ProcessCrash { broker_epoch: broker_epoch - 1 }, vec![2]),
        (|broker_epoch| PreviousLife::ProcessCrash { broker_epoch }, vec![1, 2]),
        (|broker_epoch| PreviousLife::Clean { broker_epoch }, vec![1, 2]),
    ] {
        let mut world = World::new();
        let former = world.start_broker(1);
        let other = world.start_broker(2);
        let mut led_by_other = partition(&[1, 2], other);
        led_by_other.leader = 2;
        let topic = world.topic("t", &[led_by_other]);
        world.claim(1, previous_of(former));
        run(&mut world, &[Verdict::Register { broker: 1, heard: true }]);
        assert_eq!(world.partition(topic, 0).isr, isr, "{:?}", previous_of(former));
    }
}

#[test]
fn only_replica_leads_on_after_a_crash_of_its_machine() {
    let mut world = World::new();
    let former = world.start_broker(1);
    let topic = world.topic("t", &[partition(&[1], former)]);
    let epoch = world.claim(1, PreviousLife::MachineCrash { broker_epoch: former });
    run(&mut world, &[Verdict::Register { broker: 1, heard: true }]);
    let partition = world.partition(topic, 0);
    assert_eq!((partition.leader, partition.leader_broker_epoch), (1, epoch));
}

#[test]
fn fencing_elects_others_and_leaves_what_has_no_other_without_leader() {
    let mut world = World::new();
    let one = world.start_broker(1);
    world.start_broker(2);
    let topic = world.topic("t", &[partition(&[1, 2], one), partition(&[1], one)]);
    let sweep = run(&mut world, &[lapsed(1)]);
    assert_eq!(sweep.elections, [Election::InSync, Election::Offline]);
    assert_eq!(sweep.units[0].changes[0].key, Key::Broker(1), "the record comes first");
    assert_eq!(world.partition(topic, 0).leader, 2);
    assert_eq!(world.partition(topic, 1).leader, NO_LEADER);
    run(&mut world, &[Verdict::Unfence { broker: 1 }]);
    assert_eq!(world.partition(topic, 0).leader, 2, "nobody is deposed for it");
    assert_eq!((world.partition(topic, 1).leader, world.partition(topic, 1).leader_epoch), (1, 7));
}

#[test]
fn fencing_that_was_cut_short_is_found_again_without_a_verdict() {
    let mut world = World::new();
    let one = world.start_broker(1);
    world.start_broker(2);
    let topic = world.topic("t", &vec![partition(&[1, 2], one); 300]);
    let cut = sweep(world.image(), &ConfigMap::new(), &[lapsed(1)]);
    world.commit_some(cut.units, 1);
    assert_eq!(world.partition(topic, 299).leader, 1);
    let rest = run(&mut world, &[]);
    assert_eq!(rest.elections.len(), 300 - 125);
    assert!((0..300).all(|number| world.partition(topic, number).leader == 2));
    assert!(run(&mut world, &[]).units.is_empty(), "and then nothing is left to do");
}

#[test]
fn claim_that_is_newer_than_the_record_makes_nobody_electable() {
    let mut world = World::new();
    let former = world.start_broker(1);
    world.claim(1, PreviousLife::ProcessCrash { broker_epoch: former });
    assert!(!members(world.image()).is_active(1));
}

#[test]
fn records_keep_what_later_versions_wrote() {
    let mut world = World::new();
    let former = world.start_broker(1);
    world.change_broker(1, |record| {
        record.rest.insert("of_tomorrow".to_owned(), 7.into());
    });
    world.claim(1, PreviousLife::Clean { broker_epoch: former });
    run(&mut world, &[Verdict::Register { broker: 1, heard: true }]);
    assert_eq!(world.image().broker(1).unwrap().rest.get("of_tomorrow"), Some(&7.into()));
}

#[test]
fn min_insync_replicas_come_from_the_topic_then_the_cluster_then_the_file() {
    let mut world = World::new();
    world.topic("t", &[]);
    let file = ConfigMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]);
    let min_isr =
        |world: &World| rules_of(world.image(), &file, world.image().topic("t").unwrap()).min_isr;
    assert_eq!(min_isr(&world), 2);
    let entry = ottla_metadata::model::ConfigEntry {
        configs: ConfigMap::from([("min.insync.replicas".to_owned(), "3".to_owned())]),
        rest: Rest::new(),
    };
    world.put(Key::Config(ConfigResource::BrokerDefault), &entry);
    assert_eq!(min_isr(&world), 3);
    world.configure("t", "min.insync.replicas", "4");
    assert_eq!(min_isr(&world), 4);
}
