//! The tables, one file an area, and look-up by name.

mod general;
mod group;
mod group_coordinator;
mod log;
mod network;
mod own;
mod quota;
mod raft;
mod replication;
mod sasl;
mod security;
mod share_coordinator;
mod tiered;
mod tls;
mod topic;
mod transactions;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::def::ConfigDef;

pub use group::GROUP;
pub use own::{GONE, OWN, OWN_BROKER, OWN_COORDINATOR};
pub use topic::TOPIC;

/// Every area of broker configs with its heading on the reference page.
pub const BROKER_AREAS: &[(&str, &[ConfigDef])] = &[
    ("Ottla's own, and old names", OWN),
    ("Ottla's own, of the broker", OWN_BROKER),
    ("Broker", general::GENERAL),
    ("Listeners and connections", network::NETWORK),
    ("Logs", log::LOG),
    ("Replication and elections", replication::REPLICATION),
    ("Groups", group_coordinator::GROUPS),
    ("Share groups", share_coordinator::SHARE),
    ("Transactions and producers", transactions::TRANSACTIONS),
    ("Quotas and metrics", quota::QUOTA),
    ("Authentication", security::SECURITY),
    ("TLS", tls::TLS),
    ("SASL", sasl::SASL),
    ("Tiered storage", tiered::TIERED),
    ("Kafka's Raft quorum", raft::RAFT),
];

/// Why a known config does nothing.
pub(super) mod reason {
    pub const CHECKPOINTS: &str = "the files are written every five seconds";
    pub const COMPACTION: &str = "log compaction is not built yet";
    pub const DELETE_DELAY: &str = "files that leave a log do not wait for a set time";
    pub const DIR_FAILURE: &str = "a failed folder is reported until the coordinator knows of it";
    pub const FETCHERS: &str = "a follower has two connections to each leader";
    pub const GROUPS: &str = "groups are served without it";
    pub const JVM: &str = "there is no Java machine, and no classes are loaded";
    pub const LINKS: &str = "connections between nodes have time limits of their own";
    pub const METRICS: &str = "metrics are served over HTTP in Prometheus's format";
    pub const MOVES: &str = "replicas do not move between the folders of a broker yet";
    pub const PREALLOCATE: &str = "space is reserved ahead of what is written, for every topic";
    pub const PURGATORY: &str = "what waits is removed as soon as it is done, so nothing is swept";
    pub const QUOTAS: &str = "quotas are not built yet";
    pub const RAFT: &str = "the cluster's metadata is in etcd, and there is no Raft quorum";
    pub const RETENTION: &str = "old segments are not deleted by themselves yet";
    pub const SECURITY: &str = "TLS and SASL are not built yet";
    pub const SHARE: &str = "share groups are not built yet";
    pub const SOCKETS: &str = "the system sizes the buffers of connections";
    pub const STREAMS: &str = "streams groups are not built yet";
    pub const THREADS: &str = "threads follow the number of processors and log folders";
    pub const TIERED: &str = "tiered storage is not built yet";
    pub const TRANSACTIONS: &str = "transactions are not built yet";
}

/// A broker config found by its name.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// Its definition.
    pub def: &'static ConfigDef,
    /// The listener in `listener.name.<listener>.…`, as written: the value then holds for it alone.
    pub listener: Option<&'a str>,
    /// The SASL mechanism in `listener.name.<listener>.<mechanism>.…`.
    pub mechanism: Option<&'a str>,
}

/// The config of a topic with that name.
pub fn lookup_topic(name: &str) -> Option<&'static ConfigDef> {
    static INDEX: LazyLock<HashMap<&str, &ConfigDef>> = LazyLock::new(|| index(TOPIC.iter()));
    INDEX.get(name).copied()
}

/// The config of a group with that name.
pub fn lookup_group(name: &str) -> Option<&'static ConfigDef> {
    static INDEX: LazyLock<HashMap<&str, &ConfigDef>> = LazyLock::new(|| index(GROUP.iter()));
    INDEX.get(name).copied()
}

/// The broker config with that name, with or without a listener's prefix.
pub fn lookup_broker(name: &str) -> Option<Lookup<'_>> {
    if let Some(def) = plain_broker(name) {
        return Some(Lookup { def, listener: None, mechanism: None });
    }
    let (listener, rest) = name.strip_prefix(LISTENER_PREFIX)?.split_once('.')?;
    let listener = Some(listener).filter(|listener| !listener.is_empty())?;
    if let Some(def) = plain_broker(rest).filter(|def| may_have_listener(def.name)) {
        return Some(Lookup { def, listener: Some(listener), mechanism: None });
    }
    let (mechanism, rest) = rest.split_once('.')?;
    let def = plain_broker(rest).filter(|def| PER_MECHANISM.contains(&def.name))?;
    Some(Lookup { def, listener: Some(listener), mechanism: Some(mechanism) })
}

/// The config that a coordinator's file may hold under that name.
pub fn lookup_coordinator(name: &str) -> Option<Lookup<'_>> {
    match OWN_COORDINATOR.iter().find(|def| def.name == name) {
        Some(def) => Some(Lookup { def, listener: None, mechanism: None }),
        None => lookup_broker(name),
    }
}

/// Every broker config, area by area.
pub fn broker() -> impl Iterator<Item = &'static ConfigDef> {
    BROKER_AREAS.iter().flat_map(|(_, defs)| defs.iter())
}

/// Every config of everything.
pub fn all() -> impl Iterator<Item = &'static ConfigDef> {
    TOPIC.iter().chain(GROUP).chain(OWN_COORDINATOR).chain(broker())
}

fn plain_broker(name: &str) -> Option<&'static ConfigDef> {
    static INDEX: LazyLock<HashMap<&str, &ConfigDef>> = LazyLock::new(|| index(broker()));
    INDEX.get(name).copied()
}

fn index(
    defs: impl Iterator<Item = &'static ConfigDef>,
) -> HashMap<&'static str, &'static ConfigDef> {
    defs.map(|def| (def.name, def)).collect()
}

/// Whether a config may be given for one listener.
fn may_have_listener(name: &str) -> bool {
    name.starts_with("ssl.") || name.starts_with("sasl.") || PER_LISTENER.contains(&name)
}

const LISTENER_PREFIX: &str = "listener.name.";

const PER_LISTENER: &[&str] = &[
    "max.connections",
    "max.connection.creation.rate",
    "num.network.threads",
    "principal.builder.class",
    "connections.max.reauth.ms",
    "connections.max.idle.ms",
    "connection.failed.authentication.delay.ms",
    "socket.send.buffer.bytes",
    "socket.receive.buffer.bytes",
];

const PER_MECHANISM: &[&str] = &[
    "sasl.jaas.config",
    "sasl.server.callback.handler.class",
    "sasl.login.class",
    "sasl.login.callback.handler.class",
    "connections.max.reauth.ms",
];

#[cfg(test)]
mod tests;
