//! A Kafka client: connections, metadata, producer, consumer and admin calls.

pub mod connection;

pub use ottla_protocol as protocol;
