use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::image::Image;
use ottla_metadata::keys::Key;
use ottla_metadata::model::{
    Cluster, Partition, PreviousLife, ProducerIds, Recovery, Rest, ShardHead, Topic,
};
use ottla_metadata::recovery::{BrokerFacts, LogFacts};
use ottla_protocol::Uuid;

use super::*;
use crate::controller::liveness::Verdict;
use crate::controller::plan::Change;
use crate::controller::testing::{World, random};
use crate::controller::{brokers, cluster};

const T: Uuid = Uuid::from_bytes([7; 16]);

fn log(topic_id: Uuid, partition: i32, (leader_epoch, log_end): (i32, i64)) -> LogFacts {
    LogFacts {
        topic: "t".into(),
        topic_id,
        partition,
        dir: Uuid::ZERO,
        log_start: 0,
        log_end,
        leader_epoch,
        high_watermark: 0,
        synced_end: 0,
        max_producer_id: -1,
        unreadable: None,
    }
}

fn broker(id: i32, cluster_id: &str, logs: Vec<LogFacts>) -> BrokerFacts {
    let dir = Uuid::from_bytes([id as u8; 16]);
    let logs = logs.into_iter().map(|log| LogFacts { dir, ..log }).collect();
    BrokerFacts {
        broker: id,
        cluster_id: cluster_id.to_owned(),
        previous: PreviousLife::Clean { broker_epoch: 1000 + i64::from(id) },
        recovery: None,
        dirs: BTreeMap::from([(dir.to_string(), "/data".to_owned())]),
        logs,
        rest: Rest::new(),
    }
}

/// A store with a founded cluster, topic `t` on brokers 1 to 3 in leader epoch 4, and these brokers.
struct Setup {
    world: World,
    cluster_id: String,
}

impl Setup {
    fn new() -> Self {
        let mut world = World::new();
        world.commit(vec![cluster::found(world.image(), &mut random(1)).unwrap()]);
        for id in 1..=3 {
            world.start_broker(id);
        }
        let cluster_id = world.image().cluster().unwrap().cluster_id.clone();
        let mut setup = Self { world, cluster_id };
        setup.topic("t", T, 1);
        for id in 1..=3 {
            setup.world.delete(Key::BrokerClaim(id));
        }
        setup
    }

    fn topic(&mut self, name: &str, id: Uuid, partitions: i32) {
        for number in 0..partitions {
            let partition = Partition {
                replicas: vec![1, 2, 3],
                log_dirs: vec![],
                adding: vec![],
                removing: vec![],
                isr: vec![1, 2],
                elr: vec![],
                last_known_elr: vec![],
                leader: 1,
                leader_epoch: 4,
                leader_broker_epoch: 5,
                recovering: false,
                rest: Rest::new(),
            };
            self.world.put(Key::Partition(id, number), &partition);
        }
        let topic = Topic {
            id,
            name: name.to_owned(),
            partitions,
            configs: BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]),
            internal: false,
            rest: Rest::new(),
        };
        self.world.put(Key::Topic(name.to_owned()), &topic);
    }

    fn facts(&self, logs: [Vec<LogFacts>; 3]) -> Vec<BrokerFacts> {
        (1..).zip(logs).map(|(id, logs)| broker(id, &self.cluster_id, logs)).collect()
    }

    fn plan(&self, facts: &[BrokerFacts]) -> Plan {
        plan(&request(self.world.image(), facts)).unwrap()
    }

    fn apply(&mut self, plan: Plan) {
        self.world.commit(plan.units);
    }

    fn partition(&self, topic: Uuid, number: i32) -> Partition {
        self.world.image().partition(topic, number).unwrap().value.clone()
    }
}

fn request<'a>(image: &'a Image, facts: &'a [BrokerFacts]) -> Request<'a> {
    static NOBODY: BTreeSet<i32> = BTreeSet::new();
    let id = Uuid::from_bytes([0xee; 16]);
    Request { image, heads: &[], facts, known: None, without: &NOBODY, id }
}

fn found(plan: &Plan, gravity: Gravity, subject: &str) -> Vec<String> {
    let fits = |finding: &&Finding| finding.gravity == gravity && finding.subject == subject;
    plan.findings.iter().filter(fits).map(|finding| finding.detail.clone()).collect()
}

