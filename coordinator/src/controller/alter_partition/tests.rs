use super::*;
use crate::controller::testing::{World, partition};

struct Setup {
    world: World,
    topic: Uuid,
    request: AlterPartition,
}

/// Partition 0 of a topic on brokers 1 (leader), 2 and 3, and a proposal that changes nothing.
fn setup() -> Setup {
    let mut world = World::new();
    let epochs = [1, 2, 3].map(|broker| world.start_broker(broker));
    let topic = world.topic("t", &[partition(&[1, 2, 3], epochs[0])]);
    world.configure("t", "min.insync.replicas", "2");
    let current = world.image().partition(topic, 0).unwrap();
    let proposal = IsrProposal {
        topic_id: topic,
        partition: 0,
        leader_epoch: current.leader_epoch,
        partition_epoch: wire_partition_epoch(current.mod_revision),
        isr: (1..).zip(epochs).collect(),
        recovering: false,
    };
    let request = AlterPartition { broker: 1, broker_epoch: epochs[0], proposals: vec![proposal] };
    Setup { world, topic, request }
}

fn answer(setup: &Setup) -> Result<IsrResult, ErrorCode> {
    let decided = alter_partition(setup.world.image(), &ConfigMap::new(), &setup.request)?;
    Ok(decided.0.into_iter().next().unwrap())
}

/// The error of a proposal that `spoil` made wrong.
fn refusal(spoil: impl FnOnce(&mut IsrProposal)) -> ErrorCode {
    let mut setup = setup();
    spoil(&mut setup.request.proposals[0]);
    answer(&setup).unwrap().unwrap_err()
}

#[test]
fn isr_shrinks_and_those_who_left_are_eligible_below_the_minimum() {
    let mut setup = setup();
    setup.request.proposals[0].isr.truncate(1);
    let (results, units) =
        alter_partition(setup.world.image(), &ConfigMap::new(), &setup.request).unwrap();
    setup.world.commit(units);
    let stored = setup.world.partition(setup.topic, 0);
    assert_eq!(results[0].as_ref(), Ok(stored));
    assert_eq!((&stored.isr[..], &stored.elr[..]), (&[1][..], &[2, 3][..]));
    assert_eq!(stored.leader_epoch, 5, "a change of the ISR elects nobody");
}

#[test]
fn proposal_that_changes_nothing_makes_those_void_that_were_lost_on_the_way() {
    let mut setup = setup();
    let (results, units) =
        alter_partition(setup.world.image(), &ConfigMap::new(), &setup.request).unwrap();
    let before = setup.world.partition(setup.topic, 0).clone();
    setup.world.commit(units);
    assert_eq!(results[0].as_ref(), Ok(&before));
    assert_eq!(answer(&setup), Ok(Err(ErrorCode::InvalidUpdateVersion)));
}

#[test]
fn stale_epochs_are_refused() {
    assert_eq!(refusal(|proposal| proposal.leader_epoch -= 1), ErrorCode::FencedLeaderEpoch);
    assert_eq!(refusal(|proposal| proposal.leader_epoch += 1), ErrorCode::NotController);
    assert_eq!(refusal(|proposal| proposal.partition_epoch -= 1), ErrorCode::InvalidUpdateVersion);
    let mut stale = setup();
    stale.request.broker_epoch -= 1;
    assert_eq!(answer(&stale), Err(ErrorCode::StaleBrokerEpoch));
    let mut unknown = setup();
    unknown.request.broker = 9;
    assert_eq!(answer(&unknown), Err(ErrorCode::BrokerIdNotRegistered));
}

#[test]
fn follower_that_came_back_in_a_new_life_cannot_enter_on_its_former_one() {
    assert_eq!(refusal(|proposal| proposal.isr[1].1 -= 1), ErrorCode::IneligibleReplica);
}

#[test]
fn fenced_and_draining_followers_cannot_enter() {
    for spoil in [
        |world: &mut World| world.change_broker(2, |record| record.fenced = true),
        |world: &mut World| world.change_broker(2, |record| record.draining = true),
    ] {
        let mut setup = setup();
        spoil(&mut setup.world);
        assert_eq!(answer(&setup), Ok(Err(ErrorCode::IneligibleReplica)));
    }
}

#[test]
fn isr_without_its_leader_or_with_strangers_is_no_isr() {
    assert_eq!(
        refusal(|proposal| proposal.isr = proposal.isr.split_off(1)),
        ErrorCode::InvalidRequest
    );
    assert_eq!(refusal(|proposal| proposal.isr[2].0 = 7), ErrorCode::InvalidRequest);
    assert_eq!(refusal(|proposal| proposal.isr[2] = proposal.isr[1]), ErrorCode::InvalidRequest);
}

#[test]
fn only_the_leader_in_its_present_life_may_propose() {
    let mut other = setup();
    other.request.broker = 2;
    other.request.broker_epoch = other.world.image().broker(2).unwrap().broker_epoch;
    assert_eq!(answer(&other), Ok(Err(ErrorCode::FencedLeaderEpoch)));
    let mut former = setup();
    former.request.broker_epoch -= 1;
    assert_eq!(answer(&former), Err(ErrorCode::StaleBrokerEpoch));
    // Registered anew, and not elected in that life yet.
    let mut anew = setup();
    anew.request.broker_epoch += 1000;
    let epoch = anew.request.broker_epoch;
    anew.world.change_broker(1, |record| record.broker_epoch = epoch);
    assert_eq!(answer(&anew), Ok(Err(ErrorCode::FencedLeaderEpoch)));
}

#[test]
fn unknown_topics_and_partitions_are_told_apart() {
    assert_eq!(refusal(|proposal| proposal.topic_id = Uuid::ZERO), ErrorCode::UnknownTopicId);
    assert_eq!(refusal(|proposal| proposal.partition = 1), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn requests_share_transactions_and_the_second_for_a_partition_is_overtaken() {
    let mut setup = setup();
    let mut smaller = setup.request.clone();
    smaller.proposals[0].isr.truncate(2);
    setup.request.proposals[0].isr.truncate(1);
    let stale = AlterPartition { broker_epoch: 0, ..smaller.clone() };
    let requests = [stale, smaller, setup.request];
    let (results, units) = alter_partitions(setup.world.image(), &ConfigMap::new(), &requests);
    assert_eq!(results[0], Err(ErrorCode::StaleBrokerEpoch));
    assert!(matches!(&results[1], Ok(results) if results[0].is_ok()));
    assert_eq!(results[2], Ok(vec![Err(ErrorCode::InvalidUpdateVersion)]));
    assert_eq!(units.len(), 1);
    assert_eq!(units[0].completes, Some(1), "counted over all requests");
    setup.world.commit(units);
    assert_eq!(setup.world.partition(setup.topic, 0).isr, [1, 2]);
}
