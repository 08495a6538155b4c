//! What can go wrong, one enum per operation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// A log dir can no longer be trusted: a write or a sync failed. Everything in it is offline until the process is
/// restarted with a disk that works; other dirs go on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("log dir {} is offline since {operation} of {} failed: {reason}", dir.display(), file.display())]
pub struct StorageError {
    /// The log dir.
    pub dir: Arc<Path>,
    /// What was being done.
    pub operation: &'static str,
    /// To which file or folder.
    pub file: Arc<Path>,
    /// What the system said.
    pub reason: Arc<str>,
}

/// Why batches were not appended. Nothing of the append is in the log then, and the log goes on, except with `Storage`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The dir is failed; KAFKA_STORAGE_ERROR.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Less than the reserve is free on the disk, or the disk is full; KAFKA_STORAGE_ERROR. Appends work again once there is
    /// room.
    #[error("log dir {} is short of space: free some, or let retention do it", dir.display())]
    OutOfSpace {
        /// The log dir.
        dir: Arc<Path>,
    },
    /// The sequence number does not follow the last one of this producer; OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("producer {producer_id}: sequence {found} does not follow {last}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// Its last sequence number, −1 if none is known.
        last: i32,
        /// The first one of the batch.
        found: i32,
    },
    /// The producer was fenced by a newer epoch; INVALID_PRODUCER_EPOCH.
    #[error("producer {producer_id}: epoch {found} is older than {current}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// Its newest epoch.
        current: ProducerEpoch,
        /// The batch's.
        found: ProducerEpoch,
    },
    /// A batch outside of the transaction that its producer has open; INVALID_TXN_STATE.
    #[error("producer {producer_id} has a transaction open, the batch is not part of one")]
    NotTransactional {
        /// The producer.
        producer_id: ProducerId,
    },
    /// More than a segment holds; RECORD_LIST_TOO_LARGE.
    #[error("{size} bytes do not fit into a segment of {max}")]
    TooLargeForSegment {
        /// Bytes of the append.
        size: u64,
        /// `segment.bytes`.
        max: u64,
    },
    /// The leader's epoch is older than one that is in the log; such a leader has been replaced.
    #[error("leader epoch {found} is older than {latest}, which the log has seen")]
    StaleLeaderEpoch {
        /// The append's.
        found: LeaderEpoch,
        /// The log's.
        latest: LeaderEpoch,
    },
    /// A follower's batch does not continue the log.
    #[error("batch at offset {found} does not continue the log, which ends at {log_end}")]
    UnexpectedOffset {
        /// The batch's base offset.
        found: Offset,
        /// The log's end.
        log_end: Offset,
    },
    /// The partition has used up all offsets.
    #[error("no offsets are left after {0}")]
    OffsetOverflow(Offset),
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE.
    #[error("the log has offsets {log_start} to {log_end}")]
    OffsetOutOfRange {
        /// The first offset that may be read.
        log_start: Offset,
        /// The offset after the last one.
        log_end: Offset,
    },
    /// The data is not in memory, and waiting was not allowed: read it from a thread that may wait.
    #[error("not in memory")]
    WouldBlock,
    /// The segment was removed or cut since the view was taken: take a new view.
    #[error("the segment was removed or cut meanwhile")]
    Gone,
    /// The segment's bytes make no sense; CORRUPT_MESSAGE.
    #[error("segment {segment} is corrupt at position {position}: {reason}")]
    Corrupt {
        /// Base offset of the segment.
        segment: Offset,
        /// Where.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed; KAFKA_STORAGE_ERROR. Errors of reading do not take the dir offline by themselves.
    #[error("reading failed: {0}")]
    Io(io::Error),
}

/// Why a partition's log cannot be opened. Other partitions are not affected.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written by Kafka before 0.11.
    #[error(
        "{} has messages of format {magic}, of Kafka before 0.11; let a Kafka of 0.11 to 3.x rewrite the topic first",
        path.display()
    )]
    OldFormat {
        /// The segment.
        path: PathBuf,
        /// The format.
        magic: i8,
    },
    /// Kafka was stopped in the middle of a compaction.
    #[error("{} was left by an interrupted compaction; start Kafka on this folder once to finish it", path.display())]
    InterruptedCompaction {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be rebuilt is not as it should be.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The dir failed meanwhile.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl LoadError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Why a log dir cannot be used. The text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenDirError {
    /// There is no such folder, and it cannot be made.
    #[error("log dir {} is missing and cannot be made ({source}): create it or correct log.dirs", dir.display())]
    Missing {
        /// The log dir.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is not a folder.
    #[error("log dir {} is not a folder: correct log.dirs", dir.display())]
    NotADirectory {
        /// The log dir.
        dir: PathBuf,
    },
    /// The folder cannot be written.
    #[error("log dir {} cannot be written ({source}): it is read-only, or owned by another user", dir.display())]
    NotWritable {
        /// The log dir.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("log dir {} is locked by another process: stop the broker that uses it, or correct log.dirs", dir.display())]
    Locked {
        /// The log dir.
        dir: PathBuf,
    },
    /// It belongs to another cluster.
    #[error(
        "log dir {} belongs to cluster {found}, this is cluster {expected}: correct etcd.endpoints or log.dirs",
        dir.display()
    )]
    WrongCluster {
        /// The log dir.
        dir: PathBuf,
        /// The cluster to which the broker belongs.
        expected: String,
        /// The one in `meta.properties`.
        found: String,
    },
    /// It belongs to another node.
    #[error(
        "log dir {} belongs to node {found}, this is node {expected}: correct node.id or log.dirs",
        dir.display()
    )]
    WrongNode {
        /// The log dir.
        dir: PathBuf,
        /// This node.
        expected: i32,
        /// The one in `meta.properties`.
        found: i32,
    },
    /// `meta.properties` cannot be understood.
    #[error("{}: {reason}: restore the file from a backup, or remove it with the whole log dir", path.display())]
    InvalidMeta {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
