//! The broker's settings, read from `server.properties` with Kafka's names.

/// Everything that this half of the broker takes from its settings, typed and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Topics are created when clients name them (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions in one answer of DescribeTopicPartitions (`max.request.partition.size.limit`).
    pub request_partition_limit: i32,
}
