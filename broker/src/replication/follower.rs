//! What one lane follows of one leader, as a state machine: answers and outcomes go in, requests and effects
//! come out.

mod answers;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_client::Backoff;
use ottla_protocol::ErrorCode;
use ottla_protocol::types::{LeaderEpoch, Offset};

use super::Key;
use super::outstanding::Outstanding;
use super::session::{Session, Wanted};
use crate::worker::FollowAction;

/// Which of a leader's two lanes this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneKind {
    /// Partitions that have what the leader has, but for the newest.
    InSync,
    /// Partitions that are more than one answer behind, and those that came while the other lane was
    /// waiting for something new.
    CatchingUp,
}

/// How a lane fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchConfig {
    /// `replica.fetch.max.bytes`: of one partition in one answer. Default 1 MiB.
    pub partition_bytes_max: i32,
    /// `replica.fetch.response.max.bytes`: of one answer. Default 10 MiB.
    pub response_bytes_max: i32,
    /// `replica.fetch.wait.max.ms`: how long the leader may wait for something new. Default 500 ms.
    pub wait_max: Duration,
    /// `replica.fetch.min.bytes`: what it waits for. Default 1.
    pub min_bytes: i32,
    /// Pauses after failures, of a partition or the whole lane, up to `replica.fetch.backoff.ms`. Default
    /// 20 ms to 1 s.
    pub backoff: Backoff,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            partition_bytes_max: 1 << 20,
            response_bytes_max: 10 << 20,
            wait_max: Duration::from_millis(500),
            min_bytes: 1,
            backoff: Backoff { initial: BACKOFF_MIN, max: Duration::from_secs(1) },
        }
    }
}

/// The first pause: a leader that has not heard of its election yet will in a moment.
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// When something happens, with a random number from 0 to 1 that spreads pauses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// On the monotonic clock.
    pub now: Duration,
    /// Drawn for this moment.
    pub random: f64,
}

/// Names one errand of a partition; what comes back with another is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Where a leader's log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// First offset.
    pub start: Offset,
    /// Offset of the next record.
    pub end: Offset,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Ask the worker of this partition; it answers to [`Follower::handle_followed`].
    Worker {
        /// Which partition.
        key: Key,
        /// The epoch that is followed.
        leader_epoch: LeaderEpoch,
        /// What is to be done with the log.
        action: FollowAction,
        /// For the answer; `None` if none is wanted.
        ticket: Option<Ticket>,
    },
    /// Ask the leader for the bounds of its log, for [`Follower::handle_bounds`].
    LookUp {
        /// Which partition.
        key: Key,
        /// The epoch that is followed.
        leader_epoch: LeaderEpoch,
        /// For the answer.
        ticket: Ticket,
    },
}

/// What [`Follower::handle_followed`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowOutcome {
    /// Nothing to be done about it.
    None,
    /// The leader's high watermark is beyond what was appended last: the partition belongs into the lane of
    /// those that catch up.
    Behind,
}

/// One partition that is followed. Can be handed from lane to lane with [`Follower::take`] and
/// [`Follower::put`].
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    leader_epoch: LeaderEpoch,
    state: State,
    /// End of the log here; on disk, if the topic is durable.
    end: Offset,
    last_epoch: LeaderEpoch,
    log_start: Offset,
    /// What the leader said last, and the worker was told.
    marks: (Offset, Offset),
    /// In a row.
    failures: u32,
    /// The answer whose records its worker is appending.
    held: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be fetched.
    Ready,
    /// Its worker, or the leader beside the fetches, is doing something for it.
    Busy(Ticket),
    /// Left alone until then.
    Delayed { until: Duration, then: Then },
    /// Left alone until it is assigned anew.
    Failed,
}

/// What ends a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Fetch,
    /// The log may have changed: ask where it ends first.
    Begin,
}

