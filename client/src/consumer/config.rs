//! How a consumer behaves.

use std::time::Duration;

use ottla_protocol::record_batch::Limits;

/// What happens when the position is not (any more) in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// Go on at the first record there is.
    Earliest,
    /// Go on at the next record to be written.
    #[default]
    Latest,
    /// Fail.
    None,
}

/// How a consumer behaves. Names in `code` and defaults are those of Kafka's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// Bytes for which a broker lets a fetch wait: `fetch.min.bytes`. Default 1.
    pub fetch_min_bytes: i32,
    /// How long a broker lets a fetch wait: `fetch.max.wait.ms`. Default 500 ms.
    pub fetch_max_wait: Duration,
    /// Bytes of an answer, except that the first batch comes whole: `fetch.max.bytes`. Default 50 MiB.
    pub fetch_max_bytes: i32,
    /// The same for each partition in it: `max.partition.fetch.bytes`. Default 1 MiB.
    pub partition_fetch_bytes: i32,
    /// Records that one poll returns: `max.poll.records`. Default 500.
    pub max_poll_records: usize,
    /// `auto.offset.reset`. Default latest.
    pub auto_offset_reset: OffsetReset,
    /// Whether checksums are verified: `check.crcs`. Default yes.
    pub check_crcs: bool,
    /// What opening a batch may cost.
    pub limits: Limits,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 50 << 20,
            partition_fetch_bytes: 1 << 20,
            max_poll_records: 500,
            auto_offset_reset: OffsetReset::Latest,
            check_crcs: true,
            limits: Limits::default(),
        }
    }
}
