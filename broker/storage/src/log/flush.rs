//! What is to be synced, when, and what a finished sync means.
//!
//! The log's owner never syncs: [`Log::poll_flush`] hands out a [`SyncTicket`], at most one at a time, that any thread can
//! run; [`Log::on_synced`] takes the outcome. What is appended meanwhile is covered by the next one: that is the group
//! commit of one log. Tickets of many logs run at once, which the file system commits together.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::time::Now;
use ottla_protocol::types::Offset;
use tracing::debug;

use super::Log;
use crate::error::StorageError;
use crate::io::{LogFile, LogIo};

/// How much a sync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The log files: what an acknowledgement needs.
    Data,
    /// The indexes too: what a recovery point needs.
    Checkpoint,
}

/// Files to sync. Run it anywhere, then give the outcome to [`Log::on_synced`]; never run it twice.
#[derive(Debug)]
#[must_use = "a flush is under way until its outcome is given to the log"]
pub struct SyncTicket<I: LogIo> {
    io: I,
    path: Arc<Path>,
    files: Vec<Arc<I::File>>,
    folder: bool,
    end: Offset,
}

/// The outcome of a [`SyncTicket`].
#[derive(Debug)]
pub struct Synced {
    result: io::Result<()>,
}

impl<I: LogIo> SyncTicket<I> {
    /// The offset up to which the log will be durable.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Syncs. Takes as long as the disk does.
    pub fn run(self) -> Synced {
        let sync = || {
            self.files.iter().try_for_each(|file| file.sync())?;
            if self.folder { self.io.sync_dir(&self.path) } else { Ok(()) }
        };
        Synced { result: sync() }
    }
}

/// The book-keeping of what is not yet durable.
#[derive(Debug)]
pub(super) struct Unsynced<I: LogIo> {
    /// Files of sealed segments, by base offset, and snapshots.
    sealed: Vec<(Offset, Vec<Arc<I::File>>)>,
    snapshots: Vec<Arc<I::File>>,
    /// Names in the folder changed.
    folder: bool,
    records: u64,
    /// When the oldest unsynced record was appended (monotonic), as far as polls have noticed.
    since: Option<Duration>,
    /// As `since`, for what no checkpoint covers.
    checkpoint_since: Option<Duration>,
    in_flight: Option<InFlight>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    end: Offset,
    scope: Scope,
}

impl<I: LogIo> Unsynced<I> {
    pub fn none() -> Self {
        Self {
            sealed: Vec::new(),
            snapshots: Vec::new(),
            folder: false,
            records: 0,
            since: None,
            checkpoint_since: None,
            in_flight: None,
        }
    }

    pub fn on_appended(&mut self, records: i64) {
        self.records = self.records.saturating_add(records.unsigned_abs());
    }

    pub fn on_sealed(&mut self, base: Offset, files: Vec<Arc<I::File>>) {
        self.sealed.push((base, files));
    }

    pub fn on_snapshot(&mut self, file: Arc<I::File>) {
        self.snapshots.push(file);
    }

    pub fn on_created(&mut self) {
        self.folder = true;
    }

    /// The log was cut at `end`, durably.
    pub fn on_truncated(&mut self, end: Offset) {
        self.sealed.retain(|&(base, _)| base < end);
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.end = in_flight.end.min(end);
        }
    }

    /// A sealed segment was removed.
    pub fn forget(&mut self, base: Offset) {
        self.sealed.retain(|&(sealed, _)| sealed != base);
    }

    /// Whether files of sealed segments, snapshots or names wait for a sync.
    pub fn has_files(&self) -> bool {
        self.folder || !self.sealed.is_empty() || !self.snapshots.is_empty()
    }

    /// The files that wait for a sync, besides the active segment's.
    pub fn take_files(&mut self) -> Vec<Arc<I::File>> {
        self.folder = false;
        let sealed = self.sealed.drain(..).flat_map(|(_, files)| files);
        sealed.chain(self.snapshots.drain(..)).collect()
    }

    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }
}

