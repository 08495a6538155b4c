//! Makes batches out of records.

use crate::compression::{self, Codec, CompressError, Compression};
use crate::record_batch::attributes::{Attributes, TimestampType};
use crate::record_batch::header::CRC_COVERS_FROM;
use crate::record_batch::{
    Batch, BatchHeader, HEADER_LEN, Header, LENGTH_PREFIX_LEN, NO_SEQUENCE, NO_TIMESTAMP, Record,
    crc32c, varint,
};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Everything about a batch but its records. The default is what a plain producer sends.
#[derive(Clone, Debug)]
pub struct BuilderOptions {
    /// How the records are compressed. Default: not.
    pub compression: Compression,
    /// Offset of the first record. Default 0, as producers must send it.
    pub base_offset: Offset,
    /// Default −1, unknown.
    pub partition_leader_epoch: LeaderEpoch,
    /// If set, the batch is marked LogAppendTime and all its records have this time (Unix ms). Default: CreateTime.
    pub log_append_time: Option<i64>,
    /// Default −1, none.
    pub producer_id: ProducerId,
    /// Default −1, none.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record. Default −1, none.
    pub base_sequence: i32,
    /// Written within a transaction. Default no.
    pub transactional: bool,
    /// Holds control records. Default no.
    pub control: bool,
    /// Time (Unix ms) after which compaction may drop tombstones and markers. Default none.
    pub delete_horizon: Option<i64>,
    /// Bytes that the batch should not exceed, by estimate if it is compressed. The first record always fits. Default
    /// 1,048,588, the default of `message.max.bytes`.
    pub bytes_max: usize,
    /// Compressed size over uncompressed size that the estimate assumes; not used without a codec. Default 1.
    pub compression_ratio: f32,
}

impl Default for BuilderOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            base_offset: Offset(0),
            partition_leader_epoch: LeaderEpoch::NONE,
            log_append_time: None,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
            delete_horizon: None,
            bytes_max: 1_048_588,
            compression_ratio: 1.0,
        }
    }
}

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Unix ms. Default −1, none.
    pub timestamp: i64,
    /// Default absent.
    pub key: Option<&'a [u8]>,
    /// Default absent, which makes the record a tombstone.
    pub value: Option<&'a [u8]>,
    /// Default none.
    pub headers: &'a [Header<'a>],
}

impl Default for NewRecord<'_> {
    fn default() -> Self {
        Self { timestamp: NO_TIMESTAMP, key: None, value: None, headers: &[] }
    }
}

