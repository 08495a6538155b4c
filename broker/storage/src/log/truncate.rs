//! Cutting the end off, as a follower does whose leader has other records there, and moving the start.
//!
//! A cut is durable when it returns, and each of its steps leaves a log that recovery understands: the recovery point and
//! the high watermark are lowered first, then whole segments go, newest first, then the file is cut, then what was derived
//! from the removed records.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::time::Now;
use ottla_protocol::types::{LeaderEpoch, Offset};
use tracing::info;

use super::Log;
use super::active::Active;
use super::load::{Check, Trust, scan_segment};
use crate::error::{LoadError, ReadError, StorageError};
use crate::file_cache::ReadMode;
use crate::io::{LogFile, LogIo, is_out_of_space};
use crate::paths::{SegmentFileKind, segment_file};
use crate::segment::{SegmentFiles, SegmentRef};
use crate::view::first_batch_at;

impl<I: LogIo> Log<I> {
    /// Removes all records at and after `offset`, and those before it in the batch that holds it. Returns the log's new end,
    /// at most `offset`. Readers of what is removed get [`ReadError::Gone`]. Durable when this returns; waits for the disk.
    /// An epoch that begins at the new end is forgotten, also if no record had to go: this log led in it and never appended,
    /// so that its leader does not know it. After an error the partition is to be taken offline.
    pub fn truncate_to(&mut self, offset: Offset, now: Now) -> Result<Offset, LoadError> {
        if self.log_end <= offset {
            self.forget_empty_epochs()?;
            return Ok(self.log_end);
        }
        if offset <= self.first_base() {
            self.truncate_fully_and_start_at(offset.max(Offset(0)), now)?;
            return Ok(self.log_end);
        }
        self.dir.check()?;
        info!(partition = %self.partition, log_end = %self.log_end, %offset, "log is cut");
        self.lower_checkpoints(offset)?;
        self.remove_segments_from(offset)?;
        self.cut_active(offset, now)?;
        self.unsynced.on_truncated(self.log_end);
        self.flushed_end = self.flushed_end.min(self.log_end);
        self.lower_log_start()?;
        if Arc::make_mut(&mut self.epochs).truncate_end(self.log_end) {
            self.write_epochs()?;
        }
        self.remove_snapshots_after(self.log_end)?;
        self.sync_folder()?;
        self.rebuild_producers()?;
        Ok(self.log_end)
    }

    fn forget_empty_epochs(&mut self) -> Result<(), StorageError> {
        let is_empty = |&(_, start): &(LeaderEpoch, Offset)| self.log_end <= start;
        if self.epochs.entries().last().is_some_and(is_empty) {
            self.dir.check()?;
            Arc::make_mut(&mut self.epochs).truncate_end(self.log_end);
            self.write_epochs()?;
        }
        Ok(())
    }

