use proptest::prelude::*;

use super::*;
use crate::config::TopicConfig;

fn map(pairs: &[(&str, &str)]) -> ConfigMap {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn change<'a>(name: &'a str, op: AlterOp, value: &'a str) -> Alteration<'a> {
    Alteration { name, op, value: Some(value) }
}

/// Applies one change to a topic and gives the whole new set, or the code and the message.
fn topic(
    set: &[(&str, &str)],
    name: &str,
    op: AlterOp,
    value: &str,
) -> Result<ConfigMap, (ErrorCode, String)> {
    let own = map(set);
    alter_topic_configs(&[change(name, op, value)], &Layers { own: &own, ..Layers::default() })
        .map_err(|error| (error.code, error.message))
}

fn broker(
    scope: BrokerScope,
    name: &str,
    op: AlterOp,
    value: &str,
) -> Result<ConfigMap, ErrorCode> {
    alter_broker_configs(&[change(name, op, value)], scope, &Layers::default())
        .map_err(|error| error.code)
}

use AlterOp::{Append, Delete, Set, Subtract};

// What these tests expect of codes and resulting values is what Apache Kafka 4.3.1 answered.

#[test]
fn a_value_is_set_in_its_plain_form() {
    assert_eq!(topic(&[], "retention.ms", Set, " +5 "), Ok(map(&[("retention.ms", "5")])));
    assert_eq!(topic(&[], "preallocate", Set, "TRUE"), Ok(map(&[("preallocate", "true")])));
    assert_eq!(
        topic(&[], "cleanup.policy", Set, "delete,delete"),
        Ok(map(&[("cleanup.policy", "delete")]))
    );
    assert_eq!(topic(&[], "cleanup.policy", Set, ""), Ok(map(&[("cleanup.policy", "")])));
}

#[test]
fn bad_values_and_names_are_invalid_configs() {
    for (name, value, part) in [
        ("no.such", "1", "not a config of a topic"),
        ("retention.mss", "1", "did you mean retention.ms?"),
        ("", "1", "not a config"),
        ("message.downconversion.enable", "true", "not a config"),
        ("retention.ms", "abc", "not a whole number"),
        ("retention.ms", "", "not a whole number"),
        ("retention.ms", "-5", "less than -1"),
        ("flush.ms", "9223372036854775808", "does not fit"),
        ("segment.bytes", "1000", "1048576"),
        ("compression.type", "lzo", "zstd"),
        ("compression.gzip.level", "0", "1 to 9"),
        ("cleanup.policy", "Delete", "compact, delete"),
        ("cleanup.policy", "delete,,compact", "empty"),
        ("min.cleanable.dirty.ratio", "2", "from 0 to 1"),
        ("message.timestamp.type", "createtime", "CreateTime"),
        ("leader.replication.throttled.replicas", "none", "partition:broker"),
        ("remote.storage.enable", "true", "no tiered storage"),
    ] {
        let (code, message) = topic(&[], name, Set, value).unwrap_err();
        assert_eq!(code, ErrorCode::InvalidConfig, "{name}={value}");
        assert!(message.contains(part), "{name}={value}: {message}");
    }
}

#[test]
fn deleting_gives_way_to_the_default_and_never_fails() {
    let set = [("retention.ms", "5"), ("flush.ms", "7")];
    assert_eq!(topic(&set, "retention.ms", Delete, "ignored"), Ok(map(&[("flush.ms", "7")])));
    assert_eq!(topic(&set, "segment.ms", Delete, ""), Ok(map(&set)));
    assert_eq!(topic(&set, "no.such", Delete, ""), Ok(map(&set)));
}

#[test]
fn lists_grow_and_shrink_from_the_value_that_holds() {
    let both = map(&[("cleanup.policy", "delete,compact")]);
    assert_eq!(topic(&[], "cleanup.policy", Append, "compact"), Ok(both.clone()));
    let set = [("cleanup.policy", "delete,compact")];
    assert_eq!(topic(&set, "cleanup.policy", Append, "compact"), Ok(both));
    let none = map(&[("cleanup.policy", "")]);
    assert_eq!(topic(&set, "cleanup.policy", Subtract, "delete,compact"), Ok(none));
    let same = map(&[("cleanup.policy", "delete")]);
    assert_eq!(topic(&[], "cleanup.policy", Subtract, "compact"), Ok(same));
}

#[test]
fn only_lists_have_items() {
    for op in [Append, Subtract] {
        let (code, message) = topic(&[], "retention.ms", op, "5").unwrap_err();
        assert_eq!(code, ErrorCode::InvalidConfig);
        assert!(message.contains("not a list"), "{message}");
    }
    assert!(topic(&[], "leader.replication.throttled.replicas", Append, "0:1,1:2").is_ok());
    let star = topic(
        &[("leader.replication.throttled.replicas", "0:1")],
        "leader.replication.throttled.replicas",
        Append,
        "*",
    );
    assert!(star.is_err(), "a star stands alone");
}

#[test]
fn a_missing_value_and_a_repeated_name_are_invalid_requests() {
    let missing = Alteration { name: "retention.ms", op: Set, value: None };
    let error = alter_topic_configs(&[missing], &Layers::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    let twice = [change("retention.ms", Set, "1"), change("retention.ms", Delete, "2")];
    let error = alter_topic_configs(&twice, &Layers::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    let error = topic_configs_of_creation(&[("retention.ms".into(), None)], &Layers::default());
    assert_eq!(error.unwrap_err().code, ErrorCode::InvalidConfig);
}

#[test]
fn compaction_lags_are_compared_with_what_the_brokers_say() {
    let set = [("min.compaction.lag.ms", "100")];
    assert!(topic(&set, "max.compaction.lag.ms", Set, "50").unwrap_err().1.contains("(100)"));
    assert!(topic(&set, "max.compaction.lag.ms", Set, "100").is_ok());
    let file = map(&[("log.cleaner.max.compaction.lag.ms", "50")]);
    let layers = Layers { file: &file, ..Layers::default() };
    let changes = [change("min.compaction.lag.ms", Set, "100")];
    assert!(alter_topic_configs(&changes, &layers).is_err());
}

#[test]
fn a_replacement_forgets_what_it_does_not_name() {
    let own = map(&[("retention.ms", "5"), ("flush.ms", "7")]);
    let layers = Layers { own: &own, ..Layers::default() };
    let new = [("segment.ms".to_owned(), Some("9".to_owned()))];
    assert_eq!(replace_topic_configs(&new, &layers).unwrap(), map(&[("segment.ms", "9")]));
    assert_eq!(replace_topic_configs(&[], &layers).unwrap(), ConfigMap::new());
}

#[test]
fn brokers_take_only_what_may_change_while_they_run() {
    use BrokerScope::{All, Broker};
    let request = Err(ErrorCode::InvalidRequest);
    assert_eq!(broker(All, "num.io.threads", Set, "4"), Ok(map(&[("num.io.threads", "4")])));
    assert_eq!(broker(Broker, "node.id", Set, "5"), request);
    assert_eq!(broker(All, "num.partitions", Set, "5"), request);
    assert_eq!(broker(All, "listeners", Set, "PLAINTEXT://:1"), request);
    assert!(broker(Broker, "listeners", Set, "PLAINTEXT://:1").is_ok());
    assert_eq!(broker(Broker, "log.retention.ms", Set, "abc"), request);
    assert_eq!(broker(Broker, "num.io.threads", Set, "0"), request);
    assert_eq!(broker(Broker, "background.threads", Append, "1"), Err(ErrorCode::InvalidConfig));
    assert_eq!(broker(Broker, "broker.rack", Delete, ""), Ok(ConfigMap::new()));
    assert_eq!(broker(Broker, "ssl.keystore.password", Set, "x"), request);
    assert!(broker(Broker, "listener.name.a.ssl.keystore.password", Set, "x").is_ok());
    assert_eq!(broker(Broker, "listener.name.a.max.connections", Set, "x"), request);
    // Kafka takes names that it does not know, since a plug-in may; here a slip is caught.
    assert_eq!(broker(Broker, "num.io.thread", Set, "4"), Err(ErrorCode::InvalidConfig));
}

#[test]
fn a_list_of_all_brokers_grows_from_their_value_not_from_one_brokers() {
    let one = map(&[("log.cleanup.policy", "")]);
    let layers = Layers { dynamic_broker: &one, ..Layers::default() };
    let changes = [change("log.cleanup.policy", Append, "compact")];
    let all = alter_broker_configs(&changes, BrokerScope::All, &layers).unwrap();
    assert_eq!(all, map(&[("log.cleanup.policy", "delete,compact")]));
    let single = alter_broker_configs(&changes, BrokerScope::Broker, &layers).unwrap();
    assert_eq!(single, map(&[("log.cleanup.policy", "compact")]));
}

#[test]
fn what_is_stored_is_checked_as_a_whole() {
    assert!(validate_topic_configs(&map(&[("retention.ms", "5")])).is_ok());
    assert!(validate_topic_configs(&map(&[("retention.ms", "x")])).is_err());
    assert!(validate_topic_configs(&map(&[("x", "x")])).is_err());
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (-3_i64..3).prop_map(|number| number.to_string()),
        "(delete|compact|zstd|true|false|0:1|\\*|0\\.5|x)(,(delete|compact|1:2))?",
    ]
}

proptest! {
    /// Whatever is asked for, what comes out is either refused or a set that is valid, that resolves,
    /// and that changes nothing when it is set again.
    #[test]
    fn no_alteration_makes_a_set_that_does_not_hold(
        steps in proptest::collection::vec(
            (0..table::TOPIC.len(), 0_i8..4, any_value()),
            1..12,
        ),
    ) {
        let mut own = ConfigMap::new();
        for (index, op, value) in steps {
            let name = table::TOPIC[index].name;
            let op = AlterOp::from_code(op).expect("four operations");
            let layers = Layers { own: &own, ..Layers::default() };
            let Ok(next) = alter_topic_configs(&[change(name, op, &value)], &layers) else {
                continue;
            };
            prop_assert_eq!(validate_topic_configs(&next), Ok(()));
            let resolved = TopicConfig::resolve(&Layers { own: &next, ..Layers::default() });
            prop_assert!(resolved.is_ok());
            let again: Vec<(String, Option<String>)> =
                next.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
            prop_assert_eq!(replace_topic_configs(&again, &layers), Ok(next.clone()));
            own = next;
        }
    }
}
