//! What becomes of the answers of the leader, and of the workers.

use ottla_protocol::ErrorCode;
use ottla_protocol::types::Offset;

use super::{Bounds, Effect, FollowOutcome, Follower, Moment, State, Then, Ticket};
use crate::replication::Key;
use crate::replication::answer::{Answer, PartitionAnswer};
use crate::worker::{FollowAction, FollowError, Followed, FollowerBatches};

impl Follower {
    // === answers of the leader ===

    /// Takes the answer to the fetch in flight.
    pub fn handle_answer(&mut self, answer: Answer, moment: Moment, effects: &mut Vec<Effect>) {
        self.in_flight = false;
        match answer.error {
            ErrorCode::None => {}
            ErrorCode::FetchSessionIdNotFound => {
                self.session.reset(0);
                return;
            }
            ErrorCode::InvalidFetchSessionEpoch | ErrorCode::FetchSessionTopicIdError => {
                return self.session.reset_closing();
            }
            error => {
                tracing::warn!(lane = ?self.kind, error = error.name(), "leader refuses to be fetched from");
                return self.fail(moment);
            }
        }
        self.failures = 0;
        let held = self.outstanding.begin(answer.bytes);
        for partition in answer.partitions {
            self.handle_partition((partition, held), moment, effects);
        }
        self.outstanding.end(held);
        self.session.on_answer(answer.session_id);
    }

    /// The fetch in flight was not answered.
    pub fn handle_failure(&mut self, moment: Moment) {
        self.in_flight = false;
        self.fail(moment);
    }

    fn fail(&mut self, moment: Moment) {
        self.session.reset_closing();
        self.failures = self.failures.saturating_add(1);
        self.retry_at = moment.now + self.config.backoff.delay(self.failures, moment.random);
    }

    fn handle_partition(
        &mut self,
        (answer, held): (PartitionAnswer, u64),
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let key = answer.key;
        let asked = self.session.asked(key);
        let Some(partition) = self.partitions.get(&key) else { return };
        // An answer to what is not asked any more, in another epoch or before a cut, is dropped unread.
        let Some(wanted) = partition.wanted().filter(|wanted| asked == Some(*wanted)) else {
            return;
        };
        match answer.error {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                let ticket = self.set_busy(key);
                let leader_epoch = wanted.leader_epoch;
                return effects.push(Effect::LookUp { key, leader_epoch, ticket });
            }
            error => {
                self.note_error(key, error);
                return self.pause(key, Then::Fetch, moment);
            }
        }
        if let Some((epoch, end)) = answer.diverging {
            if end < Offset(0) {
                // Whoever does not know where the logs part must not have one cut to nothing.
                tracing::error!(topic_id = %key.0, partition = key.1, %epoch, %end,
                    "the leader says that the logs part, and not where");
                return self.pause(key, Then::Fetch, moment);
            }
            let action = FollowAction::CutDiverging { epoch, end };
            return self.send(key, action, effects);
        }
        let batches = match answer.check_continues(wanted.offset, wanted.leader_epoch) {
            Ok(batches) => batches.to_vec(),
            Err(error) => {
                tracing::error!(topic_id = %key.0, partition = key.1, offset = %wanted.offset, %error,
                    "the leader sent records that cannot be right; they are not appended");
                return self.pause(key, Then::Fetch, moment);
            }
        };
        self.append((answer, held), batches, effects);
    }

    fn append(
        &mut self,
        (answer, held): (PartitionAnswer, u64),
        batches: Vec<ottla_protocol::record_batch::Batch>,
        effects: &mut Vec<Effect>,
    ) {
        let key = answer.key;
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        let marks = (answer.high_watermark, answer.log_start);
        if batches.is_empty() && partition.marks == marks {
            partition.failures = 0;
            return;
        }
        partition.marks = marks;
        let action = FollowAction::Append(FollowerBatches {
            from: partition.end,
            bytes: answer.bytes,
            high_watermark: answer.high_watermark,
            log_start: answer.log_start,
            batches,
        });
        let is_empty = answer.bytes == 0;
        let leader_epoch = partition.leader_epoch;
        if !is_empty {
            self.send(key, action, effects);
            if let Some(partition) = self.partitions.get_mut(&key) {
                partition.held = Some(held);
                self.outstanding.hold(held);
            }
            return;
        }
        partition.failures = 0;
        let lag = answer.high_watermark - partition.end;
        let moves_start = partition.log_start < answer.log_start;
        self.set_lag(key, lag);
        if moves_start {
            // The leader waits to hear that it is so, before it says that what it deleted is gone.
            return self.send(key, action, effects);
        }
        // Other marks change nothing about what is fetched next.
        effects.push(Effect::Worker { key, leader_epoch, action, ticket: None });
    }

    /// The leader told the bounds of its log, or not.
    pub fn handle_bounds(
        &mut self,
        (key, ticket): (Key, Ticket),
        bounds: Result<Bounds, ErrorCode>,
        moment: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(partition) = self.partitions.get(&key) else { return };
        if partition.state != State::Busy(ticket) {
            return;
        }
        let end = partition.end;
        match bounds {
            Err(error) => {
                self.note_error(key, error);
                self.pause(key, Then::Fetch, moment);
            }
            Ok(bounds) if end < bounds.start => {
                tracing::warn!(topic_id = %key.0, partition = key.1, %end, leader_start = %bounds.start,
                    "the leader has removed what follows the log here; it begins anew");
                self.send(key, FollowAction::StartAnew { at: bounds.start }, effects);
            }
            Ok(bounds) if bounds.end < end => {
                // With epochs the leader would have said where the logs part. It knows none of ours, so all
                // that is certain is that its log is shorter.
                tracing::error!(topic_id = %key.0, partition = key.1, %end, leader_end = %bounds.end,
                    "the log here is longer than its leader's; it is cut");
                self.send(key, FollowAction::CutTo { end: bounds.end }, effects);
            }
            Ok(_) => self.pause(key, Then::Fetch, moment),
        }
    }

    // === answers of workers ===

    /// A worker has done, or not, what it was asked.
    pub fn handle_followed(
        &mut self,
        (key, ticket): (Key, Ticket),
        result: Result<Followed, FollowError>,
        moment: Moment,
    ) -> FollowOutcome {
        let Some(partition) = self.partitions.get_mut(&key) else { return FollowOutcome::None };
        if partition.state != State::Busy(ticket) {
            return FollowOutcome::None;
        }
        match result {
            Ok(followed) => {
                let has_moved = partition.end != followed.log_end;
                partition.end = followed.log_end;
                partition.log_start = followed.log_start;
                partition.last_epoch = followed.last_epoch;
                if has_moved {
                    partition.failures = 0;
                }
                let lag = partition.lag();
                self.set_state(key, State::Ready);
                self.set_lag(key, lag);
                if 0 < lag { FollowOutcome::Behind } else { FollowOutcome::None }
            }
            Err(error) => {
                self.handle_follow_error(key, error, moment);
                FollowOutcome::None
            }
        }
    }

    fn handle_follow_error(&mut self, key: Key, error: FollowError, moment: Moment) {
        let (topic_id, partition) = key;
        match error {
            // The replica has another role or epoch: whoever changed it tells us what to follow.
            FollowError::OtherEpoch | FollowError::Gone => {}
            FollowError::Offline => return self.set_state(key, State::Failed),
            FollowError::OutOfSpace => {
                tracing::warn!(%topic_id, partition, "no room on the disk; following stops for a moment");
            }
            error => {
                tracing::error!(%topic_id, partition, %error, "a log cannot follow its leader")
            }
        }
        self.pause(key, Then::Begin, moment);
    }
}
