//! A Kafka client: connections, metadata, producer, consumer and admin calls.
