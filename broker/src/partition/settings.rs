//! What a topic's configuration means for its partitions here.

use std::time::Duration;

use ottla_protocol::compression::Compression;
use ottla_protocol::record_batch::TimestampType;

use super::replica;

/// The part of a topic's configuration that appending and reading need. Changed as a whole, and shared
/// by all partitions of the topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSettings {
    /// `max.message.bytes`. Default 1,048,588.
    pub batch_bytes_max: usize,
    /// `segment.bytes`. Default 1 GiB.
    pub segment_bytes: usize,
    /// `message.timestamp.type`. Default CreateTime.
    pub timestamp_type: TimestampType,
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
    /// `flush.messages`. Default 2⁶³−1, which leaves it to the system.
    pub flush_messages: i64,
    /// `flush.ms`. Default none.
    pub flush_after: Option<Duration>,
    /// `min.insync.replicas`. Default 1.
    pub in_sync_min: usize,
    /// One of Kafka's internal topics, which clients may not write to. Default no.
    pub is_internal: bool,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            batch_bytes_max: 1_048_588,
            segment_bytes: 1 << 30,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: None,
            is_compacted: false,
            is_deleting: true,
            flush_messages: i64::MAX,
            flush_after: None,
            in_sync_min: 1,
            is_internal: false,
        }
    }
}

impl TopicSettings {
    /// What the replica's state machine needs to know.
    pub fn of_replica(&self) -> replica::Settings {
        replica::Settings {
            flush_messages: self.flush_messages,
            flush_after: self.flush_after,
            in_sync_min: self.in_sync_min,
        }
    }
}
