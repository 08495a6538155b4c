//! What a leader checks before it appends a batch: everything that readers will later rely on.

use crate::ErrorCode;
use crate::compression::{Codec, DecompressError};
use crate::record_batch::{
    Batch, BatchError, Limits, NO_SEQUENCE, NO_TIMESTAMP, Record, TimestampType,
};
use crate::types::Offset;

/// Who made a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client, by a produce request: it may not choose offsets nor write control records.
    #[default]
    Client,
    /// The cluster itself: transaction markers, internal topics.
    Internal,
}

/// How far CreateTime timestamps may be from the broker's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampWindow {
    /// The broker's clock, Unix ms.
    pub now_ms: i64,
    /// `message.timestamp.before.max.ms`. Default 2⁶³−1, as long ago as you like.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`. Default 3,600,000, an hour.
    pub after_max_ms: i64,
}

/// The rules for a batch, from the topic's configuration and the request's version.
#[derive(Clone, Copy, Debug)]
pub struct ValidateOptions {
    /// Who made the batch. Default a client.
    pub origin: Origin,
    /// Bytes that the batch may have as it is: `max.message.bytes`. Default 1,048,588.
    pub batch_bytes_max: usize,
    /// What opening it may cost.
    pub limits: Limits,
    /// Whether every record needs a key: the topic is compacted. Default no.
    pub keys_required: bool,
    /// The window for CreateTime; none when the topic has LogAppendTime. Default none.
    pub timestamp_window: Option<TimestampWindow>,
    /// Whether zstd may be used: not in produce requests below version 7. Default yes.
    pub zstd_allowed: bool,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self {
            origin: Origin::Client,
            batch_bytes_max: 1_048_588,
            limits: Limits::default(),
            keys_required: false,
            timestamp_window: None,
            zstd_allowed: true,
        }
    }
}

/// What validation learned about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Records in the batch.
    pub records_count: i32,
    /// The largest timestamp of a record, Unix ms; −1 if none has one. If the header says otherwise, it is to be put
    /// right: [`super::TimestampPatch::MaxTimestamp`].
    pub max_timestamp: i64,
    /// Offset delta of the first record with that timestamp.
    pub max_timestamp_offset_delta: i32,
    /// Bytes of the records when decompressed.
    pub decompressed_len: usize,
}

/// One record that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Its position in the batch, from 0.
    pub index: i32,
    /// Which rule.
    pub message: String,
}

/// Why a batch is not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The bytes are not a sound batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A produce request has to carry exactly one batch per partition.
    #[error("exactly one record batch is expected per partition")]
    NotOneBatch,
    /// Larger than `max.message.bytes`.
    #[error("the batch has {len} bytes, {max} are allowed")]
    BatchTooLarge {
        /// Bytes of the batch.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The codec needs a later version of the produce request.
    #[error("{0} needs a later version of the produce request")]
    CodecNotAllowed(Codec),
    /// A client's batch breaks a rule that only clients have.
    #[error("{0}")]
    ClientRule(&'static str),
    /// Count and offset range do not agree.
    #[error("{count} records cannot span an offset delta of {last_offset_delta}")]
    CountMismatch {
        /// Records that the header counts.
        count: i32,
        /// The last record's offset delta by the header.
        last_offset_delta: i32,
    },
    /// The producer marked the batch LogAppendTime, which only brokers do.
    #[error("producers may not set the timestamp type LogAppendTime")]
    LogAppendTimeByClient,
    /// Records have timestamps outside the window.
    #[error("{} records have an invalid timestamp", .0.len())]
    InvalidTimestamps(Vec<RecordError>),
    /// Records break a rule.
    #[error("{} records are invalid", .0.len())]
    InvalidRecords(Vec<RecordError>),
}

impl ValidateError {
    /// What a produce response says.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Batch(error) => error.error_code(),
            Self::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::CodecNotAllowed(_) => ErrorCode::UnsupportedCompressionType,
            Self::LogAppendTimeByClient | Self::InvalidTimestamps(_) => ErrorCode::InvalidTimestamp,
            Self::NotOneBatch
            | Self::ClientRule(_)
            | Self::CountMismatch { .. }
            | Self::InvalidRecords(_) => ErrorCode::InvalidRecord,
        }
    }

    /// The records at fault, where single records are.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::InvalidTimestamps(errors) | Self::InvalidRecords(errors) => errors,
            _ => &[],
        }
    }
}

impl BatchError {
    /// What a produce response says.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::InvalidLength(_) | Self::CrcMismatch { .. } => ErrorCode::CorruptMessage,
            Self::UnsupportedMagic(magic) if !(0..=1).contains(magic) => ErrorCode::CorruptMessage,
            Self::UnknownCodec(_) => ErrorCode::UnsupportedCompressionType,
            Self::Decompress(DecompressError::TooLarge { .. }) => ErrorCode::MessageTooLarge,
            // A batch cut short is, as for Kafka, no batch at all; an old format is not taken.
            Self::Truncated { .. }
            | Self::UnsupportedMagic(_)
            | Self::Decompress(DecompressError::Corrupt { .. })
            | Self::InvalidRecord { .. }
            | Self::RecordCount { .. } => ErrorCode::InvalidRecord,
        }
    }
}

