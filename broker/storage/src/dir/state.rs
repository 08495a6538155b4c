//! What the logs of one log dir share: whether the dir still works, its open files, its room and its recovery points.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ottla_protocol::time::Now;
use ottla_protocol::types::Offset;
use tracing::{error, info, warn};

use super::markers::Running;
use crate::checkpoint::{self, Offsets};
use crate::error::{AppendError, StorageError};
use crate::file_cache::FileCache;
use crate::io::LogIo;
use crate::paths::{
    HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, TopicPartition,
};

/// Shared by a [`super::LogDir`] and all its logs.
#[derive(Debug)]
pub(crate) struct DirState<I: LogIo> {
    pub(crate) path: Arc<Path>,
    pub(crate) io: I,
    pub(crate) cache: Arc<FileCache<I>>,
    failed: OnceLock<StorageError>,
    pub(crate) space: SpaceGauge,
    pub(crate) recovery_points: CheckpointFile,
    pub(crate) log_starts: CheckpointFile,
    pub(crate) high_watermarks: CheckpointFile,
    pub(super) running: Mutex<Option<Running>>,
}

impl<I: LogIo> DirState<I> {
    pub(crate) fn new(io: I, path: &Path, open_files_max: usize) -> Self {
        Self {
            path: Arc::from(path),
            cache: Arc::new(FileCache::new(io.clone(), open_files_max)),
            io,
            failed: OnceLock::new(),
            space: SpaceGauge::default(),
            recovery_points: CheckpointFile::new(path.join(RECOVERY_POINT_CHECKPOINT)),
            log_starts: CheckpointFile::new(path.join(LOG_START_CHECKPOINT)),
            high_watermarks: CheckpointFile::new(path.join(HIGH_WATERMARK_CHECKPOINT)),
            running: Mutex::new(None),
        }
    }

    /// Fails once the dir has failed.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(crate) fn failure(&self) -> Option<&StorageError> {
        self.failed.get()
    }

    /// Takes the dir offline: an error after which the content of files, or of the page cache, is unknown.
    pub(crate) fn fail(
        &self,
        operation: &'static str,
        file: &Path,
        reason: &io::Error,
    ) -> StorageError {
        let failure = StorageError {
            dir: Arc::clone(&self.path),
            operation,
            file: Arc::from(file),
            reason: reason.to_string().into(),
        };
        if self.failed.set(failure.clone()).is_ok() {
            error!(dir = %self.path.display(), file = %file.display(), operation, error = %reason,
                "log dir goes offline; replace or repair the disk and restart the broker");
            self.note_io_error();
        }
        self.check().err().unwrap_or(failure)
    }

    /// The next start must not take this life's end for a mere crash of the process. The disk may refuse.
    fn note_io_error(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_mut() {
            running.io_error = true;
            if let Err(error) = running.write(&self.io, &self.path) {
                warn!(dir = %self.path.display(), %error, "cannot note the failure in the log dir");
            }
        }
    }

    /// Runs an operation of which failure takes the dir offline.
    pub(crate) fn try_io<T>(
        &self,
        operation: &'static str,
        file: &Path,
        run: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, StorageError> {
        self.check()?;
        run().map_err(|error| self.fail(operation, file, &error))
    }

    /// Fails while the disk is short of space. Asks the system at most once a second.
    pub(crate) fn check_space(&self, now: Now) -> Result<(), AppendError> {
        if self.space.is_due(now) {
            match self.io.space(&self.path) {
                Ok(space) => self.space.set(space.total, space.available, &self.path),
                Err(error) => {
                    warn!(dir = %self.path.display(), %error, "cannot ask for free space");
                }
            }
        }
        if self.space.is_low() { Err(self.out_of_space()) } else { Ok(()) }
    }

    pub(crate) fn out_of_space(&self) -> AppendError {
        AppendError::OutOfSpace { dir: Arc::clone(&self.path) }
    }
}

/// Whether the disk keeps its reserve: 5 % of it, at most 2 GiB, so that retention, checkpoints and reads go on when
/// producers have filled it.
#[derive(Debug, Default)]
pub(crate) struct SpaceGauge {
    /// Monotonic ms.
    next_check: AtomicU64,
    low: AtomicBool,
    available: AtomicU64,
}

