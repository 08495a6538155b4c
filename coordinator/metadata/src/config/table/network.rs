//! Configs of listeners and connections.

use super::super::def::{ConfigDef, Validator};
use super::reason;

/// The configs of listeners and connections.
pub const NETWORK: &[ConfigDef] = &[
    ConfigDef::list("listeners", "PLAINTEXT://:9092")
        .check(Validator::Listeners)
        .high()
        .per_broker()
        .doc(
            "Addresses on which clients are served, as `NAME://host:port`. No host means \
             loopback; other addresses without authentication need \
             `allow.insecure.listeners=true`.",
        ),
    ConfigDef::list("advertised.listeners", "").nullable().check(Validator::Listeners).high().doc(
        "Addresses that clients are told to connect to, for each listener; where none is \
             given, the listener's own.",
    ),
    ConfigDef::string(
        "listener.security.protocol.map",
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
    )
    .check(Validator::ListenerMap)
    .low()
    .per_broker()
    .doc(
        "Security protocol of each listener name: PLAINTEXT, SSL, SASL_PLAINTEXT or \
             SASL_SSL.",
    ),
    ConfigDef::string("inter.broker.listener.name", "")
        .nullable()
        .doc("Name of the listener that brokers use among themselves."),
    ConfigDef::string("security.inter.broker.protocol", "PLAINTEXT")
        .check(Validator::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]))
        .doc(
            "Security protocol among brokers, which picks the listener of that name; not \
             together with `inter.broker.listener.name`.",
        ),
    ConfigDef::int("socket.send.buffer.bytes", "102400").high().no_effect(reason::SOCKETS).doc(
        "Size in bytes of the system's send buffer of each connection; -1 leaves it to \
             the system.",
    ),
    ConfigDef::int("socket.receive.buffer.bytes", "102400").high().no_effect(reason::SOCKETS).doc(
        "Size in bytes of the system's receive buffer of each connection; -1 leaves it to \
             the system.",
    ),
    ConfigDef::int("socket.request.max.bytes", "104857600")
        .at_least(1)
        .high()
        .doc("Largest request in bytes; a connection that announces a larger one is closed."),
    ConfigDef::int("socket.listen.backlog.size", "50")
        .at_least(1)
        .doc("Connections that may wait to be accepted."),
    ConfigDef::int("max.connections.per.ip", "2147483647")
        .at_least(0)
        .cluster_wide()
        .doc("Connections allowed from one address."),
    ConfigDef::string("max.connections.per.ip.overrides", "")
        .check(Validator::IpOverrides)
        .cluster_wide()
        .doc("Addresses or host names with a limit of their own, as `host:number`."),
    ConfigDef::int("max.connections", "2147483647")
        .at_least(0)
        .cluster_wide()
        .doc("Connections allowed on the broker; with a listener's prefix, on that listener."),
    ConfigDef::int("max.connection.creation.rate", "2147483647")
        .at_least(0)
        .cluster_wide()
        .no_effect(reason::QUOTAS)
        .doc(
            "New connections per second allowed on the broker; with a listener's prefix, on \
             that listener.",
        ),
    ConfigDef::long("connections.max.idle.ms", "600000")
        .doc("Milliseconds after which an idle connection is closed."),
    ConfigDef::int("connection.failed.authentication.delay.ms", "100")
        .at_least(0)
        .low()
        .no_effect(reason::SECURITY)
        .doc(
            "Milliseconds for which a connection that failed to authenticate is kept before \
             it is closed.",
        ),
    ConfigDef::int("queued.max.requests", "500").at_least(1).high().no_effect(reason::THREADS).doc(
        "Requests that may wait for a thread before no more are read. Ottla bounds what \
             waits by bytes.",
    ),
    ConfigDef::long("queued.max.request.bytes", "-1")
        .no_effect("the bound always follows the machine's memory")
        .doc(
            "Bytes of requests that may wait before no more are read; -1 lets the broker \
             choose from the machine's memory.",
        ),
    ConfigDef::int("num.network.threads", "3")
        .at_least(1)
        .high()
        .cluster_wide()
        .no_effect(reason::THREADS)
        .doc("Threads that read requests and write answers."),
];
