//! One partition's log: single owner, synchronous.
//!
//! | part | file |
//! |---|---|
//! | appending | `append` |
//! | rolling to a new segment | `roll` |
//! | syncing | `flush` |
//! | cutting either end | `truncate` |
//! | opening, recovery | `load` |

mod active;
mod append;
mod close;
mod flush;
mod load;
mod producers;
mod roll;
mod truncate;

use std::io;
use std::path::Path;
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerId};

use crate::checkpoint;
use crate::config::LogConfig;
use crate::dir::DirState;
use crate::epoch_cache::EpochCache;
use crate::error::StorageError;
use crate::io::LogIo;
use crate::paths::{LEADER_EPOCH_CHECKPOINT, TopicPartition};
use crate::producer_state::{ProducerEntry, ProducerStates};
use crate::segment::SegmentRef;
use crate::view::LogView;

use active::Active;
pub use append::{Appended, LeaderBatch};
use flush::Unsynced;
pub use flush::{SyncTicket, Synced};
pub use load::LoadReport;
pub(crate) use load::Opening;

/// A partition's log. Owned by one log worker, which alone calls `&mut` methods; readers have [`LogView`]s.
///
/// Never syncs on the appending path: [`Log::poll_flush`] hands out what to sync, and [`Log::on_synced`] takes note. An
/// idle log has no open file that the dir's bounded cache may not close, no thread and no timer.
///
/// Invariant: `log_start ≤ flushed_end ≤ log_end`, except that `log_start` may pass `flushed_end` when records are deleted;
/// the file of the active segment ends with the last batch.
#[derive(Debug)]
pub struct Log<I: LogIo> {
    dir: Arc<DirState<I>>,
    partition: TopicPartition,
    topic_id: Uuid,
    path: Arc<Path>,
    config: Arc<LogConfig>,
    sealed: Arc<[SegmentRef<I>]>,
    sealed_size: u64,
    active: Active<I>,
    log_start: Offset,
    log_end: Offset,
    flushed_end: Offset,
    epochs: Arc<EpochCache>,
    producers: ProducerStates,
    /// Offsets of the `.snapshot` files, ascending.
    snapshots: Vec<Offset>,
    unsynced: Unsynced<I>,
}

impl<I: LogIo> Log<I> {
    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The topic's id, from `partition.metadata`; zero where Kafka wrote none.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log dir that it is in.
    pub fn dir(&self) -> &Path {
        &self.dir.path
    }

    /// The first offset that may be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset after the last record.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Everything before this offset survives a power cut.
    pub fn flushed_end(&self) -> Offset {
        self.flushed_end
    }

    /// Bytes of its segments.
    pub fn size(&self) -> u64 {
        self.sealed_size + self.active.size
    }

    /// The newest leader epoch that it has seen.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// Leader epochs and where they begin.
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// Its settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// New settings, in force from the next append on.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// The producers that it knows, by id: DescribeProducers.
    pub fn producers(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter()
    }

    /// A producer, if it is known.
    pub fn producer(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(id)
    }

    /// The first offset of the oldest transaction that is neither committed nor aborted.
    pub fn first_unstable(&self) -> Option<Offset> {
        self.producers.first_unstable()
    }

    /// Why the log dir is offline, if it is.
    pub fn failure(&self) -> Option<&StorageError> {
        self.dir.failure()
    }

    /// A snapshot for readers. To be published once per step, after appends.
    pub fn view(&self) -> LogView<I> {
        LogView {
            log_start: self.log_start,
            log_end: self.log_end,
            flushed_end: self.flushed_end,
            first_unstable: self.first_unstable(),
            sealed: Arc::clone(&self.sealed),
            active: self.active.reference(self.log_end),
            epochs: Arc::clone(&self.epochs),
            sealed_size: self.sealed_size,
        }
    }

    /// Notes that this broker leads, or follows, in `epoch` from the log's end on; durable when this returns. A leader calls
    /// it before its first append, so that the epoch is on record even if nothing is ever appended in it. An older epoch
    /// than the latest is an error of the caller and ignored.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), StorageError> {
        self.assign_epoch(epoch, self.log_end)
    }

    fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), StorageError> {
        if self.epochs.latest().is_some_and(|latest| epoch <= latest) {
            return Ok(());
        }
        if Arc::make_mut(&mut self.epochs).assign(epoch, start) {
            self.write_epochs()?;
        }
        Ok(())
    }

    fn write_epochs(&self) -> Result<(), StorageError> {
        let path = self.path.join(LEADER_EPOCH_CHECKPOINT);
        self.dir.try_io("write", &path, || self.write_epochs_file())
    }

    fn write_epochs_file(&self) -> io::Result<()> {
        let path = self.path.join(LEADER_EPOCH_CHECKPOINT);
        checkpoint::write_epochs(&self.dir.io, &path, self.epochs.entries())
    }

    fn sync_folder(&self) -> Result<(), StorageError> {
        self.dir.try_io("sync", &self.path, || self.dir.io.sync_dir(&self.path))
    }
}
