use super::*;
use crate::controller::decision::AdminSettings;
use crate::controller::testing::{World, random};
use ottla_protocol::time::Now;

fn decide(world: &World, alteration: ConfigAlteration) -> Decision<()> {
    let settings = AdminSettings::default();
    let mut random = random(1);
    let now = Now { monotonic: Default::default(), wall_ms: 0 };
    let context = Context { image: world.image(), settings: &settings, now, random: &mut random };
    alter(&context, &[alteration], false)
}

fn set(resource: ConfigResource, name: &str, value: &str) -> ConfigAlteration {
    let change =
        ConfigChange { name: name.to_owned(), op: ConfigOp::Set, value: Some(value.to_owned()) };
    ConfigAlteration { resource, changes: vec![change] }
}

fn forget(resource: ConfigResource, name: &str) -> ConfigAlteration {
    let change = ConfigChange { name: name.to_owned(), op: ConfigOp::Delete, value: None };
    ConfigAlteration { resource, changes: vec![change] }
}

fn error(decision: &Decision<()>) -> ErrorCode {
    assert!(decision.units.is_empty());
    decision.results[0].as_ref().unwrap_err().code
}

#[test]
fn configs_of_a_topic_are_kept_with_it() {
    let mut world = World::new();
    world.topic("t", &[]);
    let topic = || ConfigResource::Topic("t".to_owned());
    let decision = decide(&world, set(topic(), "retention.ms", "1000"));
    world.commit(decision.units);
    let stored = &world.image().topic("t").unwrap().configs;
    assert_eq!(stored.get("retention.ms").map(String::as_str), Some("1000"));
    let again = decide(&world, set(topic(), "retention.ms", "1000"));
    assert!(again.results[0].is_ok() && again.units.is_empty(), "nothing changes");
    let decision = decide(&world, forget(topic(), "retention.ms"));
    world.commit(decision.units);
    assert!(world.image().topic("t").unwrap().configs.is_empty());
}

#[test]
fn wrong_names_and_values_are_refused() {
    let mut world = World::new();
    world.topic("t", &[]);
    let topic = || ConfigResource::Topic("t".to_owned());
    let unknown = decide(&world, set(topic(), "retention.mss", "1"));
    assert_eq!(error(&unknown), ErrorCode::InvalidConfig);
    let message = &unknown.results[0].as_ref().unwrap_err().message;
    assert!(message.contains("did you mean retention.ms?"), "{message}");
    assert_eq!(error(&decide(&world, set(topic(), "retention.ms", "x"))), ErrorCode::InvalidConfig);
    let nowhere = ConfigResource::Topic("u".to_owned());
    let decision = decide(&world, set(nowhere, "retention.ms", "1"));
    assert_eq!(error(&decision), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn configs_of_brokers_come_and_go_with_their_key() {
    let mut world = World::new();
    world.start_broker(1);
    for (broker, stored) in
        [(Some(1), StoredResource::Broker(1)), (None, StoredResource::BrokerDefault)]
    {
        let resource = || ConfigResource::Broker(broker);
        let decision = decide(&world, set(resource(), "log.cleaner.threads", "2"));
        world.commit(decision.units);
        let entry = world.image().config(&stored).unwrap();
        assert_eq!(entry.configs.get("log.cleaner.threads").map(String::as_str), Some("2"));
        let decision = decide(&world, forget(resource(), "log.cleaner.threads"));
        world.commit(decision.units);
        assert_eq!(world.image().config(&stored), None);
    }
    let stranger = set(ConfigResource::Broker(Some(7)), "log.cleaner.threads", "2");
    assert_eq!(error(&decide(&world, stranger)), ErrorCode::BrokerIdNotRegistered);
}

#[test]
fn resource_that_is_named_twice_is_changed_by_neither() {
    let mut world = World::new();
    world.topic("t", &[]);
    let settings = AdminSettings::default();
    let mut random = random(1);
    let now = Now { monotonic: Default::default(), wall_ms: 0 };
    let context = Context { image: world.image(), settings: &settings, now, random: &mut random };
    let topic = || ConfigResource::Topic("t".to_owned());
    let twice = [set(topic(), "retention.ms", "1"), set(topic(), "retention.bytes", "1")];
    let decision = alter(&context, &twice, false);
    assert!(decision.units.is_empty());
    assert!(decision.results.iter().all(|result| {
        result.as_ref().is_err_and(|error| error.code == ErrorCode::InvalidRequest)
    }));
}

#[test]
fn replacement_forgets_what_it_does_not_name() {
    let mut world = World::new();
    world.topic("t", &[]);
    world.configure("t", "retention.bytes", "7");
    let settings = AdminSettings::default();
    let mut random = random(1);
    let now = Now { monotonic: Default::default(), wall_ms: 0 };
    let replacement = ConfigReplacement {
        resource: ConfigResource::Topic("t".to_owned()),
        configs: vec![("retention.ms".to_owned(), Some("1".to_owned()))],
    };
    let context = Context { image: world.image(), settings: &settings, now, random: &mut random };
    let decision = replace(&context, &[replacement], false);
    world.commit(decision.units);
    let names: Vec<_> = world.image().topic("t").unwrap().configs.keys().cloned().collect();
    assert_eq!(names, ["retention.ms"]);
}

#[test]
fn lower_minimum_ends_eligibility_before_it_is_in_force() {
    use crate::controller::testing::partition;
    for resource in [ConfigResource::Topic("t".to_owned()), ConfigResource::Broker(None)] {
        let mut world = World::new();
        let epoch = world.start_broker(1);
        let mut small = partition(&[1, 2, 3], epoch);
        (small.isr, small.elr) = (vec![1, 2], vec![3]);
        let mut offline = partition(&[1, 2, 3], epoch);
        (offline.isr, offline.elr, offline.leader) = (vec![], vec![1, 2, 3], -1);
        let topic = world.topic("t", &[small, offline]);
        let decision = decide(&world, set(resource.clone(), "min.insync.replicas", "3"));
        assert_eq!(decision.units.len(), 1, "a higher one ends nothing: {resource:?}");
        world.commit(decision.units);
        let decision = decide(&world, set(resource.clone(), "min.insync.replicas", "2"));
        let keys: Vec<&Key> = decision.units.iter().map(|unit| &unit.changes[0].key).collect();
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert_eq!(keys[0], &Key::Partition(topic, 0), "it comes before the config");
        assert_eq!(decision.units[1].completes, Some(0));
        world.commit(decision.units);
        assert!(world.partition(topic, 0).elr.is_empty());
        assert_eq!(world.partition(topic, 1).elr, [1, 2, 3], "nothing was acknowledged meanwhile");
    }
}
