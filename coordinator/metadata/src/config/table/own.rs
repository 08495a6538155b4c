//! Ottla's own configs, and old names of Kafka's that it still reads.

use super::super::def::{ConfigDef, Validator};

/// What brokers and coordinators share.
pub const OWN: &[ConfigDef] = &[
    ConfigDef::list("etcd.endpoints", "http://127.0.0.1:2379")
        .check(Validator::Endpoints)
        .high()
        .own()
        .doc(
            "Members of the etcd cluster that holds the cluster's metadata. All nodes of a cluster \
             name the same etcd cluster.",
        ),
    ConfigDef::list("etcd.offsets.endpoints", "").check(Validator::Endpoints).own().doc(
        "Members of a second etcd cluster for the state of groups and transactions; empty keeps \
             it in the first.",
    ),
    ConfigDef::string("etcd.username", "")
        .nullable()
        .own()
        .doc("User with which to log in to etcd; without one nobody logs in."),
    ConfigDef::password("etcd.password")
        .own()
        .doc("Password of `etcd.username`. Better kept in a file: `etcd.password.file`."),
    ConfigDef::string("etcd.password.file", "")
        .nullable()
        .own()
        .doc("File whose first line is the password of `etcd.username`; not with `etcd.password`."),
    ConfigDef::string("etcd.ssl.ca.file", "").nullable().own().doc(
        "PEM file with the certificates that may sign etcd's; without it the system's are used.",
    ),
    ConfigDef::string("etcd.ssl.certificate.file", "")
        .nullable()
        .own()
        .doc("PEM file with the certificate to show to etcd; needs `etcd.ssl.key.file`."),
    ConfigDef::string("etcd.ssl.key.file", "")
        .nullable()
        .own()
        .doc("PEM file with the key of `etcd.ssl.certificate.file`."),
    ConfigDef::string("etcd.ssl.server.name", "")
        .nullable()
        .own()
        .doc("Name that etcd's certificate must carry, where it is not the endpoint's host."),
    ConfigDef::string("etcd.prefix", "/ottla/").check(Validator::KeyPrefix).own().doc(
        "Prefix of every key in etcd, so that several clusters can share one etcd. All nodes of a \
         cluster name the same prefix.",
    ),
    ConfigDef::int("etcd.request.timeout.ms", "5000")
        .at_least(1)
        .low()
        .own()
        .doc("Milliseconds after which a call to etcd that has no answer counts as failed."),
    ConfigDef::list("coordinator.endpoints", "").check(Validator::HostPorts).own().no_effect("the active coordinator is found through etcd").doc(
        "Inter-node addresses of coordinators, as `host:port`. Empty finds the active one through \
         etcd.",
    ),
    ConfigDef::string("cluster.secret.file", "").nullable().own().doc(
        "File with the secret by which brokers and coordinators know each other: at least 32 bytes, the same \
             on all nodes, which only the file's owner may read or write. Each side proves that it knows the \
             secret when a connection begins; it is never sent. What follows is neither encrypted nor \
             protected: use `internode.ssl.…` as well, or instead, on networks that you do not trust. Read \
             when the node starts.",
    ),
    ConfigDef::string("internode.ssl.keystore.location", "").nullable().own().doc(
        "PEM file with the private key and the certificate of this node, followed by those that lead to the \
             authority, for connections between brokers and coordinators; only its owner may read or write \
             it. Together with `internode.ssl.truststore.location` it turns TLS 1.3 on, for which both sides \
             show certificates: set it on all nodes or on none. A coordinator's certificate has to name the \
             host that it advertises. Read when the node starts.",
    ),
    ConfigDef::string("internode.ssl.keystore.type", "PEM")
        .check(Validator::OneOf(&["PEM"]))
        .low()
        .own()
        .doc("Format of `internode.ssl.keystore.location`."),
    ConfigDef::string("internode.ssl.truststore.location", "").nullable().own().doc(
        "PEM file with the certificates of the authorities that sign the nodes' certificates. Whoever has a \
             certificate of them counts as a node, so they must sign for this cluster alone. Read when the \
             node starts.",
    ),
    ConfigDef::string("internode.ssl.truststore.type", "PEM")
        .check(Validator::OneOf(&["PEM"]))
        .low()
        .own()
        .doc("Format of `internode.ssl.truststore.location`."),
    ConfigDef::boolean("allow.insecure.listeners", "false").high().own().doc(
        "Whether listeners that authenticate nobody may be bound to other addresses than loopback. \
         Whoever reaches such a listener may read, write and delete everything.",
    ),
];

