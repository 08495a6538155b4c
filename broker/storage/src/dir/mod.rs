//! A log dir: one of `log.dirs`, with the logs of many partitions.

mod markers;
mod meta;
mod partitions;
mod recovery;
mod state;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use ottla_protocol::Uuid;
use ottla_protocol::types::Offset;

use crate::error::{OpenDirError, StorageError};
use crate::io::{DirEntry, EntryKind, LogIo};
use crate::log::Log;
use crate::paths::{LOCK, LogDirEntry, TopicPartition};

pub use markers::PreviousLife;
use markers::Running;
pub(crate) use markers::previous_life as life_of;
pub use partitions::{Aside, CreateLogError};
pub use recovery::{LogReport, RecoverOptions, Recovered, RecoveryProgress};
pub(crate) use state::DirState;

/// To whom a log dir must belong, and what is needed to make or to judge it.
#[derive(Clone, Debug)]
pub struct DirIdentity {
    /// The cluster; written to a new dir.
    pub cluster_id: String,
    /// The broker; written to a new dir.
    pub node_id: i32,
    /// The machine's boot id: the same for all processes until the machine restarts.
    pub boot_id: String,
    /// The id that a new dir gets; random.
    pub new_directory_id: Uuid,
    /// Files of segments kept open at most, besides those in use. Three per segment. Default 4096.
    pub open_files_max: usize,
}

impl DirIdentity {
    /// The default for [`DirIdentity::open_files_max`].
    pub const OPEN_FILES_MAX: usize = 4096;
}

/// An open, locked log dir. It hands out [`Log`]s, which are owned by log workers, and keeps what they share: open files,
/// room, recovery points, and whether the disk still works.
pub struct LogDir<I: LogIo> {
    state: Arc<DirState<I>>,
    id: Uuid,
    boot_id: String,
    previous_life: PreviousLife,
    _lock: I::Lock,
}

impl<I: LogIo> fmt::Debug for LogDir<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogDir({})", self.state.path.display())
    }
}

impl<I: LogIo> LogDir<I> {
    /// Opens and locks a dir; makes it if only the last part of its path is missing. Looks at it, but changes nothing that a
    /// former life left: that begins with [`LogDir::recover`], which must come next.
    pub fn open(io: I, path: &Path, identity: &DirIdentity) -> Result<Self, OpenDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenDirError::Io { path, source }
        };
        ensure_dir(&io, path)?;
        let lock = io.lock(&path.join(LOCK));
        let dir = path.to_owned();
        let lock = lock.map_err(|source| OpenDirError::NotWritable { dir: dir.clone(), source })?;
        let lock = lock.ok_or(OpenDirError::Locked { dir })?;
        let entries = io.list(path).map_err(failed(path))?;
        let has_partitions = has_partitions(&entries);
        let previous_life = markers::previous_life(&io, path, &identity.boot_id, has_partitions);
        let previous_life = previous_life.map_err(failed(path))?;
        let id = ensure_meta(&io, path, identity)?;
        let state = DirState::new(io, path, identity.open_files_max);
        for checkpoint in [&state.recovery_points, &state.log_starts, &state.high_watermarks] {
            checkpoint.load(&state.io).map_err(failed(path))?;
        }
        let (state, boot_id) = (Arc::new(state), identity.boot_id.clone());
        Ok(Self { state, id, boot_id, previous_life, _lock: lock })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.state.path
    }

    /// Its id, from `meta.properties`.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// How its former life ended.
    pub fn previous_life(&self) -> PreviousLife {
        self.previous_life
    }

    /// Why it is offline, if it is.
    pub fn failure(&self) -> Option<&StorageError> {
        self.state.failure()
    }

    /// Whether less than its reserve of space is free: appends are refused.
    pub fn is_short_of_space(&self) -> bool {
        self.state.space.is_low()
    }

    /// Bytes free when last asked, at an append.
    pub fn space_available(&self) -> u64 {
        self.state.space.available()
    }

    /// Notes the broker epoch that the cluster gave to this life. To be called once the cluster knows how the former life
    /// ended ([`LogDir::previous_life`]), and only then: until then a restart would report the same end again.
    pub fn set_broker_epoch(&self, broker_epoch: i64) -> Result<(), StorageError> {
        let mut running = self.state.running.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Running {
            v: 1,
            boot_id: self.boot_id.clone(),
            broker_epoch,
            io_error: self.state.failure().is_some(),
            unreported_machine_crash: false,
        };
        let (io, path) = (&self.state.io, &self.state.path);
        let written = next.write(io, path);
        *running = Some(next);
        drop(running);
        written.map_err(|error| self.state.fail("write", path, &error))
    }

    /// The high watermark of a partition as it was last written.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        self.state.high_watermarks.get(partition)
    }

    /// Notes a high watermark, for the next [`LogDir::write_checkpoints`].
    pub fn set_high_watermark(&self, partition: &TopicPartition, offset: Offset) {
        self.state.high_watermarks.set(partition, offset);
    }

    /// Writes recovery points, log starts and high watermarks, as far as they changed. Waits for the disk; to be called
    /// every few seconds from a thread that may.
    pub fn write_checkpoints(&self) -> Result<(), StorageError> {
        let (state, io) = (&self.state, &self.state.io);
        state.try_io("write", &state.path, || {
            state.recovery_points.write(io)?;
            state.log_starts.write(io)?;
            state.high_watermarks.write(io)
        })
    }

    /// An orderly end: completes and syncs all logs, which must be all that this dir handed out and that were not deleted,
    /// then leaves the mark that lets the next start read nothing. Without it, or after an error, the next start recovers.
    /// There is no mark while the cluster has not been told of a machine crash ([`LogDir::set_broker_epoch`]).
    pub fn close(&self, logs: Vec<Log<I>>, broker_epoch: i64) -> Result<(), StorageError> {
        recovery::close_all(logs, CLOSING_THREADS)?;
        self.write_checkpoints()?;
        let (state, io) = (&self.state, &self.state.io);
        let running = state.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if running.is_some_and(|running| running.unreported_machine_crash) {
            // An orderly end now would hide a crash that the cluster does not know of. The next start looks at the ends
            // of the logs only, for they are synced.
            return Ok(());
        }
        state.try_io("write", &state.path, || markers::end(io, &state.path, broker_epoch))
    }
}

