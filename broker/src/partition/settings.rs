//! What a topic's configuration means for its partitions here.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::config::{self as topic, CompressionType, TopicConfig};
use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::record_batch::TimestampType;
use ottla_storage::LogConfig;

use super::replica;

/// The part of a topic's configuration that appending and reading need. Changed as a whole, and shared
/// by all partitions of the topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSettings {
    /// `max.message.bytes`. Default 1,048,588.
    pub batch_bytes_max: usize,
    /// `message.timestamp.before.max.ms`. Default 2⁶³−1.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`. Default an hour.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` keeps what the producer chose. Default `None`.
    pub compression: Option<Compression>,
    /// `cleanup.policy` contains `compact`. Default no.
    pub is_compacted: bool,
    /// `cleanup.policy` contains `delete`. Default yes.
    pub is_deleting: bool,
    /// `flush.messages` is 1: an acknowledgement means synced. Default no.
    pub is_durable: bool,
    /// `min.insync.replicas`. Default 1.
    pub in_sync_min: usize,
    /// What the log itself needs to know.
    pub log: Arc<LogConfig>,
    /// One of Kafka's internal topics, which clients may not write to. Default no.
    pub is_internal: bool,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            batch_bytes_max: 1_048_588,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: None,
            is_compacted: false,
            is_deleting: true,
            is_durable: false,
            in_sync_min: 1,
            log: Arc::default(),
            is_internal: false,
        }
    }
}

impl TopicSettings {
    /// From the resolved configuration of a topic.
    pub fn new(config: &TopicConfig, is_internal: bool) -> Self {
        let millis = |limit: Option<Duration>| {
            limit.map_or(i64::MAX, |limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
        };
        Self {
            batch_bytes_max: config.max_message_bytes as usize,
            timestamp_before_max_ms: millis(config.message_timestamp_before_max),
            timestamp_after_max_ms: millis(config.message_timestamp_after_max),
            compression: compression(config),
            is_compacted: config.cleanup_policy.compact,
            is_deleting: config.cleanup_policy.delete,
            is_durable: config.flush_messages.is_some_and(|records| records <= 1),
            in_sync_min: config.min_insync_replicas as usize,
            log: Arc::new(log_config(config)),
            is_internal,
        }
    }

    /// What the replica's state machine needs to know.
    pub fn of_replica(&self) -> replica::Settings {
        replica::Settings { is_durable: self.is_durable, in_sync_min: self.in_sync_min }
    }
}

/// What a log needs of a topic's configuration.
fn log_config(config: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: config.segment_bytes,
        segment_age: config.segment.unwrap_or(Duration::MAX),
        segment_jitter: config.segment_jitter,
        segment_index_bytes: config.segment_index_bytes,
        index_interval_bytes: config.index_interval_bytes,
        flush_messages: config.flush_messages.unwrap_or(u64::MAX),
        flush_age: config.flush.unwrap_or(Duration::MAX),
        timestamp_type: match config.message_timestamp_type {
            topic::TimestampType::CreateTime => TimestampType::CreateTime,
            topic::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        ..LogConfig::default()
    }
}

fn compression(config: &TopicConfig) -> Option<Compression> {
    let with = |codec, level| {
        // Levels were checked when they were set; one that is not allowed after all is the default.
        Some(Compression::with_level(codec, level).unwrap_or_else(|_| Compression::new(codec)))
    };
    match config.compression_type {
        CompressionType::Producer => None,
        CompressionType::Uncompressed => Some(Compression::new(Codec::None)),
        CompressionType::Gzip => with(Codec::Gzip, config.compression_gzip_level),
        CompressionType::Snappy => Some(Compression::new(Codec::Snappy)),
        CompressionType::Lz4 => with(Codec::Lz4, config.compression_lz4_level),
        CompressionType::Zstd => with(Codec::Zstd, config.compression_zstd_level),
    }
}
