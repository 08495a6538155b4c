//! The cluster's metadata: model, key space, image and its feed, and the stores that hold it.

pub mod config;
#[cfg(test)]
mod conformance;
pub mod features;
pub mod highest_seen;
pub mod image;
pub mod internal_topics;
pub mod journal;
pub mod keys;
pub mod model;
pub mod recovery;
pub mod shards;
pub mod store;

pub use shards::shard_of;
