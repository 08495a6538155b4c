//! What a worker does to a log that follows a leader elsewhere.

use ottla_protocol::record_batch::Batch;
use ottla_protocol::time::Now;
use ottla_protocol::types::{LeaderEpoch, Offset};
use ottla_storage::{AppendError, LoadError, LogIo};
use tokio::sync::oneshot;

use super::slot::Slot;
use super::{SlotKey, Worker};
use crate::partition::Role;
use crate::partition::replica::Input;
use crate::replication::divergence::truncation_offset;

/// A fetcher's wish. Refused unless the replica follows in just this epoch.
#[derive(Debug)]
pub struct Follow {
    /// Which replica.
    pub slot: SlotKey,
    /// The epoch in which it is followed.
    pub leader_epoch: LeaderEpoch,
    /// What is to be done.
    pub action: FollowAction,
    /// Told what became of it; with `flush.messages=1`, once the log is on disk up to its end.
    pub reply: Option<FollowReply>,
}

/// Where a [`Follow`] is answered.
pub type FollowReply = oneshot::Sender<Result<Followed, FollowError>>;

/// What a fetcher wants done to a log.
#[derive(Debug, Clone, PartialEq)]
pub enum FollowAction {
    /// Nothing: tell where the log ends.
    Begin,
    /// Append what the leader sent, and take note of its marks.
    Append(FollowerBatches),
    /// The leader's largest epoch at or below the last one here is `epoch`, and ends at `end`: cut what
    /// cannot be in its log.
    CutDiverging {
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// Where it ends there.
        end: Offset,
    },
    /// Cut everything from `end` on.
    CutTo {
        /// The new end.
        end: Offset,
    },
    /// Remove everything; the log begins at `at`.
    StartAnew {
        /// The new start and end.
        at: Offset,
    },
}

/// Records from a leader, checked: whole batches with right checksums and ascending offsets.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowerBatches {
    /// The end of the log for which they were fetched.
    pub from: Offset,
    /// The batches, possibly none.
    pub batches: Vec<Batch>,
    /// Their bytes.
    pub bytes: u64,
    /// The leader's high watermark, −1 if it is not known.
    pub high_watermark: Offset,
    /// First offset of the leader's log, −1 if it is not known.
    pub log_start: Offset,
}

/// How a log stands after what was done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// First offset.
    pub log_start: Offset,
    /// Offset of the next record. If the topic is durable, everything below is on disk.
    pub log_end: Offset,
    /// The newest epoch of the log; `LeaderEpoch::NONE` without one.
    pub last_epoch: LeaderEpoch,
}

/// Why a wish was not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The replica leads, or follows in another epoch.
    #[error("the replica does not follow in this epoch")]
    OtherEpoch,
    /// There is no such replica, or its worker has ended.
    #[error("the replica is not here any more")]
    Gone,
    /// Its disk failed.
    #[error("the replica's log is offline")]
    Offline,
    /// The disk is full, or nearly.
    #[error("the disk is full")]
    OutOfSpace,
    /// The leader's epoch is below one that the log has records of: the metadata went back.
    #[error("the log has seen leader epoch {latest}, beyond {leader_epoch} that it is to follow")]
    StaleLeaderEpoch {
        /// The newest in the log.
        latest: LeaderEpoch,
        /// The one to follow.
        leader_epoch: LeaderEpoch,
    },
    /// The log ends elsewhere than when the records were fetched.
    #[error("the log ends at {log_end}, the records were fetched for {from}")]
    OtherEnd {
        /// What they were fetched for.
        from: Offset,
        /// Where it ends.
        log_end: Offset,
    },
    /// The log does not take the records.
    #[error("{0}")]
    Refused(String),
}

impl Follow {
    /// Bytes that are to be appended.
    pub const fn bytes(&self) -> u64 {
        match &self.action {
            FollowAction::Append(batches) => batches.bytes,
            _ => 0,
        }
    }
}

/// Segments removed at once behind a log start that the leader moved.
const SEGMENTS_REMOVED_MAX: usize = 1024;

