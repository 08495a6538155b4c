//! Dynamic configs of what has no value of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// The keys `configs/…`: the configs set on one resource (all brokers, one broker, a group …). A topic's
/// are in its topic key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// Values by Kafka's names.
    pub configs: BTreeMap<String, String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for ConfigEntry {}
