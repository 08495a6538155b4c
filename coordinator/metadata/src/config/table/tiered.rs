//! Configs of tiered storage.

use super::super::def::{ConfigDef, Validator};
use super::reason;

/// The configs of tiered storage.
pub const TIERED: &[ConfigDef] = &[
    ConfigDef::boolean("remote.log.storage.system.enable", "false")
        .no_effect(reason::TIERED)
        .doc("Whether tiered storage exists."),
    ConfigDef::string("remote.log.storage.manager.impl.prefix", "rsm.config.")
        .check(Validator::NotEmpty)
        .no_effect(reason::TIERED)
        .doc("Prefix of the configs for the class that stores segments."),
    ConfigDef::string("remote.log.metadata.manager.impl.prefix", "rlmm.config.")
        .check(Validator::NotEmpty)
        .no_effect(reason::TIERED)
        .doc("Prefix of the configs for the class that knows where segments are."),
    ConfigDef::string("remote.log.storage.manager.class.name", "")
        .nullable()
        .check(Validator::NotEmpty)
        .no_effect(reason::TIERED)
        .doc("Class that stores segments."),
    ConfigDef::string("remote.log.storage.manager.class.path", "")
        .nullable()
        .no_effect(reason::TIERED)
        .doc("Path to the class that stores segments."),
    ConfigDef::string(
        "remote.log.metadata.manager.class.name",
        "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
    )
    .check(Validator::NotEmpty)
    .no_effect(reason::TIERED)
    .doc("Class that knows where segments are."),
    ConfigDef::string("remote.log.metadata.manager.class.path", "")
        .nullable()
        .no_effect(reason::TIERED)
        .doc("Path to the class that knows where segments are."),
    ConfigDef::string("remote.log.metadata.manager.listener.name", "")
        .nullable()
        .check(Validator::NotEmpty)
        .no_effect(reason::TIERED)
        .doc("Listener that the class that knows where segments are connects to."),
    ConfigDef::int("remote.log.metadata.custom.metadata.max.bytes", "128")
        .at_least(0)
        .low()
        .no_effect(reason::TIERED)
        .doc("Largest note in bytes that goes with a segment."),
    ConfigDef::long("remote.log.index.file.cache.total.size.bytes", "1073741824")
        .at_least(1)
        .low()
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Bytes of local disk for indexes of segments in tiered storage."),
    ConfigDef::int("remote.log.manager.thread.pool.size", "2")
        .at_least(1)
        .no_effect(reason::TIERED)
        .doc("Threads that plan copies and deletions."),
    ConfigDef::int("remote.log.manager.copier.thread.pool.size", "10")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Threads that copy segments."),
    ConfigDef::int("remote.log.manager.expiration.thread.pool.size", "10")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Threads that delete segments past their retention."),
    ConfigDef::int("remote.log.manager.follower.thread.pool.size", "2")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Threads that do followers' work."),
    ConfigDef::long("remote.log.manager.task.interval.ms", "30000")
        .at_least(1)
        .low()
        .no_effect(reason::TIERED)
        .doc("Milliseconds between two looks for segments to copy."),
    ConfigDef::int("remote.log.reader.threads", "10")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Threads that read from tiered storage."),
    ConfigDef::int("remote.log.reader.max.pending.tasks", "100")
        .at_least(1)
        .no_effect(reason::TIERED)
        .doc("Reads from tiered storage that may wait."),
    ConfigDef::long("log.local.retention.ms", "-2")
        .at_least(-2)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc(
            "Local retention in milliseconds for topics without `local.retention.ms` of their \
             own.",
        ),
    ConfigDef::long("log.local.retention.bytes", "-2")
        .at_least(-2)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Local retention in bytes for topics without `local.retention.bytes` of their own."),
    ConfigDef::long("remote.log.manager.copy.max.bytes.per.second", "9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Bytes per second copied to tiered storage at most."),
    ConfigDef::int("remote.log.manager.copy.quota.window.num", "11")
        .at_least(1)
        .no_effect(reason::TIERED)
        .doc("Samples kept for the limit on copies."),
    ConfigDef::int("remote.log.manager.copy.quota.window.size.seconds", "1")
        .at_least(1)
        .no_effect(reason::TIERED)
        .doc("Seconds in one sample of the limit on copies."),
    ConfigDef::long("remote.log.manager.fetch.max.bytes.per.second", "9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Bytes per second read from tiered storage at most."),
    ConfigDef::int("remote.log.manager.fetch.quota.window.num", "11")
        .at_least(1)
        .no_effect(reason::TIERED)
        .doc("Samples kept for the limit on reads."),
    ConfigDef::int("remote.log.manager.fetch.quota.window.size.seconds", "1")
        .at_least(1)
        .no_effect(reason::TIERED)
        .doc("Seconds in one sample of the limit on reads."),
    ConfigDef::int("remote.fetch.max.wait.ms", "500")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Milliseconds that a fetch waits for tiered storage."),
    ConfigDef::long("remote.list.offsets.request.timeout.ms", "30000")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Milliseconds that a look-up of offsets waits for tiered storage."),
];