impl<I: LogIo> Worker<I> {
    /// Does what a fetcher wishes, and answers now or when the log is on disk.
    pub(super) fn run_follow(&mut self, follow: Follow, now: Now) {
        let Follow { slot, leader_epoch, action, reply } = follow;
        let result = match self.check_follow(slot, leader_epoch) {
            Ok(at) => self.follow(at, action, now),
            Err(error) => Err(error),
        };
        let Some(reply) = reply else { return };
        match result {
            Ok(()) => self.await_flush(slot.index as usize, leader_epoch, reply),
            // Whoever asked may be gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Answers the fetcher whose records are on disk by now. To be called when that may have changed.
    pub(super) fn settle_follow(&mut self, at: usize) {
        let Some(slot) = self.slots[at].as_mut() else { return };
        if let Some((leader_epoch, reply)) = slot.follow_reply.take() {
            self.await_flush(at, leader_epoch, reply);
        }
    }

    fn await_flush(&mut self, at: usize, leader_epoch: LeaderEpoch, reply: FollowReply) {
        let Some(slot) = self.slots[at].as_mut() else { return };
        // Were the end of a later epoch told as that of this one, the leader of this one would count records
        // as replicated that nobody else has.
        if let Err(error) = Self::check_role(slot, leader_epoch) {
            return drop(reply.send(Err(error)));
        }
        if slot.settings.is_durable && slot.log.flushed_end() < slot.log.log_end() {
            // A former one belonged to a fetcher that asks no more; it learns that by its drop.
            slot.follow_reply = Some((leader_epoch, reply));
            return;
        }
        let followed = Followed {
            log_start: slot.log.log_start(),
            log_end: slot.log.log_end(),
            last_epoch: slot.log.latest_epoch().unwrap_or(LeaderEpoch::NONE),
        };
        drop(reply.send(Ok(followed)));
    }

    fn check_follow(&self, key: SlotKey, leader_epoch: LeaderEpoch) -> Result<usize, FollowError> {
        let slot = self.slot(key).ok_or(FollowError::Gone)?;
        Self::check_role(slot, leader_epoch)?;
        match slot.log.latest_epoch() {
            Some(latest) if leader_epoch < latest => {
                Err(FollowError::StaleLeaderEpoch { latest, leader_epoch })
            }
            _ => Ok(key.index as usize),
        }
    }

    fn check_role(slot: &Slot<I>, leader_epoch: LeaderEpoch) -> Result<(), FollowError> {
        match slot.replica.role() {
            Role::Offline => Err(FollowError::Offline),
            Role::Follower if slot.replica.leader_epoch() == leader_epoch => Ok(()),
            Role::Follower | Role::Leader => Err(FollowError::OtherEpoch),
        }
    }

    fn follow(&mut self, at: usize, action: FollowAction, now: Now) -> Result<(), FollowError> {
        let Some(slot) = self.slots[at].as_mut() else { return Err(FollowError::Gone) };
        match action {
            FollowAction::Begin => Ok(()),
            FollowAction::Append(batches) => self.append_followed(at, &batches, now),
            FollowAction::CutDiverging { epoch, end } => {
                let log = &slot.log;
                let to = truncation_offset(log.epochs(), log.log_end(), (epoch, end));
                self.cut(at, to, now)
            }
            FollowAction::CutTo { end } => self.cut(at, end, now),
            FollowAction::StartAnew { at: start } => self.start_anew(at, start, now),
        }
    }

    // === appending ===

    fn append_followed(
        &mut self,
        at: usize,
        append: &FollowerBatches,
        now: Now,
    ) -> Result<(), FollowError> {
        let Some(slot) = self.slots[at].as_ref() else { return Err(FollowError::Gone) };
        let (log_start, log_end) = (slot.log.log_start(), slot.log.log_end());
        let FollowerBatches { from, bytes, high_watermark, .. } = *append;
        if log_end != from {
            return match append.batches.is_empty() {
                // Marks that were overtaken by a cut.
                true => Ok(()),
                false => Err(FollowError::OtherEnd { from, log_end }),
            };
        }
        let first = append.batches.first().map(|batch| batch.header.base_offset);
        if let Some(first) = first
            && first < from
        {
            if log_start != log_end {
                return Err(FollowError::OtherEnd { from: first, log_end });
            }
            // The leader's log starts within a batch, and an empty one here was begun at that offset.
            self.start_anew(at, first, now)?;
        }
        let appended = self.append_batches(at, &append.batches, now);
        // Also after an error: the batches before the one that failed are in the log.
        let end = self.slots[at].as_ref().map_or(from, |slot| slot.log.log_end());
        self.handle(at, Input::Followed { end, bytes, high_watermark });
        appended?;
        self.move_log_start(at, append.log_start.max(log_start))?;
        self.flush_if_due(at, now);
        Ok(())
    }

    fn append_batches(
        &mut self,
        at: usize,
        batches: &[Batch],
        now: Now,
    ) -> Result<(), FollowError> {
        if batches.is_empty() {
            return Ok(());
        }
        let Some(slot) = self.slots[at].as_mut() else { return Err(FollowError::Gone) };
        match slot.log.append_as_follower(batches, now) {
            Ok(_) => Ok(()),
            Err(AppendError::Storage(failure)) => {
                self.fail_dir(failure);
                Err(FollowError::Offline)
            }
            Err(AppendError::OutOfSpace { .. }) => Err(FollowError::OutOfSpace),
            Err(error) => Err(FollowError::Refused(error.to_string())),
        }
    }

    /// Whatever the leader has deleted goes here too.
    fn move_log_start(&mut self, at: usize, start: Offset) -> Result<(), FollowError> {
        let Some(slot) = self.slots[at].as_mut() else { return Err(FollowError::Gone) };
        if start <= slot.log.log_start() {
            return Ok(());
        }
        let moved = slot.log.advance_log_start(start).and_then(|start| {
            slot.log.remove_deleted_segments(SEGMENTS_REMOVED_MAX)?;
            Ok(start)
        });
        match moved {
            Ok(start) => {
                self.handle(at, Input::StartMoved { start });
                Ok(())
            }
            Err(failure) => {
                self.fail_dir(failure);
                Err(FollowError::Offline)
            }
        }
    }

    // === cutting ===

    fn cut(&mut self, at: usize, to: Offset, now: Now) -> Result<(), FollowError> {
        let Some(slot) = self.slots[at].as_mut() else { return Err(FollowError::Gone) };
        let (log_end, high_watermark) = (slot.log.log_end(), slot.replica.high_watermark());
        if to < high_watermark {
            tracing::error!(partition = %slot.log.partition(), %log_end, %high_watermark, cut_at = %to,
                "records below the high watermark are cut off, for the leader does not have them");
        }
        let cut = slot.log.truncate_to(to, now).map(drop);
        self.after_cut(at, cut)
    }

    fn start_anew(&mut self, at: usize, start: Offset, now: Now) -> Result<(), FollowError> {
        let Some(slot) = self.slots[at].as_mut() else { return Err(FollowError::Gone) };
        let cut = slot.log.truncate_fully_and_start_at(start, now);
        self.after_cut(at, cut)
    }

    fn after_cut(&mut self, at: usize, cut: Result<(), LoadError>) -> Result<(), FollowError> {
        let Some(slot) = self.slots[at].as_mut() else { return Err(FollowError::Gone) };
        match cut {
            Ok(()) => {
                let (start, end) = (slot.log.log_start(), slot.log.log_end());
                self.handle(at, Input::Truncated { start, end });
                Ok(())
            }
            Err(LoadError::Storage(failure)) => {
                self.fail_dir(failure);
                Err(FollowError::Offline)
            }
            Err(error) => {
                // Half cut: nothing may be read from it or appended to it.
                tracing::error!(partition = %slot.log.partition(), %error, "a log cannot be cut; it is offline");
                self.handle(at, Input::Failed);
                Err(FollowError::Offline)
            }
        }
    }
}