const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const RESERVE_MAX: u64 = 2 << 30;
const RESERVE_FRACTION: u64 = 20;

impl SpaceGauge {
    fn is_due(&self, now: Now) -> bool {
        let now = u64::try_from(now.monotonic.as_millis()).unwrap_or(u64::MAX);
        let next = now.saturating_add(CHECK_INTERVAL.as_millis() as u64);
        let due = |at| (at <= now).then_some(next);
        self.next_check.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }

    fn set(&self, total: u64, available: u64, dir: &Path) {
        let reserve = (total / RESERVE_FRACTION).min(RESERVE_MAX);
        self.available.store(available, Ordering::Relaxed);
        let low = available < reserve;
        if self.low.swap(low, Ordering::Relaxed) != low {
            if low {
                error!(dir = %dir.display(), available, reserve,
                    "log dir is below its reserve of free space; nothing is appended until there is room");
            } else {
                info!(dir = %dir.display(), available, "log dir has room again");
            }
        }
    }

    /// A write found the disk full.
    pub(crate) fn set_full(&self) {
        self.low.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    pub(crate) fn available(&self) -> u64 {
        self.available.load(Ordering::Relaxed)
    }
}

/// A file of offsets by partition, with what is to be written to it.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    path: PathBuf,
    offsets: Mutex<State>,
    /// Held while the file is written, by whoever writes it; never by somebody who only sets an offset.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    now: Offsets,
    in_file: Offsets,
}

impl CheckpointFile {
    fn new(path: PathBuf) -> Self {
        Self { path, offsets: Mutex::default(), writing: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file. One that cannot be understood counts as empty: what it says is only a shortcut.
    pub(crate) fn load<I: LogIo>(&self, io: &I) -> io::Result<()> {
        let found = match checkpoint::read_offsets(io, &self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                warn!(%error, "checkpoint is malformed and ignored; recovery takes longer");
                Offsets::new()
            }
            Err(error) => return Err(error),
        };
        *self.state() = State { now: found.clone(), in_file: found };
        Ok(())
    }

    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<Offset> {
        self.state().now.get(partition).copied()
    }

    /// To be written at the next [`CheckpointFile::write`].
    pub(crate) fn set(&self, partition: &TopicPartition, offset: Offset) {
        self.state().now.insert(partition.clone(), offset);
    }

    pub(crate) fn remove(&self, partition: &TopicPartition) {
        self.state().now.remove(partition);
    }

    /// Lowers an offset that is above `offset`; when this returns, the file says no more than that either.
    pub(crate) fn lower<I: LogIo>(
        &self,
        io: &I,
        partition: &TopicPartition,
        offset: Offset,
    ) -> io::Result<()> {
        if let Some(known) = self.state().now.get_mut(partition) {
            *known = offset.min(*known);
        }
        self.write_unless(io, |there| there.get(partition).is_none_or(|&there| there <= offset))
    }

    /// Sets an offset; when this returns, the file has it.
    pub(crate) fn record<I: LogIo>(
        &self,
        io: &I,
        partition: &TopicPartition,
        offset: Offset,
    ) -> io::Result<()> {
        self.set(partition, offset);
        self.write_unless(io, |there| there.get(partition) == Some(&offset))
    }

    /// Removes an offset; when this returns, it is not in the file. What it said of a former partition of that name must not
    /// be believed of a new one.
    pub(crate) fn forget<I: LogIo>(&self, io: &I, partition: &TopicPartition) -> io::Result<()> {
        self.remove(partition);
        self.write_unless(io, |there| !there.contains_key(partition))
    }

    /// Replaces the file, if anything changed; durable when this returns.
    pub(crate) fn write<I: LogIo>(&self, io: &I) -> io::Result<()> {
        self.write_unless(io, |_| false)
    }

    fn write_unless<I: LogIo>(
        &self,
        io: &I,
        is_enough: impl FnOnce(&Offsets) -> bool,
    ) -> io::Result<()> {
        // Taken before looking: somebody else may just be writing what was true a moment ago.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = {
            let state = self.state();
            if state.now == state.in_file || is_enough(&state.in_file) {
                return Ok(());
            }
            state.now.clone()
        };
        checkpoint::write_offsets(io, &self.path, &now)?;
        self.state().in_file = now;
        Ok(())
    }
}
