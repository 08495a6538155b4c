//! The supply of producer ids.

use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// The key `producer-ids`: blocks are handed out by compare-and-swap, never twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProducerIds {
    /// The first id of the next block.
    pub next_block_start: i64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl ProducerIds {
    /// Ids per block, as in Kafka.
    pub const BLOCK_LEN: i32 = 1000;
}

impl Value for ProducerIds {}