#[test]
fn log_of_the_newest_epoch_leads_and_its_equals_and_nobody_else() {
    let mut setup = Setup::new();
    // Broker 1 wrote in epoch 8 what nobody copied; 2 was elected then, and 3 has all that it wrote.
    let facts = setup.facts([
        vec![log(T, 0, (8, 900))],
        vec![log(T, 0, (9, 500))],
        vec![log(T, 0, (9, 500))],
    ]);
    let plan = setup.plan(&facts);
    assert_eq!(plan.partitions[0].in_sync, [2, 3]);
    assert_eq!((plan.partitions[0].epoch_before, plan.partitions[0].epoch_in_logs), (Some(4), 9));
    setup.apply(plan);
    let partition = setup.partition(T, 0);
    assert_eq!((partition.leader, partition.isr), (-1, vec![2, 3]));
    assert!(9 < partition.leader_epoch, "{}", partition.leader_epoch);
    assert_eq!(partition.replicas, [1, 2, 3]);

    let facts = setup.facts([vec![log(T, 0, (9, 1))], vec![log(T, 0, (9, 7))], vec![]]);
    let plan = setup.plan(&facts);
    assert_eq!(plan.partitions[0].in_sync, [2], "of one epoch the longest");
}

#[test]
fn epoch_of_the_store_counts_where_logs_have_older_ones() {
    let setup = Setup::new();
    let facts = setup.facts([vec![log(T, 0, (1, 5))], vec![], vec![]]);
    assert!(4 < setup.plan(&facts).partitions[0].epoch);
}

#[test]
fn what_is_lost_and_what_cannot_be_proved_is_said() {
    let setup = Setup::new();
    let mut facts = setup.facts([
        vec![LogFacts { high_watermark: 120, ..log(T, 0, (5, 90)) }],
        vec![LogFacts { unreadable: Some("bad sector".into()), ..log(T, 0, (0, 0)) }],
        vec![log(T, 0, (6, 100))],
    ]);
    facts[2].previous = PreviousLife::MachineCrash { broker_epoch: 4 };
    let plan = setup.plan(&facts);
    assert_eq!(found(&plan, Gravity::Lost, "t-0"), ["acknowledged records 100 to 119 are gone"]);
    assert_eq!(found(&plan, Gravity::Unproved, "t-0 on broker 2"), ["cannot be read: bad sector"]);
    assert_eq!(found(&plan, Gravity::Unproved, "broker 3").len(), 1);
    assert!(found(&plan, Gravity::Unproved, "broker 1").is_empty());
    assert_eq!(plan.partitions[0].replicas, [1, 2, 3], "a log that cannot be read stays a replica");
    assert_eq!(plan.partitions[0].in_sync, [3]);
}

#[test]
fn brokers_that_nobody_looked_at_are_missed_unless_they_are_left_out_on_purpose() {
    let setup = Setup::new();
    let mut facts = setup.facts([vec![log(T, 0, (5, 9))], vec![log(T, 0, (5, 9))], vec![]]);
    facts.pop();
    let mut request = request(setup.world.image(), &facts);
    assert_eq!(plan(&request), Err(PlanError::Missing("3".into())));
    let without = BTreeSet::from([3]);
    request.without = &without;
    let plan = plan(&request).unwrap();
    assert_eq!(plan.partitions[0].replicas, [1, 2, 3]);
    assert_eq!(plan.partitions[0].in_sync, [1, 2]);
    assert_eq!(found(&plan, Gravity::Unproved, "t-0").len(), 1);
    assert_eq!(found(&plan, Gravity::Unproved, "broker 3").len(), 1);
}

