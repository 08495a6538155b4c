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

#[test]
fn unregistered_broker_loses_its_record_and_stays_a_replica() {
    use crate::controller::decision::AdminSettings;
    use crate::controller::testing::random;
    let mut world = World::new();
    let epoch = world.start_broker(1);
    world.start_broker(2);
    let topic = world.topic("t", &[partition(&[1, 2], epoch), partition(&[1], epoch)]);
    world.unclaim(1);
    let settings = AdminSettings::default();
    let (image, mut random) = (world.image().clone(), random(1));
    let now = ottla_protocol::time::Now::default();
    let mut context = Context { image: &image, settings: &settings, now, random: &mut random };
    let decision = unregister(&mut context, &[1, 9, 1], false);
    let codes: Vec<Option<ErrorCode>> =
        decision.results.iter().map(|result| result.as_ref().err().map(|e| e.code)).collect();
    let unknown = Some(ErrorCode::BrokerIdNotRegistered);
    assert_eq!(codes, [None, unknown, unknown]);
    world.commit(decision.units);
    assert!(world.image().broker(1).is_none());
    let led_by_other = world.partition(topic, 0);
    assert_eq!((led_by_other.leader, &led_by_other.replicas[..]), (2, &[1, 2][..]));
    assert_eq!(world.partition(topic, 1).leader, NO_LEADER);
}

#[test]
fn who_was_forgotten_comes_back_without_its_seats() {
    let mut world = World::new();
    world.start_broker(2);
    let epoch = world.start_broker(1);
    let mut offline = partition(&[1, 2], epoch);
    (offline.leader, offline.leader_broker_epoch) = (NO_LEADER, -1);
    (offline.isr, offline.elr) = (vec![], vec![1]);
    let topic = world.topic("t", &[offline]);
    world.delete(Key::Broker(1));
    world.claim(1, PreviousLife::None);
    run(&mut world, &[Verdict::Register { broker: 1, heard: true }]);
    let partition = world.partition(topic, 0);
    assert!(partition.elr.is_empty() && partition.last_known_elr == [1] || partition.recovering);
}

#[test]
fn drained_broker_hands_over_in_one_sweep_and_its_last_seat_stays_eligible() {
    let mut world = World::new();
    let epoch = world.start_broker(1);
    world.start_broker(2);
    world.start_broker(3);
    let mut alone = partition(&[1, 2, 3], epoch);
    alone.isr = vec![1];
    let topic = world.topic("t", &[partition(&[1, 2, 3], epoch), alone]);
    run(&mut world, &[Verdict::Drain { broker: 1 }]);
    let handed = world.partition(topic, 0);
    assert_eq!((handed.leader, handed.leader_epoch, &handed.isr[..]), (2, 6, &[2, 3][..]));
    let alone = world.partition(topic, 1);
    assert_eq!((alone.leader, &alone.isr[..], &alone.elr[..]), (NO_LEADER, &[][..], &[1][..]));
    assert!(sweep(world.image(), &ConfigMap::new(), &[]).units.is_empty(), "it was one sweep");
}

#[test]
fn wiped_disk_costs_the_seats_and_the_replica_starts_in_the_new_directory() {
    let mut world = World::new();
    let former = world.start_broker(1);
    let other = world.start_broker(2);
    let old = Uuid::from_bytes([1; 16]);
    let with_dir = |replicas: &[i32], leader: i32, epoch: i64| {
        let mut partition = partition(replicas, epoch);
        partition.leader = leader;
        partition.set_log_dirs(
            replicas.iter().map(|id| if *id == 1 { old } else { Uuid::ZERO }).collect(),
        );
        partition
    };
    let partitions = [with_dir(&[1, 2], 2, other), with_dir(&[1], 1, former)];
    let topic = world.topic("t", &partitions);
    let new = Uuid::from_bytes([0xee; 16]);
    let mut claim = crate::controller::testing::claim(1, PreviousLife::None);
    claim.log_dirs = vec![new];
    world.unclaim(1);
    world.put(Key::BrokerClaim(1), &claim);
    run(&mut world, &[Verdict::Register { broker: 1, heard: true }]);
    let shared = world.partition(topic, 0);
    assert_eq!((&shared.isr[..], shared.log_dir_of(1)), (&[2][..], new));
    // Nobody else has it, so nobody makes an empty log of it by himself.
    let only = world.partition(topic, 1);
    assert_eq!((only.leader, only.log_dir_of(1)), (NO_LEADER, old));
    world.configure("t", "unclean.leader.election.enable", "true");
    run(&mut world, &[]);
    let only = world.partition(topic, 1);
    assert_eq!((only.leader, only.log_dir_of(1)), (1, new));
}

