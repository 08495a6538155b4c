//! Configs of quotas and metrics.

use super::super::def::ConfigDef;
use super::reason;

/// The configs of quotas and metrics.
pub const QUOTA: &[ConfigDef] = &[
    ConfigDef::int("quota.window.num", "11")
        .at_least(1)
        .low()
        .no_effect(reason::QUOTAS)
        .doc("Samples kept for client quotas."),
    ConfigDef::int("replication.quota.window.num", "11")
        .at_least(1)
        .low()
        .no_effect(reason::QUOTAS)
        .doc("Samples kept for replication quotas."),
    ConfigDef::int("alter.log.dirs.replication.quota.window.num", "11")
        .at_least(1)
        .low()
        .no_effect(reason::QUOTAS)
        .doc("Samples kept for moves between log folders."),
    ConfigDef::int("controller.quota.window.num", "11")
        .at_least(1)
        .low()
        .no_effect(reason::QUOTAS)
        .doc("Samples kept for quotas on changes of topics."),
    ConfigDef::int("quota.window.size.seconds", "1")
        .at_least(1)
        .low()
        .no_effect(reason::QUOTAS)
        .doc("Seconds in one sample of client quotas."),
    ConfigDef::int("replication.quota.window.size.seconds", "1")
        .at_least(1)
        .low()
        .no_effect(reason::QUOTAS)
        .doc("Seconds in one sample of replication quotas."),
    ConfigDef::int("alter.log.dirs.replication.quota.window.size.seconds", "1")
        .at_least(1)
        .low()
        .no_effect(reason::QUOTAS)
        .doc("Seconds in one sample of moves between log folders."),
    ConfigDef::int("controller.quota.window.size.seconds", "1")
        .at_least(1)
        .low()
        .no_effect(reason::QUOTAS)
        .doc("Seconds in one sample of quotas on changes of topics."),
    ConfigDef::class("client.quota.callback.class", "")
        .nullable()
        .low()
        .no_effect(reason::JVM)
        .doc("Class that decides clients' quotas."),
    ConfigDef::int("metrics.num.samples", "2")
        .at_least(1)
        .low()
        .no_effect(reason::METRICS)
        .doc("Samples from which a metric is computed."),
    ConfigDef::long("metrics.sample.window.ms", "30000")
        .at_least(1)
        .low()
        .no_effect(reason::METRICS)
        .doc("Milliseconds in one sample of a metric."),
    ConfigDef::list("metric.reporters", "org.apache.kafka.common.metrics.JmxReporter")
        .low()
        .cluster_wide()
        .no_effect(reason::METRICS)
        .doc("Classes that report metrics."),
    ConfigDef::string("metrics.recording.level", "INFO")
        .low()
        .no_effect(reason::METRICS)
        .doc("How detailed metrics are."),
    ConfigDef::list("kafka.metrics.reporters", "")
        .low()
        .no_effect(reason::METRICS)
        .doc("Classes that report metrics, in the old form."),
    ConfigDef::int("kafka.metrics.polling.interval.secs", "10")
        .at_least(1)
        .low()
        .no_effect(reason::METRICS)
        .doc("Seconds between two reports in the old form."),
    ConfigDef::int("telemetry.max.bytes", "1048576")
        .at_least(1)
        .low()
        .no_effect(reason::METRICS)
        .doc("Largest report in bytes that a client may push."),
];