/// The partitions that one lane follows, and its session with the leader. Does no IO and knows no time.
///
/// | state of a partition | goes on when |
/// |---|---|
/// | `Busy` | worker or leader answered: `Ready`, or `Delayed` after an error |
/// | `Ready` | an answer has records or says that the logs part: `Busy`; an error: `Delayed` |
/// | `Delayed` | time passed: `Ready`, or `Busy` if the log has to be looked at |
/// | `Failed` | it is followed in a newer epoch: `Busy` |
///
/// At most one fetch is in flight. Partitions that are `Busy` are waited for a moment, since most appends
/// take no longer; then the others are fetched without them.
#[derive(Debug)]
pub struct Follower {
    config: FetchConfig,
    kind: LaneKind,
    partitions: BTreeMap<Key, Partition>,
    session: Session,
    /// Ends of pauses.
    timers: BTreeSet<(Duration, Key)>,
    /// By how many records partitions are behind the leader's high watermark, those that are.
    lags: BTreeSet<(i64, Key)>,
    lag_of: BTreeMap<Key, i64>,
    /// At rest, with everything up to the leader's high watermark.
    caught_up: BTreeSet<Key>,
    ready: usize,
    busy: usize,
    failed: usize,
    /// Since when something is busy and no fetch is in flight.
    idle_since: Option<Duration>,
    in_flight: bool,
    outstanding: Outstanding,
    failures: u32,
    /// After a failure of the whole lane.
    retry_at: Duration,
    next_ticket: u64,
}

impl Follower {
    /// Follows nothing yet.
    pub fn new(kind: LaneKind, config: FetchConfig) -> Self {
        Self {
            config,
            kind,
            partitions: BTreeMap::new(),
            session: Session::default(),
            timers: BTreeSet::new(),
            lags: BTreeSet::new(),
            lag_of: BTreeMap::new(),
            caught_up: BTreeSet::new(),
            ready: 0,
            busy: 0,
            failed: 0,
            idle_since: None,
            in_flight: false,
            outstanding: Outstanding::default(),
            failures: 0,
            retry_at: Duration::ZERO,
            // Both lanes may have errands of one partition.
            next_ticket: match kind {
                LaneKind::InSync => 0,
                LaneKind::CatchingUp => 1,
            },
        }
    }

    // === what is followed ===

    /// Follows a partition in `leader_epoch`, after asking its worker where the log ends. An epoch that is
    /// followed already, or a newer one, stays.
    pub fn follow(&mut self, key: Key, leader_epoch: LeaderEpoch, effects: &mut Vec<Effect>) {
        if self.partitions.get(&key).is_some_and(|known| leader_epoch <= known.leader_epoch) {
            return;
        }
        self.stop(key);
        let partition = Partition {
            leader_epoch,
            state: State::Failed,
            end: Offset(0),
            last_epoch: LeaderEpoch::NONE,
            log_start: Offset(0),
            marks: (Offset::NONE, Offset::NONE),
            failures: 0,
            held: None,
        };
        self.failed += 1;
        self.partitions.insert(key, partition);
        self.begin(key, effects);
    }

    /// Follows a partition no more.
    pub fn stop(&mut self, key: Key) -> bool {
        self.take(key).is_some()
    }

    /// Gives a partition away, to another lane.
    pub fn take(&mut self, key: Key) -> Option<Partition> {
        self.set_state(key, State::Failed);
        let partition = self.partitions.remove(&key)?;
        self.failed -= 1;
        self.set_lag(key, 0);
        Some(partition)
    }

    /// Takes a partition over from another lane. Only what is at rest may change lanes.
    pub fn put(&mut self, key: Key, partition: Partition) {
        self.stop(key);
        self.failed += 1;
        let lag = partition.lag();
        self.partitions.insert(key, Partition { state: State::Failed, ..partition });
        self.set_lag(key, lag);
        self.set_state(key, State::Ready);
    }

    /// Whether it follows this partition.
    pub fn contains(&self, key: Key) -> bool {
        self.partitions.contains_key(&key)
    }

    /// Partitions at rest that have everything up to the leader's high watermark.
    pub fn caught_up(&self) -> Vec<Key> {
        self.caught_up.iter().copied().collect()
    }

    /// Does not fetch a partition until then, unless it is busy.
    pub fn delay(&mut self, key: Key, until: Duration) {
        let partition = self.partitions.get(&key);
        if partition.is_some_and(|partition| partition.state == State::Ready) {
            self.set_state(key, State::Delayed { until, then: Then::Fetch });
        }
    }