/// What only brokers have.
pub const OWN_BROKER: &[ConfigDef] = &[
    ConfigDef::string("http.listener", ":9644")
        .own()
        .doc("Address of the broker's health checks and metrics, as `host:port`; no host means loopback."),
    ConfigDef::int("port", "").nullable().check(Validator::Between(0, 65_535)).doc(
        "Old way to give the port of the PLAINTEXT listener, with `host.name`. Ignored where \
         `listeners` is set.",
    ),
    ConfigDef::string("host.name", "").nullable().doc(
        "Old way to give the host of the PLAINTEXT listener, with `port`. Ignored where `listeners` \
         is set.",
    ),
];

/// What only coordinators have. A coordinator's file may also hold any broker config: those that are
/// defaults for topics hold for the topics it creates.
pub const OWN_COORDINATOR: &[ConfigDef] = &[
    ConfigDef::string("http.listener", ":9080")
        .of_coordinator()
        .high()
        .own()
        .doc("Address of the REST API, health checks and metrics, as `host:port`; no host means loopback."),
    ConfigDef::string("http.advertised.listener", "").nullable().of_coordinator().own().doc(
        "Address at which other coordinators reach the REST API; where none is given, \
         `http.listener`.",
    ),
    ConfigDef::string("internode.listener", ":9081").of_coordinator().high().own().doc(
        "Address on which brokers and other coordinators are served, as `host:port`; no host means \
         loopback. Off loopback nodes have to prove who they are: by `internode.ssl.…`, by \
         `cluster.secret.file`, or both.",
    ),
    ConfigDef::string("internode.advertised.listener", "").nullable().of_coordinator().own().doc(
        "Address at which brokers and other coordinators reach this one; where none is given, \
         `internode.listener`.",
    ),
    ConfigDef::string("data.dir", "").nullable().of_coordinator().high().own().doc(
        "Folder in which the coordinator remembers its lease and the newest revision it saw.",
    ),
    ConfigDef::int("max.partitions.per.request", "10000")
        .at_least(1)
        .of_coordinator()
        .own()
        .doc("New partitions that one request to create topics or partitions may ask for."),
    ConfigDef::int("max.partitions.per.cluster", "200000")
        .at_least(1)
        .of_coordinator()
        .own()
        .doc("Partitions that all topics together may have."),
];

/// Names that other versions of Kafka knew, and what to do instead.
pub const GONE: &[(&str, &str)] = &[
    ("zookeeper.connect", "there is no ZooKeeper; set etcd.endpoints"),
    ("zookeeper.session.timeout.ms", "there is no ZooKeeper; set broker.session.timeout.ms"),
    ("zookeeper.connection.timeout.ms", "there is no ZooKeeper; set etcd.request.timeout.ms"),
    ("zookeeper.set.acl", "there is no ZooKeeper; etcd has its own users"),
    ("zookeeper.max.in.flight.requests", "there is no ZooKeeper; nothing is needed instead"),
    ("zookeeper.metadata.migration.enable", "there is no ZooKeeper; nothing is needed instead"),
    ("advertised.host.name", "set advertised.listeners"),
    ("advertised.port", "set advertised.listeners"),
    ("inter.broker.protocol.version", "nodes agree on features by themselves"),
    ("log.message.format.version", "only the current record format is written"),
    ("log.message.downconversion.enable", "only the current record format is served"),
    (
        "log.message.timestamp.difference.max.ms",
        "set log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms",
    ),
    ("broker.id.generation.enable", "give every broker its node.id"),
    ("reserved.broker.max.id", "give every broker its node.id"),
    ("quota.producer.default", "quotas are set for users and clients"),
    ("quota.consumer.default", "quotas are set for users and clients"),
    ("offsets.commit.required.acks", "an offset is committed once it is durable"),
    ("control.plane.listener.name", "nodes speak over the coordinator's inter-node listener"),
];
