//! A topic: the commit point of its creation and growth.

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// The key `topics/<name>`. Partition keys are written first, this key makes them exist: those at or
/// beyond `partitions` do not. Deleting a topic moves this value to `deleted/<id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Topic {
    /// Never given twice, also when a topic of this name was deleted before.
    #[serde(with = "super::value::uuid")]
    pub id: Uuid,
    /// The name, as in the key.
    pub name: String,
    /// How many partitions exist.
    pub partitions: i32,
    /// Configs that were set on this topic, by Kafka's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<String, String>,
    /// True for Kafka's internal topics.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for Topic {}
