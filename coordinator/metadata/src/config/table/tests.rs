use std::collections::{BTreeMap, BTreeSet};

use super::super::def::{ConfigType, DefaultValue, Importance, Update, Validator};
use super::*;

/// Where Ottla means to differ from Kafka: the config, and what it has instead of Kafka's default.
const OTHER_DEFAULTS: &[(&str, &str)] = &[
    ("broker.heartbeat.interval.ms", "1000"),
    ("broker.session.timeout.ms", "3000"),
    ("controller.listener.names", ""),
    ("log.dir", "/tmp/ottla-logs"),
    ("node.id", "-1"),
    ("process.roles", ""),
];

struct Fact<'a> {
    resource: &'a str,
    name: &'a str,
    kind: &'a str,
    default: &'a str,
    importance: &'a str,
    update: &'a str,
}

fn facts() -> Vec<Fact<'static>> {
    include_str!("../testdata/kafka-4.3.1.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().expect("seven fields a line");
            Fact {
                resource: next(),
                name: next(),
                kind: next(),
                default: next(),
                importance: next(),
                update: next(),
            }
        })
        .collect()
}

fn find(fact: &Fact<'_>) -> Option<&'static ConfigDef> {
    match fact.resource {
        "topic" => lookup_topic(fact.name),
        "group" => lookup_group(fact.name),
        _ => lookup_broker(fact.name).map(|lookup| lookup.def),
    }
}

#[test]
fn every_config_of_kafka_is_known_with_its_type_default_and_importance() {
    let mut differences = Vec::new();
    for fact in facts() {
        let Some(def) = find(&fact) else {
            differences.push(format!("{} {} is not known", fact.resource, fact.name));
            continue;
        };
        let default = match def.default {
            DefaultValue::Required => "<required>",
            DefaultValue::Null => "<null>",
            DefaultValue::Value(text) => text,
        };
        let other = OTHER_DEFAULTS.iter().find(|(name, _)| *name == fact.name);
        let expected = other.map_or(fact.default, |(_, default)| *default);
        let update = match def.update {
            Update::ReadOnly => "read-only",
            Update::PerBroker => "per-broker",
            Update::ClusterWide => "cluster-wide",
            Update::PerResource => fact.resource,
        };
        let ours = (def.kind.name(), default, def.importance.name(), update);
        let theirs = (fact.kind, expected, fact.importance, fact.update);
        if ours != theirs {
            differences.push(format!("{}: {ours:?}, Kafka {theirs:?}", fact.name));
        }
    }
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn there_are_33_topic_configs_and_none_that_kafka_lacks() {
    let facts = facts();
    let of = |resource: &str| -> BTreeSet<&str> {
        facts.iter().filter(|fact| fact.resource == resource).map(|fact| fact.name).collect()
    };
    let names =
        |defs: &[ConfigDef]| -> BTreeSet<&str> { defs.iter().map(|def| def.name).collect() };
    assert_eq!(TOPIC.len(), 33);
    assert_eq!(names(TOPIC), of("topic"));
    assert_eq!(names(GROUP), of("group"));
    let known = of("broker");
    let extra: Vec<&str> =
        broker().filter(|def| !def.own && !known.contains(def.name)).map(|def| def.name).collect();
    assert_eq!(
        extra,
        ["port", "host.name"],
        "only old names are neither Kafka's nor marked as own"
    );
}

#[test]
fn every_default_passes_its_own_check() {
    for def in all() {
        if let DefaultValue::Value(text) = def.default
            && !matches!(def.validator, Validator::NotEmpty)
        {
            let value = def.parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(value.to_string(), text, "{} reads back", def.name);
        }
    }
}

#[test]
fn every_name_occurs_once_and_every_config_is_documented() {
    let mut seen = BTreeMap::new();
    for def in all() {
        let times = seen.entry((format!("{:?}", def.resource), def.name)).or_insert(0);
        *times += 1;
        assert_eq!(*times, 1, "{} occurs twice", def.name);
        assert!(def.doc.ends_with('.'), "{} has no sentence", def.name);
        assert!(!def.doc.contains("  "), "{} has a gap", def.name);
        assert!(def.importance <= Importance::Low);
    }
}

#[test]
fn every_synonym_is_a_broker_config_of_a_fitting_type() {
    let is_number = |kind| matches!(kind, ConfigType::Int | ConfigType::Long | ConfigType::Short);
    for def in all() {
        for synonym in def.synonyms {
            let other = plain_broker(synonym.name)
                .unwrap_or_else(|| panic!("{} of {} is not known", synonym.name, def.name));
            let fits = other.kind == def.kind || is_number(other.kind) && is_number(def.kind);
            assert!(fits, "{} stands in for {}", synonym.name, def.name);
        }
    }
}

#[test]
fn a_listeners_prefix_is_seen_through() {
    let lookup = lookup_broker("listener.name.external.ssl.keystore.password").unwrap();
    assert_eq!((lookup.def.name, lookup.listener), ("ssl.keystore.password", Some("external")));
    let lookup = lookup_broker("listener.name.x.scram-sha-256.sasl.jaas.config").unwrap();
    assert_eq!(lookup.mechanism, Some("scram-sha-256"));
    for name in [
        "listener.name.",
        "listener.name.x",
        "listener.name.x.log.dirs",
        "listener.name..ssl.protocol",
    ] {
        assert!(lookup_broker(name).is_none(), "{name}");
    }
}

#[test]
fn the_two_programs_have_http_listeners_of_their_own() {
    assert_eq!(lookup_broker("http.listener").unwrap().def.default, DefaultValue::Value(":9644"));
    let coordinators = lookup_coordinator("http.listener").unwrap().def;
    assert_eq!(coordinators.default, DefaultValue::Value(":9080"));
    assert!(lookup_coordinator("num.partitions").is_some(), "defaults for topics");
}
