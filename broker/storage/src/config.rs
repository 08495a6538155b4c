//! The settings of a log, from the topic's configuration.

use std::time::Duration;

use ottla_protocol::record_batch::TimestampType;

/// Settings of one log; partitions of a topic share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it would become larger. Default 1 GiB, at most 2³¹−1.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when it spans more time. Default 7 days.
    pub segment_age: Duration,
    /// `segment.jitter.ms`: up to so much less, differing from segment to segment, so that not all roll at once. Default 0.
    pub segment_jitter: Duration,
    /// `segment.index.bytes`: a segment is rolled when an index of it is so large. Default 10 MiB.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of batches between two index entries. Default 4096.
    pub index_interval_bytes: u32,
    /// `flush.messages`: records after which a sync is due. 1: an acknowledgement means synced. Default never.
    pub flush_messages: u64,
    /// `flush.ms`: age of the oldest unsynced record at which a sync is due. Default never.
    pub flush_age: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`: age of the oldest unsynced record at which indexes and data are synced, so
    /// that a recovery need not scan them. Default 1 minute.
    pub checkpoint_age: Duration,
    /// `message.timestamp.type`. Default CreateTime.
    pub timestamp_type: TimestampType,
    /// `producer.id.expiration.ms`: a producer that wrote nothing for so long is forgotten. Default 1 day.
    pub producer_id_expiration: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_age: Duration::from_secs(7 * 24 * 3600),
            segment_jitter: Duration::ZERO,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            flush_messages: u64::MAX,
            flush_age: Duration::MAX,
            checkpoint_age: Duration::from_secs(60),
            timestamp_type: TimestampType::CreateTime,
            producer_id_expiration: Duration::from_secs(24 * 3600),
        }
    }
}

impl LogConfig {
    /// Positions and relative offsets have 31 bits.
    pub(crate) fn segment_bytes_max(&self) -> u64 {
        u64::from(self.segment_bytes.min(i32::MAX as u32))
    }
}
