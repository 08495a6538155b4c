//! How a producer behaves.

use std::time::Duration;

use ottla_protocol::compression::Compression;

/// What a broker must have done before it acknowledges a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: there is no answer, and no error is seen.
    None,
    /// The leader has it.
    Leader,
    /// Every replica in sync has it.
    #[default]
    All,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How a producer behaves. Names in `code` and defaults are those of Kafka 4's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// `acks`. Default all.
    pub acks: Acks,
    /// Whether the broker drops duplicates that retries make, and keeps the order: `enable.idempotence`. Needs
    /// `acks=all`. Default yes.
    pub idempotence: bool,
    /// `compression.type` and its level. Default none.
    pub compression: Compression,
    /// Bytes at which a batch is sent without lingering: `batch.size`. Default 16 KiB.
    pub batch_size: usize,
    /// How long a batch waits for more records: `linger.ms`. Default 5 ms.
    pub linger: Duration,
    /// Bytes of records that may wait: `buffer.memory`. Default 32 MiB.
    pub buffer_memory: usize,
    /// How long sending may wait for room or metadata: `max.block.ms`. Default 60 s.
    pub max_block: Duration,
    /// Bytes of a request, and so of a record: `max.request.size`. Default 1 MiB.
    pub max_request_size: usize,
    /// How long a record may take from being taken until it is acknowledged, retries included: `delivery.timeout.ms`.
    /// Default 2 min.
    pub delivery_timeout: Duration,
    /// How often a batch is tried again: `retries`. Default 2³¹−1, that is until the delivery timeout.
    pub retries: u32,
    /// Requests that may be unanswered on one connection, 1 to 5: `max.in.flight.requests.per.connection`. Default 5.
    pub max_in_flight: usize,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotence: true,
            compression: Compression::default(),
            batch_size: 16 << 10,
            linger: Duration::from_millis(5),
            buffer_memory: 32 << 20,
            max_block: Duration::from_secs(60),
            max_request_size: 1 << 20,
            delivery_timeout: Duration::from_secs(120),
            retries: i32::MAX as u32,
            max_in_flight: 5,
        }
    }
}

/// Settings that cannot be had together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerConfigError {
    /// Duplicates can only be dropped among batches that every replica in sync has.
    #[error("enable.idempotence needs acks=all")]
    IdempotenceNeedsAcks,
    /// Brokers remember five batches of a producer.
    #[error("max.in.flight.requests.per.connection must be from 1 to 5")]
    MaxInFlight,
}

impl ProducerConfig {
    pub(crate) fn check(&self) -> Result<(), ProducerConfigError> {
        if self.idempotence && self.acks != Acks::All {
            return Err(ProducerConfigError::IdempotenceNeedsAcks);
        }
        if !(1..=5).contains(&self.max_in_flight) {
            return Err(ProducerConfigError::MaxInFlight);
        }
        Ok(())
    }
}