#[test]
fn topics_follow_the_disks() {
    let mut setup = Setup::new();
    let (young, anew, gone) =
        (Uuid::from_bytes([8; 16]), Uuid::from_bytes([9; 16]), Uuid::from_bytes([10; 16]));
    setup.topic("gone", gone, 3);
    setup.topic("again", Uuid::from_bytes([11; 16]), 2);
    let named = |name: &str, id, partition| LogFacts {
        topic: name.to_owned(),
        ..log(id, partition, (2, 10))
    };
    let facts = setup.facts([
        vec![log(T, 0, (5, 9)), log(T, 1, (0, 3)), named("young", young, 1)],
        vec![log(T, 0, (5, 9)), named("young", young, 0), named("again", anew, 0)],
        vec![],
    ]);
    let plan = setup.plan(&facts);
    for (gravity, subject) in [
        (Gravity::Changed, "gone"),
        (Gravity::Changed, "again"),
        (Gravity::Lost, "again"),
        (Gravity::Lost, "young"),
        (Gravity::Changed, "t"),
    ] {
        assert_eq!(found(&plan, gravity, subject).len(), 1, "{subject} {:?}", plan.findings);
    }
    setup.apply(plan);
    let image = setup.world.image();
    assert!(image.topic("gone").is_none());
    assert_eq!(image.stored_partitions_of(gone).count(), 0);
    let topic = |name: &str| image.topic(name).map(|topic| (topic.id, topic.partitions)).unwrap();
    assert_eq!(topic("t"), (T, 2), "it grew");
    assert_eq!(topic("young"), (young, 2));
    assert_eq!(topic("again"), (anew, 1));
    assert!(image.topic("young").unwrap().configs.is_empty());
    assert_eq!(image.topic("t").unwrap().configs.len(), 1);
    assert_eq!(setup.partition(young, 1).replicas, [1]);
    assert_eq!(setup.partition(T, 0).replicas, [1, 2], "3 was looked at and has none");
}

#[test]
fn topics_that_are_metadata_alone_stay_without_a_log() {
    let mut setup = Setup::new();
    let id = Uuid::from_bytes([12; 16]);
    setup.topic("__consumer_offsets", id, 2);
    let of_kafka = LogFacts { topic: "__consumer_offsets".into(), ..log(id, 5, (9, 9)) };
    let facts = setup.facts([vec![log(T, 0, (5, 9)), of_kafka], vec![], vec![]]);
    let plan = setup.plan(&facts);
    assert!(plan.findings.iter().all(|it| !it.subject.starts_with("__consumer")), "{plan:?}");
    setup.apply(plan);
    assert_eq!(setup.world.image().topic("__consumer_offsets").unwrap().partitions, 2);
    let partition = setup.partition(id, 1);
    assert_eq!((partition.replicas.len(), partition.leader), (3, -1));
    assert!(4 < partition.leader_epoch);
}

#[test]
fn store_that_was_lost_is_made_from_the_disks() {
    let mut world = World::new();
    let ours = Uuid::from_bytes([1; 16]).to_string();
    let facts: Vec<_> =
        (1..=2).map(|id| broker(id, &ours, vec![log(T, 0, (3, 8)), log(T, 2, (1, 1))])).collect();
    let plan = plan(&request(world.image(), &facts)).unwrap();
    assert_eq!(plan.partitions.len(), 3);
    assert_eq!(found(&plan, Gravity::Lost, "t-1").len(), 1, "there must have been one");
    world.commit(plan.units);
    let image = world.image();
    assert_eq!(image.cluster().unwrap().cluster_id, ours);
    assert_eq!(image.partition(T, 0).unwrap().isr, [1, 2]);
    assert_eq!(image.partition(T, 1).unwrap().replicas, [1, 2]);
    assert_eq!(image.brokers().count(), 2);
}

#[test]
fn disks_of_another_cluster_are_refused() {
    let setup = Setup::new();
    let other = Uuid::from_bytes([1; 16]).to_string();
    let mut facts = setup.facts([vec![], vec![], vec![]]);
    facts[1].cluster_id.clone_from(&other);
    let refused = |facts: &[BrokerFacts]| plan(&request(setup.world.image(), facts)).unwrap_err();
    assert!(matches!(refused(&facts), PlanError::Clusters { broker: 2, .. }));
    let others = [broker(1, &other, vec![]), broker(2, &other, vec![]), broker(3, &other, vec![])];
    assert!(matches!(refused(&others), PlanError::OtherStore { .. }));
    assert_eq!(refused(&[]), PlanError::NoFacts);
    let twice = setup.facts([vec![], vec![], vec![]]);
    let twice = [twice[0].clone(), twice[0].clone()];
    assert_eq!(refused(&twice), PlanError::Twice(1));
}

