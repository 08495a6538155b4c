use ottla_protocol::time::Now;
use ottla_protocol::{ErrorCode, Uuid};
use proptest::prelude::*;

use super::*;
use crate::admin::{CreatedTopic, DeletedTopic, NewPartitions, NewTopic, TopicRef};
use crate::controller::decision::{AdminSettings, Context, Decision};
use crate::controller::plan;
use crate::controller::testing::{World, random};

struct Cluster {
    world: World,
    settings: AdminSettings,
    seed: u64,
}

impl Cluster {
    fn of(brokers: i32) -> Self {
        let mut world = World::new();
        for broker in 1..=brokers {
            world.start_broker(broker);
        }
        Self { world, settings: AdminSettings::default(), seed: 0 }
    }

    fn decide<O>(&mut self, decide: impl FnOnce(&mut Context<'_>) -> Decision<O>) -> Decision<O> {
        self.seed += 1;
        let mut random = random(self.seed);
        let now = Now { monotonic: Default::default(), wall_ms: 77 };
        let settings = &self.settings;
        decide(&mut Context { image: self.world.image(), settings, now, random: &mut random })
    }

    fn create(&mut self, topics: &[NewTopic]) -> Decision<CreatedTopic> {
        self.decide(|context| create(context, topics, false))
    }

    fn created(&mut self, name: &str, partitions: i32) -> Uuid {
        let decision = self.create(&[new(name, partitions)]);
        self.world.commit(decision.units);
        decision.results[0].as_ref().unwrap().topic_id
    }

    fn delete(&mut self, topic: TopicRef) -> Decision<DeletedTopic> {
        self.decide(|context| delete(context, &[topic], false))
    }

    fn grow(&mut self, topic: &str, count: i32) -> Decision<()> {
        let wanted = NewPartitions { topic: topic.to_owned(), count, assignments: Vec::new() };
        self.decide(|context| grow(context, &[wanted], false))
    }

    /// Partitions of the topic as readers of the image see them; `None` if it does not exist.
    fn seen(&self, name: &str) -> Option<usize> {
        let topic = self.world.image().topic(name)?;
        let seen = self.world.image().partitions_of(topic.id).count();
        assert_eq!(usize::try_from(topic.partitions).unwrap(), seen, "{name} is there as a whole");
        Some(seen)
    }

    fn collect_all(&mut self) {
        loop {
            let units = collect(self.world.image(), 100);
            if units.is_empty() {
                return;
            }
            self.world.commit(units);
        }
    }
}

fn new(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions: Some(partitions), ..NewTopic::default() }
}

fn code<T: std::fmt::Debug>(decision: &Decision<T>) -> ErrorCode {
    assert!(decision.units.is_empty(), "what is refused writes nothing");
    decision.results[0].as_ref().unwrap_err().code
}

#[test]
fn topic_is_created_with_its_partitions_led_by_active_brokers() {
    let mut cluster = Cluster::of(3);
    cluster.world.change_broker(3, |record| record.fenced = true);
    let id = cluster.created("t", 6);
    assert_eq!(cluster.seen("t"), Some(6));
    for (_, partition) in cluster.world.image().partitions_of(id) {
        let broker = cluster.world.image().broker(partition.leader).unwrap();
        assert!(broker.is_active());
        assert_eq!(partition.leader_broker_epoch, broker.broker_epoch);
    }
}

#[test]
fn defaults_are_those_of_the_settings() {
    let mut cluster = Cluster::of(2);
    cluster.settings.num_partitions = 4;
    cluster.settings.default_replication_factor = 2;
    let decision = cluster.create(&[NewTopic { name: "t".to_owned(), ..NewTopic::default() }]);
    let created = decision.results[0].as_ref().unwrap();
    assert_eq!((created.partitions, created.replication_factor), (4, 2));
    assert!(created.configs.iter().any(|config| config.name == "retention.ms"));
}

