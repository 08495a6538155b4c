use std::collections::BTreeSet;

use ottla_metadata::model::{NO_LEADER, Rest};
use ottla_protocol::time::Now;

use super::*;
use crate::controller::decision::AdminSettings;
use crate::controller::testing::{World, random};
use crate::controller::{brokers, liveness, topics};

/// A cluster with brokers 1 to `brokers`.
struct Set {
    world: World,
    settings: AdminSettings,
}

impl Set {
    fn of(brokers: i32) -> Self {
        let mut world = World::new();
        let cluster = Cluster {
            cluster_id: "c".to_owned(),
            format_version: Cluster::FORMAT_VERSION,
            features: BTreeMap::new(),
            group_shards: 50,
            transaction_shards: 50,
            recovery: None,
            rest: Rest::new(),
        };
        world.put(Key::Cluster, &cluster);
        for broker in 1..=brokers {
            world.start_broker(broker);
        }
        Self { world, settings: AdminSettings::default() }
    }

    fn decide<T>(&self, decide: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut random = random(1);
        let now = Now { monotonic: Default::default(), wall_ms: 77 };
        let (image, settings) = (self.world.image(), &self.settings);
        decide(&mut Context { image, settings, now, random: &mut random })
    }

    fn create(&mut self, topic: NewTopic) -> Result<(), AdminError> {
        let mut decision = self.decide(|context| topics::create(context, &[topic], false));
        self.world.commit(decision.units);
        decision.results.remove(0).map(|_| ())
    }

    fn with_topic(brokers: i32) -> Self {
        let mut set = Self::of(brokers);
        set.create(named(CONSUMER_OFFSETS)).unwrap();
        set
    }

    fn settle(&mut self, silent: &[i32]) -> usize {
        let silent: BTreeSet<i32> = silent.iter().copied().collect();
        let units = settle(self.world.image(), &self.settings.file, &silent);
        let count = units.len();
        self.world.commit(units);
        let again = settle(self.world.image(), &self.settings.file, &silent);
        assert_eq!(again, [], "what is settled stays");
        count
    }

    fn partitions(&self) -> Vec<Partition> {
        let image = self.world.image();
        let topic = image.topic(CONSUMER_OFFSETS).unwrap();
        image.partitions_of(topic.id).map(|(_, partition)| partition.value.clone()).collect()
    }

    /// How many partitions each of these brokers leads.
    fn leads(&self, brokers: &[i32]) -> Vec<usize> {
        let partitions = self.partitions();
        let leads = |id: &i32| partitions.iter().filter(|p| p.leader == *id).count();
        brokers.iter().map(leads).collect()
    }

    fn fence(&mut self, broker: i32, fenced: bool) {
        self.world.change_broker(broker, |record| record.fenced = fenced);
    }
}

fn named(name: &str) -> NewTopic {
    NewTopic { name: name.to_owned(), ..NewTopic::default() }
}

#[test]
fn topic_has_a_partition_for_each_shard_and_as_many_replicas_as_there_can_be() {
    for (brokers, factor) in [(1, 1), (2, 2), (5, 3)] {
        let set = Set::with_topic(brokers);
        let topic = set.world.image().topic(CONSUMER_OFFSETS).unwrap();
        assert!(topic.internal);
        assert_eq!(topic.configs.get("cleanup.policy").map(String::as_str), Some("compact"));
        let partitions = set.partitions();
        assert_eq!(partitions.len(), 50);
        assert!(partitions.iter().all(|partition| partition.replicas.len() == factor));
        assert!(partitions.iter().all(|partition| partition.log_dirs.is_empty()));
    }
}

#[test]
fn number_of_partitions_is_nobodys_choice() {
    let mut set = Set::of(2);
    let refused = set.create(NewTopic { partitions: Some(3), ..named(CONSUMER_OFFSETS) });
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidPartitions);
    let assignments = vec![(0, vec![1])];
    let refused = set.create(NewTopic { assignments, ..named(TRANSACTION_STATE) });
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidPartitions);
    set.settings.partitions_per_request_max = 10;
    set.create(NewTopic { partitions: Some(50), ..named(CONSUMER_OFFSETS) }).unwrap();
}

#[test]
fn such_topics_are_neither_deleted_nor_grown() {
    use crate::admin::{NewPartitions, TopicRef};
    let set = Set::with_topic(1);
    let topic = TopicRef::Name(CONSUMER_OFFSETS.to_owned());
    let deleted = set.decide(|context| topics::delete(context, &[topic], false));
    assert_eq!(deleted.results[0].as_ref().unwrap_err().code, ErrorCode::InvalidRequest);
    assert_eq!(deleted.units, []);
    let more =
        NewPartitions { topic: CONSUMER_OFFSETS.to_owned(), count: 60, assignments: Vec::new() };
    let grown = set.decide(|context| topics::grow(context, &[more], false));
    assert_eq!(grown.results[0].as_ref().unwrap_err().code, ErrorCode::InvalidRequest);
    assert_eq!(grown.units, []);
}