    /// Removes everything: the log is empty and begins at `offset`. For a follower whose leader no longer has what it would
    /// need. Durable when this returns.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        now: Now,
    ) -> Result<(), LoadError> {
        self.dir.check()?;
        info!(partition = %self.partition, log_end = %self.log_end, %offset, "log is emptied");
        self.lower_checkpoints(offset)?;
        let log_starts = &self.dir.log_starts;
        let path = self.dir.path.to_path_buf();
        self.dir
            .try_io("write", &path, || log_starts.lower(&self.dir.io, &self.partition, offset))?;
        let sealed = std::mem::replace(&mut self.sealed, Arc::from(Vec::new()));
        self.sealed_size = 0;
        self.remove_files(&Arc::clone(&self.active.files))?;
        for segment in sealed.iter().rev() {
            self.remove_files(&segment.files)?;
        }
        self.remove_snapshots_after(Offset::NONE)?;
        self.unsynced.on_truncated(Offset::NONE);
        (self.log_start, self.log_end, self.flushed_end) = (offset, offset, offset);
        self.producers.clear();
        if self.epochs.latest().is_some() {
            Arc::make_mut(&mut self.epochs).clear();
            self.write_epochs()?;
        }
        self.begin_segment(offset, now)?;
        self.sync_folder()?;
        Ok(())
    }

    /// Moves the first readable offset up, as DeleteRecords asks; never down, and not beyond the log's end. Recorded at the
    /// next [`super::super::LogDir::write_checkpoints`]. Whole segments before it may then be removed.
    pub fn advance_log_start(&mut self, offset: Offset) -> Result<Offset, StorageError> {
        self.dir.check()?;
        let offset = offset.min(self.log_end);
        if self.log_start < offset {
            self.log_start = offset;
            self.dir.log_starts.set(&self.partition, offset);
            if Arc::make_mut(&mut self.epochs).truncate_start(offset) {
                // Old entries do no harm: on a full disk, deleting goes on without it.
                self.if_there_is_room(|log| log.write_epochs_file())?;
            }
        }
        Ok(self.log_start)
    }

    /// Removes sealed segments that end at or before the log's start, oldest first, at most `count`; how many were removed.
    /// The start is on disk before the first one goes, so that no crash brings back a log with a hole; on a full disk they go
    /// one by one instead.
    pub fn remove_deleted_segments(&mut self, count: usize) -> Result<usize, StorageError> {
        let dead = self.sealed.iter().take(count).take_while(|s| s.end <= self.log_start).count();
        if dead == 0 {
            return Ok(0);
        }
        let is_recorded = self.if_there_is_room(|log| {
            log.dir.log_starts.record(&log.dir.io, &log.partition, log.log_start)
        })?;
        let sealed = Arc::clone(&self.sealed);
        self.sealed = sealed[dead..].iter().cloned().collect();
        for segment in &sealed[..dead] {
            self.sealed_size -= segment.size;
            self.unsynced.forget(segment.base_offset());
            self.remove_files(&segment.files)?;
            let snapshots = std::mem::take(&mut self.snapshots);
            let (gone, kept) = snapshots.into_iter().partition(|&at| at < segment.end);
            self.snapshots = kept;
            self.remove_snapshots(gone)?;
            if !is_recorded {
                self.sync_folder()?;
            }
        }
        self.sync_folder()?;
        Ok(dead)
    }

    /// Writes something that can be done without while the disk is full; whether it was written.
    fn if_there_is_room(
        &self,
        write: impl FnOnce(&Self) -> std::io::Result<()>,
    ) -> Result<bool, StorageError> {
        self.dir.check()?;
        match write(self) {
            Ok(()) => Ok(true),
            Err(error) if is_out_of_space(&error) => Ok(false),
            Err(error) => Err(self.dir.fail("write", &self.path, &error)),
        }
    }

    fn lower_log_start(&mut self) -> Result<(), StorageError> {
        if self.log_end < self.log_start {
            self.log_start = self.log_end;
            let path = self.dir.path.to_path_buf();
            let (io, starts) = (&self.dir.io, &self.dir.log_starts);
            self.dir
                .try_io("write", &path, || starts.lower(io, &self.partition, self.log_start))?;
        }
        Ok(())
    }

    fn first_base(&self) -> Offset {
        self.sealed.first().map_or(self.active.base(), SegmentRef::base_offset)
    }

    /// Neither is what is cut believed to be on disk, nor what comes in its place to be visible.
    fn lower_checkpoints(&self, offset: Offset) -> Result<(), StorageError> {
        let path = self.dir.path.to_path_buf();
        for checkpoint in [&self.dir.recovery_points, &self.dir.high_watermarks] {
            self.dir.try_io("write", &path, || {
                checkpoint.lower(&self.dir.io, &self.partition, offset)
            })?;
        }
        Ok(())
    }

    /// Removes the segments that begin at or after `offset`, newest first. The one before them is then the active one.
    /// Should a crash bring one of them back but not its predecessor, recovery sees the gap and removes it.
    fn remove_segments_from(&mut self, offset: Offset) -> Result<(), LoadError> {
        while offset <= self.active.base() && !self.sealed.is_empty() {
            self.remove_files(&Arc::clone(&self.active.files))?;
            let (last, rest) = match self.sealed.split_last() {
                Some((last, rest)) => (last.clone(), rest.to_vec()),
                None => break,
            };
            self.sealed = rest.into();
            self.sealed_size -= last.size;
            self.log_end = last.end;
            self.active = Active::empty(Arc::clone(&last.files), 0);
            self.active.size = last.size;
        }
        Ok(())
    }

    fn cut_active(&mut self, offset: Offset, now: Now) -> Result<(), LoadError> {
        let path = self.active_path();
        let segment = self.active.reference(self.log_end);
        let found = first_batch_at(&segment, offset, ReadMode::Wait);
        let found = found.map_err(|error| read_to_load(error, &path))?;
        let size = found.map_or(segment.size, |found| found.position);
        let cut_at = found.map_or(offset, |found| found.header.base_offset.min(offset));
        segment.files.invalidate();
        self.active.reset_reservation();
        self.dir.try_io("truncate", &path, || {
            let file = self.active.writable()?;
            file.set_len(size)?;
            file.sync()
        })?;
        // A file of which the sealed maximum is known may be cut and written again: begin with fresh ones.
        segment.files.close();
        let files = SegmentFiles::existing(&self.dir.cache, &self.path, segment.base_offset());
        let interval = self.config.index_interval_bytes;
        self.flush_cut_indexes(&segment, size)?;
        let scan = scan_segment(&files, size, Trust::Below(cut_at), Check::Headers, interval)?;
        self.active = scan.active;
        self.active.created_ms = now.wall_ms;
        self.log_end = scan.log_end;
        Ok(())
    }

    /// Writes index entries of a segment that is to be cut at `size`, so that the new owner of its files finds them.
    fn flush_cut_indexes(&self, segment: &SegmentRef<I>, size: u64) -> Result<(), LoadError> {
        let path = segment.files.offset_slot.path();
        let flushed = self.dir.try_io("write", path, || {
            let file = segment.files.offset_file(ReadMode::Wait)?;
            let keep = segment.files.offsets.partition_point(&*file, ReadMode::Wait, |entry| {
                u64::from(entry.position) < size
            })?;
            segment.files.offsets.truncate(&*file, keep.0)?;
            segment.files.flush_indexes()
        });
        Ok(flushed?)
    }

    /// Removes the files of a segment. A reader of it is told that it is gone.
    fn remove_files(&self, files: &SegmentFiles<I>) -> Result<(), StorageError> {
        files.invalidate();
        files.close();
        let kinds = [
            SegmentFileKind::Log,
            SegmentFileKind::OffsetIndex,
            SegmentFileKind::TimeIndex,
            SegmentFileKind::TxnIndex,
        ];
        for kind in kinds {
            self.remove_if_there(segment_file(&self.path, files.base, kind))?;
        }
        Ok(())
    }

    fn remove_if_there(&self, path: PathBuf) -> Result<(), StorageError> {
        self.dir.try_io("remove", &path, || match self.dir.io.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    /// Removes the snapshots of producers that were taken after `offset`.
    pub(super) fn remove_snapshots_after(&mut self, offset: Offset) -> Result<(), StorageError> {
        let kept = self.snapshots.partition_point(|&at| at <= offset);
        let gone = self.snapshots.split_off(kept);
        self.remove_snapshots(gone)
    }

    /// Removes snapshots of earlier shutdowns: useful are the newest one, and those at the start of a segment, to which the
    /// log may be cut.
    pub(super) fn remove_stray_snapshots(&mut self) -> Result<(), StorageError> {
        let newest = self.snapshots.last().copied();
        let is_base = |offset: Offset| {
            offset == self.active.base()
                || self.sealed.binary_search_by_key(&offset, SegmentRef::base_offset).is_ok()
        };
        let (kept, gone) =
            self.snapshots.iter().partition(|&&at| Some(at) == newest || is_base(at));
        self.snapshots = kept;
        self.remove_snapshots(gone)
    }

    fn remove_snapshots(&self, offsets: Vec<Offset>) -> Result<(), StorageError> {
        for offset in offsets {
            self.remove_if_there(segment_file(&self.path, offset, SegmentFileKind::Snapshot))?;
        }
        Ok(())
    }

    /// Replaces an empty active segment by one that begins at `base`.
    pub(super) fn restart_empty_segment(
        &mut self,
        base: Offset,
        now: Now,
    ) -> Result<(), StorageError> {
        if self.active.size == 0 && self.active.base() != base {
            self.remove_files(&Arc::clone(&self.active.files))?;
            self.begin_segment(base, now)?;
        }
        Ok(())
    }
}

fn read_to_load(error: ReadError, path: &std::path::Path) -> LoadError {
    match error {
        ReadError::Io(source) => LoadError::Io { path: path.to_owned(), source },
        other => LoadError::Invalid { path: path.to_owned(), reason: other.to_string() },
    }
}
