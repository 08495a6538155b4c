//! Configs of Kafka's Raft quorum, known so that existing files are read.

use super::super::def::ConfigDef;
use super::reason;

/// The configs of Kafka's Raft quorum.
pub const RAFT: &[ConfigDef] = &[
    ConfigDef::long("metadata.log.max.record.bytes.between.snapshots", "20971520")
        .at_least(1)
        .high()
        .no_effect(reason::RAFT)
        .doc("Bytes of metadata log between two snapshots."),
    ConfigDef::long("metadata.log.max.snapshot.interval.ms", "3600000")
        .at_least(0)
        .high()
        .no_effect(reason::RAFT)
        .doc("Milliseconds between two snapshots of the metadata log."),
    ConfigDef::string("metadata.log.dir", "")
        .nullable()
        .high()
        .no_effect(reason::RAFT)
        .doc("Folder of the metadata log."),
    ConfigDef::int("metadata.log.segment.bytes", "1073741824")
        .at_least(8388608)
        .high()
        .no_effect(reason::RAFT)
        .doc("Size of a segment of the metadata log."),
    ConfigDef::long("metadata.log.segment.ms", "604800000")
        .high()
        .no_effect(reason::RAFT)
        .doc("Milliseconds after which a new segment of the metadata log is begun."),
    ConfigDef::long("metadata.max.retention.bytes", "104857600")
        .high()
        .no_effect(reason::RAFT)
        .doc("Bytes of metadata log and snapshots that are kept."),
    ConfigDef::long("metadata.max.retention.ms", "604800000")
        .high()
        .no_effect(reason::RAFT)
        .doc("Milliseconds for which metadata log and snapshots are kept."),
    ConfigDef::int("metadata.max.idle.interval.ms", "500")
        .at_least(0)
        .low()
        .no_effect(reason::RAFT)
        .doc("Milliseconds between two empty records of an idle controller."),
    ConfigDef::list("controller.quorum.voters", "")
        .high()
        .no_effect(reason::RAFT)
        .doc("Id, host and port of each voter of Kafka's quorum."),
    ConfigDef::list("controller.quorum.bootstrap.servers", "")
        .high()
        .no_effect(reason::RAFT)
        .doc("Addresses at which Kafka's quorum is found."),
    ConfigDef::int("controller.quorum.election.timeout.ms", "1000")
        .at_least(0)
        .high()
        .no_effect(reason::RAFT)
        .doc("Milliseconds without a leader before an election begins."),
    ConfigDef::int("controller.quorum.fetch.timeout.ms", "2000")
        .at_least(0)
        .high()
        .no_effect(reason::RAFT)
        .doc("Milliseconds without a successful fetch before an election begins."),
    ConfigDef::int("controller.quorum.election.backoff.max.ms", "1000")
        .at_least(0)
        .high()
        .no_effect(reason::RAFT)
        .doc("Longest wait between two elections."),
    ConfigDef::int("controller.quorum.append.linger.ms", "25")
        .at_least(0)
        .no_effect(reason::RAFT)
        .doc("Milliseconds for which the leader gathers records before it writes them."),
    ConfigDef::int("controller.quorum.request.timeout.ms", "2000")
        .at_least(0)
        .no_effect(reason::RAFT)
        .doc("Milliseconds that a member waits for an answer."),
    ConfigDef::int("controller.quorum.retry.backoff.ms", "20")
        .at_least(0)
        .low()
        .no_effect(reason::RAFT)
        .doc("Milliseconds before a failed request is tried again."),
    ConfigDef::boolean("controller.quorum.auto.join.enable", "false")
        .low()
        .no_effect(reason::RAFT)
        .doc("Whether a controller joins the voters by itself."),
    ConfigDef::int("controller.quorum.fetch.snapshot.max.bytes", "1048576")
        .at_least(1)
        .low()
        .no_effect(reason::RAFT)
        .doc("Most bytes of a snapshot that one answer carries."),
    ConfigDef::int("controller.quorum.fetch.max.bytes", "1048576")
        .at_least(1)
        .low()
        .no_effect(reason::RAFT)
        .doc("Most bytes of metadata log that one answer carries."),
    ConfigDef::int("controller.socket.timeout.ms", "30000")
        .no_effect(reason::RAFT)
        .doc("Milliseconds that a connection to Kafka's controller may take."),
];
