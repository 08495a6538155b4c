//! What is decided once for a cluster.

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// The mark of `ottla cluster recover`: from here on the store's history is another one, put right from what
/// the brokers' disks hold. Nodes compare it with what they keep, and accept a store that is behind what they
/// saw only together with a mark that is ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Grows with every recovery of the cluster.
    pub number: i64,
    /// Random, so that two recoveries from one snapshot are not taken for each other.
    #[serde(with = "super::value::uuid")]
    pub id: Uuid,
}

impl Recovery {
    /// The later of two marks; the first if neither is.
    pub fn later(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let number = |mark: Option<Self>| mark.map_or(0, |mark| mark.number);
        if number(one) < number(other) { other } else { one }
    }
}

/// The key `cluster`: written by the first controller, changed only by finalising features
/// and by `ottla cluster recover`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Kafka's cluster id: 22 characters of url-safe base64.
    pub cluster_id: String,
    /// The layout of the key space itself. A process that knows only a lower one stops.
    pub format_version: u32,
    /// Finalised features by name, with the level that all nodes must support.
    #[serde(default)]
    pub features: BTreeMap<String, i16>,
    /// How many shards the groups are spread over; fixed for the life of the cluster, since a group's
    /// shard is its hash modulo this.
    pub group_shards: i32,
    /// How many shards the transactional ids are spread over; fixed likewise.
    pub transaction_shards: i32,
    /// The last recovery, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Cluster {
    /// The layout that this code writes.
    pub const FORMAT_VERSION: u32 = 1;
    /// Shards per kind, as many as Kafka's internal topics have partitions.
    pub const SHARDS: i32 = 50;
}

impl Value for Cluster {}
