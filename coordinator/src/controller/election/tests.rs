use proptest::prelude::*;

use super::*;
use crate::controller::testing::partition;

const RULES: Rules = Rules { min_isr: 1, unclean: false };
const MIN_2: Rules = Rules { min_isr: 2, unclean: false };

/// Brokers by id with broker epoch 100 + id: `A`ctive, `D`raining or `F`enced.
fn members(standings: &str) -> Members {
    let member = |(id, standing): (i32, char)| {
        let standing = match standing {
            'A' => Standing::Active,
            'D' => Standing::Draining,
            _ => Standing::Fenced,
        };
        (id, Member { broker_epoch: 100 + i64::from(id), standing })
    };
    (1..).zip(standings.chars()).map(member).collect()
}

/// Leader, epoch, ISR and ELR after a reconciliation that must change something.
fn reconciled(
    partition: &Partition,
    standings: &str,
    rules: Rules,
) -> (i32, i32, Vec<i32>, Vec<i32>, Election) {
    let elected = reconcile(partition, &members(standings), rules).expect("a change");
    let next = elected.partition;
    (next.leader, next.leader_epoch, next.isr, next.elr, elected.election)
}

#[test]
fn nothing_changes_while_everybody_is_active() {
    let partition = partition(&[1, 2, 3], 101);
    assert_eq!(reconcile(&partition, &members("AAA"), RULES), None);
}

#[test]
fn fenced_follower_leaves_the_isr_and_the_epoch_stays() {
    let partition = partition(&[1, 2, 3], 101);
    let expected = (1, 5, vec![1, 3], vec![], Election::Kept);
    assert_eq!(reconciled(&partition, "AFA", MIN_2), expected);
}

#[test]
fn next_replica_in_sync_follows_a_fenced_leader() {
    let partition = partition(&[1, 2, 3], 101);
    let expected = (2, 6, vec![2, 3], vec![], Election::InSync);
    assert_eq!(reconciled(&partition, "FAA", MIN_2), expected);
}

#[test]
fn those_who_left_a_small_isr_stay_eligible() {
    let partition = partition(&[1, 2, 3], 101);
    let expected = (3, 6, vec![3], vec![1, 2], Election::InSync);
    assert_eq!(reconciled(&partition, "FFA", MIN_2), expected);
}

#[test]
fn eligible_replica_is_elected_when_nobody_is_in_sync() {
    let mut partition = partition(&[1, 2, 3], 101);
    partition.isr = vec![1];
    partition.elr = vec![2];
    let expected = (2, 6, vec![2], vec![1], Election::Eligible);
    assert_eq!(reconciled(&partition, "FAA", MIN_2), expected);
}

#[test]
fn only_replica_waits_for_its_broker_and_leads_again_in_a_new_epoch() {
    let partition = partition(&[1], 101);
    let away = reconcile(&partition, &members("F"), RULES).unwrap();
    assert_eq!(away.election, Election::Offline);
    assert_eq!((away.partition.leader, away.partition.leader_epoch), (NO_LEADER, 6));
    assert_eq!((&away.partition.isr[..], &away.partition.elr[..]), (&[][..], &[1][..]));
    let back = reconcile(&away.partition, &members("A"), RULES).unwrap().partition;
    assert_eq!((back.leader, back.leader_epoch, back.leader_broker_epoch), (1, 7, 101));
    assert_eq!((&back.isr[..], &back.elr[..]), (&[1][..], &[][..]));
}

#[test]
fn leader_that_came_back_in_a_new_life_leads_in_a_new_epoch() {
    let partition = partition(&[1], 55);
    let elected = reconcile(&partition, &members("A"), RULES).unwrap().partition;
    assert_eq!((elected.leader, elected.leader_epoch, elected.leader_broker_epoch), (1, 6, 101));
}

#[test]
fn draining_leader_hands_over_and_is_not_elected_anywhere() {
    let expected = (2, 6, vec![2], vec![], Election::InSync);
    assert_eq!(reconciled(&partition(&[1, 2], 101), "DA", RULES), expected);
    let expected = (NO_LEADER, 6, vec![], vec![1], Election::Offline);
    assert_eq!(reconciled(&partition(&[1], 101), "D", RULES), expected);
}

#[test]
fn crashed_machine_leaves_its_seats_unless_it_has_the_only_replica() {
    let next = demote(&partition(&[1, 2, 3], 101), 2).unwrap();
    assert_eq!((next.isr, next.last_known_elr), (vec![1, 3], vec![2]));
    assert_eq!(demote(&partition(&[2], 101), 2), None);
}

#[test]
fn last_known_leader_is_elected_only_when_nobody_eligible_can_come_back() {
    let mut partition = partition(&[1, 2, 3], 101);
    partition.isr = vec![1];
    partition.elr = vec![2];
    let demoted = demote(&partition, 1).unwrap();
    assert_eq!(demoted.last_known_elr, [1]);
    let waiting = reconcile(&demoted, &members("AFA"), MIN_2).unwrap();
    assert_eq!((waiting.election, waiting.partition.leader), (Election::Offline, NO_LEADER));
    let demoted = demote(&waiting.partition, 2).unwrap();
    assert_eq!(demoted.last_known_elr, [1, 2]);
    let elected = reconcile(&demoted, &members("AFA"), MIN_2).unwrap();
    assert_eq!((elected.election, elected.partition.leader), (Election::LastKnown, 1));
    assert!(elected.partition.recovering);
}