/// Why a record was not taken or a batch not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The batch would grow beyond its limit: build it and begin another.
    #[error("the batch would be {would_be} bytes, more than {max}")]
    Full {
        /// Bytes with this record.
        would_be: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The batch would grow beyond what its length field can say.
    #[error("the batch would be larger than 2 GiB")]
    TooLarge,
    /// The offset does not follow the one before, or is too far from the base offset.
    #[error("offset {offset} cannot follow in a batch from {base_offset}")]
    OffsetOrder {
        /// Of the record.
        offset: Offset,
        /// Of the batch.
        base_offset: Offset,
    },
    /// The codec failed.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

/// Collects records into one batch.
#[derive(Clone, Debug)]
pub struct Builder {
    options: BuilderOptions,
    /// The batch so far, uncompressed, with room for its header in front.
    bytes: Vec<u8>,
    records_count: i32,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Builder {
    /// An empty batch.
    pub fn new(options: BuilderOptions) -> Self {
        Self::with_buffer(options, Vec::new())
    }

    /// An empty batch that grows in `buffer`, whose content is lost.
    pub fn with_buffer(options: BuilderOptions, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_LEN, 0);
        let base_timestamp = options.delete_horizon.unwrap_or(NO_TIMESTAMP);
        Self {
            options,
            bytes: buffer,
            records_count: 0,
            last_offset_delta: -1,
            base_timestamp,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Adds a record at the next offset and returns its offset delta.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<i32, BuildError> {
        let delta = self.last_offset_delta.checked_add(1).ok_or(BuildError::TooLarge)?;
        self.append(delta, Fields::of(record))?;
        Ok(delta)
    }

    /// Adds a record read from another batch, at its own offset and time. Offsets must grow; gaps are allowed, as
    /// compaction leaves them.
    pub fn push_copy(&mut self, record: &Record<'_>) -> Result<(), BuildError> {
        let base_offset = self.options.base_offset;
        let delta = i32::try_from(record.offset - base_offset).ok();
        let Some(delta) = delta.filter(|&delta| self.last_offset_delta < delta) else {
            return Err(BuildError::OffsetOrder { offset: record.offset, base_offset });
        };
        let headers = HeaderSource::Encoded(record.headers.len(), record.headers.encoded());
        let Record { timestamp, key, value, .. } = *record;
        self.append(delta, Fields { timestamp, key, value, headers })
    }

    /// Sets the identity that an idempotent producer has when it sends the batch.
    pub fn set_producer(&mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) {
        self.options.producer_id = id;
        self.options.producer_epoch = epoch;
        self.options.base_sequence = base_sequence;
    }

    /// Makes the batch span offsets up to `delta` although its last records are gone, as compaction does so that the
    /// last sequence number survives.
    pub fn set_last_offset_delta(&mut self, delta: i32) {
        self.last_offset_delta = self.last_offset_delta.max(delta);
    }

    /// How many records it holds.
    pub fn records_count(&self) -> i32 {
        self.records_count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// The largest timestamp so far, Unix ms; −1 without one.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Bytes of the records so far, without compression and header.
    pub fn uncompressed_len(&self) -> usize {
        self.bytes.len() - HEADER_LEN
    }

    /// Bytes that the batch has now, by estimate if it is to be compressed.
    pub fn estimated_len(&self) -> usize {
        self.estimate(self.bytes.len() - HEADER_LEN)
    }

    /// Bytes that the batch would have with `record` too, by estimate if it is to be compressed.
    pub fn estimated_len_with(&self, record: &NewRecord<'_>) -> usize {
        let delta = self.last_offset_delta.saturating_add(1);
        let body = self.body_len(delta, Fields::of(record));
        self.estimate(self.bytes.len() - HEADER_LEN + varint::len(body as i64) + body)
    }

    /// Whether [`push`](Self::push) would take `record`: it fits, or it is the first.
    pub fn has_room_for(&self, record: &NewRecord<'_>) -> bool {
        self.is_empty() || self.estimated_len_with(record) <= self.options.bytes_max
    }

    /// The finished batch, checksum included. Without a codec no record is copied.
    pub fn build(mut self) -> Result<Batch, BuildError> {
        let codec = self.options.compression.codec();
        let mut bytes = std::mem::take(&mut self.bytes);
        if codec != Codec::None {
            let mut compressed = vec![0; HEADER_LEN];
            compression::compress(self.options.compression, &bytes[HEADER_LEN..], &mut compressed)?;
            bytes = compressed;
        }
        let mut header = self.header(bytes.len())?;
        bytes[..HEADER_LEN].copy_from_slice(&header.write());
        header.crc = crc32c(&bytes[CRC_COVERS_FROM..]);
        bytes[..HEADER_LEN].copy_from_slice(&header.write());
        Ok(Batch { header, bytes: bytes.into() })
    }

    fn header(&self, len: usize) -> Result<BatchHeader, BuildError> {
        let options = &self.options;
        let batch_length =
            i32::try_from(len - LENGTH_PREFIX_LEN).map_err(|_| BuildError::TooLarge)?;
        Ok(BatchHeader {
            base_offset: options.base_offset,
            batch_length,
            partition_leader_epoch: options.partition_leader_epoch,
            crc: 0,
            attributes: self.attributes(),
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: options.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            records_count: self.records_count,
        })
    }

    fn attributes(&self) -> Attributes {
        let options = &self.options;
        let mut attributes = Attributes::default().with_codec(options.compression.codec());
        if options.log_append_time.is_some() {
            attributes = attributes.with_timestamp_type(TimestampType::LogAppendTime);
        }
        if options.transactional {
            attributes = attributes.transactional();
        }
        if options.control {
            attributes = attributes.control();
        }
        if options.delete_horizon.is_some() {
            attributes = attributes.with_delete_horizon();
        }
        attributes
    }

    fn append(&mut self, delta: i32, record: Fields<'_>) -> Result<(), BuildError> {
        let body_len = self.body_len(delta, record);
        let record_len = varint::len(body_len as i64) + body_len;
        let would_be = self.estimate(self.bytes.len() - HEADER_LEN + record_len);
        let max = self.options.bytes_max;
        if !self.is_empty() && max < would_be {
            return Err(BuildError::Full { would_be, max });
        }
        if i32::MAX as usize <= self.bytes.len() + record_len {
            return Err(BuildError::TooLarge);
        }
        if self.is_empty() && self.options.delete_horizon.is_none() {
            self.base_timestamp = record.timestamp;
        }
        let timestamp_delta = record.timestamp.wrapping_sub(self.base_timestamp);
        let out = &mut self.bytes;
        out.reserve(record_len);
        varint::put(out, body_len as i64);
        out.push(0);
        varint::put(out, timestamp_delta);
        varint::put(out, i64::from(delta));
        put_nullable(out, record.key);
        put_nullable(out, record.value);
        record.headers.put(out);
        self.records_count += 1;
        self.last_offset_delta = delta;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        Ok(())
    }

    /// Bytes of a record behind its length.
    fn body_len(&self, delta: i32, record: Fields<'_>) -> usize {
        let sets_base = self.is_empty() && self.options.delete_horizon.is_none();
        let base = if sets_base { record.timestamp } else { self.base_timestamp };
        1 + varint::len(record.timestamp.wrapping_sub(base))
            + varint::len(i64::from(delta))
            + nullable_len(record.key)
            + nullable_len(record.value)
            + record.headers.len()
    }

    fn estimate(&self, body_len: usize) -> usize {
        if self.options.compression.codec() == Codec::None {
            return HEADER_LEN + body_len;
        }
        HEADER_LEN + (body_len as f64 * f64::from(self.options.compression_ratio)) as usize
    }
}

/// A record to be written, wherever it comes from.
#[derive(Clone, Copy)]
struct Fields<'a> {
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: HeaderSource<'a>,
}

impl<'a> Fields<'a> {
    fn of(record: &NewRecord<'a>) -> Self {
        Self {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: HeaderSource::List(record.headers),
        }
    }
}

/// Headers to be written: from the application, or taken over from another batch.
#[derive(Clone, Copy)]
enum HeaderSource<'a> {
    List(&'a [Header<'a>]),
    Encoded(usize, &'a [u8]),
}

impl HeaderSource<'_> {
    fn len(self) -> usize {
        match self {
            Self::List(headers) => {
                headers
                    .iter()
                    .map(|header| nullable_len(Some(header.key)) + nullable_len(header.value))
                    .sum::<usize>()
                    + varint::len(headers.len() as i64)
            }
            Self::Encoded(count, bytes) => varint::len(count as i64) + bytes.len(),
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::List(headers) => {
                varint::put(out, headers.len() as i64);
                for header in headers {
                    put_nullable(out, Some(header.key));
                    put_nullable(out, header.value);
                }
            }
            Self::Encoded(count, bytes) => {
                varint::put(out, count as i64);
                out.extend_from_slice(bytes);
            }
        }
    }
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varint::len(bytes.len() as i64) + bytes.len(),
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
