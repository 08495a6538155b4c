//! Configs of replication and elections.

use super::super::def::ConfigDef;
use super::reason;

/// The configs of replication and elections.
pub const REPLICATION: &[ConfigDef] = &[
    ConfigDef::int("default.replication.factor", "1").doc(
        "Replicas of a topic that is created without naming a number, by a client or by \
             itself.",
    ),
    ConfigDef::long("replica.lag.time.max.ms", "30000")
        .high()
        .doc("Milliseconds for which a follower may lag before it leaves the replicas in sync."),
    ConfigDef::int("replica.socket.timeout.ms", "30000")
        .high()
        .doc("Milliseconds that a follower waits for its leader's answer."),
    ConfigDef::int("replica.socket.receive.buffer.bytes", "65536")
        .high()
        .no_effect(reason::SOCKETS)
        .doc("Size in bytes of a follower's receive buffer."),
    ConfigDef::int("replica.fetch.max.bytes", "1048576")
        .at_least(0)
        .doc("Bytes of one partition that a follower asks for at a time."),
    ConfigDef::int("replica.fetch.wait.max.ms", "500")
        .high()
        .doc("Milliseconds that a leader may hold a follower's fetch until there is data."),
    ConfigDef::int("replica.fetch.backoff.ms", "1000")
        .at_least(0)
        .doc("Milliseconds that a follower waits after an error."),
    ConfigDef::int("replica.fetch.min.bytes", "1")
        .high()
        .doc("Bytes for which a leader holds a follower's fetch."),
    ConfigDef::int("replica.fetch.response.max.bytes", "10485760")
        .at_least(0)
        .doc("Bytes that a follower asks for in one answer, over all partitions."),
    ConfigDef::int("num.replica.fetchers", "1")
        .at_least(1)
        .high()
        .cluster_wide()
        .no_effect(reason::FETCHERS)
        .doc("Connections over which a follower fetches from one leader."),
    ConfigDef::long("replica.high.watermark.checkpoint.interval.ms", "5000")
        .high()
        .no_effect(reason::CHECKPOINTS)
        .doc("Milliseconds between two writes of the high watermarks to disk."),
    ConfigDef::int("fetch.purgatory.purge.interval.requests", "1000")
        .no_effect(reason::PURGATORY)
        .doc("Finished fetches after which the waiting ones are swept."),
    ConfigDef::int("producer.purgatory.purge.interval.requests", "1000")
        .no_effect(reason::PURGATORY)
        .doc("Finished writes after which the waiting ones are swept."),
    ConfigDef::int("delete.records.purgatory.purge.interval.requests", "1")
        .no_effect(reason::PURGATORY)
        .doc("Finished deletions after which the waiting ones are swept."),
    ConfigDef::boolean("auto.leader.rebalance.enable", "true")
        .high()
        .doc("Whether leadership goes back to the preferred replicas by itself."),
    ConfigDef::long("leader.imbalance.check.interval.seconds", "300")
        .at_least(1)
        .high()
        .doc("Seconds between two checks whether preferred replicas lead."),
    ConfigDef::boolean("unclean.leader.election.enable", "false").high().cluster_wide().doc(
        "Whether replicas not in sync may lead when no other is left, for topics without \
             a value of their own. Missing records are then lost.",
    ),
    ConfigDef::string("replica.selector.class", "").nullable().doc(
        "Which replica a consumer is sent to. Ottla knows \
             `org.apache.kafka.common.replica.RackAwareReplicaSelector` and needs no class \
             for it.",
    ),
    ConfigDef::boolean("follower.fetch.last.tiered.offset.enable", "false")
        .cluster_wide()
        .no_effect(reason::TIERED)
        .doc("Whether a new follower begins at the end of what is in tiered storage."),
    ConfigDef::long("leader.replication.throttled.rate", "9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .doc("Bytes per second that a leader sends to throttled replicas at most."),
    ConfigDef::long("follower.replication.throttled.rate", "9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .doc("Bytes per second that a follower fetches for throttled replicas at most."),
    ConfigDef::long("replica.alter.log.dirs.io.max.bytes.per.second", "9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::MOVES)
        .doc("Bytes per second for moving replicas between log folders."),
];
