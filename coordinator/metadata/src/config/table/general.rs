//! Configs of a broker as a whole.

use super::super::def::{ConfigDef, Validator};
use super::reason;

/// The configs of a broker as a whole.
pub const GENERAL: &[ConfigDef] = &[
    ConfigDef::int("broker.id", "-1")
        .at_least(-1)
        .high()
        .doc("The old name of `node.id`. If both are set they must agree."),
    ConfigDef::int("node.id", "-1").at_least(-1).high().doc(
        "The broker's number, unique in the cluster. It belongs to the data in its log \
             folders and is kept for the broker's life.",
    ),
    ConfigDef::list("process.roles", "")
        .check(Validator::EachOf(&["broker", "controller"]))
        .high()
        .no_effect(reason::RAFT)
        .doc(
            "Which of Kafka's roles a process plays. Ottla's broker and coordinator are \
             separate programs.",
        ),
    ConfigDef::int("message.max.bytes", "1048588").at_least(0).high().cluster_wide().doc(
        "Largest record batch in bytes, after compression, that topics without \
             `max.message.bytes` of their own accept.",
    ),
    ConfigDef::int("num.io.threads", "8")
        .at_least(1)
        .high()
        .cluster_wide()
        .no_effect(reason::THREADS)
        .doc("Threads that serve requests."),
    ConfigDef::int("num.replica.alter.log.dirs.threads", "")
        .nullable()
        .high()
        .no_effect(reason::MOVES)
        .doc("Threads that move replicas between the log folders of one broker."),
    ConfigDef::int("background.threads", "10")
        .at_least(1)
        .high()
        .cluster_wide()
        .no_effect(reason::THREADS)
        .doc("Threads for work behind the scenes, such as deleting files."),
    ConfigDef::int("request.timeout.ms", "30000").high().no_effect(reason::LINKS).doc(
        "Milliseconds that the broker waits for another broker's answer to a request of \
             its own.",
    ),
    ConfigDef::long("socket.connection.setup.timeout.ms", "10000")
        .no_effect(reason::LINKS)
        .doc("Milliseconds that the broker waits for a connection it opens."),
    ConfigDef::long("socket.connection.setup.timeout.max.ms", "30000")
        .no_effect(reason::LINKS)
        .doc(
            "Longest that the wait for a connection grows after repeated failures, in \
             milliseconds.",
        ),
    ConfigDef::list("config.providers", "")
        .low()
        .cluster_wide()
        .no_effect(reason::JVM)
        .doc("Aliases of classes that look up values outside the file."),
    ConfigDef::string("authorizer.class.name", "")
        .low()
        .no_effect(reason::JVM)
        .doc("Class that decides who may do what."),
    ConfigDef::list("early.start.listeners", "")
        .nullable()
        .high()
        .no_effect(reason::RAFT)
        .doc("Listeners opened before the authorizer is ready."),
    ConfigDef::string("broker.rack", "").nullable().doc(
        "Where the broker stands: a rack, zone or room. Replicas of a partition are \
             spread over racks.",
    ),
    ConfigDef::boolean("controlled.shutdown.enable", "true")
        .doc("Whether a broker that is told to stop hands its leaderships over first."),
    ConfigDef::boolean("delete.topic.enable", "true").high().doc("Whether topics can be deleted."),
    ConfigDef::string("compression.type", "producer")
        .check(Validator::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        .high()
        .cluster_wide()
        .doc(
            "Codec for topics without `compression.type` of their own. `producer` keeps what \
             the producer chose.",
        ),
    ConfigDef::int("compression.gzip.level", "-1")
        .check(Validator::GzipLevel)
        .cluster_wide()
        .doc("Gzip level for topics without one of their own."),
    ConfigDef::int("compression.lz4.level", "9")
        .check(Validator::Between(1, 17))
        .cluster_wide()
        .doc("Lz4 level for topics without one of their own."),
    ConfigDef::int("compression.zstd.level", "3")
        .check(Validator::Between(-131_072, 22))
        .cluster_wide()
        .doc("Zstd level for topics without one of their own."),
    ConfigDef::int("max.incremental.fetch.session.cache.slots", "1000").at_least(0).doc(
        "Fetch sessions that the broker remembers; consumers beyond them send their \
             partitions with every request.",
    ),
    ConfigDef::int("fetch.max.bytes", "57671680").at_least(1024).doc(
        "Most bytes that one fetch answer carries, whatever the consumer asks for. The \
             first batch is always sent whole.",
    ),
    ConfigDef::int("max.request.partition.size.limit", "2000").at_least(1).doc(
        "Most partitions that one DescribeTopicPartitions answer lists; more come page by \
             page.",
    ),
    ConfigDef::int("initial.broker.registration.timeout.ms", "60000").no_effect(reason::RAFT).doc(
        "Milliseconds that a starting broker tries to register before it gives up. Ottla \
             waits for its store and says so.",
    ),
    ConfigDef::int("broker.heartbeat.interval.ms", "1000").doc(
        "Milliseconds between two heartbeats of a broker to the active coordinator. \
             Ottla's default is shorter than Kafka's.",
    ),
    ConfigDef::int("broker.session.timeout.ms", "3000").doc(
        "Lifetime in milliseconds of a broker's claim to be alive once it is silent. \
             Ottla's default is shorter than Kafka's, so that failures are noticed sooner.",
    ),
    ConfigDef::list("controller.listener.names", "")
        .high()
        .no_effect(reason::RAFT)
        .doc("Names of the listeners of Kafka's controllers."),
    ConfigDef::string("sasl.mechanism.controller.protocol", "GSSAPI")
        .high()
        .no_effect(reason::RAFT)
        .doc("SASL mechanism between brokers and Kafka's controllers."),
];
