//! A Kafka client: connections, metadata, producer, consumer and admin calls. Works against Ottla and Apache Kafka.

pub mod admin;
mod backoff;
mod client;
mod config;
pub mod connection;
pub mod consumer;
mod coordinator;
mod error;
pub mod internode;
mod metadata_cache;
mod node;
mod offsets;
pub mod partitioner;
mod private_file;
pub mod producer;
#[cfg(test)]
mod testing;
pub mod tls;

pub use admin::Admin;
pub use backoff::Backoff;
pub use client::Client;
pub use config::ClientConfig;
pub use connection::{Address, Connection};
pub use consumer::{Consumer, ConsumerConfig, ConsumerRecord, GroupConfig, GroupConsumer};
pub use error::ClientError;
pub use metadata_cache::{Broker, Metadata, Partition, Topic};
pub use node::Link;
pub use offsets::{OffsetAt, OffsetFound};
pub use ottla_protocol as protocol;
pub use producer::{Producer, ProducerConfig, ProducerRecord};

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: T) {}

    /// Compiles only if every call can be made from a task that moves between threads.
    #[expect(dead_code, reason = "to be compiled, not run")]
    fn calls_can_be_made_from_any_task(
        client: &Client,
        admin: &Admin,
        producer: &Producer,
        (consumer, member): (&mut Consumer, &mut GroupConsumer),
    ) {
        let timeout = std::time::Duration::ZERO;
        is_send(client.refresh_metadata(&[]));
        is_send(client.topic(&protocol::Str::default(), timeout));
        is_send(client.controller());
        is_send(admin.create_topics(&[], false));
        is_send(admin.delete_topics(&[]));
        is_send(admin.list_topics());
        is_send(admin.describe_topics(&[]));
        is_send(admin.create_partitions(&[], false));
        is_send(admin.describe_configs(&[], false));
        is_send(admin.alter_configs(&[], false));
        is_send(admin.describe_cluster());
        is_send(admin.list_offsets(&[]));
        is_send(admin.delete_records(&[]));
        is_send(admin.describe_log_dirs(&[]));
        is_send(admin.elect_leaders(admin::ElectionType::Preferred, None));
        is_send(admin.alter_reassignments(&[]));
        is_send(admin.list_reassignments());
        is_send(admin.describe_partitions(None));
        is_send(admin.list_brokers());
        is_send(admin.unregister_broker(protocol::types::BrokerId(1)));
        is_send(producer.send(ProducerRecord::default()));
        is_send(producer.flush());
        is_send(consumer.poll(timeout));
        is_send(member.poll(timeout));
        is_send(member.commit());
        is_send(admin.list_groups());
        is_send(admin.describe_groups(&[]));
    }
}
