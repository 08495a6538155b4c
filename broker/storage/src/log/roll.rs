//! Beginning a new segment.

use std::sync::Arc;

use ottla_protocol::time::Now;
use ottla_protocol::types::Offset;

use super::Log;
use super::active::Active;
use crate::error::StorageError;
use crate::file_cache::ReadMode;
use crate::io::{LogFile, LogIo, OpenMode};
use crate::paths::{SegmentFileKind, segment_file};
use crate::producer_state;
use crate::segment::{SegmentFiles, SegmentRef};

impl<I: LogIo> Log<I> {
    /// Seals the active segment and begins a new one at the log's end. Nothing is synced here: the next
    /// [`Log::poll_flush`] has the sealed segment, the new names in the folder and the snapshot of the producers.
    /// Does nothing while the active segment is empty.
    pub fn roll(&mut self, now: Now) -> Result<(), StorageError> {
        if self.active.size == 0 && self.active.base() == self.log_end {
            return Ok(());
        }
        self.write_snapshot(self.log_end)?;
        self.seal()?;
        self.begin_segment(self.log_end, now)
    }

    /// Finishes the files of the active segment and puts it among the sealed ones.
    fn seal(&mut self) -> Result<(), StorageError> {
        let path = self.active_path();
        self.dir.check()?;
        let active = &mut self.active;
        let done = active.push_time_entry().and_then(|()| {
            active.files.flush_indexes()?;
            active.files.offsets.shrink();
            active.files.times.shrink();
            active.trim()
        });
        done.map_err(|error| self.dir.fail("write", &path, &error))?;
        let active = &self.active;
        let _ = active.files.sealed_max_timestamp.set(active.max_timestamp);
        let sealed = SegmentRef::sealed(Arc::clone(&active.files), self.log_end, active.size);
        let files = self.unsynced_files_of_active()?;
        self.unsynced.on_sealed(active.base(), files);
        self.sealed_size += sealed.size();
        self.sealed = self.sealed.iter().cloned().chain([sealed]).collect();
        Ok(())
    }

    /// Everything of the active segment that a checkpoint has to sync.
    pub(super) fn unsynced_files_of_active(&self) -> Result<Vec<Arc<I::File>>, StorageError> {
        let files = &self.active.files;
        self.dir.try_io("open", files.log.path(), || {
            let log = match &self.active.file {
                Some(file) => Arc::clone(file),
                None => files.log_file(ReadMode::Wait)?,
            };
            let (offsets, times) =
                (files.offset_file(ReadMode::Wait)?, files.time_file(ReadMode::Wait)?);
            Ok(vec![log, offsets, times])
        })
    }

    pub(super) fn begin_segment(&mut self, base: Offset, now: Now) -> Result<(), StorageError> {
        let path = segment_file(&self.path, base, SegmentFileKind::Log);
        let cache = &self.dir.cache;
        let files =
            self.dir.try_io("create", &path, || SegmentFiles::create(cache, &self.path, base))?;
        self.active = Active::empty(files, now.wall_ms);
        self.unsynced.on_created();
        Ok(())
    }

    /// Writes the producers' state as of `offset`, which is the log's end. Its checksum protects it, so it need not be synced
    /// before anything; without it, recovery replays more.
    pub(super) fn write_snapshot(&mut self, offset: Offset) -> Result<(), StorageError> {
        let path = segment_file(&self.path, offset, SegmentFileKind::Snapshot);
        let content = producer_state::encode(&self.producers);
        let io = &self.dir.io;
        let file = self.dir.try_io("write", &path, || {
            let file = io.open(&path, OpenMode::CreateOrTruncate)?;
            file.write_at(0, &[std::io::IoSlice::new(&content)])?;
            Ok(Arc::new(file))
        })?;
        self.unsynced.on_snapshot(file);
        if self.snapshots.last() != Some(&offset) {
            self.snapshots.push(offset);
        }
        Ok(())
    }
}