impl<I: LogIo> Log<I> {
    /// What is to be synced now, if anything is due by `flush.messages` or `flush.ms`, because a segment was rolled, or for
    /// the next checkpoint. `None` while a ticket is out: its return will bring the next one. To be called after every step
    /// that appended, and at [`Log::next_flush_at`].
    pub fn poll_flush(&mut self, now: Now) -> Result<Option<SyncTicket<I>>, StorageError> {
        self.note_time(now);
        if self.unsynced.is_in_flight() {
            return Ok(None);
        }
        let age = |since: Option<Duration>| since.map(|at| now.monotonic.saturating_sub(at));
        let (unsynced, config) = (&self.unsynced, &self.config);
        let is_behind = self.flushed_end < self.log_end;
        let rolled = !unsynced.sealed.is_empty();
        if rolled || age(unsynced.checkpoint_since).is_some_and(|age| config.checkpoint_age <= age)
        {
            return self.take_ticket(Scope::Checkpoint).map(Some);
        }
        let by_count = config.flush_messages <= unsynced.records;
        let by_age = age(unsynced.since).is_some_and(|age| config.flush_age <= age);
        if is_behind && (by_count || by_age) {
            return self.take_ticket(Scope::Data).map(Some);
        }
        Ok(None)
    }

    /// When [`Log::poll_flush`] is to be called again though nothing is appended (monotonic time); `None`: not at all.
    pub fn next_flush_at(&self) -> Option<Duration> {
        if self.unsynced.is_in_flight() {
            return None;
        }
        let by_age = self.unsynced.since.and_then(|at| at.checked_add(self.config.flush_age));
        let checkpoint = self.unsynced.checkpoint_since;
        let by_checkpoint = checkpoint.and_then(|at| at.checked_add(self.config.checkpoint_age));
        by_age.into_iter().chain(by_checkpoint).min()
    }

    /// What makes everything appended so far durable, due or not; `None` if it is already, or while a ticket is out.
    pub fn flush(&mut self) -> Result<Option<SyncTicket<I>>, StorageError> {
        let clean = self.flushed_end == self.log_end && !self.unsynced.folder;
        if self.unsynced.is_in_flight() || clean {
            return Ok(None);
        }
        self.take_ticket(Scope::Data).map(Some)
    }

    /// As [`Log::flush`], with the indexes, so that a recovery begins where the log now ends.
    pub fn checkpoint(&mut self) -> Result<Option<SyncTicket<I>>, StorageError> {
        let recovery_point = self.dir.recovery_points.get(&self.partition);
        let clean = recovery_point == Some(self.log_end) && !self.unsynced.folder;
        if self.unsynced.is_in_flight() || clean {
            return Ok(None);
        }
        self.take_ticket(Scope::Checkpoint).map(Some)
    }

    /// Whether a ticket is out.
    pub fn is_flushing(&self) -> bool {
        self.unsynced.is_in_flight()
    }

    /// Takes the outcome of the ticket that is out; [`Log::flushed_end`] has moved afterwards. A sync that failed takes the
    /// dir offline: the kernel may have dropped the data, and asking again would only get a false answer.
    pub fn on_synced(&mut self, synced: Synced) -> Result<(), StorageError> {
        let Some(InFlight { end, scope }) = self.unsynced.in_flight.take() else {
            return self.dir.check();
        };
        if let Err(error) = synced.result {
            return Err(self.dir.fail("sync", &self.path, &error));
        }
        self.flushed_end = self.flushed_end.max(end.min(self.log_end));
        if self.flushed_end == self.log_end {
            // Nothing pins the file any more; the bounded cache may close it.
            self.active.file = None;
        }
        if scope == Scope::Checkpoint {
            if self.active.file.is_none() {
                self.active.files.offsets.shrink();
                self.active.files.times.shrink();
            }
            self.dir.recovery_points.set(&self.partition, end);
        }
        Ok(())
    }

    fn note_time(&mut self, now: Now) {
        if 0 < self.unsynced.records {
            self.unsynced.since.get_or_insert(now.monotonic);
            self.unsynced.checkpoint_since.get_or_insert(now.monotonic);
        }
    }

    fn take_ticket(&mut self, scope: Scope) -> Result<SyncTicket<I>, StorageError> {
        let folder = self.unsynced.folder;
        let mut files = self.unsynced.take_files();
        match scope {
            Scope::Checkpoint => {
                let path = self.active_path();
                let active = &self.active;
                self.dir.try_io("write", &path, || active.files.flush_indexes())?;
                files.extend(self.unsynced_files_of_active()?);
                self.unsynced.checkpoint_since = None;
            }
            Scope::Data => {
                let path = self.active_path();
                self.dir.check()?;
                let file = self.active.writable().map(Arc::clone);
                files.push(file.map_err(|error| self.dir.fail("open", &path, &error))?);
            }
        }
        let end = self.log_end;
        self.unsynced.in_flight = Some(InFlight { end, scope });
        self.unsynced.records = 0;
        self.unsynced.since = None;
        debug!(partition = %self.partition, %end, files = files.len(), folder, "flush");
        Ok(SyncTicket { io: self.dir.io.clone(), path: Arc::clone(&self.path), files, folder, end })
    }
}
