//! A topic that is being collected.

use ottla_protocol::Uuid;
use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// The key `deleted/<topic-id>`: from the moment it exists the topic does not; removed when its partition
/// keys are gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletedTopic {
    /// The id of the topic, as in the key.
    #[serde(with = "super::value::uuid")]
    pub id: Uuid,
    /// The name it had; a new topic may have it already.
    pub name: String,
    /// How many partitions it had.
    pub partitions: i32,
    /// When, in Unix milliseconds; for people only.
    #[serde(default)]
    pub deleted_at_ms: i64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for DeletedTopic {}
