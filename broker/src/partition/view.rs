//! What everybody but its worker knows of a replica.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};

use super::{Role, TopicSettings};
use crate::handlers::SliceSource;

/// A replica at one moment: published by its worker at most once per step, read by anybody.
///
/// Invariant: `log_start ≤ last_stable ≤ high_watermark ≤ log_end`, except that a log whose start was
/// moved beyond a high watermark has both at the start.
#[derive(Debug, Clone)]
pub struct View {
    /// What the replica is.
    pub role: Role,
    /// Who leads, `BrokerId::NONE` if nobody does or it is not known.
    pub leader: BrokerId,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// First offset that can be read.
    pub log_start: Offset,
    /// Offset that the next record gets.
    pub log_end: Offset,
    /// Consumers read below this.
    pub high_watermark: Offset,
    /// Consumers that want committed records only read below this.
    pub last_stable: Offset,
    /// First offset of the leader's epoch; a high watermark below it is not the last word.
    pub epoch_start: Offset,
    /// What the topic is configured to.
    pub settings: Arc<TopicSettings>,
    /// Where the records are.
    pub log: Arc<dyn LogReader>,
}

/// What may be read, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRange {
    /// The first batch that is returned holds this offset, or is the next after it.
    pub from: Offset,
    /// Nothing at or above this is returned.
    pub below: Offset,
    /// Bytes; the last batch may be cut off.
    pub bytes_max: u32,
    /// Return the first batch whole even if it is larger than `bytes_max`.
    pub is_first_whole: bool,
}

/// Bytes of a log.
#[derive(Clone)]
pub struct Located {
    /// The file.
    pub source: Arc<dyn SliceSource>,
    /// First byte.
    pub position: u64,
    /// Bytes; 0 if there is nothing to read.
    pub len: u32,
}

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Its timestamp, Unix ms.
    pub timestamp: i64,
    /// Its offset.
    pub offset: Offset,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

/// A log as readers see it, at the moment of its view. `may_wait` says whether waiting for the disk is
/// allowed; without it, what is not in memory is [`io::ErrorKind::WouldBlock`].
pub trait LogReader: Debug + Send + Sync {
    /// Where the bytes of a range are.
    fn locate(&self, range: ReadRange, may_wait: bool) -> io::Result<Located>;

    /// The first record at or after `timestamp` and below `below`. May wait for the disk.
    fn find_timestamp(&self, timestamp: i64, below: Offset) -> io::Result<Option<TimestampOffset>>;

    /// The record with the largest timestamp. May wait for the disk.
    fn max_timestamp(&self) -> io::Result<Option<TimestampOffset>>;

    /// The largest epoch at or below `epoch` that the log holds, and the offset where it ends.
    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;

    /// The epoch of the record at `offset`, or that of the log's last one if it is the end.
    fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch>;

    /// Bytes of all segments.
    fn size(&self) -> u64;
}

impl View {
    /// Refuses requests that know of another leader epoch; −1 knows of none.
    pub fn check_epoch(&self, known: i32) -> Result<(), ErrorCode> {
        if self.role == Role::Offline {
            return Err(ErrorCode::KafkaStorageError);
        }
        if known == -1 || known == self.leader_epoch.0 {
            return Ok(());
        }
        if known < self.leader_epoch.0 {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        Err(ErrorCode::UnknownLeaderEpoch)
    }

    /// As [`View::check_epoch`], and refuses if this replica does not lead.
    pub fn check_leader(&self, known: i32) -> Result<(), ErrorCode> {
        self.check_epoch(known)?;
        if self.role == Role::Leader { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }
}

impl std::fmt::Debug for Located {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Located")
            .field("position", &self.position)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
