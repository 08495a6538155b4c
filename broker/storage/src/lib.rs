//! Partition logs in Kafka's on-disk format; opens no socket.
//!
//! | what | who |
//! |---|---|
//! | [`LogDir`] | one of `log.dirs`: lock, ids, how its former life ended, recovery, checkpoints |
//! | [`Log`] | one partition, owned by one log worker: appending, cutting, what to sync |
//! | [`LogView`] | an immutable snapshot of a log: all that readers see |
//! | [`SyncPool`] | the threads that sync; nobody else does while serving |
//! | [`inspect_dir`] | a look into a log dir that nobody runs in, without changing it |
//! | [`LogIo`] | the disk: [`RealIo`] or [`SimIo`] |

mod atomic_file;
mod checkpoint;
mod config;
mod dir;
mod epoch_cache;
mod error;
mod file_cache;
mod index;
mod inspect;
pub mod io;
mod log;
mod partition_metadata;
mod paths;
mod producer_state;
mod scan;
mod segment;
mod sync_pool;
mod timestamp;
mod view;

pub use config::LogConfig;
pub use dir::{
    Aside, CreateLogError, DirIdentity, LogDir, LogReport, PreviousLife, RecoverOptions, Recovered,
    RecoveryProgress,
};
pub use epoch_cache::{EpochCache, EpochEnd};
pub use error::{AppendError, LoadError, OpenDirError, ReadError, StorageError};
pub use file_cache::ReadMode;
pub use inspect::{DirInspection, LogInspection, inspect_dir};
pub use io::{LogFile, LogIo, RealIo, SimIo};
pub use log::{Appended, LeaderBatch, LoadReport, Log, SyncTicket, Synced};
pub use paths::TopicPartition;
pub use producer_state::{BATCHES_REMEMBERED, ProducerBatch, ProducerEntry};
pub use segment::{SegmentRef, Slice};
pub use sync_pool::{OnSynced, QueueFull, SyncPool};
pub use timestamp::TimestampOffset;
pub use view::{LogView, Oversized, ReadRequest};