/// Syncs that the disk has to do at once at an orderly end.
const CLOSING_THREADS: usize = 8;

fn partition_of(entry: &DirEntry) -> Option<TopicPartition> {
    match LogDirEntry::parse(&entry.name) {
        LogDirEntry::Partition(partition) if entry.kind == EntryKind::Dir => Some(partition),
        _ => None,
    }
}

/// Whether a dir holds partitions.
pub(crate) fn has_partitions(entries: &[DirEntry]) -> bool {
    entries.iter().any(|entry| partition_of(entry).is_some())
}

/// The partitions that a broker opens in a dir.
pub(crate) fn partitions_in(entries: &[DirEntry]) -> impl Iterator<Item = TopicPartition> {
    // The metadata log of Kafka's own controllers is none of ours.
    entries.iter().filter_map(partition_of).filter(|p| &*p.topic != KAFKA_METADATA_TOPIC)
}

const KAFKA_METADATA_TOPIC: &str = "__cluster_metadata";

/// Cluster, broker and id of a dir, as far as it has them.
pub(crate) fn meta_of<I: LogIo>(io: &I, path: &Path) -> Result<meta::Meta, OpenDirError> {
    Ok(meta::read(io, path)?.unwrap_or_default())
}

fn ensure_dir<I: LogIo>(io: &I, path: &Path) -> Result<(), OpenDirError> {
    let dir = || PathBuf::from(path);
    match io.list(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(OpenDirError::NotADirectory { dir: dir() });
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(OpenDirError::Io { path: dir(), source: error });
        }
        Err(_) => {}
    }
    let made = io.create_dir(path).and_then(|()| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => io.sync_dir(parent),
        _ => Ok(()),
    });
    made.map_err(|source| OpenDirError::Missing { dir: dir(), source })
}

/// Compares `meta.properties` with who we are, and completes it; the dir's id.
fn ensure_meta<I: LogIo>(
    io: &I,
    path: &Path,
    identity: &DirIdentity,
) -> Result<Uuid, OpenDirError> {
    let found = meta::read(io, path)?;
    let dir = path.to_owned();
    if let Some(found) = found.as_ref().and_then(|meta| meta.cluster_id.as_ref())
        && *found != identity.cluster_id
    {
        let (expected, found) = (identity.cluster_id.clone(), found.clone());
        return Err(OpenDirError::WrongCluster { dir, expected, found });
    }
    if let Some(found) = found.as_ref().and_then(|meta| meta.node_id)
        && found != identity.node_id
    {
        return Err(OpenDirError::WrongNode { dir, expected: identity.node_id, found });
    }
    if let Some(meta::Meta { cluster_id: Some(_), node_id: Some(_), directory_id: Some(id) }) =
        found
    {
        return Ok(id);
    }
    let id = found.and_then(|meta| meta.directory_id).unwrap_or(identity.new_directory_id);
    let content = (identity.cluster_id.as_str(), identity.node_id, id);
    meta::write(io, path, content).map_err(|source| OpenDirError::NotWritable { dir, source })?;
    Ok(id)
}

#[cfg(test)]
mod tests;
