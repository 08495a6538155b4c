//! Configs of groups.

use super::super::def::{ConfigDef, Synonym, Validator};
use super::reason;

/// Every config of a group, by name.
pub const GROUP: &[ConfigDef] = &[
    ConfigDef::int("consumer.assignment.interval.ms", "1000")
        .at_least(0)
        .of_group()
        .synonyms(&[Synonym::same("group.consumer.assignment.interval.ms")])
        .no_effect(reason::GROUPS)
        .doc(
            "Milliseconds between two computations of the group's assignment; changes in \
             between wait for the next one.",
        ),
    ConfigDef::int("consumer.heartbeat.interval.ms", "5000")
        .at_least(1)
        .of_group()
        .synonyms(&[Synonym::same("group.consumer.heartbeat.interval.ms")])
        .doc("Milliseconds between two heartbeats of a member of a consumer group."),
    ConfigDef::int("consumer.session.timeout.ms", "45000")
        .at_least(1)
        .of_group()
        .synonyms(&[Synonym::same("group.consumer.session.timeout.ms")])
        .doc(
            "Milliseconds without a heartbeat after which a member of a consumer group is \
             expelled.",
        ),
    ConfigDef::int("share.assignment.interval.ms", "1000")
        .at_least(0)
        .of_group()
        .synonyms(&[Synonym::same("group.share.assignment.interval.ms")])
        .no_effect(reason::SHARE)
        .doc(
            "Milliseconds between two computations of a share group's assignment; changes in \
             between wait for the next one.",
        ),
    ConfigDef::string("share.auto.offset.reset", "latest")
        .check(Validator::OffsetReset)
        .of_group()
        .no_effect(reason::SHARE)
        .doc(
            "Where a share group begins to read a partition: at its end, at its start, or a \
             duration before now.",
        ),
    ConfigDef::int("share.delivery.count.limit", "5")
        .at_least(2)
        .of_group()
        .synonyms(&[Synonym::same("group.share.delivery.count.limit")])
        .no_effect(reason::SHARE)
        .doc(
            "How often a record of a share group is delivered before it counts as one that \
             cannot be processed.",
        ),
    ConfigDef::int("share.heartbeat.interval.ms", "5000")
        .at_least(1)
        .of_group()
        .synonyms(&[Synonym::same("group.share.heartbeat.interval.ms")])
        .no_effect(reason::SHARE)
        .doc("Milliseconds between two heartbeats of a member of a share group."),
    ConfigDef::string("share.isolation.level", "read_uncommitted")
        .check(Validator::OneOf(&["read_committed", "read_uncommitted"]))
        .of_group()
        .no_effect(reason::SHARE)
        .doc("Whether a share group reads records of transactions that are not committed."),
    ConfigDef::int("share.partition.max.record.locks", "2000")
        .at_least(100)
        .of_group()
        .synonyms(&[Synonym::same("group.share.partition.max.record.locks")])
        .no_effect(reason::SHARE)
        .doc(
            "Records of one partition that may be delivered to a share group and not yet \
             acknowledged.",
        ),
    ConfigDef::int("share.record.lock.duration.ms", "30000")
        .at_least(1000)
        .of_group()
        .synonyms(&[Synonym::same("group.share.record.lock.duration.ms")])
        .no_effect(reason::SHARE)
        .doc(
            "Milliseconds for which a delivered record belongs to one member of a share group \
             before others may get it.",
        ),
    ConfigDef::boolean("share.renew.acknowledge.enable", "true")
        .of_group()
        .no_effect(reason::SHARE)
        .doc("Whether members of a share group may prolong their hold on a record."),
    ConfigDef::int("share.session.timeout.ms", "45000")
        .at_least(1)
        .of_group()
        .synonyms(&[Synonym::same("group.share.session.timeout.ms")])
        .no_effect(reason::SHARE)
        .doc("Milliseconds without a heartbeat after which a member of a share group is expelled."),
    ConfigDef::int("streams.assignment.interval.ms", "1000")
        .at_least(0)
        .of_group()
        .synonyms(&[Synonym::same("group.streams.assignment.interval.ms")])
        .no_effect(reason::STREAMS)
        .doc(
            "Milliseconds between two computations of a streams group's assignment; changes \
             in between wait for the next one.",
        ),
    ConfigDef::int("streams.heartbeat.interval.ms", "5000")
        .at_least(1)
        .of_group()
        .synonyms(&[Synonym::same("group.streams.heartbeat.interval.ms")])
        .no_effect(reason::STREAMS)
        .doc("Milliseconds between two heartbeats of a member of a streams group."),
    ConfigDef::int("streams.initial.rebalance.delay.ms", "3000")
        .at_least(0)
        .of_group()
        .synonyms(&[Synonym::same("group.streams.initial.rebalance.delay.ms")])
        .no_effect(reason::STREAMS)
        .doc(
            "Milliseconds for which a new streams group waits for further members before its \
             first assignment.",
        ),
    ConfigDef::int("streams.num.standby.replicas", "0")
        .at_least(0)
        .of_group()
        .synonyms(&[Synonym::same("group.streams.num.standby.replicas")])
        .no_effect(reason::STREAMS)
        .doc("Spare copies of each task's state that other members of a streams group keep warm."),
    ConfigDef::int("streams.session.timeout.ms", "45000")
        .at_least(1)
        .of_group()
        .synonyms(&[Synonym::same("group.streams.session.timeout.ms")])
        .no_effect(reason::STREAMS)
        .doc(
            "Milliseconds without a heartbeat after which a member of a streams group is \
             expelled.",
        ),
];