/// Three brokers, and what broker 2 leads although broker 1 is preferred: shared, and with an ISR below the minimum.
fn led_by_the_second() -> (World, Uuid) {
    let mut world = World::new();
    let epochs = [1, 2, 3].map(|broker| world.start_broker(broker));
    let mut shared = partition(&[1, 2, 3], epochs[1]);
    shared.leader = 2;
    let mut narrow = shared.clone();
    (narrow.isr, narrow.elr) = (vec![2], vec![3]);
    let topic = world.topic("t", &[shared, narrow]);
    world.configure("t", "min.insync.replicas", "2");
    (world, topic)
}

#[test]
fn process_that_claims_anew_leads_on_in_a_new_epoch_and_all_seats_stay() {
    for reclaimed in [&[2][..], &[1, 3], &[1, 2, 3]] {
        let (mut world, topic) = led_by_the_second();
        let before = [0, 1].map(|number| world.partition(topic, number).clone());
        for broker in reclaimed {
            world.reclaim(*broker);
        }
        let verdicts: Vec<_> =
            reclaimed.iter().map(|broker| Verdict::Reclaim { broker: *broker }).collect();
        assert!((1..=3).all(|broker| members(world.image()).is_active(broker)));
        let sweep = run(&mut world, &verdicts);
        let bumps = i32::from(reclaimed.contains(&2));
        assert_eq!(sweep.elections, vec![Election::Kept; 2 * bumps as usize]);
        let broker_epoch = world.image().broker(2).unwrap().broker_epoch;
        for (number, mut expected) in (0..).zip(before) {
            expected.leader_epoch += bumps;
            expected.leader_broker_epoch = broker_epoch;
            assert_eq!(*world.partition(topic, number), expected, "{reclaimed:?}");
        }
        for broker in 1..=3 {
            let record = world.image().broker(broker).unwrap();
            assert_eq!(record.broker_epoch, world.image().claim(broker).unwrap().create_revision);
            assert!(record.is_active());
        }
        assert!(run(&mut world, &[]).units.is_empty());
    }
}

#[test]
fn epochs_that_were_taken_over_in_part_are_finished_by_a_successor_with_the_same_leaders() {
    let mut world = World::new();
    world.start_broker(1);
    let former = world.start_broker(2);
    let mut led = partition(&[1, 2], former);
    led.leader = 2;
    let topic = world.topic("t", &vec![led; 300]);
    world.reclaim(2);
    let reclaim = [Verdict::Reclaim { broker: 2 }];
    let cut = sweep(world.image(), &ConfigMap::new(), &reclaim);
    world.commit_some(cut.units, 1);
    assert_eq!(world.image().broker(2).unwrap().broker_epoch, former);
    // The claim lapses once more before anybody goes on.
    let epoch = world.reclaim(2);
    run(&mut world, &[]);
    run(&mut world, &reclaim);
    assert_eq!(world.image().broker(2).unwrap().broker_epoch, epoch);
    assert!((0..300).all(|number| {
        let partition = world.partition(topic, number);
        partition.leader == 2 && partition.leader_broker_epoch == epoch && partition.isr == [1, 2]
    }));
}

#[test]
fn claim_of_the_same_process_changes_nothing_else_of_the_record() {
    for (fenced, draining) in [(true, false), (false, true), (true, true)] {
        let mut world = World::new();
        world.start_broker(1);
        world.change_broker(1, |record| {
            (record.fenced, record.draining) = (fenced, draining);
            record.offline_log_dirs = vec![Uuid::from_bytes([9; 16])];
        });
        let before = world.image().broker(1).unwrap().value.clone();
        let broker_epoch = world.reclaim(1);
        run(&mut world, &[Verdict::Reclaim { broker: 1 }]);
        let expected = BrokerRecord { broker_epoch, ..before };
        assert_eq!(world.image().broker(1).unwrap().value, expected);
    }
}

#[test]
fn another_process_or_machine_takes_no_epoch_over() {
    let mut world = World::new();
    let former = world.start_broker(1);
    world.claim(1, PreviousLife::ProcessCrash { broker_epoch: former });
    let reclaim = [Verdict::Reclaim { broker: 1 }];
    assert!(sweep(world.image(), &ConfigMap::new(), &reclaim).units.is_empty());
    world.change_broker(1, |record| record.boot_id = "another".to_owned());
    world.reclaim(1);
    assert!(sweep(world.image(), &ConfigMap::new(), &reclaim).units.is_empty());
    assert!(!members(world.image()).is_active(1));
}
