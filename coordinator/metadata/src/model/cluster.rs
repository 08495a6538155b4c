//! What is decided once for a cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// The key `cluster`: written by the first controller, changed only by finalising features.
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