#[test]
fn brokers_that_join_become_replicas_and_preferred_leaders() {
    let mut set = Set::with_topic(1);
    assert_eq!(set.settle(&[]), 0);
    for broker in 2..=4 {
        set.world.start_broker(broker);
        set.settle(&[]);
    }
    let partitions = set.partitions();
    assert!(partitions.iter().all(|partition| partition.replicas.len() == 3));
    assert!(partitions.iter().all(|partition| is_same_set(&partition.isr, &partition.replicas)));
    assert!(partitions.iter().all(|partition| partition.leader == 1), "nobody is moved by that");
    let first = |id| partitions.iter().filter(|p| p.replicas[0] == id).count();
    assert_eq!([first(1), first(2), first(3)].iter().sum::<usize>(), 50);
    assert!([1, 2, 3].into_iter().all(|id| 16 <= first(id)), "{partitions:?}");
}

#[test]
fn broker_that_goes_leaves_at_once_and_is_in_sync_at_once_when_it_is_back() {
    let mut set = Set::with_topic(3);
    let before = set.leads(&[1, 2, 3]);
    assert!(before.iter().all(|leads| (16..=17).contains(leads)), "{before:?}");
    set.fence(2, true);
    // Ordinary sweeps leave these partitions alone.
    let swept = brokers::sweep(set.world.image(), &set.settings.file, &[]);
    assert_eq!(swept.units, []);
    set.settle(&[]);
    assert_eq!(set.leads(&[2]), [0]);
    assert!(set.partitions().iter().all(|p| p.isr.len() == 2 && p.elr.is_empty()));
    set.fence(2, false);
    set.settle(&[]);
    assert!(set.partitions().iter().all(|p| p.isr.len() == 3 && p.replicas.len() == 3));
    assert_eq!(set.leads(&[2]), [0], "the balance of preferred leaders is for later");
}

#[test]
fn new_life_of_a_broker_speaks_in_a_new_epoch() {
    let mut set = Set::with_topic(1);
    let before = set.partitions();
    let epoch = set.world.start_broker(1);
    set.settle(&[]);
    for (before, after) in before.iter().zip(set.partitions()) {
        assert_eq!(after.leader_broker_epoch, epoch);
        assert_eq!(after.leader_epoch, before.leader_epoch + 1);
    }
}

#[test]
fn partition_without_any_living_replica_goes_to_brokers_that_live() {
    let mut set = Set::with_topic(1);
    set.fence(1, true);
    set.settle(&[]);
    assert!(set.partitions().iter().all(|p| p.leader == NO_LEADER && p.isr.is_empty()));
    set.world.start_broker(2);
    set.settle(&[]);
    assert!(set.partitions().iter().all(|p| p.leader == 2 && p.replicas == [2]));
    set.fence(1, false);
    set.settle(&[]);
    assert!(set.partitions().iter().all(|p| p.leader == 2 && p.replicas.len() == 2));
}

#[test]
fn broker_that_is_not_heard_speaks_for_nobody_unless_nobody_is_heard() {
    let mut set = Set::with_topic(3);
    set.settle(&[3]);
    assert_eq!(set.leads(&[3]), [0]);
    assert_eq!(set.settle(&[1, 2, 3]), 50, "then all are as good again");
    assert!(set.partitions().iter().all(|p| p.isr.len() == 3 && p.leader != NO_LEADER));
}

#[test]
fn reassignment_is_done_at_once() {
    use crate::admin::Reassignment;
    use crate::controller::reassignment;
    let mut set = Set::with_topic(3);
    set.world.start_broker(4);
    let item = Reassignment {
        topic: CONSUMER_OFFSETS.to_owned(),
        partition: 7,
        replicas: Some(vec![4, 1, 2]),
        allow_replication_factor_change: true,
    };
    let decision = set.decide(|context| reassignment::reassign(context, &[item], false));
    assert_eq!(decision.results, [Ok(())]);
    set.world.commit(decision.units);
    set.settle(&[]);
    let moved = &set.partitions()[7];
    assert_eq!(moved.replicas, [4, 1, 2]);
    assert!(!moved.is_reassigning());
    assert!(is_same_set(&moved.isr, &[1, 2, 4]));
}

#[test]
fn silence_is_counted_from_the_first_look() {
    use std::time::Duration;
    let settings = liveness::Settings::default();
    let mut judge = liveness::Liveness::new(settings);
    let set = Set::with_topic(2);
    let now = |seconds| Now { monotonic: Duration::from_secs(seconds), wall_ms: 0 };
    judge.handle_store(true, now(0));
    judge.judge(set.world.image(), now(1));
    assert_eq!(judge.silent(), BTreeSet::new());
    let heartbeat = liveness::Heartbeat {
        broker: 1,
        broker_epoch: set.world.image().broker(1).unwrap().broker_epoch,
        image_revision: 0,
        wants_shutdown: false,
        offline_log_dirs: Vec::new(),
    };
    for second in 2..=5 {
        judge.handle_heartbeat(heartbeat.clone(), now(second));
        judge.judge(set.world.image(), now(second));
    }
    assert_eq!(judge.silent(), BTreeSet::from([2]));
}
