//! What everybody but its worker knows of a replica.

use std::fmt::Debug;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};
use ottla_storage::{ReadError, TimestampOffset};

use super::{FollowerView, Role, TopicSettings};
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
    /// The partition epoch that a leader knows; what its followers reported before may not count since.
    pub partition_epoch: i64,
    /// The followers of a leader, each as far as it has come; empty where this replica does not lead.
    pub followers: Box<[FollowerView]>,
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
    /// Bytes, whole batches.
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
    /// Bytes.
    pub len: u32,
}

/// A log as readers see it, at the moment of its view. `may_wait` says whether waiting for the disk is
/// allowed; without it, what is not in memory is [`ReadError::WouldBlock`].
pub trait LogReader: Debug + Send + Sync {
    /// Where the bytes of a range are; `None` if there are none.
    fn locate(&self, range: ReadRange, may_wait: bool) -> Result<Option<Located>, ReadError>;

    /// The first record whose timestamp is at least `timestamp`. May wait for the disk.
    fn find_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, ReadError>;

    /// The record with the largest timestamp. May wait for the disk.
    fn max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError>;

    /// The largest epoch at or below `epoch` that the log holds, and the offset where it ends.
    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;

    /// The epoch of the record at `offset`, or that of the log's last one if it is the end.
    fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch>;

    /// Bytes of all segments.
    fn size(&self) -> u64;
}

/// What became of a comparison of two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// One goes on in the other.
    Agrees,
    /// They part: the largest epoch that both may have, and where it ends in this one.
    Diverges(LeaderEpoch, Offset),
}

/// Whether a replica that asks for `from` has everything below it. It names the epoch that it follows and the
/// one of its last record (−1 = none); the log that it asks has its epoch and start in `own`, and agrees.
pub fn shows_progress(from: Offset, named: (i32, i32), own: (LeaderEpoch, Offset)) -> bool {
    let has_nothing_before = from <= own.1;
    named.0 == own.0.0 && (named.1 != -1 || has_nothing_before)
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

    /// Where an epoch ends: the largest epoch at or below `epoch`, and its end. A leader's own epoch ends
    /// where its log does, also before it has records.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        if self.role != Role::Leader {
            return self.log.epoch_end(epoch);
        }
        if epoch == self.leader_epoch {
            return Some((epoch, self.log_end));
        }
        self.log.epoch_end(epoch).or_else(|| {
            // The log may know no epoch as large because the present one has no records yet: it begins at
            // the end all the same, and what is older ends there.
            let latest = self.log.epoch_at(self.log_end).unwrap_or(epoch);
            let is_past = LeaderEpoch(0) <= epoch && epoch < self.leader_epoch;
            (is_past && latest <= epoch).then_some((latest, self.log_end))
        })
    }

    /// Whether a log that ends at `from`, with a last record of epoch `last_epoch` (−1 = not told), goes on in
    /// this one.
    pub fn compare(&self, from: Offset, last_epoch: i32) -> Result<Continuation, ErrorCode> {
        if last_epoch != -1 {
            let found = self.end_of_epoch(LeaderEpoch(last_epoch));
            let (epoch, end) = found.ok_or(ErrorCode::OffsetOutOfRange)?;
            if epoch.0 < last_epoch || end < from {
                return Ok(Continuation::Diverges(epoch, end));
            }
        }
        if from < self.log_start || self.log_end < from {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        Ok(Continuation::Agrees)
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
