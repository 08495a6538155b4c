//! Describing and altering configs.

use ottla_protocol::{
    Str,
    messages::{
        AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        alter_configs_request, describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request as incremental,
    },
};

use crate::session::{Session, code};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub fn script(session: &mut Session) {
    session.create_topic("tuned", 1, &[("retention.ms", "5000")]);
    describe_topic(session);
    alter(session);
    replace(session);
    describe_others(session);
}

fn describe(session: &mut Session, kind: i8, name: &str, keys: Option<&[&str]>) -> String {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| Str::from(*key)).collect()),
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..Default::default()
    };
    let result = session.call(4, &request).results.remove(0);
    let mut configs: Vec<_> = result
        .configs
        .iter()
        .map(|c| {
            let synonyms: Vec<_> = c
                .synonyms
                .iter()
                .map(|s| {
                    format!("{}:{}={}", s.source, s.name, s.value.as_deref().unwrap_or("null"))
                })
                .collect();
            format!(
                "{}={} source {} type {} readonly {} sensitive {} [{}]",
                c.name,
                c.value.as_deref().unwrap_or("null"),
                c.config_source,
                c.config_type,
                c.read_only,
                c.is_sensitive,
                synonyms.join(", ")
            )
        })
        .collect();
    configs.sort();
    format!("{} {}", code(result.error_code), configs.join(" | "))
}

/// As [`describe`], once the answer has stood for a while: Apache Kafka answers a change before its broker has heard of it.
fn describe_settled(session: &mut Session, name: &str, keys: &[&str]) -> String {
    let mut text = describe(session, TOPIC, name, Some(keys));
    let mut same = 0;
    for _ in 0..100 {
        if 5 < same {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        let again = describe(session, TOPIC, name, Some(keys));
        same = if again == text { same + 1 } else { 0 };
        text = again;
    }
    text
}

fn describe_topic(session: &mut Session) {
    let keys = [
        "cleanup.policy",
        "compression.type",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "index.interval.bytes",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "preallocate",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.index.bytes",
        "segment.jitter.ms",
        "segment.ms",
        "unclean.leader.election.enable",
        "remote.storage.enable",
        "local.retention.ms",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.zstd.level",
        "leader.replication.throttled.replicas",
        "follower.replication.throttled.replicas",
    ];
    for key in keys {
        let text = describe(session, TOPIC, "tuned", Some(&[key]));
        session.note(&format!("describe {key}"), text);
    }
    let all = describe(session, TOPIC, "tuned", None);
    let names: Vec<_> = all.split(" | ").filter_map(|c| c.split('=').next()).collect();
    session.note("names of all", names.join(" "));
    let count = describe(session, TOPIC, "tuned", Some(&[])).split(" | ").count();
    session.note("as many when none is named", count);
    let text = describe(session, TOPIC, "missing", None);
    session.note("describe an unknown topic", text);
    let text = describe(session, TOPIC, "a b", None);
    session.note("describe an invalid name", text);
    let text = describe(session, TOPIC, "tuned", Some(&["no.such.config"]));
    session.note("describe an unknown config", text);
}

fn alter(session: &mut Session) {
    let steps: [(&str, &str, i8, Option<&str>); 16] = [
        ("set", "segment.bytes", SET, Some("2000000")),
        ("set an invalid value", "segment.bytes", SET, Some("x")),
        ("set out of range", "segment.bytes", SET, Some("-1")),
        ("set null", "segment.bytes", SET, None),
        ("set an unknown config", "no.such.config", SET, Some("1")),
        ("delete", "segment.bytes", DELETE, None),
        ("delete once more", "segment.bytes", DELETE, None),
        ("delete an unknown config", "no.such.config", DELETE, None),
        ("append to a list", "cleanup.policy", APPEND, Some("compact")),
        ("append what is there", "cleanup.policy", APPEND, Some("compact")),
        ("subtract from a list", "cleanup.policy", SUBTRACT, Some("delete")),
        ("append to a number", "retention.ms", APPEND, Some("1")),
        ("subtract from a number", "retention.ms", SUBTRACT, Some("1")),
        ("unknown operation", "retention.ms", 9, Some("1")),
        ("set a list", "cleanup.policy", SET, Some("delete")),
        ("set surrounded by blanks", "retention.ms", SET, Some(" 7000 ")),
    ];
    for (step, name, operation, value) in steps {
        let outcome = alter_one(session, "tuned", name, operation, value);
        session.note(step, outcome);
        let text = describe_settled(session, "tuned", &[name]);
        session.note(&format!("after {step}"), text);
    }
    let outcome = alter_one(session, "missing", "retention.ms", SET, Some("1"));
    session.note("alter an unknown topic", outcome);
}

fn alter_one(
    session: &mut Session,
    topic: &str,
    name: &str,
    config_operation: i8,
    value: Option<&str>,
) -> &'static str {
    let config = incremental::AlterableConfig {
        name: name.into(),
        config_operation,
        value: value.map(Into::into),
        ..Default::default()
    };
    let resource = incremental::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    code(session.call(1, &request).responses[0].error_code)
}

fn replace(session: &mut Session) {
    for (step, configs, validate_only) in [
        ("replace, only to validate", vec![("flush.ms", "1000")], true),
        ("replace all", vec![("flush.ms", "1000")], false),
        ("replace with an invalid value", vec![("flush.ms", "soon")], false),
        ("replace with nothing", vec![], false),
    ] {
        let one = |(name, value): &(&str, &str)| alter_configs_request::AlterableConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        };
        let resource = alter_configs_request::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "tuned".into(),
            configs: configs.iter().map(one).collect(),
            ..Default::default()
        };
        let request =
            AlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() };
        let outcome = code(session.call(2, &request).responses[0].error_code);
        session.note(step, outcome);
        let text = describe_settled(session, "tuned", &["flush.ms", "retention.ms"]);
        session.note(&format!("after {step}"), text);
    }
}

fn describe_others(session: &mut Session) {
    let keys =
        ["num.partitions", "auto.create.topics.enable", "message.max.bytes", "log.retention.ms"];
    for key in keys {
        let text = describe(session, BROKER, "1", Some(&[key]));
        session.note(&format!("broker's {key}"), text);
    }
    let text = describe(session, BROKER, "77", None);
    session.note("an unknown broker", text.split(' ').next().unwrap_or_default());
    let text = describe(session, BROKER, "x", None);
    session.note("a broker that is no number", text.split(' ').next().unwrap_or_default());
}
