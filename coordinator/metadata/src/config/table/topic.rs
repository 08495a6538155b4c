//! Configs of topics.

use super::super::def::{ConfigDef, Synonym, Validator};
use super::reason;

/// Every config of a topic, by name.
pub const TOPIC: &[ConfigDef] = &[
    ConfigDef::list("cleanup.policy", "delete")
        .check(Validator::EachOf(&["compact", "delete"]))
        .of_topic()
        .synonyms(&[Synonym::same("log.cleanup.policy")])
        .doc(
            "What happens to old data: `delete` drops segments past the retention limits, \
             `compact` keeps the newest record of each key. Both may be set; empty keeps \
             everything for ever. Neither retention nor compaction is built yet; until then everything is kept.",
        ),
    ConfigDef::int("compression.gzip.level", "-1")
        .check(Validator::GzipLevel)
        .of_topic()
        .synonyms(&[Synonym::same("compression.gzip.level")])
        .doc(
            "Level at which the broker compresses with gzip when `compression.type` makes it \
             recompress.",
        ),
    ConfigDef::int("compression.lz4.level", "9")
        .check(Validator::Between(1, 17))
        .of_topic()
        .synonyms(&[Synonym::same("compression.lz4.level")])
        .doc(
            "Level at which the broker compresses with lz4 when `compression.type` makes it \
             recompress.",
        ),
    ConfigDef::string("compression.type", "producer")
        .check(Validator::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        .of_topic()
        .synonyms(&[Synonym::same("compression.type")])
        .doc(
            "Codec in which batches are stored. `producer` keeps what the producer chose; any \
             other makes the broker recompress what differs.",
        ),
    ConfigDef::int("compression.zstd.level", "3")
        .check(Validator::Between(-131_072, 22))
        .of_topic()
        .synonyms(&[Synonym::same("compression.zstd.level")])
        .doc(
            "Level at which the broker compresses with zstd when `compression.type` makes it \
             recompress.",
        ),
    ConfigDef::long("delete.retention.ms", "86400000")
        .at_least(0)
        .of_topic()
        .synonyms(&[Synonym::same("log.cleaner.delete.retention.ms")])
        .no_effect(reason::COMPACTION)
        .doc(
            "Milliseconds for which a compacted topic keeps the marks of deleted keys, so \
             that a reader from the start sees the deletion.",
        ),
    ConfigDef::long("file.delete.delay.ms", "60000")
        .at_least(0)
        .of_topic()
        .synonyms(&[Synonym::same("log.segment.delete.delay.ms")])
        .no_effect(reason::DELETE_DELAY).doc("Milliseconds between the moment a file leaves the log and its removal from disk."),
    ConfigDef::long("flush.messages", "9223372036854775807")
        .at_least(1)
        .of_topic()
        .synonyms(&[Synonym::same("log.flush.interval.messages")])
        .doc(
            "Records after which a partition is synced to disk. 1 means that an acknowledged \
             record survives a power cut on every replica in sync.",
        ),
    ConfigDef::long("flush.ms", "9223372036854775807")
        .at_least(0)
        .of_topic()
        .synonyms(&[
            Synonym::same("log.flush.interval.ms"),
            Synonym::same("log.flush.scheduler.interval.ms"),
        ])
        .doc("Milliseconds after which a written record is synced to disk at the latest."),
    ConfigDef::list("follower.replication.throttled.replicas", "")
        .check(Validator::ThrottledReplicas)
        .of_topic()
        .doc(
            "Replicas whose fetching is slowed to `follower.replication.throttled.rate`: \
             pairs of partition and broker, or `*` for all.",
        ),
    ConfigDef::int("index.interval.bytes", "4096")
        .at_least(0)
        .of_topic()
        .synonyms(&[Synonym::same("log.index.interval.bytes")])
        .doc(
            "Bytes of log between two entries of the offset index. Fewer make look-ups read \
             less and the index larger.",
        ),
    ConfigDef::list("leader.replication.throttled.replicas", "")
        .check(Validator::ThrottledReplicas)
        .of_topic()
        .doc(
            "Replicas towards which the leader's sending is slowed to \
             `leader.replication.throttled.rate`: pairs of partition and broker, or `*` for \
             all.",
        ),
    ConfigDef::long("local.retention.bytes", "-2")
        .at_least(-2)
        .of_topic()
        .synonyms(&[Synonym::same("log.local.retention.bytes")])
        .no_effect(reason::TIERED)
        .doc(
            "Bytes of a partition kept on local disk once they are in tiered storage; -2 uses \
             `retention.bytes`.",
        ),
    ConfigDef::long("local.retention.ms", "-2")
        .at_least(-2)
        .of_topic()
        .synonyms(&[Synonym::same("log.local.retention.ms")])
        .no_effect(reason::TIERED)
        .doc(
            "Milliseconds for which data stays on local disk once it is in tiered storage; -2 \
             uses `retention.ms`.",
        ),
    ConfigDef::long("max.compaction.lag.ms", "9223372036854775807")
        .at_least(1)
        .of_topic()
        .synonyms(&[Synonym::same("log.cleaner.max.compaction.lag.ms")])
        .no_effect(reason::COMPACTION)
        .doc(
            "Milliseconds after which a record becomes eligible for compaction whatever the \
             share of dirty data.",
        ),
    ConfigDef::int("max.message.bytes", "1048588")
        .at_least(0)
        .of_topic()
        .synonyms(&[Synonym::same("message.max.bytes")])
        .doc("Largest record batch in bytes, after compression, that the topic accepts."),
    ConfigDef::long("message.timestamp.after.max.ms", "3600000")
        .at_least(0)
        .of_topic()
        .synonyms(&[Synonym::same("log.message.timestamp.after.max.ms")])
        .doc(
            "Milliseconds by which a record's timestamp may lie in the broker's future; later \
             ones are refused. Only with `message.timestamp.type=CreateTime`.",
        ),
    ConfigDef::long("message.timestamp.before.max.ms", "9223372036854775807")
        .at_least(0)
        .of_topic()
        .synonyms(&[Synonym::same("log.message.timestamp.before.max.ms")])
        .doc(
            "Milliseconds by which a record's timestamp may lie in the broker's past; earlier \
             ones are refused. Only with `message.timestamp.type=CreateTime`.",
        ),
    ConfigDef::string("message.timestamp.type", "CreateTime")
        .check(Validator::OneOf(&["CreateTime", "LogAppendTime"]))
        .of_topic()
        .synonyms(&[Synonym::same("log.message.timestamp.type")])
        .doc(
            "Whose clock a record's timestamp shows: the producer's (`CreateTime`) or the \
             broker's at the append (`LogAppendTime`).",
        ),
    ConfigDef::double("min.cleanable.dirty.ratio", "0.5")
        .check(Validator::Ratio(0.0, 1.0))
        .of_topic()
        .synonyms(&[Synonym::same("log.cleaner.min.cleanable.ratio")])
        .no_effect(reason::COMPACTION)
        .doc(
            "Share of a log's bytes that must be dirty, not compacted yet, before it is \
             compacted.",
        ),
    ConfigDef::long("min.compaction.lag.ms", "0")
        .at_least(0)
        .of_topic()
        .synonyms(&[Synonym::same("log.cleaner.min.compaction.lag.ms")])
        .no_effect(reason::COMPACTION)
        .doc("Milliseconds for which a record is kept from compaction."),
    ConfigDef::int("min.insync.replicas", "1")
        .at_least(1)
        .of_topic()
        .synonyms(&[Synonym::same("min.insync.replicas")])
        .doc("Replicas in sync that a write with `acks=all` needs; with fewer it is refused."),
    ConfigDef::boolean("preallocate", "false")
        .of_topic()
        .synonyms(&[Synonym::same("log.preallocate")])
        .no_effect(reason::PREALLOCATE).doc("Whether a new segment's space is reserved on disk when it is made."),
    ConfigDef::boolean("remote.log.copy.disable", "false")
        .of_topic()
        .no_effect(reason::TIERED)
        .doc("Whether copying to tiered storage is paused."),
    ConfigDef::boolean("remote.log.delete.on.disable", "false")
        .of_topic()
        .no_effect(reason::TIERED)
        .doc(
            "Whether data in tiered storage is deleted when tiered storage is switched off \
             for the topic.",
        ),
    ConfigDef::boolean("remote.storage.enable", "false").of_topic().no_effect(reason::TIERED).doc(
        "Whether the topic's older segments move to tiered storage. Refused while Ottla \
             has none.",
    ),
    ConfigDef::long("retention.bytes", "-1")
        .of_topic()
        .synonyms(&[Synonym::same("log.retention.bytes")])
        .no_effect(reason::RETENTION).doc(
            "Bytes that a partition keeps at least; older segments beyond them are deleted. \
             -1 sets no limit. Only with `cleanup.policy=delete`.",
        ),
    ConfigDef::long("retention.ms", "604800000")
        .at_least(-1)
        .of_topic()
        .synonyms(&[
            Synonym::same("log.retention.ms"),
            Synonym::minutes("log.retention.minutes"),
            Synonym::hours("log.retention.hours"),
        ])
        .no_effect(reason::RETENTION).doc(
            "Milliseconds for which records are kept; a segment goes when its newest record \
             is older. -1 keeps them for ever. Only with `cleanup.policy=delete`.",
        ),
    ConfigDef::int("segment.bytes", "1073741824")
        .at_least(1048576)
        .of_topic()
        .synonyms(&[Synonym::same("log.segment.bytes")])
        .doc(
            "Size in bytes at which a new segment file is begun. Retention and compaction \
             work on whole segments.",
        ),
    ConfigDef::int("segment.index.bytes", "10485760")
        .at_least(4)
        .of_topic()
        .synonyms(&[Synonym::same("log.index.size.max.bytes")])
        .doc("Largest size in bytes of a segment's index; a full index begins a new segment."),
    ConfigDef::long("segment.jitter.ms", "0")
        .at_least(0)
        .of_topic()
        .synonyms(&[Synonym::same("log.roll.jitter.ms"), Synonym::hours("log.roll.jitter.hours")])
        .doc(
            "Largest random number of milliseconds by which `segment.ms` is shortened, so \
             that partitions do not all begin new segments at once.",
        ),
    ConfigDef::long("segment.ms", "604800000")
        .at_least(1)
        .of_topic()
        .synonyms(&[Synonym::same("log.roll.ms"), Synonym::hours("log.roll.hours")])
        .doc(
            "Milliseconds after which a new segment file is begun even if the old one is not \
             full.",
        ),
    ConfigDef::boolean("unclean.leader.election.enable", "false")
        .of_topic()
        .synonyms(&[Synonym::same("unclean.leader.election.enable")])
        .doc(
            "Whether a replica that is not in sync may lead when no other is left. Its \
             missing records are then lost.",
        ),
];
