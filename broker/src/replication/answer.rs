//! An answer of a leader, read and checked once, before anything is done with it.

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_protocol::record_batch::{Batch, BatchError, batches};
use ottla_protocol::types::{LeaderEpoch, Offset};
use ottla_protocol::wire::Records;

use super::Key;

/// What a leader answered to one fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Of the request as a whole.
    pub error: ErrorCode,
    /// The session that the leader keeps; 0 for none.
    pub session_id: i32,
    /// What is new, or wrong.
    pub partitions: Vec<PartitionAnswer>,
    /// Bytes of records.
    pub bytes: u64,
}

/// What a leader answered of one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionAnswer {
    /// Which.
    pub key: Key,
    /// `ErrorCode::None` if the rest holds.
    pub error: ErrorCode,
    /// The logs part: the leader's largest epoch that is not beyond the one asked with, and its end.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The leader's high watermark, −1 if it says none.
    pub high_watermark: Offset,
    /// First offset of the leader's log, −1 if it says none.
    pub log_start: Offset,
    /// Whole batches, in order, their checksums verified.
    pub batches: Result<Vec<Batch>, InvalidRecords>,
    /// Their bytes.
    pub bytes: u64,
}

/// Records that are not to be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecords {
    /// Not batches, or their bytes changed on the way.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Offsets do not go on where the log ends, or go back.
    #[error("a batch begins at offset {found} where {expected} was expected")]
    Offset {
        /// The batch's first offset.
        found: Offset,
        /// What the records before it ask for at least.
        expected: Offset,
    },
    /// A batch of an epoch that its leader cannot know, or whose epochs go back.
    #[error(
        "a batch is of leader epoch {found}, beyond {leader_epoch} or before its predecessor's"
    )]
    Epoch {
        /// The batch's.
        found: LeaderEpoch,
        /// The leader's.
        leader_epoch: LeaderEpoch,
    },
}

impl Answer {
    /// Reads a response; verifies every checksum. Takes a while for large ones.
    pub fn read(response: FetchResponse) -> Self {
        let mut partitions = Vec::new();
        let mut bytes = 0;
        for topic in response.responses {
            for data in topic.partitions {
                let partition = PartitionAnswer::read((topic.topic_id, data.partition_index), data);
                bytes += partition.bytes;
                partitions.push(partition);
            }
        }
        Self {
            error: ErrorCode::from_code(response.error_code),
            session_id: response.session_id,
            partitions,
            bytes,
        }
    }
}

impl PartitionAnswer {
    fn read(key: Key, data: PartitionData) -> Self {
        let diverging = &data.diverging_epoch;
        let diverging = (0 <= diverging.epoch || 0 <= diverging.end_offset)
            .then_some((LeaderEpoch(diverging.epoch), Offset(diverging.end_offset)));
        let records = match data.records {
            Some(Records::Memory(bytes)) => bytes,
            // A decoder makes no promises.
            Some(Records::External { .. }) | None => Bytes::new(),
        };
        let batches = read_batches(records);
        let bytes = batches
            .as_ref()
            .map_or(0, |batches| batches.iter().map(|batch| batch.bytes.len() as u64).sum());
        Self {
            key,
            error: ErrorCode::from_code(data.error_code),
            diverging,
            high_watermark: Offset(data.high_watermark),
            log_start: Offset(data.log_start_offset),
            batches,
            bytes,
        }
    }

    /// Whether the batches continue a log that ends at `from`, in epochs up to `leader_epoch`. The first may
    /// begin before, if it reaches beyond: the leader's log may start within a batch.
    pub(super) fn check_continues(
        &self,
        from: Offset,
        leader_epoch: LeaderEpoch,
    ) -> Result<&[Batch], InvalidRecords> {
        let batches = self.batches.as_ref().map_err(Clone::clone)?;
        let (mut expected, mut epoch) = (from, LeaderEpoch::NONE);
        for (number, Batch { header, .. }) in batches.iter().enumerate() {
            let found = header.base_offset;
            let reaches = number == 0 && expected <= header.last_offset();
            if header.last_offset_delta < 0 || found < expected && !reaches {
                return Err(InvalidRecords::Offset { found, expected });
            }
            let found = header.partition_leader_epoch;
            if found < epoch || leader_epoch < found {
                return Err(InvalidRecords::Epoch { found, leader_epoch });
            }
            (expected, epoch) = (header.next_offset(), found);
        }
        Ok(batches)
    }
}

/// Whole batches; a last one that was cut short is left out unless it is the only one.
fn read_batches(records: Bytes) -> Result<Vec<Batch>, InvalidRecords> {
    let mut read = Vec::new();
    for batch in batches(records) {
        match batch {
            Ok(batch) => {
                batch.verify_crc()?;
                read.push(batch);
            }
            Err(BatchError::Truncated { .. }) if !read.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read)
}
