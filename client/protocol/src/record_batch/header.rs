//! The 61 bytes in front of a batch's records.

use crate::record_batch::attributes::Attributes;
use crate::record_batch::{BatchError, magic};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of a batch before its first record.
pub const HEADER_LEN: usize = 61;

/// Bytes before those that the length field counts: base offset and the length itself.
pub const LENGTH_PREFIX_LEN: usize = 12;

/// Base sequence of a batch that carries none.
pub const NO_SEQUENCE: i32 = -1;

/// Timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;

/// Where the bytes that the checksum covers begin: everything from the attributes on.
pub(super) const CRC_COVERS_FROM: usize = 21;

/// The header of a record batch, magic 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; a producer writes 0. Outside the checksum.
    pub base_offset: Offset,
    /// Bytes after this field; the whole batch is 12 longer.
    pub batch_length: i32,
    /// Set by the leader. Outside the checksum.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record less the base offset; kept when compaction removes records.
    pub last_offset_delta: i32,
    /// What record timestamps are relative to, Unix ms: the first record's, or the delete horizon.
    pub base_timestamp: i64,
    /// The largest timestamp, Unix ms; with LogAppendTime that of every record.
    pub max_timestamp: i64,
    /// −1 for a plain producer.
    pub producer_id: ProducerId,
    /// −1 for a plain producer.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, −1 for a plain producer and for markers.
    pub base_sequence: i32,
    /// Records in the batch, possibly fewer than the offsets that it spans.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`, which may hold less than the whole batch: a log's reader needs no
    /// more than 61 bytes. Checks magic and length, not the checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        magic::refuse_old_formats(bytes)?;
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Truncated { needed: HEADER_LEN, available: bytes.len() });
        };
        let header = Self::read(header);
        let shortest = (HEADER_LEN - LENGTH_PREFIX_LEN) as i32;
        if header.batch_length < shortest {
            return Err(BatchError::InvalidLength(header.batch_length));
        }
        Ok(header)
    }

    fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        Self {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, 12))),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, 21))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            records_count: i32::from_be_bytes(field(bytes, 57)),
        }
    }

    /// The 61 bytes, with the checksum as it stands in `self`.
    pub fn write(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.partition_leader_epoch.0.to_be_bytes());
        out[16] = magic::CURRENT as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        out
    }

    /// Bytes of the whole batch, header included.
    pub fn total_len(&self) -> usize {
        LENGTH_PREFIX_LEN + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset after this batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// Sequence number of the last record; −1 without one. Wraps from 2³¹−1 to 0, as the protocol defines it.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id != ProducerId::NONE
    }
}

/// The sequence number `records` after `sequence`: from 2³¹−1 the next is 0.
pub fn add_sequence(sequence: i32, records: i32) -> i32 {
    sequence.wrapping_add(records) & i32::MAX
}

fn field<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> impl Strategy<Value = BatchHeader> {
        let first =
            (any::<i64>(), 49..i32::MAX, any::<i32>(), any::<u32>(), any::<i16>(), any::<i32>());
        let second =
            (any::<i64>(), any::<i64>(), any::<i64>(), any::<i16>(), any::<i32>(), any::<i32>());
        (first, second).prop_map(|(first, second)| BatchHeader {
            base_offset: Offset(first.0),
            batch_length: first.1,
            partition_leader_epoch: LeaderEpoch(first.2),
            crc: first.3,
            attributes: Attributes(first.4),
            last_offset_delta: first.5,
            base_timestamp: second.0,
            max_timestamp: second.1,
            producer_id: ProducerId(second.2),
            producer_epoch: ProducerEpoch(second.3),
            base_sequence: second.4,
            records_count: second.5,
        })
    }

    proptest! {
        #[test]
        fn every_header_comes_back(header in header()) {
            prop_assert_eq!(BatchHeader::parse(&header.write()), Ok(header));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            if let Ok(header) = BatchHeader::parse(&bytes) {
                let _ = (header.total_len(), header.next_offset(), header.last_sequence());
            }
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(add_sequence(i32::MAX, 1), 0);
        assert_eq!(add_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(add_sequence(5, 3), 8);
    }
}
