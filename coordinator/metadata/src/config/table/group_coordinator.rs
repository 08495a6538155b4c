//! Configs of the group coordinator.

use super::super::def::{ConfigDef, Validator};
use super::reason;

/// The configs of the group coordinator.
pub const GROUPS: &[ConfigDef] = &[
    ConfigDef::list("group.coordinator.rebalance.protocols", "classic,consumer,streams")
        .check(Validator::EachOf(&["consumer", "classic", "share", "streams"]))
        .no_effect(reason::GROUPS)
        .doc("Kinds of groups that are served."),
    ConfigDef::int("group.coordinator.threads", "4")
        .at_least(1)
        .high()
        .no_effect(reason::GROUPS)
        .doc("Threads of the group coordinator."),
    ConfigDef::int("group.coordinator.background.threads", "2")
        .at_least(1)
        .high()
        .no_effect(reason::GROUPS)
        .doc("Threads of the group coordinator for work behind the scenes."),
    ConfigDef::int("group.coordinator.append.linger.ms", "-1")
        .at_least(-1)
        .no_effect(reason::GROUPS)
        .doc("Milliseconds for which the group coordinator gathers writes; -1 lets it choose."),
    ConfigDef::int("group.coordinator.cached.buffer.max.bytes", "1048588")
        .at_least(524288)
        .cluster_wide()
        .no_effect(reason::GROUPS)
        .doc("Largest buffer in bytes that the group coordinator keeps for reuse."),
    ConfigDef::int("offsets.commit.timeout.ms", "5000")
        .at_least(1)
        .high()
        .doc("Milliseconds after which a commit of offsets that is not durable yet fails."),
    ConfigDef::int("offsets.load.buffer.size", "5242880")
        .at_least(1)
        .high()
        .no_effect(reason::GROUPS)
        .doc("Bytes read at a time when offsets are loaded."),
    ConfigDef::short("offsets.topic.replication.factor", "3").at_least(1).high().doc(
        "Replicas of `__consumer_offsets`, which in Ottla exists to name a group's \
             coordinator.",
    ),
    ConfigDef::int("offsets.topic.num.partitions", "50")
        .at_least(1)
        .high()
        .no_effect(reason::GROUPS)
        .doc("Partitions of `__consumer_offsets`. Fixed once the cluster exists."),
    ConfigDef::int("offsets.topic.segment.bytes", "104857600")
        .at_least(1)
        .high()
        .doc("Segment size in bytes of `__consumer_offsets`."),
    ConfigDef::int("offsets.topic.compression.codec", "0")
        .high()
        .no_effect(reason::GROUPS)
        .doc("Codec of `__consumer_offsets`, as Kafka numbers codecs."),
    ConfigDef::int("offset.metadata.max.bytes", "4096")
        .high()
        .doc("Largest text in bytes that a consumer may store with an offset."),
    ConfigDef::int("offsets.retention.minutes", "10080")
        .at_least(1)
        .high()
        .doc("Minutes for which offsets are kept once a group is empty."),
    ConfigDef::long("offsets.retention.check.interval.ms", "600000")
        .at_least(1)
        .high()
        .doc("Milliseconds between two looks for offsets to forget."),
    ConfigDef::int("group.min.session.timeout.ms", "6000")
        .doc("Shortest session timeout that a member of a classic group may ask for."),
    ConfigDef::int("group.max.session.timeout.ms", "1800000")
        .doc("Longest session timeout that a member of a classic group may ask for."),
    ConfigDef::int("group.initial.rebalance.delay.ms", "3000")
        .doc("Milliseconds for which a new classic group waits for further members."),
    ConfigDef::int("group.max.size", "2147483647")
        .at_least(1)
        .doc("Most members of a classic group."),
    ConfigDef::int("group.consumer.session.timeout.ms", "45000").at_least(1).doc(
        "Milliseconds without a heartbeat after which a member of a consumer group is \
             expelled.",
    ),
    ConfigDef::int("group.consumer.min.session.timeout.ms", "45000")
        .at_least(1)
        .doc("Smallest `consumer.session.timeout.ms` of a group."),
    ConfigDef::int("group.consumer.max.session.timeout.ms", "60000")
        .at_least(1)
        .doc("Largest `consumer.session.timeout.ms` of a group."),
    ConfigDef::int("group.consumer.heartbeat.interval.ms", "5000")
        .at_least(1)
        .doc("Milliseconds between two heartbeats of a member of a consumer group."),
    ConfigDef::int("group.consumer.min.heartbeat.interval.ms", "5000")
        .at_least(1)
        .doc("Smallest `consumer.heartbeat.interval.ms` of a group."),
    ConfigDef::int("group.consumer.max.heartbeat.interval.ms", "15000")
        .at_least(1)
        .doc("Largest `consumer.heartbeat.interval.ms` of a group."),
    ConfigDef::int("group.consumer.max.size", "2147483647")
        .at_least(1)
        .doc("Most members of a consumer group."),
    ConfigDef::list("group.consumer.assignors", "uniform,range").doc(
        "Ways to assign partitions that the coordinator offers; the first is used where \
             members name none.",
    ),
    ConfigDef::string("group.consumer.migration.policy", "bidirectional")
        .check(Validator::OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]))
        .doc(
            "Whether groups may change between the classic and the consumer protocol while \
             members are in them.",
        ),
    ConfigDef::int("group.consumer.assignment.interval.ms", "1000")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::GROUPS)
        .doc("Milliseconds between two computations of a consumer group's assignment."),
    ConfigDef::int("group.consumer.min.assignment.interval.ms", "0")
        .at_least(0)
        .no_effect(reason::GROUPS)
        .doc("Smallest `consumer.assignment.interval.ms` of a group."),
    ConfigDef::int("group.consumer.max.assignment.interval.ms", "15000")
        .at_least(0)
        .no_effect(reason::GROUPS)
        .doc("Largest `consumer.assignment.interval.ms` of a group."),
    ConfigDef::int("group.streams.session.timeout.ms", "45000")
        .at_least(1)
        .no_effect(reason::STREAMS)
        .doc(
            "Milliseconds without a heartbeat after which a member of a streams group is \
             expelled.",
        ),
    ConfigDef::int("group.streams.min.session.timeout.ms", "45000")
        .at_least(1)
        .no_effect(reason::STREAMS)
        .doc("Smallest `streams.session.timeout.ms` of a group."),
    ConfigDef::int("group.streams.max.session.timeout.ms", "60000")
        .at_least(1)
        .no_effect(reason::STREAMS)
        .doc("Largest `streams.session.timeout.ms` of a group."),
    ConfigDef::int("group.streams.heartbeat.interval.ms", "5000")
        .at_least(1)
        .no_effect(reason::STREAMS)
        .doc("Milliseconds between two heartbeats of a member of a streams group."),
    ConfigDef::int("group.streams.min.heartbeat.interval.ms", "5000")
        .at_least(1)
        .no_effect(reason::STREAMS)
        .doc("Smallest `streams.heartbeat.interval.ms` of a group."),
    ConfigDef::int("group.streams.max.heartbeat.interval.ms", "15000")
        .at_least(1)
        .no_effect(reason::STREAMS)
        .doc("Largest `streams.heartbeat.interval.ms` of a group."),
    ConfigDef::int("group.streams.max.size", "2147483647")
        .at_least(1)
        .no_effect(reason::STREAMS)
        .doc("Most members of a streams group."),
    ConfigDef::int("group.streams.num.standby.replicas", "0")
        .at_least(0)
        .no_effect(reason::STREAMS)
        .doc("Spare copies of each task's state in a streams group."),
    ConfigDef::int("group.streams.max.standby.replicas", "2")
        .at_least(0)
        .no_effect(reason::STREAMS)
        .doc("Largest `streams.num.standby.replicas` of a group."),
    ConfigDef::int("group.streams.initial.rebalance.delay.ms", "3000")
        .at_least(0)
        .no_effect(reason::STREAMS)
        .doc("Milliseconds for which a new streams group waits for further members."),
    ConfigDef::int("group.streams.assignment.interval.ms", "1000")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::STREAMS)
        .doc("Milliseconds between two computations of a streams group's assignment."),
    ConfigDef::int("group.streams.min.assignment.interval.ms", "0")
        .at_least(0)
        .no_effect(reason::STREAMS)
        .doc("Smallest `streams.assignment.interval.ms` of a group."),
    ConfigDef::int("group.streams.max.assignment.interval.ms", "15000")
        .at_least(0)
        .no_effect(reason::STREAMS)
        .doc("Largest `streams.assignment.interval.ms` of a group."),
];
