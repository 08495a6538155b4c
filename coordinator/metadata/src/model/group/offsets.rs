//! Committed offsets of one group: 32 partitions of one topic a value.

use serde::{Deserialize, Serialize};

use super::super::{Rest, Value};

/// The key `shards/<n>/groups/<g>/offsets/<topic-id>/<chunk>`: the offsets of the partitions from `32 × chunk`
/// on. A value without offsets does not exist.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OffsetChunk {
    /// One for each partition that has one, by partition.
    pub offsets: Vec<CommittedOffset>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl OffsetChunk {
    /// Partitions that share a value.
    pub const PARTITIONS: i32 = 32;

    /// The chunk that a partition is in.
    pub fn of(partition: i32) -> i32 {
        partition.div_euclid(Self::PARTITIONS)
    }
}

impl Value for OffsetChunk {}

/// Where a group is in one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// The partition.
    pub partition: i32,
    /// The next record to read.
    pub offset: i64,
    /// The epoch of the leader that the last record was read from, where the client said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
    /// What the client wrote beside it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// When it was committed, Unix ms.
    #[serde(rename = "at")]
    pub committed_at: i64,
    /// When it is forgotten whatever the group does, Unix ms: old clients could ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}
