use ottla_protocol::Uuid;
use ottla_protocol::time::Now;

use super::*;
use crate::controller::decision::AdminSettings;
use crate::controller::testing::{World, partition, random};

/// Brokers 1 to 3, and partitions of topic `t` with these replicas that broker 2 leads, all in sync.
fn setup(replicas: &[&[i32]]) -> (World, Uuid, Vec<i64>) {
    let mut world = World::new();
    let epochs: Vec<i64> = (1..=3).map(|broker| world.start_broker(broker)).collect();
    let partitions: Vec<Partition> = replicas
        .iter()
        .map(|replicas| Partition { leader: 2, ..partition(replicas, epochs[1]) })
        .collect();
    let topic = world.topic("t", &partitions);
    (world, topic, epochs)
}

fn ask(world: &mut World, kind: ElectionKind, number: i32) -> Result<(), ErrorCode> {
    let settings = AdminSettings::default();
    let mut random = random(1);
    let image = world.image().clone();
    let mut context =
        Context { image: &image, settings: &settings, now: Now::default(), random: &mut random };
    let item = LeaderElection { topic: "t".to_owned(), partition: number, kind };
    let mut decision = elect(&mut context, &[item], false);
    world.commit(decision.units);
    decision.results.remove(0).map_err(|error| error.code)
}

#[test]
fn preferred_replica_in_sync_leads_in_a_new_epoch() {
    let (mut world, topic, epochs) = setup(&[&[1, 2, 3], &[2, 1, 3]]);
    ask(&mut world, ElectionKind::Preferred, 0).unwrap();
    let elected = world.partition(topic, 0);
    assert_eq!((elected.leader, elected.leader_epoch), (1, 6));
    assert_eq!(elected.leader_broker_epoch, epochs[0]);
    assert_eq!(elected.isr, [1, 2, 3]);
    for number in [0, 1] {
        let again = ask(&mut world, ElectionKind::Preferred, number);
        assert_eq!(again, Err(ErrorCode::ElectionNotNeeded));
    }
    let unknown = ask(&mut world, ElectionKind::Preferred, 2);
    assert_eq!(unknown, Err(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn preferred_replica_that_cannot_lead_is_not_elected() {
    for spoil in [
        (|world, _| {
            world.change_broker(1, |record| record.fenced = true);
        }) as fn(&mut World, Uuid),
        |world, _| {
            world.change_broker(1, |record| record.draining = true);
        },
        |world, _| {
            world.change_broker(1, |record| record.offline_log_dirs = record.log_dirs.clone());
        },
        |world, topic| {
            let mut behind = world.partition(topic, 0).clone();
            behind.isr = vec![2, 3];
            world.put(Key::Partition(topic, 0), &behind);
        },
    ] {
        let (mut world, topic, _) = setup(&[&[1, 2, 3]]);
        spoil(&mut world, topic);
        let refused = ask(&mut world, ElectionKind::Preferred, 0);
        assert_eq!(refused, Err(ErrorCode::PreferredLeaderNotAvailable));
        assert_eq!(world.partition(topic, 0).leader, 2);
    }
}

#[test]
fn unclean_election_takes_who_lives_and_only_where_nobody_leads() {
    let (mut world, topic, _) = setup(&[&[1, 2, 3], &[1, 2, 3]]);
    let led = ask(&mut world, ElectionKind::Unclean, 0);
    assert_eq!(led, Err(ErrorCode::ElectionNotNeeded));
    let mut offline = world.partition(topic, 1).clone();
    (offline.leader, offline.leader_broker_epoch) = (NO_LEADER, -1);
    (offline.isr, offline.elr) = (vec![], vec![2]);
    world.put(Key::Partition(topic, 1), &offline);
    world.change_broker(2, |record| record.fenced = true);
    ask(&mut world, ElectionKind::Unclean, 1).unwrap();
    let elected = world.partition(topic, 1);
    assert_eq!((elected.leader, &elected.isr[..], elected.recovering), (1, &[1][..], true));
}

#[test]
fn nobody_is_elected_where_nobody_lives() {
    let (mut world, topic, _) = setup(&[&[1, 2, 3]]);
    for broker in 1..=3 {
        world.change_broker(broker, |record| record.fenced = true);
    }
    let mut offline = world.partition(topic, 0).clone();
    (offline.leader, offline.leader_broker_epoch) = (NO_LEADER, -1);
    (offline.isr, offline.elr) = (vec![], vec![1, 2, 3]);
    world.put(Key::Partition(topic, 0), &offline);
    let refused = ask(&mut world, ElectionKind::Unclean, 0);
    assert_eq!(refused, Err(ErrorCode::EligibleLeadersNotAvailable));
}

#[test]
fn balance_gives_back_what_can_be_given_in_portions() {
    let (mut world, topic, _) = setup(&[&[1, 2, 3][..]; 10]);
    let mut behind = world.partition(topic, 9).clone();
    behind.isr = vec![2, 3];
    world.put(Key::Partition(topic, 9), &behind);
    let (units, has_more) = balance(world.image(), &ConfigMap::new(), 5);
    assert_eq!((units.len(), has_more), (5, true));
    world.commit(units);
    let (units, has_more) = balance(world.image(), &ConfigMap::new(), 5);
    assert_eq!((units.len(), has_more), (4, false));
    world.commit(units);
    assert_eq!(balance(world.image(), &ConfigMap::new(), 5), (vec![], false));
    assert_eq!(world.partition(topic, 9).leader, 2);
    assert_eq!(needing(world.image(), ElectionKind::Preferred).len(), 1);
}
