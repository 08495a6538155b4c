//! Kafka's record batches, magic 2: the unit that producers send, brokers store and consumers fetch.
//!
//! Reading borrows: a [`Batch`] is a slice of the frame it came in, a [`Record`] a slice of its batch (or of the
//! scratch buffer that its batch was decompressed into). Nothing here allocates per record.

mod attributes;
mod batch;
mod builder;
mod control;
mod crc;
mod header;
pub mod magic;
mod patch;
mod reader;
mod record;
mod validate;
mod varint;

pub use attributes::{Attributes, TimestampType};
pub use batch::{Batch, Limits};
pub use builder::{BuildError, Builder, BuilderOptions, NewRecord};
pub use control::{ControlError, ControlType, EndTransactionMarker};
pub use crc::{crc32c, crc32c_of_two};
pub use header::{
    BatchHeader, HEADER_LEN, LENGTH_PREFIX_LEN, NO_SEQUENCE, NO_TIMESTAMP, add_sequence,
};
pub use magic::magic_at;
pub use patch::{TimestampPatch, patch_header, restamp_producer};
pub use reader::{Batches, batches, single_batch};
pub use record::{Header, Headers, Record, Records};
pub use validate::{
    Origin, RecordError, Summary, TimestampWindow, ValidateError, ValidateOptions, validate,
};

use crate::compression::{DecompressError, UnknownCodec};

/// Why bytes are not a batch, or a batch's records cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end inside the batch. In a fetched buffer the last batch may be like this and is to be fetched again;
    /// anywhere else it is corruption.
    #[error("the batch needs {needed} bytes, {available} are there")]
    Truncated {
        /// Bytes of the batch, as far as they are known.
        needed: usize,
        /// Bytes from the batch's start to the end of the buffer.
        available: usize,
    },
    /// The length field is smaller than a header.
    #[error("batch length {0} is smaller than a batch header")]
    InvalidLength(i32),
    /// Format 0 or 1, or one that does not exist.
    #[error("message format (magic) {0} is not supported, only 2 is")]
    UnsupportedMagic(i8),
    /// The checksum over attributes and records does not match.
    #[error("checksum is {computed:#010x}, the batch says {stored:#010x}")]
    CrcMismatch {
        /// As the batch has it.
        stored: u32,
        /// As its bytes give it.
        computed: u32,
    },
    /// The codec bits hold an unassigned number.
    #[error(transparent)]
    UnknownCodec(#[from] UnknownCodec),
    /// The records cannot be decompressed, or would be larger than allowed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record's bytes do not fit together.
    #[error("record {index} is malformed: {reason}")]
    InvalidRecord {
        /// The record's position in the batch, from 0.
        index: i32,
        /// What does not fit.
        reason: &'static str,
    },
    /// The number of records differs from what the header says.
    #[error("the header counts {declared} records: {reason}")]
    RecordCount {
        /// As the header has it.
        declared: i32,
        /// What was found instead.
        reason: &'static str,
    },
}

#[cfg(test)]
mod tests;
