//! A Kafka client: connections, metadata, producer, consumer and admin calls. Works against Ottla and Apache Kafka.

pub mod admin;
mod backoff;
mod client;
mod config;
pub mod connection;
mod error;
mod metadata_cache;
mod node;
mod offsets;
pub mod partitioner;

pub use admin::Admin;
pub use backoff::Backoff;
pub use client::Client;
pub use config::ClientConfig;
pub use connection::{Address, Connection};
pub use error::ClientError;
pub use metadata_cache::{Broker, Metadata, Partition, Topic};
pub use node::Link;
pub use offsets::{OffsetAt, OffsetFound};
pub use ottla_protocol as protocol;
