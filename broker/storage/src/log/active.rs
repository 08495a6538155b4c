//! The segment that is being written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::record_batch::BatchHeader;
use ottla_protocol::types::Offset;

use crate::config::LogConfig;
use crate::file_cache::ReadMode;
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::io::{LogFile, LogIo};
use crate::segment::{MaxTimestamp, SegmentFiles, SegmentRef};

/// The writer's side of the newest segment.
#[derive(Debug)]
pub(super) struct Active<I: LogIo> {
    pub files: Arc<SegmentFiles<I>>,
    /// Held while it has unsynced data, so that the descriptor that wrote is the one that syncs.
    pub file: Option<Arc<I::File>>,
    pub size: u64,
    /// Unix ms of its creation, or of its opening.
    pub created_ms: i64,
    /// The first batch's max timestamp, from which its age counts.
    pub first_timestamp: Option<i64>,
    pub max_timestamp: MaxTimestamp,
    /// The newest entries, so that appending need not ask the indexes.
    pub offset_entries: u32,
    pub time_entries: u32,
    pub last_time_entry: Option<TimeEntry>,
    bytes_since_entry: u64,
    /// An index entry was added since the log was opened.
    touched: bool,
    /// Space is reserved up to here.
    reserved: u64,
}

/// Space is reserved ahead in steps of the segment's own size, so that a small log reserves little; syncing then need not
/// allocate. At most this much.
const RESERVE_MAX: u64 = 16 << 20;
const RESERVE_MIN: u64 = 1 << 20;

impl<I: LogIo> Active<I> {
    /// An empty segment, just created.
    pub fn empty(files: Arc<SegmentFiles<I>>, created_ms: i64) -> Self {
        let offset = files.base;
        Self {
            files,
            file: None,
            size: 0,
            created_ms,
            first_timestamp: None,
            max_timestamp: MaxTimestamp { timestamp: -1, offset },
            offset_entries: 0,
            time_entries: 0,
            last_time_entry: None,
            bytes_since_entry: 0,
            touched: false,
            reserved: 0,
        }
    }

    pub fn base(&self) -> Offset {
        self.files.base
    }

    pub fn reference(&self, log_end: Offset) -> SegmentRef<I> {
        SegmentRef {
            generation: self.files.generation(),
            files: Arc::clone(&self.files),
            end: log_end,
            size: self.size,
            max_timestamp: Some(self.max_timestamp),
        }
    }

    /// The file to write to; held until it is synced.
    pub fn writable(&mut self) -> io::Result<&Arc<I::File>> {
        if self.file.is_none() {
            self.file = Some(self.files.log_file(ReadMode::Wait)?);
        }
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Reserves space for what is about to be written. Failure is no error: the write will tell.
    pub fn reserve(&mut self, bytes: u64) {
        let end = self.size + bytes;
        if end <= self.reserved || self.size < RESERVE_MIN {
            return;
        }
        let step = self.size.min(RESERVE_MAX);
        let from = self.size.max(self.reserved);
        if let Ok(file) = self.writable() {
            let _ = file.reserve(from, end + step - from);
        }
        self.reserved = end + step;
    }

    /// Whether the segment cannot take `bytes` more that end with `last_offset`.
    pub fn is_full_for(&self, bytes: u64, last_offset: Offset, config: &LogConfig) -> bool {
        if self.size == 0 {
            return false;
        }
        let entries = |len: usize| config.segment_index_bytes / len as u32;
        config.segment_bytes_max() < self.size + bytes
            || entries(OffsetEntry::LEN) <= self.offset_entries
            // One more is added when the segment is sealed.
            || entries(TimeEntry::LEN) <= self.time_entries + 1
            || !self.can_hold(last_offset)
    }

    /// Whether an offset can be counted from the segment's base.
    pub fn can_hold(&self, offset: Offset) -> bool {
        (0..=i64::from(i32::MAX)).contains(&(offset - self.base()))
    }

    /// Whether the segment spans more time than it may: by its records' timestamps where they have any, else by the clock.
    pub fn is_too_old(&self, timestamp: i64, now_ms: i64, config: &LogConfig) -> bool {
        if self.size == 0 {
            return false;
        }
        let age = match self.first_timestamp {
            Some(first) if 0 <= timestamp => timestamp.saturating_sub(first),
            _ => now_ms.saturating_sub(self.created_ms),
        };
        let jitter = jitter(self.files.log.path(), config.segment_jitter);
        let limit = config.segment_age.saturating_sub(jitter);
        i64::try_from(limit.as_millis()).unwrap_or(i64::MAX) < age
    }

    /// Takes note of a batch that was written at the end. Index entries stay in memory unless there are many.
    pub fn on_written(&mut self, header: &BatchHeader, interval: u32) -> io::Result<()> {
        let relative = |offset: Offset| (offset - self.files.base) as u32;
        let (last, position) = (header.last_offset(), self.size);
        let len = header.total_len() as u64;
        if self.first_timestamp.is_none() && 0 <= header.max_timestamp {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if self.max_timestamp.timestamp < header.max_timestamp {
            self.max_timestamp = MaxTimestamp { timestamp: header.max_timestamp, offset: last };
        }
        if u64::from(interval) < self.bytes_since_entry {
            let entry = OffsetEntry { relative_offset: relative(last), position: position as u32 };
            self.bytes_since_entry = 0;
            self.offset_entries += 1;
            let due = self.files.offsets.push(entry);
            self.push_time_entry()?;
            if due {
                self.files.flush_indexes()?;
            }
        }
        self.bytes_since_entry += len;
        self.size += len;
        Ok(())
    }

    /// Adds the max timestamp to the time index, unless it is there already.
    pub fn push_time_entry(&mut self) -> io::Result<()> {
        let MaxTimestamp { timestamp, offset } = self.max_timestamp;
        let relative_offset = (offset - self.files.base) as u32;
        let entry = TimeEntry { timestamp, relative_offset };
        let is_new = self.last_time_entry.is_none_or(|last| entry.follows(last));
        if timestamp < 0 || !is_new {
            return Ok(());
        }
        self.touched = true;
        self.time_entries += 1;
        self.last_time_entry = Some(entry);
        if self.files.times.push(entry) {
            self.files.times.flush(&*self.files.time_file(ReadMode::Wait)?)?;
        }
        Ok(())
    }

    /// Gives reserved space back; the file ends with the last batch.
    pub fn trim(&mut self) -> io::Result<()> {
        if self.size < self.reserved {
            let size = self.size;
            self.writable()?.set_len(size)?;
            self.reserved = 0;
        }
        Ok(())
    }

    /// Whether the indexes have been complete since they were last synced: nothing was added after opening.
    pub fn is_settled(&self) -> bool {
        self.file.is_none() && !self.touched
    }

    /// After a cut: the file is at `size` and nothing is reserved.
    pub fn reset_reservation(&mut self) {
        self.reserved = 0;
    }
}

/// A part of `max` that depends on the segment's name alone, so that a simulation repeats itself.
fn jitter(path: &std::path::Path, max: Duration) -> Duration {
    if max.is_zero() {
        return max;
    }
    // FNV-1a.
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    max.mul_f64((hash >> 44) as f64 / f64::from(1 << 20))
}
