use ottla_protocol::Uuid;
use proptest::prelude::*;

use super::*;
use crate::controller::alter_partition::{AlterPartition, IsrProposal, alter_partition};
use crate::controller::brokers::sweep;
use crate::controller::decision::AdminSettings;
use crate::controller::election::{Member, Standing, reconcile};
use crate::controller::testing::{World, partition, random};
use ottla_metadata::config::ConfigMap;
use ottla_protocol::time::Now;

const RULES: Rules = Rules { min_isr: 1, unclean: false };

/// Brokers 1 to 5, and a topic on 1 (leader), 2 and 3.
struct Setup {
    world: World,
    topic: Uuid,
    epochs: Vec<i64>,
}

fn setup() -> Setup {
    let mut world = World::new();
    let epochs: Vec<i64> = (1..=5).map(|broker| world.start_broker(broker)).collect();
    let topic = world.topic("t", &[partition(&[1, 2, 3], epochs[0])]);
    Setup { world, topic, epochs }
}

fn item(replicas: Option<&[i32]>) -> Reassignment {
    Reassignment {
        topic: "t".to_owned(),
        partition: 0,
        replicas: replicas.map(<[i32]>::to_vec),
        allow_replication_factor_change: true,
    }
}

impl Setup {
    fn decide(&self, item: &Reassignment) -> Decision<()> {
        let settings = AdminSettings::default();
        let mut random = random(1);
        let mut context = Context {
            image: self.world.image(),
            settings: &settings,
            now: Now::default(),
            random: &mut random,
        };
        reassign(&mut context, std::slice::from_ref(item), false)
    }

    fn ask(&mut self, replicas: Option<&[i32]>) -> Result<(), ErrorCode> {
        let mut decision = self.decide(&item(replicas));
        self.world.commit(decision.units);
        decision.results.remove(0).map_err(|error| error.code)
    }

    fn refusal(&self, item: &Reassignment) -> ErrorCode {
        let mut decision = self.decide(item);
        assert!(decision.units.is_empty());
        decision.results.remove(0).unwrap_err().code
    }

    fn now(&self) -> Partition {
        self.world.partition(self.topic, 0).clone()
    }

    /// The leader proposes this ISR.
    fn propose(&mut self, isr: &[i32]) -> Result<(), ErrorCode> {
        let current = self.world.image().partition(self.topic, 0).unwrap();
        let leader = current.leader;
        let proposal = IsrProposal {
            topic_id: self.topic,
            partition: 0,
            leader_epoch: current.leader_epoch,
            partition_epoch: super::super::alter_partition::wire_partition_epoch(
                current.mod_revision,
            ),
            isr: isr.iter().map(|id| (*id, self.epochs[*id as usize - 1])).collect(),
            recovering: false,
        };
        let broker_epoch = self.epochs[leader as usize - 1];
        let request = AlterPartition { broker: leader, broker_epoch, proposals: vec![proposal] };
        let (mut results, units) =
            alter_partition(self.world.image(), &ConfigMap::new(), &request)?;
        self.world.commit(units);
        results.remove(0).map(|_| ())
    }
}

#[test]
fn replicas_are_added_first_and_the_others_go_when_all_wanted_are_in_sync() {
    let mut setup = setup();
    setup.ask(Some(&[4, 5, 3])).unwrap();
    let under_way = setup.now();
    assert_eq!(under_way.replicas, [4, 5, 3, 1, 2]);
    assert_eq!((&under_way.adding[..], &under_way.removing[..]), (&[4, 5][..], &[1, 2][..]));
    assert_eq!((under_way.leader, under_way.leader_epoch), (1, 5), "the leader leads on");
    assert_eq!(ongoing(setup.world.image()).len(), 1);

    setup.propose(&[1, 2, 3, 4]).unwrap();
    assert!(setup.now().is_reassigning(), "5 is not in sync yet");
    // The leader is not wanted, so another one leads in a new epoch with the very same write.
    assert_eq!(setup.propose(&[1, 2, 3, 4, 5]), Err(ErrorCode::NewLeaderElected));
    let done = setup.now();
    assert_eq!(done.replicas, [4, 5, 3]);
    assert!(!done.is_reassigning());
    assert_eq!((done.leader, done.leader_epoch), (4, 6));
    assert_eq!(done.leader_broker_epoch, setup.epochs[3]);
    assert_eq!(done.isr, [3, 4, 5]);
    assert_eq!(done.log_dirs[0], Uuid::from_bytes([4; 16]), "its only directory");
    assert!(ongoing(setup.world.image()).is_empty());
}