    // === figures ===

    /// The largest number of records that a partition is behind its leader's high watermark.
    pub fn lag_max(&self) -> i64 {
        self.lags.last().map_or(0, |(lag, _)| *lag)
    }

    /// Partitions that are left alone because their disk failed.
    pub const fn failed(&self) -> usize {
        self.failed
    }

    /// Partitions that it follows.
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// True if it follows none.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Whether a fetch is in flight.
    pub const fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    // === states ===

    fn begin(&mut self, key: Key, effects: &mut Vec<Effect>) {
        self.send(key, FollowAction::Begin, effects);
    }

    fn send(&mut self, key: Key, action: FollowAction, effects: &mut Vec<Effect>) {
        let ticket = self.set_busy(key);
        let Some(partition) = self.partitions.get(&key) else { return };
        let leader_epoch = partition.leader_epoch;
        effects.push(Effect::Worker { key, leader_epoch, action, ticket: Some(ticket) });
    }

    fn set_busy(&mut self, key: Key) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 2;
        self.set_state(key, State::Busy(ticket));
        ticket
    }

    fn pause(&mut self, key: Key, then: Then, moment: Moment) {
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        partition.failures = partition.failures.saturating_add(1);
        let until = moment.now + self.config.backoff.delay(partition.failures, moment.random);
        self.session.name_again(key);
        self.set_state(key, State::Delayed { until, then });
    }

    fn note_error(&self, (topic_id, partition): Key, error: ErrorCode) {
        match error {
            // Leader and follower hear of elections at different times.
            ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition => {
                tracing::debug!(%topic_id, partition, error = error.name(), "not fetched for now");
            }
            _ => tracing::warn!(%topic_id, partition, error = error.name(), "cannot be fetched"),
        }
    }

    fn set_state(&mut self, key: Key, state: State) {
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        let former = std::mem::replace(&mut partition.state, state);
        match former {
            State::Ready => self.ready -= 1,
            State::Busy(_) => {
                self.busy -= 1;
                if let Some(held) = partition.held.take() {
                    self.outstanding.release(held);
                }
            }
            State::Delayed { until, .. } => drop(self.timers.remove(&(until, key))),
            State::Failed => self.failed -= 1,
        }
        match state {
            State::Ready => self.ready += 1,
            State::Busy(_) => self.busy += 1,
            State::Delayed { until, .. } => drop(self.timers.insert((until, key))),
            State::Failed => self.failed += 1,
        }
        self.session.mark(key);
        if self.busy == 0 {
            self.idle_since = None;
        }
        self.note_caught_up(key);
    }

    fn note_caught_up(&mut self, key: Key) {
        let is_caught_up = self.partitions.get(&key).is_some_and(|partition| {
            let has_heard = partition.marks.0 != Offset::NONE;
            has_heard && partition.state == State::Ready && !self.lag_of.contains_key(&key)
        });
        if is_caught_up {
            self.caught_up.insert(key);
        } else {
            self.caught_up.remove(&key);
        }
    }

    fn set_lag(&mut self, key: Key, lag: i64) {
        if let Some(former) = self.lag_of.remove(&key) {
            self.lags.remove(&(former, key));
        }
        if 0 < lag {
            self.lag_of.insert(key, lag);
            self.lags.insert((lag, key));
        }
        self.note_caught_up(key);
    }
}

impl Partition {
    fn wanted(&self) -> Option<Wanted> {
        (self.state == State::Ready).then_some(Wanted {
            offset: self.end,
            last_epoch: self.last_epoch,
            leader_epoch: self.leader_epoch,
            log_start: self.log_start,
        })
    }

    /// Records up to the leader's high watermark that are missing; not above 0 if none are known of.
    fn lag(&self) -> i64 {
        match self.marks.0 {
            Offset::NONE => 0,
            high_watermark => high_watermark - self.end,
        }
    }

    /// The epoch that it is followed in.
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Whether it can change lanes.
    pub fn is_at_rest(&self) -> bool {
        self.state == State::Ready
    }
}
