//! Configs of logs, many of them defaults for topics.

use super::super::def::{ConfigDef, Synonym, Validator};
use super::reason;

/// The configs of logs, many of them defaults for topics.
pub const LOG: &[ConfigDef] = &[
    ConfigDef::int("num.partitions", "1").at_least(1).doc(
        "Partitions of a topic that is created without naming a number, by a client or by \
             itself.",
    ),
    ConfigDef::list("log.dir", "/tmp/ottla-logs")
        .check(Validator::NotEmpty)
        .high()
        .doc("Folder for partitions when `log.dirs` is not set."),
    ConfigDef::list("log.dirs", "").nullable().check(Validator::NotEmpty).high().doc(
        "Folders for partitions, separated by commas, best on disks of their own. A new \
             partition goes to the folder with the fewest.",
    ),
    ConfigDef::list("cordoned.log.dirs", "")
        .per_broker()
        .no_effect("log folders cannot be kept from new partitions yet")
        .doc("Folders of `log.dirs` that get no new partitions; `*` for all."),
    ConfigDef::int("log.segment.bytes", "1073741824")
        .at_least(1048576)
        .high()
        .cluster_wide()
        .doc("Segment size in bytes for topics without `segment.bytes` of their own."),
    ConfigDef::long("log.roll.ms", "")
        .nullable()
        .high()
        .cluster_wide()
        .synonyms(&[Synonym::hours("log.roll.hours")])
        .doc(
            "Milliseconds after which topics without `segment.ms` of their own begin a new \
             segment; wins over `log.roll.hours`.",
        ),
    ConfigDef::int("log.roll.hours", "168")
        .at_least(1)
        .high()
        .doc("Hours after which topics without `segment.ms` of their own begin a new segment."),
    ConfigDef::long("log.roll.jitter.ms", "")
        .nullable()
        .high()
        .cluster_wide()
        .synonyms(&[Synonym::hours("log.roll.jitter.hours")])
        .doc(
            "Random shortening, in milliseconds, for topics without `segment.jitter.ms` of \
             their own; wins over `log.roll.jitter.hours`.",
        ),
    ConfigDef::int("log.roll.jitter.hours", "0")
        .at_least(0)
        .high()
        .doc("Random shortening, in hours, for topics without `segment.jitter.ms` of their own."),
    ConfigDef::long("log.retention.ms", "")
        .nullable()
        .high()
        .cluster_wide()
        .synonyms(&[
            Synonym::minutes("log.retention.minutes"),
            Synonym::hours("log.retention.hours"),
        ])
        .no_effect(reason::RETENTION)
        .doc(
            "Milliseconds for which topics without `retention.ms` of their own keep records; \
             wins over minutes and hours. -1 keeps them for ever.",
        ),
    ConfigDef::int("log.retention.minutes", "").nullable().high().no_effect(reason::RETENTION).doc(
        "Minutes for which topics without `retention.ms` of their own keep records; wins \
             over hours.",
    ),
    ConfigDef::int("log.retention.hours", "168")
        .high()
        .no_effect(reason::RETENTION)
        .doc("Hours for which topics without `retention.ms` of their own keep records."),
    ConfigDef::long("log.retention.bytes", "-1")
        .high()
        .cluster_wide()
        .no_effect(reason::RETENTION)
        .doc(
            "Bytes that partitions of topics without `retention.bytes` of their own keep at \
             least; -1 sets no limit.",
        ),
    ConfigDef::long("log.retention.check.interval.ms", "300000")
        .at_least(1)
        .no_effect(reason::RETENTION)
        .doc("Milliseconds between two looks for segments to delete."),
    ConfigDef::list("log.cleanup.policy", "delete")
        .check(Validator::EachOf(&["compact", "delete"]))
        .cluster_wide()
        .doc("Clean-up policy for topics without one of their own."),
    ConfigDef::int("log.index.size.max.bytes", "10485760")
        .at_least(4)
        .cluster_wide()
        .doc("Index size in bytes for topics without `segment.index.bytes` of their own."),
    ConfigDef::int("log.index.interval.bytes", "4096")
        .at_least(0)
        .cluster_wide()
        .doc("Index interval in bytes for topics without `index.interval.bytes` of their own."),
    ConfigDef::long("log.flush.interval.messages", "9223372036854775807")
        .at_least(1)
        .high()
        .cluster_wide()
        .doc(
            "Records after which topics without `flush.messages` of their own are synced to \
             disk.",
        ),
    ConfigDef::long("log.segment.delete.delay.ms", "60000")
        .at_least(0)
        .high()
        .cluster_wide()
        .no_effect(reason::DELETE_DELAY)
        .doc(
            "Milliseconds before removed files leave the disk, for topics without \
             `file.delete.delay.ms` of their own.",
        ),
    ConfigDef::long("log.flush.scheduler.interval.ms", "9223372036854775807").high().doc(
        "Milliseconds between two looks for logs to sync; stands in for \
             `log.flush.interval.ms`.",
    ),
    ConfigDef::long("log.flush.interval.ms", "")
        .nullable()
        .high()
        .cluster_wide()
        .synonyms(&[Synonym::same("log.flush.scheduler.interval.ms")])
        .doc("Milliseconds after which topics without `flush.ms` of their own are synced to disk."),
    ConfigDef::int("log.flush.offset.checkpoint.interval.ms", "60000")
        .at_least(0)
        .high()
        .no_effect(reason::CHECKPOINTS)
        .doc(
            "Milliseconds between two writes of the recovery points, from which a restart \
             after a crash checks the logs.",
        ),
    ConfigDef::int("log.flush.start.offset.checkpoint.interval.ms", "60000")
        .at_least(0)
        .high()
        .no_effect(reason::CHECKPOINTS)
        .doc("Milliseconds between two writes of the logs' start offsets."),
    ConfigDef::boolean("log.preallocate", "false")
        .cluster_wide()
        .no_effect(reason::PREALLOCATE)
        .doc("Whether topics without `preallocate` of their own reserve a segment's space."),
    ConfigDef::int("num.recovery.threads.per.data.dir", "2")
        .at_least(1)
        .high()
        .cluster_wide()
        .doc("Threads for each log folder that check logs at start and close them at the end."),
    ConfigDef::boolean("auto.create.topics.enable", "true")
        .high()
        .doc("Whether a topic is created when a client asks for one that does not exist."),
    ConfigDef::int("min.insync.replicas", "1").at_least(1).high().cluster_wide().doc(
        "Replicas in sync that a write with `acks=all` needs, for topics without a value \
             of their own.",
    ),
    ConfigDef::string("log.message.timestamp.type", "CreateTime")
        .check(Validator::OneOf(&["CreateTime", "LogAppendTime"]))
        .cluster_wide()
        .doc(
            "Whose clock timestamps show, for topics without `message.timestamp.type` of \
             their own.",
        ),
    ConfigDef::long("log.message.timestamp.before.max.ms", "9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .doc(
            "How old timestamps may be, for topics without `message.timestamp.before.max.ms` \
             of their own.",
        ),
    ConfigDef::long("log.message.timestamp.after.max.ms", "3600000")
        .at_least(0)
        .cluster_wide()
        .doc(
            "How far ahead timestamps may be, for topics without \
             `message.timestamp.after.max.ms` of their own.",
        ),
    ConfigDef::class("create.topic.policy.class.name", "")
        .nullable()
        .low()
        .no_effect(reason::JVM)
        .doc("Class that may refuse the creation of topics."),
    ConfigDef::class("alter.config.policy.class.name", "")
        .nullable()
        .low()
        .no_effect(reason::JVM)
        .doc("Class that may refuse changes of configs."),
    ConfigDef::long("log.dir.failure.timeout.ms", "30000")
        .at_least(1)
        .low()
        .no_effect(reason::DIR_FAILURE)
        .doc("Milliseconds after which a broker stops that could not report a failed folder."),
    ConfigDef::int("log.cleaner.threads", "1")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc("Threads that compact logs."),
    ConfigDef::double("log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308")
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc("Bytes per second that compaction reads and writes at most."),
    ConfigDef::long("log.cleaner.dedupe.buffer.size", "134217728")
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc("Memory in bytes for the keys of the logs being compacted."),
    ConfigDef::int("log.cleaner.io.buffer.size", "524288")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc("Memory in bytes for reading and writing during compaction."),
    ConfigDef::double("log.cleaner.io.buffer.load.factor", "0.9")
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc("How full the table of keys may become."),
    ConfigDef::long("log.cleaner.backoff.ms", "15000")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc("Milliseconds between two looks for logs to compact."),
    ConfigDef::double("log.cleaner.min.cleanable.ratio", "0.5")
        .check(Validator::Ratio(0.0, 1.0))
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc(
            "Dirty share that begins compaction, for topics without \
             `min.cleanable.dirty.ratio` of their own.",
        ),
    ConfigDef::boolean("log.cleaner.enable", "true")
        .no_effect(reason::COMPACTION)
        .doc("Whether logs are compacted at all."),
    ConfigDef::long("log.cleaner.delete.retention.ms", "86400000")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc(
            "Milliseconds for which marks of deletion are kept, for topics without \
             `delete.retention.ms` of their own.",
        ),
    ConfigDef::long("log.cleaner.min.compaction.lag.ms", "0")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc(
            "Milliseconds without compaction, for topics without `min.compaction.lag.ms` of \
             their own.",
        ),
    ConfigDef::long("log.cleaner.max.compaction.lag.ms", "9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .no_effect(reason::COMPACTION)
        .doc(
            "Milliseconds after which compaction is due, for topics without \
             `max.compaction.lag.ms` of their own.",
        ),
];