#[test]
fn leader_that_stays_gets_a_new_epoch_when_a_replica_goes() {
    let mut setup = setup();
    setup.ask(Some(&[1, 2, 4])).unwrap();
    assert_eq!(setup.propose(&[1, 2, 3, 4]), Err(ErrorCode::NewLeaderElected));
    let done = setup.now();
    assert_eq!((done.leader, done.leader_epoch), (1, 6));
    assert_eq!((&done.replicas[..], &done.isr[..]), (&[1, 2, 4][..], &[1, 2, 4][..]));
}

#[test]
fn removal_and_reordering_are_done_at_once() {
    let mut setup = setup();
    setup.ask(Some(&[2, 1])).unwrap();
    let done = setup.now();
    assert_eq!((&done.replicas[..], done.is_reassigning()), (&[2, 1][..], false));
    assert_eq!((done.leader, done.leader_epoch), (1, 6));
    setup.ask(Some(&[1, 2])).unwrap();
    assert_eq!((setup.now().leader_epoch, setup.now().replicas), (6, vec![1, 2]));
    let decision = setup.decide(&item(Some(&[1, 2])));
    assert!(decision.results[0].is_ok() && decision.units.is_empty(), "nothing to do");
}

#[test]
fn cancelling_brings_the_replicas_back_that_were_there() {
    let mut setup = setup();
    setup.ask(Some(&[4, 5])).unwrap();
    setup.propose(&[1, 2, 3, 4]).unwrap();
    setup.ask(None).unwrap();
    let reverted = setup.now();
    assert_eq!((&reverted.replicas[..], &reverted.isr[..]), (&[1, 2, 3][..], &[1, 2, 3][..]));
    assert!(!reverted.is_reassigning());
    assert_eq!((reverted.leader, reverted.leader_epoch), (1, 6), "4 is fenced off by the epoch");
    assert_eq!(setup.refusal(&item(None)), ErrorCode::NoReassignmentInProgress);
}

#[test]
fn cancelling_never_loses_what_only_added_replicas_have() {
    let mut setup = setup();
    setup.ask(Some(&[4, 5])).unwrap();
    let mut only_added = setup.now();
    only_added.isr = vec![4];
    only_added.leader = 4;
    only_added.leader_broker_epoch = setup.epochs[3];
    setup.world.put(Key::Partition(setup.topic, 0), &only_added);
    assert_eq!(setup.refusal(&item(None)), ErrorCode::InvalidReplicaAssignment);
    setup.world.configure("t", "unclean.leader.election.enable", "true");
    setup.ask(None).unwrap();
    let reverted = setup.now();
    assert_eq!((reverted.leader, &reverted.isr[..], reverted.recovering), (1, &[1][..], true));
}

#[test]
fn redirected_reassignment_forgets_what_is_no_longer_wanted() {
    let mut setup = setup();
    setup.ask(Some(&[4, 2, 3])).unwrap();
    setup.ask(Some(&[5, 2, 3])).unwrap();
    let under_way = setup.now();
    assert_eq!(under_way.replicas, [5, 2, 3, 1]);
    assert_eq!((&under_way.adding[..], &under_way.removing[..]), (&[5][..], &[1][..]));
    setup.ask(None).unwrap();
    assert_eq!(setup.now().replicas, [2, 3, 1], "4 never was one of them");
}