#[test]
fn ids_and_epochs_begin_beyond_all_that_was_handed_out() {
    let mut setup = Setup::new();
    setup.world.put(Key::ProducerIds, &ProducerIds { next_block_start: 9000, rest: Rest::new() });
    let head = ShardHead { owner: 1, epoch: 3, sequence: 9, rest: Rest::new() };
    let shard = Key::Shard(4, ottla_metadata::keys::ShardKey::Head);
    let revision = setup.world.put(shard.clone(), &head);
    let facts = setup.facts([
        vec![LogFacts { max_producer_id: 123_456, ..log(T, 0, (5, 9)) }],
        vec![],
        vec![],
    ]);
    let heads = [(4, revision, head)];
    let planned = plan(&Request { heads: &heads, ..request(setup.world.image(), &facts) }).unwrap();
    let written = |key: &Key| {
        let changes = planned.units.iter().flat_map(|unit| &unit.changes);
        let value = changes.into_iter().find(|change| change.key == *key).unwrap().value.clone();
        serde_json::from_slice::<serde_json::Value>(&value.unwrap()).unwrap()
    };
    let next = written(&Key::ProducerIds)["next_block_start"].as_i64().unwrap();
    assert!(1_000_000 < next - 123_456 && next % 1000 == 0, "{next}");
    assert!(3 < written(&shard)["epoch"].as_i64().unwrap());
}

#[test]
fn mark_is_ahead_of_all_that_nodes_have_seen_and_written_last() {
    let mut setup = Setup::new();
    let mark = |number| Some(Recovery { number, id: Uuid::ONE });
    let mut facts = setup.facts([vec![log(T, 0, (5, 9))], vec![], vec![]]);
    facts[1].recovery = mark(6);
    let planned = plan(&Request { known: mark(8), ..request(setup.world.image(), &facts) });
    assert_eq!(planned.unwrap().recovery.number, 9);
    let plan = setup.plan(&facts);
    assert_eq!(plan.recovery.number, 7);
    let last = plan.units.last().unwrap();
    assert!(matches!(last.changes[..], [Change { key: Key::Cluster, .. }]));
    let before: Cluster = setup.world.image().cluster().unwrap().value.clone();
    setup.apply(plan.clone());
    let after = setup.world.image().cluster().unwrap().value.clone();
    assert_eq!(after, Cluster { recovery: Some(plan.recovery), ..before });
    // Run again, as after a crash of the tool, it goes on from there.
    let again = setup.plan(&facts);
    assert_eq!(again.recovery.number, 8);
    assert_eq!(again.partitions[0].in_sync, [1]);
}

/// From the recovered store to leaders, by the controller's own rules.
#[test]
fn brokers_keep_the_seats_they_were_given_unless_their_disks_changed_since() {
    for (claimed, keeps) in [
        (PreviousLife::Clean { broker_epoch: 1001 }, true),
        (PreviousLife::MachineCrash { broker_epoch: 1001 }, false),
        (PreviousLife::ProcessCrash { broker_epoch: 4 }, false),
    ] {
        let mut setup = Setup::new();
        let facts = setup.facts([
            vec![log(T, 0, (9, 50))],
            vec![log(T, 0, (9, 40))],
            vec![log(T, 0, (9, 50))],
        ]);
        let plan = setup.plan(&facts);
        let epoch = plan.partitions[0].epoch;
        setup.apply(plan);
        setup.world.claim(1, claimed);
        let verdict = Verdict::Register { broker: 1, heard: true };
        let file = BTreeMap::new();
        let units = brokers::sweep(setup.world.image(), &file, &[verdict]).units;
        setup.world.commit(units);
        let units = brokers::sweep(setup.world.image(), &file, &[]).units;
        setup.world.commit(units);
        let partition = setup.partition(T, 0);
        assert_eq!(partition.leader == 1, keeps, "{claimed:?} {partition:?}");
        if keeps {
            assert!(epoch < partition.leader_epoch);
            assert!(setup.world.image().broker(1).unwrap().recovered.is_none());
        } else {
            assert!(partition.elr.contains(&3), "it waits for who has as much: {partition:?}");
        }
    }
}
