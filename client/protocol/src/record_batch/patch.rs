//! What a leader changes in a batch before it stores it: in a copy of the header, never in the records.

use crate::record_batch::header::CRC_COVERS_FROM;
use crate::record_batch::{Batch, HEADER_LEN, TimestampType, crc32c_of_two};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// What happens to a batch's timestamps when it is appended. Anything but `Keep` costs a checksum over the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampPatch {
    /// They stay.
    #[default]
    Keep,
    /// Every record gets this time (Unix ms): `message.timestamp.type=LogAppendTime`.
    LogAppendTime(i64),
    /// The header's max timestamp is put right (Unix ms), the records keep theirs.
    MaxTimestamp(i64),
}

/// The header to store in place of `batch`'s own, followed by `batch.body()`. Base offset and leader epoch are outside
/// the checksum; if `timestamps` change the header the checksum is computed anew.
pub fn patch_header(
    batch: &Batch,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamps: TimestampPatch,
) -> [u8; HEADER_LEN] {
    let mut header = batch.header;
    header.base_offset = base_offset;
    header.partition_leader_epoch = leader_epoch;
    match timestamps {
        TimestampPatch::Keep => {}
        TimestampPatch::LogAppendTime(at_ms) => {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = at_ms;
        }
        TimestampPatch::MaxTimestamp(max_ms) => header.max_timestamp = max_ms,
    }
    let changed = header.attributes != batch.header.attributes
        || header.max_timestamp != batch.header.max_timestamp;
    if changed {
        header.crc = crc32c_of_two(&header.write()[CRC_COVERS_FROM..], batch.body());
    }
    header.write()
}

/// The batch with another producer id, epoch and base sequence, and a checksum that fits; its records are copied. For
/// producers that have to send a batch again under a new epoch.
pub fn restamp_producer(
    batch: &Batch,
    id: ProducerId,
    epoch: ProducerEpoch,
    base_sequence: i32,
) -> Batch {
    let mut header = batch.header;
    header.producer_id = id;
    header.producer_epoch = epoch;
    header.base_sequence = base_sequence;
    header.crc = crc32c_of_two(&header.write()[CRC_COVERS_FROM..], batch.body());
    let bytes = [&header.write()[..], batch.body()].concat().into();
    Batch { header, bytes }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record_batch::{Builder, BuilderOptions, Limits, NewRecord};

    fn batch() -> Batch {
        let mut builder = Builder::new(BuilderOptions::default());
        for timestamp in [100, 300, 200] {
            builder
                .push(&NewRecord { timestamp, value: Some(b"v"), ..NewRecord::default() })
                .unwrap();
        }
        builder.build().unwrap()
    }

    fn stored(batch: &Batch, header: [u8; HEADER_LEN]) -> Batch {
        Batch::parse(&Bytes::from([&header[..], batch.body()].concat())).unwrap()
    }

    fn timestamps(batch: &Batch) -> Vec<i64> {
        let mut scratch = Vec::new();
        let records = batch.records(&mut scratch, Limits::default()).unwrap();
        records.map(|record| record.unwrap().timestamp).collect()
    }

    #[test]
    fn offset_and_epoch_leave_the_checksum_alone() {
        let batch = batch();
        let header = patch_header(&batch, Offset(77), LeaderEpoch(3), TimestampPatch::Keep);
        let stored = stored(&batch, header);
        stored.verify_crc().unwrap();
        assert_eq!(stored.header.crc, batch.header.crc);
        assert_eq!(stored.header.base_offset, Offset(77));
        assert_eq!(stored.header.last_offset(), Offset(79));
        assert_eq!(stored.header.partition_leader_epoch, LeaderEpoch(3));
        assert_eq!(timestamps(&stored), [100, 300, 200]);
    }

    #[test]
    fn append_time_replaces_every_timestamp() {
        let batch = batch();
        let patch = TimestampPatch::LogAppendTime(9_000);
        let stored = stored(&batch, patch_header(&batch, Offset(5), LeaderEpoch(0), patch));
        stored.verify_crc().unwrap();
        assert_ne!(stored.header.crc, batch.header.crc);
        assert_eq!(stored.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(timestamps(&stored), [9_000; 3]);
    }

    #[test]
    fn a_wrong_max_timestamp_is_put_right() {
        let mut batch = batch();
        batch.header.max_timestamp = 1;
        let patch = TimestampPatch::MaxTimestamp(300);
        let stored = stored(&batch, patch_header(&batch, Offset(0), LeaderEpoch(0), patch));
        stored.verify_crc().unwrap();
        assert_eq!(stored.header.max_timestamp, 300);
    }

    #[test]
    fn a_restamped_batch_differs_in_its_producer_only() {
        let batch = batch();
        let again = restamp_producer(&batch, ProducerId(9), ProducerEpoch(2), 5);
        again.verify_crc().unwrap();
        assert_eq!(Batch::parse(&again.bytes).unwrap(), again);
        assert_eq!(again.header.last_sequence(), 7);
        assert_eq!(again.body(), batch.body());
    }
}
