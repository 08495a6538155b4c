//! An orderly end.

use super::Log;
use crate::error::StorageError;
use crate::io::{LogFile, LogIo};

impl<I: LogIo> Log<I> {
    /// Completes and syncs everything, so that the next start reads nothing again: indexes, producers, recovery point (which
    /// the dir then writes). Does not look at a ticket that is out.
    pub(crate) fn close(&mut self) -> Result<(), StorageError> {
        self.dir.check()?;
        if self.size() != 0 && self.snapshots.last() != Some(&self.log_end) {
            self.write_snapshot(self.log_end)?;
        }
        let path = self.active_path();
        let active = &mut self.active;
        let done = active.push_time_entry().and_then(|()| {
            active.files.flush_indexes()?;
            active.trim()
        });
        done.map_err(|error| self.dir.fail("write", &path, &error))?;
        let is_synced = self.flushed_end == self.log_end
            && self.dir.recovery_points.get(&self.partition) == Some(self.log_end)
            && self.active.is_settled();
        if !is_synced || self.unsynced.has_files() {
            let mut files = self.unsynced.take_files();
            files.extend(self.unsynced_files_of_active()?);
            self.dir.try_io("sync", &path, || files.iter().try_for_each(|file| file.sync()))?;
            self.sync_folder()?;
        }
        self.flushed_end = self.log_end;
        self.active.file = None;
        self.dir.recovery_points.set(&self.partition, self.log_end);
        Ok(())
    }

    /// The folder is about to be put aside: readers are told that it is gone, files are closed.
    pub(crate) fn abandon(self) {
        for segment in self.view().segments() {
            segment.files.close();
        }
    }
}
