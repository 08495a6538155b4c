//! A segment as its writer and its readers share it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ottla_protocol::types::Offset;

use crate::error::ReadError;
use crate::file_cache::{FileCache, FileSlot, ReadMode};
use crate::index::{Index, OffsetEntry, TimeEntry, read_exact};
use crate::io::LogIo;
use crate::paths::{SegmentFileKind, segment_file};

/// A timestamp and the offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxTimestamp {
    /// Unix ms, −1 if no record has one.
    pub timestamp: i64,
    /// Last offset of the batch.
    pub offset: Offset,
}

/// The files and indexes of one segment. Shared by the log's owner, who alone writes, and by every view.
#[derive(Debug)]
pub(crate) struct SegmentFiles<I: LogIo> {
    pub(crate) base: Offset,
    pub(crate) cache: Arc<FileCache<I>>,
    pub(crate) log: Arc<FileSlot<I>>,
    pub(crate) offset_slot: Arc<FileSlot<I>>,
    pub(crate) time_slot: Arc<FileSlot<I>>,
    pub(crate) offsets: Index<OffsetEntry>,
    pub(crate) times: Index<TimeEntry>,
    /// Raised before the log file is cut or removed. A reader who finds another value than its view has must not believe
    /// what it read.
    generation: AtomicU64,
    /// Of a segment that is no longer written; found when first asked for.
    pub(crate) sealed_max_timestamp: OnceLock<MaxTimestamp>,
}

impl<I: LogIo> SegmentFiles<I> {
    /// A segment whose files exist.
    pub(crate) fn existing(cache: &Arc<FileCache<I>>, dir: &Path, base: Offset) -> Arc<Self> {
        Self::with(cache, dir, base, (Index::on_disk(), Index::on_disk()))
    }