/// Both machines lost their power, and the one that had followed is back first.
#[test]
fn who_led_last_is_waited_for_although_another_comes_back_first() {
    let became = |partition: &Partition, standing| {
        let elected = reconcile(partition, &members(standing), MIN_2);
        elected.map_or_else(|| partition.clone(), |elected| elected.partition)
    };
    let offline = became(&partition(&[1, 2], 101), "FF");
    assert_eq!((&offline.elr[..], &offline.last_known_elr[..]), (&[1, 2][..], &[1][..]));
    let follower_is_back = became(&demote(&offline, 2).unwrap(), "FA");
    assert_eq!(follower_is_back.leader, NO_LEADER);
    let leader_crashed_too = demote(&follower_is_back, 1).unwrap();
    assert_eq!((&leader_crashed_too.elr[..], leader_crashed_too.last_known_elr[0]), (&[][..], 1));
    assert_eq!(became(&leader_crashed_too, "FA").leader, NO_LEADER, "it may have more");
    let elected = reconcile(&leader_crashed_too, &members("AA"), MIN_2).unwrap();
    assert_eq!((elected.election, elected.partition.leader), (Election::LastKnown, 1));
    assert!(elected.partition.last_known_elr.is_empty());
}

#[test]
fn unclean_election_needs_the_topics_permission_and_is_recorded() {
    let mut partition = partition(&[1, 2], 101);
    partition.isr = vec![1];
    let refused = reconcile(&partition, &members("FA"), RULES).unwrap();
    assert_eq!(refused.election, Election::Offline);
    let rules = Rules { unclean: true, ..RULES };
    let elected = reconcile(&partition, &members("FA"), rules).unwrap();
    assert_eq!((elected.election, elected.partition.leader), (Election::Unclean, 2));
    assert!(elected.partition.recovering);
    assert!(elected.partition.elr.is_empty(), "what others have beyond this leader is gone");
}

#[test]
fn creation_is_led_by_the_first_active_replica() {
    let state = first_state(&[2, 1], &members("AF")).unwrap();
    assert_eq!((state.leader, state.leader_epoch, state.leader_broker_epoch), (1, 0, 101));
    assert_eq!((state.replicas, state.isr), (vec![2, 1], vec![1]));
    assert_eq!(first_state(&[2], &members("AF")), None);
}

/// What can happen to a broker.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Fence(i32),
    Drain(i32),
    /// Comes back in the same life.
    Unfence(i32),
    /// Comes back in a new life; `true` if its machine went down.
    Restart(i32, bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    let broker = 1..=4i32;
    prop_oneof![
        broker.clone().prop_map(Fate::Fence),
        broker.clone().prop_map(Fate::Drain),
        broker.clone().prop_map(Fate::Unfence),
        (broker, any::<bool>()).prop_map(|(id, crashed)| Fate::Restart(id, crashed)),
    ]
}

proptest! {
    #[test]
    fn epochs_only_grow_and_never_name_two_leaders(
        replica_count in 1usize..=4,
        min_isr in 1usize..=3,
        unclean: bool,
        fates in prop::collection::vec(fate(), 1..60),
    ) {
        let rules = Rules { min_isr, unclean };
        let replicas: Vec<i32> = (1..=replica_count as i32).collect();
        let mut members = members("AAAA");
        let mut next_epoch = 1000;
        let mut current = first_state(&replicas, &members).unwrap();
        let mut leaders: BTreeMap<i32, (i32, i64)> = BTreeMap::new();
        leaders.insert(current.leader_epoch, (current.leader, current.leader_broker_epoch));
        for fate in fates {
            let (Fate::Fence(id) | Fate::Drain(id) | Fate::Unfence(id) | Fate::Restart(id, _)) = fate;
            let mut member = members.member(id).unwrap();
            let crashed = match fate {
                Fate::Fence(_) => { member.standing = Standing::Fenced; false }
                Fate::Drain(_) => { member.standing = Standing::Draining; false }
                Fate::Unfence(_) => { member.standing = Standing::Active; false }
                Fate::Restart(_, crashed) => {
                    next_epoch += 1;
                    member = Member { broker_epoch: next_epoch, standing: Standing::Active };
                    crashed
                }
            };
            members.set(id, member);
            let demoted = if crashed { demote(&current, id) } else { None };
            let before = current.clone();
            let base = demoted.unwrap_or_else(|| current.clone());
            if let Some(elected) = reconcile(&base, &members, rules) {
                current = elected.partition;
                // Only a topic that allows it gets a leader that may lack records.
                prop_assert!(unclean || elected.election != Election::Unclean);
            } else {
                current = base;
            }
            prop_assert!(before.leader_epoch <= current.leader_epoch);
            prop_assert_eq!(reconcile(&current, &members, rules), None, "it settles in one step");
            check_invariants(&current, &members)?;
            let leader = (current.leader, current.leader_broker_epoch);
            let known = leaders.entry(current.leader_epoch).or_insert(leader);
            prop_assert_eq!(*known, leader, "an epoch has one leader in one life");
        }
    }
}

fn check_invariants(partition: &Partition, members: &Members) -> Result<(), TestCaseError> {
    let Partition { replicas, isr, elr, last_known_elr, .. } = partition;
    for seats in [isr, elr, last_known_elr] {
        prop_assert!(seats.iter().all(|id| replicas.contains(id)));
        prop_assert!(seats.iter().enumerate().all(|(at, id)| !seats[..at].contains(id)));
    }
    prop_assert!(isr.iter().all(|id| !elr.contains(id)));
    prop_assert!(isr.iter().all(|id| members.is_active(*id)));
    match partition.leader() {
        Some(leader) => {
            prop_assert!(isr.contains(&leader));
            prop_assert_eq!(
                members.member(leader).map(|member| member.broker_epoch),
                Some(partition.leader_broker_epoch)
            );
        }
        None => prop_assert_eq!(partition.leader_broker_epoch, -1),
    }
    Ok(())
}
