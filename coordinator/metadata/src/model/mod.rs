//! The values of the key space: one file per concept.
//!
//! A value is a JSON object `{"v": 1, …}` that a person can read. Two rules keep old and new processes
//! from destroying each other's work: fields that this version does not know are carried through a
//! rewrite (`rest`), and a value of a newer version is an error that stops its reader.

mod broker;
mod cluster;
mod config_entry;
mod controller;
mod deleted_topic;
pub mod group;
mod partition;
mod producer_ids;
mod shard_head;
mod topic;
pub(crate) mod value;

pub use broker::{
    BrokerClaim, BrokerRecord, FeatureRange, Listener, PreviousLife, SecurityProtocol,
};
pub use cluster::{Cluster, Recovery};
pub use config_entry::ConfigEntry;
pub use controller::{Controller, Endpoint};
pub use deleted_topic::DeletedTopic;
pub use partition::{LOST_DIR, NO_LEADER, Partition};
pub use producer_ids::ProducerIds;
pub use shard_head::{JournalOwner, ShardHead};
pub use topic::Topic;
pub use value::{ModelError, Value, decode, encode};

/// Fields that this version does not know, kept as they were read.
pub type Rest = serde_json::Map<String, serde_json::Value>;