#[test]
fn bad_requests_get_kafkas_errors() {
    let mut cluster = Cluster::of(2);
    cluster.created("a.b", 1);
    let factor = |factor| NewTopic { replication_factor: Some(factor), ..new("t", 1) };
    let config = |name: &str, value: Option<&str>| NewTopic {
        configs: vec![(name.to_owned(), value.map(str::to_owned))],
        ..new("t", 1)
    };
    let assigned = |assignments: &[(i32, &[i32])]| NewTopic {
        partitions: None,
        assignments: assignments.iter().map(|(p, ids)| (*p, ids.to_vec())).collect(),
        ..new("t", 1)
    };
    for (topic, expected) in [
        (new("", 1), ErrorCode::InvalidTopicException),
        (new("..", 1), ErrorCode::InvalidTopicException),
        (new("a b", 1), ErrorCode::InvalidTopicException),
        (new(&"x".repeat(250), 1), ErrorCode::InvalidTopicException),
        (new("a_b", 1), ErrorCode::InvalidTopicException),
        (new("a.b", 1), ErrorCode::TopicAlreadyExists),
        (new("t", 0), ErrorCode::InvalidPartitions),
        (new("t", -2), ErrorCode::InvalidPartitions),
        (new("t", 10_001), ErrorCode::PolicyViolation),
        (new("t", i32::MAX), ErrorCode::PolicyViolation),
        (factor(0), ErrorCode::InvalidReplicationFactor),
        (factor(3), ErrorCode::InvalidReplicationFactor),
        (config("no.such.config", Some("1")), ErrorCode::InvalidConfig),
        (config("retention.ms", Some("soon")), ErrorCode::InvalidConfig),
        (config("retention.ms", None), ErrorCode::InvalidConfig),
        (assigned(&[(0, &[1, 1])]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[(0, &[9])]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[(0, &[])]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[(1, &[1])]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[(0, &[1]), (0, &[2])]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[(0, &[1]), (1, &[1, 2])]), ErrorCode::InvalidReplicaAssignment),
        (NewTopic { assignments: vec![(0, vec![1])], ..new("t", 1) }, ErrorCode::InvalidRequest),
    ] {
        let shown = format!("{topic:?}");
        assert_eq!(code(&cluster.create(&[topic])), expected, "{shown}");
    }
}

#[test]
fn topics_of_one_request_see_each_other() {
    let mut cluster = Cluster::of(1);
    let twice = cluster.create(&[new("t", 1), new("t", 2)]);
    assert!(twice.results.iter().all(|result| {
        result.as_ref().is_err_and(|error| error.code == ErrorCode::InvalidRequest)
    }));
    let colliding = cluster.create(&[new("a.b", 1), new("a_b", 1)]);
    assert!(colliding.results[0].is_ok());
    let error = colliding.results[1].as_ref().unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidTopicException);
    let many = cluster.create(&[new("x", 6000), new("y", 6000), new("z", 4000)]);
    assert!(many.results[0].is_ok() && many.results[2].is_ok());
    assert_eq!(many.results[1].as_ref().unwrap_err().code, ErrorCode::PolicyViolation);
}

#[test]
fn cluster_has_room_for_so_many_partitions_only() {
    let mut cluster = Cluster::of(1);
    cluster.settings.partitions_max = 10;
    cluster.created("t", 8);
    let refused = cluster.create(&[new("u", 3)]);
    assert_eq!(code(&refused), ErrorCode::PolicyViolation);
    let message = &refused.results[0].as_ref().unwrap_err().message;
    assert!(message.contains("max.partitions.per.cluster = 10"), "{message}");
    assert!(cluster.create(&[new("u", 2)]).results[0].is_ok());
    assert_eq!(code(&cluster.grow("t", 11)), ErrorCode::PolicyViolation);
}

#[test]
fn validation_alone_writes_nothing() {
    let mut cluster = Cluster::of(1);
    let decision = cluster.decide(|context| create(context, &[new("t", 3)], true));
    assert!(decision.units.is_empty());
    let validated = decision.results[0].as_ref().unwrap();
    assert!(validated.topic_id.is_zero() && validated.partitions == 3);
    let refused = cluster.decide(|context| create(context, &[new("t", 0)], true));
    assert_eq!(code(&refused), ErrorCode::InvalidPartitions);
}

#[test]
fn creation_without_any_active_broker_is_refused() {
    let mut cluster = Cluster::of(1);
    cluster.world.change_broker(1, |record| record.fenced = true);
    assert_eq!(code(&cluster.create(&[new("t", 1)])), ErrorCode::InvalidReplicationFactor);
}

#[test]
fn topic_is_deleted_by_name_or_id_and_its_rubbish_collected() {
    let mut cluster = Cluster::of(1);
    let first = cluster.created("t", 250);
    let decision = cluster.delete(TopicRef::Name("t".to_owned()));
    cluster.world.commit(decision.units);
    assert_eq!(cluster.seen("t"), None);
    let deleted = cluster.world.image().deleted_topic(first).unwrap();
    assert_eq!((deleted.partitions, deleted.deleted_at_ms), (250, 77));
    let second = cluster.created("t", 2);
    assert_ne!(first, second, "a topic of the same name has another id");
    cluster.collect_all();
    assert_eq!(cluster.world.image().deleted().count(), 0);
    assert_eq!(cluster.world.image().stored_partitions().count(), 2);
    let decision = cluster.delete(TopicRef::Id(second));
    cluster.world.commit(decision.units);
    assert_eq!(cluster.seen("t"), None);
}