#[test]
fn wrong_targets_are_refused_with_kafkas_codes() {
    let setup = setup();
    let refused = |replicas: &[i32]| setup.refusal(&item(Some(replicas)));
    for bad in [&[][..], &[1, 1], &[1, 9], &[-1]] {
        assert_eq!(refused(bad), ErrorCode::InvalidReplicaAssignment, "{bad:?}");
    }
    let fixed = Reassignment { allow_replication_factor_change: false, ..item(Some(&[1, 2])) };
    assert_eq!(setup.refusal(&fixed), ErrorCode::InvalidReplicationFactor);
    for unknown in [
        Reassignment { topic: "no".to_owned(), ..item(Some(&[1])) },
        Reassignment { partition: 1, ..item(Some(&[1])) },
        Reassignment { partition: -1, ..item(None) },
    ] {
        assert_eq!(setup.refusal(&unknown), ErrorCode::UnknownTopicOrPartition);
    }
}

#[test]
fn fenced_broker_may_be_named_and_is_waited_for() {
    let mut setup = setup();
    setup.world.change_broker(4, |record| record.fenced = true);
    setup.ask(Some(&[1, 2, 4])).unwrap();
    assert_eq!(setup.now().adding, [4]);
    assert_eq!(setup.propose(&[1, 2, 3, 4]), Err(ErrorCode::IneligibleReplica));
}

#[test]
fn successor_completes_what_it_finds_in_the_image() {
    let mut setup = setup();
    setup.ask(Some(&[1, 2, 4])).unwrap();
    let mut in_sync = setup.now();
    in_sync.isr = vec![1, 2, 4];
    setup.world.put(Key::Partition(setup.topic, 0), &in_sync);
    let units = sweep(setup.world.image(), &ConfigMap::new(), &[]).units;
    setup.world.commit(units);
    assert_eq!((setup.now().replicas, setup.now().is_reassigning()), (vec![1, 2, 4], false));
    assert!(sweep(setup.world.image(), &ConfigMap::new(), &[]).units.is_empty());
}

proptest! {
    /// However a partition is moved, it keeps a leader that holds what was acknowledged.
    #[test]
    fn no_way_through_reassignments_loses_the_seats(
        steps in prop::collection::vec((0u8..4, prop::collection::btree_set(1i32..6, 1..5)), 1..12)
    ) {
        let members: Members = (1..=5)
            .map(|id| (id, Member { broker_epoch: i64::from(id), standing: Standing::Active }))
            .collect();
        let mut current = partition(&[1, 2, 3], 1);
        for (step, ids) in steps {
            let ids: Vec<i32> = ids.into_iter().collect();
            let next = match step {
                0 => settled(&current, started(&current, &ids, &members), &members, RULES),
                1 => match cancelled(&item(None), &current, RULES) {
                    Ok(next) => settled(&current, next, &members, RULES),
                    Err(_) => continue,
                },
                2 => {
                    let mut next = current.clone();
                    next.isr = current.replicas.clone();
                    settled(&current, next, &members, RULES)
                }
                _ => match reconcile(&current, &members, RULES) {
                    Some(elected) => elected.partition,
                    None => continue,
                },
            };
            prop_assert!(next.isr.contains(&next.leader), "{next:?}");
            prop_assert!(next.isr.iter().all(|id| next.replicas.contains(id)), "{next:?}");
            prop_assert!(next.adding.iter().chain(&next.removing).all(|id| next.replicas.contains(id)));
            prop_assert!(next.isr.iter().any(|id| current.isr.contains(id)) || step == 2, "{current:?} {next:?}");
            prop_assert!(!next.recovering);
            prop_assert!(current.leader_epoch <= next.leader_epoch);
            if current.replicas.iter().any(|id| !next.replicas.contains(id)) {
                prop_assert!(current.leader_epoch < next.leader_epoch);
            }
            current = next;
        }
    }
}