/// Record errors that are collected before the rest goes unmentioned.
const RECORD_ERRORS_MAX: usize = 100;

/// Checks a batch by `options`: header, checksum, and every record, decompressed into `scratch` if need be. Nothing is
/// copied from an uncompressed batch, and nothing is allocated per record.
pub fn validate(
    batch: &Batch,
    options: &ValidateOptions,
    scratch: &mut Vec<u8>,
) -> Result<Summary, ValidateError> {
    let max = options.batch_bytes_max;
    if max < batch.bytes.len() {
        return Err(ValidateError::BatchTooLarge { len: batch.bytes.len(), max });
    }
    batch.verify_crc()?;
    let codec = batch.header.attributes.codec().map_err(BatchError::from)?;
    if codec == Codec::Zstd && !options.zstd_allowed {
        return Err(ValidateError::CodecNotAllowed(codec));
    }
    check_counts(batch, options.origin)?;
    if options.origin == Origin::Client {
        check_client_rules(batch)?;
    }
    check_records(batch, options, scratch)
}

fn check_counts(batch: &Batch, origin: Origin) -> Result<(), ValidateError> {
    let header = &batch.header;
    let count = header.records_count;
    let last_offset_delta = header.last_offset_delta;
    let range_matches = i64::from(count) == i64::from(last_offset_delta) + 1;
    let enough = 0 < count || origin == Origin::Internal && count == 0;
    if range_matches && enough {
        Ok(())
    } else {
        Err(ValidateError::CountMismatch { count, last_offset_delta })
    }
}

fn check_client_rules(batch: &Batch) -> Result<(), ValidateError> {
    let header = &batch.header;
    if header.base_offset != Offset(0) {
        return Err(ValidateError::ClientRule("the base offset must be 0"));
    }
    if header.attributes.is_control() {
        return Err(ValidateError::ClientRule("clients may not write control records"));
    }
    if header.has_producer_id() && header.base_sequence <= NO_SEQUENCE {
        return Err(ValidateError::ClientRule("a producer id needs a sequence number"));
    }
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(ValidateError::LogAppendTimeByClient);
    }
    Ok(())
}

fn check_records(
    batch: &Batch,
    options: &ValidateOptions,
    scratch: &mut Vec<u8>,
) -> Result<Summary, ValidateError> {
    let mut records = batch.records(scratch, options.limits)?;
    let mut summary = Summary {
        records_count: batch.header.records_count,
        max_timestamp: NO_TIMESTAMP,
        max_timestamp_offset_delta: 0,
        decompressed_len: records.bytes_left(),
    };
    let mut errors = Errors::default();
    for (index, record) in (0i32..).zip(&mut records) {
        let record = record?;
        if record.offset_delta != index {
            let found = record.offset_delta;
            errors.invalid(index, || format!("offset delta is {found}, {index} is expected"));
        }
        if options.keys_required && record.key.is_none() {
            errors.invalid(index, || "a compacted topic needs a key in every record".to_owned());
        }
        if let Some(window) = &options.timestamp_window {
            check_timestamp(&record, window, index, &mut errors);
        }
        if summary.max_timestamp < record.timestamp {
            summary.max_timestamp = record.timestamp;
            summary.max_timestamp_offset_delta = index;
        }
    }
    errors.into_result().map(|()| summary)
}

fn check_timestamp(record: &Record<'_>, window: &TimestampWindow, index: i32, errors: &mut Errors) {
    let timestamp = record.timestamp;
    if timestamp == NO_TIMESTAMP {
        return;
    }
    let earliest = window.now_ms.saturating_sub(window.before_max_ms);
    let latest = window.now_ms.saturating_add(window.after_max_ms);
    if !(earliest..=latest).contains(&timestamp) {
        errors.timestamps.add(index, || {
            format!("timestamp {timestamp} is outside the allowed {earliest} to {latest}")
        });
    }
}

/// Broken rules by kind; a wrong timestamp outranks the others, as in Kafka.
#[derive(Default)]
struct Errors {
    timestamps: ErrorList,
    records: ErrorList,
}

#[derive(Default)]
struct ErrorList(Vec<RecordError>);

impl Errors {
    fn invalid(&mut self, index: i32, message: impl FnOnce() -> String) {
        self.records.add(index, message);
    }

    fn into_result(self) -> Result<(), ValidateError> {
        if !self.timestamps.0.is_empty() {
            return Err(ValidateError::InvalidTimestamps(self.timestamps.0));
        }
        if !self.records.0.is_empty() {
            return Err(ValidateError::InvalidRecords(self.records.0));
        }
        Ok(())
    }
}

impl ErrorList {
    fn add(&mut self, index: i32, message: impl FnOnce() -> String) {
        if self.0.len() < RECORD_ERRORS_MAX {
            self.0.push(RecordError { index, message: message() });
        }
    }
}