#[test]
fn deletion_of_what_is_not_there_or_not_allowed_is_refused() {
    let mut cluster = Cluster::of(1);
    let id = cluster.created("t", 1);
    let unknown = cluster.delete(TopicRef::Name("u".to_owned()));
    assert_eq!(code(&unknown), ErrorCode::UnknownTopicOrPartition);
    let unknown = cluster.delete(TopicRef::Id(Uuid::from_bytes([1; 16])));
    assert_eq!(code(&unknown), ErrorCode::UnknownTopicId);
    let both = [TopicRef::Name("t".to_owned()), TopicRef::Id(id)];
    let twice = cluster.decide(|context| delete(context, &both, false));
    assert_eq!(code(&twice), ErrorCode::InvalidRequest);
    cluster.settings.delete_topic_enable = false;
    let disabled = cluster.delete(TopicRef::Name("t".to_owned()));
    assert_eq!(code(&disabled), ErrorCode::TopicDeletionDisabled);
}

#[test]
fn topic_grows_and_keeps_what_it_has() {
    let mut cluster = Cluster::of(2);
    let id = cluster.created("t", 2);
    let before = cluster.world.partition(id, 1).clone();
    let decision = cluster.grow("t", 5);
    cluster.world.commit(decision.units);
    assert_eq!(cluster.seen("t"), Some(5));
    assert_eq!(*cluster.world.partition(id, 1), before);
    assert_eq!(code(&cluster.grow("t", 5)), ErrorCode::InvalidPartitions);
    assert_eq!(code(&cluster.grow("t", 4)), ErrorCode::InvalidPartitions);
    assert_eq!(code(&cluster.grow("u", 4)), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn growth_by_hand_is_checked() {
    let mut cluster = Cluster::of(2);
    cluster.created("t", 1);
    let mut by_hand = |assignments: &[&[i32]]| {
        let assignments = assignments.iter().map(|ids| ids.to_vec()).collect();
        let wanted = NewPartitions { topic: "t".to_owned(), count: 3, assignments };
        cluster.decide(|context| grow(context, &[wanted], false))
    };
    for bad in [&[&[1][..]][..], &[&[1], &[9]], &[&[1, 2], &[1, 2]]] {
        assert_eq!(code(&by_hand(bad)), ErrorCode::InvalidReplicaAssignment);
    }
    assert!(by_hand(&[&[2], &[2]]).results[0].is_ok());
}

#[test]
fn growth_that_was_cut_short_can_be_repeated() {
    let mut cluster = Cluster::of(1);
    cluster.created("t", 1);
    let cut = cluster.grow("t", 400);
    cluster.world.commit_some(cut.units, 2);
    assert_eq!(cluster.seen("t"), Some(1));
    let again = cluster.grow("t", 300);
    cluster.world.commit(again.units);
    assert_eq!(cluster.seen("t"), Some(300));
}

#[test]
fn reserved_names_are_internal_topics() {
    let mut cluster = Cluster::of(1);
    cluster.created("__share_group_state", 1);
    cluster.created("t", 1);
    assert!(cluster.world.image().topic("__share_group_state").unwrap().internal);
    assert!(!cluster.world.image().topic("t").unwrap().internal);
}

/// What a controller may be doing when it dies.
#[derive(Debug, Clone)]
enum Step {
    Create(u8, u16),
    Delete(u8),
    Grow(u8, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..3, 1u16..300).prop_map(|(name, count)| Step::Create(name, count)),
        (0u8..3).prop_map(Step::Delete),
        (0u8..3, 1u16..500).prop_map(|(name, count)| Step::Grow(name, count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_topic_is_ever_half_visible_wherever_the_controller_dies(
        steps in prop::collection::vec((step(), any::<prop::sample::Index>()), 1..8),
    ) {
        let mut cluster = Cluster::of(3);
        for (step, cut) in steps {
            let units = match step {
                Step::Create(name, count) => {
                    cluster.create(&[new(&format!("t{name}"), count.into())]).units
                }
                Step::Delete(name) => cluster.delete(TopicRef::Name(format!("t{name}"))).units,
                Step::Grow(name, count) => cluster.grow(&format!("t{name}"), count.into()).units,
            };
            // Dies after any number of the transactions, all of them included.
            let transactions = plan::pack(units);
            let done = cut.index(transactions.len() + 1);
            for transaction in &transactions[..done] {
                cluster.world.apply(transaction);
                for name in 0..3 {
                    let _ = cluster.seen(&format!("t{name}"));
                }
            }
        }
        let visible: usize = (0..3).filter_map(|name| cluster.seen(&format!("t{name}"))).sum();
        cluster.collect_all();
        prop_assert_eq!(cluster.world.image().stored_partitions().count(), visible);
        prop_assert_eq!(cluster.world.image().deleted().count(), 0);
        let orphan = cluster.world.image().stored_partitions().find(|(topic, _, _)| {
            cluster.world.image().topic_by_id(*topic).is_none()
        });
        prop_assert!(orphan.is_none());
    }
}
