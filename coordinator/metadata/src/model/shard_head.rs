//! The fence of a coordination shard.

use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// The key `shards/<n>/head`. Every journal write of the shard compares its mod revision and bumps
/// `sequence`, so that a delayed write of its owner is refused like one of a former owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardHead {
    /// The node id of the coordinator that owns the shard.
    pub owner: i32,
    /// Raised by each take-over; Kafka's coordinator epoch.
    pub epoch: i32,
    /// Raised by each write; an owner recognises its own write by (owner, epoch, sequence).
    pub sequence: i64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for ShardHead {}

/// The owner of all shards in a store that holds nothing else: there it stands for the election, which is held in
/// the other store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalOwner {
    /// The node id of the coordinator.
    pub owner: i32,
    /// The term in which it was elected.
    pub term: i64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for JournalOwner {}