    /// Creates the files of an empty segment. They last only after a sync of the folder.
    pub(crate) fn create(
        cache: &Arc<FileCache<I>>,
        dir: &Path,
        base: Offset,
    ) -> io::Result<Arc<Self>> {
        let files = Self::with(cache, dir, base, (Index::empty(), Index::empty()));
        for slot in [&files.log, &files.offset_slot, &files.time_slot] {
            // Left over from a segment whose removal was cut short, or which a crash brought back.
            match cache.io().remove_file(slot.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            cache.create(slot)?;
        }
        Ok(files)
    }

    fn with(
        cache: &Arc<FileCache<I>>,
        dir: &Path,
        base: Offset,
        indexes: (Index<OffsetEntry>, Index<TimeEntry>),
    ) -> Arc<Self> {
        let slot = |kind| FileSlot::new(segment_file(dir, base, kind));
        Arc::new(Self {
            base,
            cache: Arc::clone(cache),
            log: slot(SegmentFileKind::Log),
            offset_slot: slot(SegmentFileKind::OffsetIndex),
            time_slot: slot(SegmentFileKind::TimeIndex),
            offsets: indexes.0,
            times: indexes.1,
            generation: AtomicU64::new(0),
            sealed_max_timestamp: OnceLock::new(),
        })
    }

    pub(crate) fn log_file(&self, mode: ReadMode) -> io::Result<Arc<I::File>> {
        self.cache.file(&self.log, mode)
    }

    pub(crate) fn offset_file(&self, mode: ReadMode) -> io::Result<Arc<I::File>> {
        self.cache.file(&self.offset_slot, mode)
    }

    pub(crate) fn time_file(&self, mode: ReadMode) -> io::Result<Arc<I::File>> {
        self.cache.file(&self.time_slot, mode)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// To be called before the file is cut or removed.
    pub(crate) fn invalidate(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Closes the files, as far as nobody uses them.
    pub(crate) fn close(&self) {
        for slot in [&self.log, &self.offset_slot, &self.time_slot] {
            slot.close();
        }
    }

    /// Writes index entries that are only in memory.
    pub(crate) fn flush_indexes(&self) -> io::Result<()> {
        self.offsets.flush(&*self.offset_file(ReadMode::Wait)?)?;
        self.times.flush(&*self.time_file(ReadMode::Wait)?)
    }

    /// Where to begin to look for `offset`: a batch that ends at or before it, or the segment's start.
    pub(crate) fn position_before(&self, offset: Offset, mode: ReadMode) -> io::Result<u64> {
        if offset <= self.base {
            return Ok(0);
        }
        let relative = u32::try_from(offset - self.base).unwrap_or(u32::MAX);
        let file = self.offset_file(mode)?;
        let before = |entry: OffsetEntry| entry.relative_offset <= relative;
        let (_, entry) = self.offsets.partition_point(&*file, mode, before)?;
        Ok(entry.map_or(0, |entry| u64::from(entry.position)))
    }

    /// The largest indexed batch start that is not beyond `position`.
    pub(crate) fn boundary_before(&self, position: u64, mode: ReadMode) -> io::Result<u64> {
        let file = self.offset_file(mode)?;
        let before = |entry: OffsetEntry| u64::from(entry.position) <= position;
        let (_, entry) = self.offsets.partition_point(&*file, mode, before)?;
        Ok(entry.map_or(0, |entry| u64::from(entry.position)))
    }
}

/// A segment as of one moment.
#[derive(Debug)]
pub struct SegmentRef<I: LogIo> {
    pub(crate) files: Arc<SegmentFiles<I>>,
    pub(crate) generation: u64,
    /// The offset after its last record; the base offset if it has none.
    pub(crate) end: Offset,
    pub(crate) size: u64,
    /// `None`: sealed, see the files.
    pub(crate) max_timestamp: Option<MaxTimestamp>,
}

impl<I: LogIo> Clone for SegmentRef<I> {
    fn clone(&self) -> Self {
        Self { files: Arc::clone(&self.files), ..*self }
    }
}

impl<I: LogIo> SegmentRef<I> {
    /// A segment that is no longer written, of which the file's size is known.
    pub(crate) fn sealed(files: Arc<SegmentFiles<I>>, end: Offset, size: u64) -> Self {
        let generation = files.generation();
        Self { files, generation, end, size, max_timestamp: None }
    }

    /// Its first offset, which names its files.
    pub fn base_offset(&self) -> Offset {
        self.files.base
    }

    /// The offset after its last record.
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Bytes of its log file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether neither log file was cut or removed since this was taken.
    pub(crate) fn is_current(&self) -> bool {
        self.files.generation() == self.generation
    }

    /// The largest timestamp in it (Unix ms) and the last offset of the batch that has it. May wait for the disk.
    pub(crate) fn largest_timestamp(&self) -> io::Result<MaxTimestamp> {
        if let Some(known) = self.max_timestamp {
            return Ok(known);
        }
        if let Some(known) = self.files.sealed_max_timestamp.get() {
            return Ok(*known);
        }
        let file = self.files.time_file(ReadMode::Wait)?;
        let last = self.files.times.last(&*file, ReadMode::Wait)?;
        let base = self.files.base;
        let found =
            last.map_or(MaxTimestamp { timestamp: -1, offset: base }, |entry| MaxTimestamp {
                timestamp: entry.timestamp,
                offset: base + i64::from(entry.relative_offset),
            });
        Ok(*self.files.sealed_max_timestamp.get_or_init(|| found))
    }

    /// Maps an error of reading one of its files: what was cut or removed meanwhile is gone, not broken.
    pub(crate) fn read_error(&self, error: io::Error) -> ReadError {
        match error.kind() {
            io::ErrorKind::WouldBlock => ReadError::WouldBlock,
            io::ErrorKind::NotFound => ReadError::Gone,
            _ if !self.is_current() => ReadError::Gone,
            _ => ReadError::Io(error),
        }
    }
}

/// Whole batches in a segment's file: what a fetch sends. Reading it later is safe whatever happens to the log.
#[derive(Debug)]
pub struct Slice<I: LogIo> {
    pub(crate) segment: SegmentRef<I>,
    pub(crate) position: u64,
    pub(crate) len: u32,
    pub(crate) first_offset: Offset,
}

impl<I: LogIo> Clone for Slice<I> {
    fn clone(&self) -> Self {
        Self { segment: self.segment.clone(), ..*self }
    }
}

impl<I: LogIo> Slice<I> {
    /// Bytes in all.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it begins in the segment's file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// First offset of the first batch; it may be before the offset asked for.
    pub fn first_offset(&self) -> Offset {
        self.first_offset
    }

    /// Fills `buf` with bytes from `at` (counted from the slice's start) on; `at + buf.len()` must be within the slice.
    /// With [`ReadMode::NoWait`] fails with [`ReadError::WouldBlock`] if any of it is not in memory. When this fails with
    /// anything else, what was already sent of this slice cannot be completed: close the connection.
    pub fn read_at(&self, at: u32, buf: &mut [u8], mode: ReadMode) -> Result<(), ReadError> {
        let end = u64::from(at) + buf.len() as u64;
        if u64::from(self.len) < end {
            return Err(ReadError::Io(io::ErrorKind::InvalidInput.into()));
        }
        let segment = &self.segment;
        let file = segment.files.log_file(mode).map_err(|error| segment.read_error(error))?;
        let read = read_exact(&*file, self.position + u64::from(at), buf, mode);
        // The writer raises the generation before it cuts, so unchanged means that the bytes are those of the view.
        if !segment.is_current() {
            return Err(ReadError::Gone);
        }
        read.map_err(|error| segment.read_error(error))
    }

    /// Reads all of it. May wait for the disk.
    pub fn read(&self) -> Result<bytes::Bytes, ReadError> {
        let mut out = vec![0; self.len as usize];
        self.read_at(0, &mut out, ReadMode::Wait)?;
        Ok(out.into())
    }
}
