//! Finding records by time: ListOffsets.

use bytes::Bytes;
use ottla_protocol::record_batch::{Batch, Limits};
use ottla_protocol::types::{LeaderEpoch, Offset};

use crate::error::ReadError;
use crate::file_cache::ReadMode;
use crate::index::{TimeEntry, read_exact};
use crate::io::LogIo;
use crate::scan::{Found, SCAN_BUFFER, Scanner};
use crate::segment::SegmentRef;
use crate::view::{LogView, scan_error};

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp, Unix ms.
    pub timestamp: i64,
    /// The record's offset.
    pub offset: Offset,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

impl<I: LogIo> LogView<I> {
    /// The first record at or after the log's start whose timestamp is at least `timestamp`. Records need not be in the
    /// order of their timestamps. Waits for the disk, and may decompress a batch: not for network tasks.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        limits: Limits,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        for segment in self.segments_from(self.log_start) {
            let largest = segment.largest_timestamp().map_err(|error| segment.read_error(error))?;
            if largest.timestamp < timestamp {
                continue;
            }
            if let Some(found) = self.search(segment, timestamp, limits)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of the log; `None` if no record has one. Waits for the disk.
    pub fn max_timestamp(&self, limits: Limits) -> Result<Option<TimestampOffset>, ReadError> {
        let mut largest: Option<(i64, &SegmentRef<I>)> = None;
        for segment in self.segments_from(self.log_start) {
            let found = segment.largest_timestamp().map_err(|error| segment.read_error(error))?;
            if 0 <= found.timestamp && largest.is_none_or(|(known, _)| known < found.timestamp) {
                largest = Some((found.timestamp, segment));
            }
        }
        match largest {
            Some((timestamp, segment)) => self.search(segment, timestamp, limits),
            None => Ok(None),
        }
    }

    fn search(
        &self,
        segment: &SegmentRef<I>,
        timestamp: i64,
        limits: Limits,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let failed = |error| segment.read_error(error);
        let files = &segment.files;
        // No record up to this entry's offset is as young as that.
        let time_file = files.time_file(ReadMode::Wait).map_err(failed)?;
        let older = |entry: TimeEntry| entry.timestamp < timestamp;
        let (_, entry) =
            files.times.partition_point(&*time_file, ReadMode::Wait, older).map_err(failed)?;
        let from = entry.map_or(files.base, |entry| files.base + i64::from(entry.relative_offset));
        let from = from.max(self.log_start);
        let start = files.position_before(from, ReadMode::Wait).map_err(failed)?;
        let file = files.log_file(ReadMode::Wait).map_err(failed)?;
        let range = start.min(segment.size)..segment.size;
        let mut scanner = Scanner::new(&*file, range, SCAN_BUFFER, ReadMode::Wait);
        while let Some(found) = scanner.next().map_err(|error| scan_error(segment, error))? {
            if found.header.max_timestamp < timestamp || found.header.last_offset() < self.log_start
            {
                continue;
            }
            let mut bytes = vec![0; found.header.total_len()];
            read_exact(&*file, found.position, &mut bytes, ReadMode::Wait).map_err(failed)?;
            if !segment.is_current() {
                return Err(ReadError::Gone);
            }
            if let Some(hit) =
                self.search_batch(segment, &found, bytes.into(), (timestamp, limits))?
            {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    fn search_batch(
        &self,
        segment: &SegmentRef<I>,
        found: &Found,
        bytes: Bytes,
        (timestamp, limits): (i64, Limits),
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let corrupt = |reason: String| ReadError::Corrupt {
            segment: segment.base_offset(),
            position: found.position,
            reason,
        };
        let batch = Batch::parse(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let mut scratch = Vec::new();
        let records = batch.records(&mut scratch, limits);
        for record in records.map_err(|error| corrupt(error.to_string()))? {
            let record = record.map_err(|error| corrupt(error.to_string()))?;
            if timestamp <= record.timestamp && self.log_start <= record.offset {
                return Ok(Some(TimestampOffset {
                    timestamp: record.timestamp,
                    offset: record.offset,
                    leader_epoch: batch.header.partition_leader_epoch,
                }));
            }
        }
        Ok(None)
    }
}
