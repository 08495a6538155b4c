//! Configs of share groups.

use super::super::def::{ConfigDef, Validator};
use super::reason;

/// The configs of share groups.
pub const SHARE: &[ConfigDef] = &[
    ConfigDef::int("group.share.session.timeout.ms", "45000")
        .at_least(1)
        .no_effect(reason::SHARE)
        .doc("Milliseconds without a heartbeat after which a member of a share group is expelled."),
    ConfigDef::int("group.share.min.session.timeout.ms", "45000")
        .at_least(1)
        .no_effect(reason::SHARE)
        .doc("Smallest `share.session.timeout.ms` of a group."),
    ConfigDef::int("group.share.max.session.timeout.ms", "60000")
        .at_least(1)
        .no_effect(reason::SHARE)
        .doc("Largest `share.session.timeout.ms` of a group."),
    ConfigDef::int("group.share.heartbeat.interval.ms", "5000")
        .at_least(1)
        .no_effect(reason::SHARE)
        .doc("Milliseconds between two heartbeats of a member of a share group."),
    ConfigDef::int("group.share.min.heartbeat.interval.ms", "5000")
        .at_least(1)
        .no_effect(reason::SHARE)
        .doc("Smallest `share.heartbeat.interval.ms` of a group."),
    ConfigDef::int("group.share.max.heartbeat.interval.ms", "15000")
        .at_least(1)
        .no_effect(reason::SHARE)
        .doc("Largest `share.heartbeat.interval.ms` of a group."),
    ConfigDef::int("group.share.max.size", "200")
        .check(Validator::Between(1, 1000))
        .no_effect(reason::SHARE)
        .doc("Most members of a share group."),
    ConfigDef::list("group.share.assignors", "simple")
        .no_effect(reason::SHARE)
        .doc("Ways to assign partitions in share groups."),
    ConfigDef::int("group.share.assignment.interval.ms", "1000")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::SHARE)
        .doc("Milliseconds between two computations of a share group's assignment."),
    ConfigDef::int("group.share.min.assignment.interval.ms", "0")
        .at_least(0)
        .no_effect(reason::SHARE)
        .doc("Smallest `share.assignment.interval.ms` of a group."),
    ConfigDef::int("group.share.max.assignment.interval.ms", "15000")
        .at_least(0)
        .no_effect(reason::SHARE)
        .doc("Largest `share.assignment.interval.ms` of a group."),
    ConfigDef::int("group.share.delivery.count.limit", "5")
        .check(Validator::Between(2, 10))
        .no_effect(reason::SHARE)
        .doc("How often a record is delivered before it counts as one that cannot be processed."),
    ConfigDef::int("group.share.max.delivery.count.limit", "10")
        .check(Validator::Between(5, 25))
        .no_effect(reason::SHARE)
        .doc("Largest `share.delivery.count.limit` of a group."),
    ConfigDef::int("group.share.min.delivery.count.limit", "2")
        .check(Validator::Between(2, 5))
        .no_effect(reason::SHARE)
        .doc("Smallest `share.delivery.count.limit` of a group."),
    ConfigDef::int("group.share.record.lock.duration.ms", "30000")
        .check(Validator::Between(1000, 3_600_000))
        .no_effect(reason::SHARE)
        .doc("Milliseconds for which a delivered record belongs to one member."),
    ConfigDef::int("group.share.min.record.lock.duration.ms", "15000")
        .check(Validator::Between(1000, 30_000))
        .no_effect(reason::SHARE)
        .doc("Smallest `share.record.lock.duration.ms` of a group."),
    ConfigDef::int("group.share.max.record.lock.duration.ms", "60000")
        .check(Validator::Between(30_000, 3_600_000))
        .no_effect(reason::SHARE)
        .doc("Largest `share.record.lock.duration.ms` of a group."),
    ConfigDef::int("group.share.partition.max.record.locks", "2000")
        .check(Validator::Between(100, 10_000))
        .no_effect(reason::SHARE)
        .doc("Records of one partition that may be delivered and not yet acknowledged."),
    ConfigDef::int("group.share.max.partition.max.record.locks", "4000")
        .check(Validator::Between(2000, 10_000))
        .no_effect(reason::SHARE)
        .doc("Largest `share.partition.max.record.locks` of a group."),
    ConfigDef::int("group.share.min.partition.max.record.locks", "100")
        .check(Validator::Between(100, 2000))
        .no_effect(reason::SHARE)
        .doc("Smallest `share.partition.max.record.locks` of a group."),
    ConfigDef::int("share.fetch.purgatory.purge.interval.requests", "1000")
        .no_effect(reason::PURGATORY)
        .doc("Finished share fetches after which the waiting ones are swept."),
    ConfigDef::int("group.share.max.share.sessions", "2000")
        .at_least(1)
        .no_effect(reason::SHARE)
        .doc("Share sessions that a broker remembers."),
    ConfigDef::int("share.coordinator.state.topic.num.partitions", "50")
        .at_least(1)
        .high()
        .no_effect(reason::SHARE)
        .doc("Partitions of the topic that keeps the state of share groups."),
    ConfigDef::short("share.coordinator.state.topic.replication.factor", "3")
        .at_least(1)
        .high()
        .no_effect(reason::SHARE)
        .doc("Replicas of the topic that keeps the state of share groups."),
    ConfigDef::short("share.coordinator.state.topic.min.isr", "2")
        .at_least(1)
        .high()
        .no_effect(reason::SHARE)
        .doc("Replicas in sync that a write to the state of share groups needs."),
    ConfigDef::int("share.coordinator.state.topic.segment.bytes", "104857600")
        .at_least(1)
        .high()
        .no_effect(reason::SHARE)
        .doc("Segment size in bytes of the topic that keeps the state of share groups."),
    ConfigDef::int("share.coordinator.threads", "1")
        .at_least(1)
        .no_effect(reason::SHARE)
        .doc("Threads of the share coordinator."),
    ConfigDef::int("share.coordinator.snapshot.update.records.per.snapshot", "500")
        .check(Validator::Between(0, 500))
        .no_effect(reason::SHARE)
        .doc("Changes written between two snapshots of a share partition's state."),
    ConfigDef::int("share.coordinator.load.buffer.size", "5242880")
        .at_least(1)
        .high()
        .no_effect(reason::SHARE)
        .doc("Bytes read at a time when the state of share groups is loaded."),
    ConfigDef::int("share.coordinator.state.topic.compression.codec", "0")
        .high()
        .no_effect(reason::SHARE)
        .doc("Codec of the topic that keeps the state of share groups, as Kafka numbers codecs."),
    ConfigDef::int("share.coordinator.append.linger.ms", "-1")
        .at_least(-1)
        .no_effect(reason::SHARE)
        .doc("Milliseconds for which the share coordinator gathers writes; -1 lets it choose."),
    ConfigDef::int("share.coordinator.write.timeout.ms", "5000")
        .at_least(1)
        .high()
        .no_effect(reason::SHARE)
        .doc(
            "Milliseconds after which a write of the share coordinator that is not durable \
             yet fails.",
        ),
    ConfigDef::int("share.coordinator.cached.buffer.max.bytes", "1048588")
        .at_least(524288)
        .cluster_wide()
        .no_effect(reason::SHARE)
        .doc("Largest buffer in bytes that the share coordinator keeps for reuse."),
];
