//! One replica of a partition, as a state machine: inputs go in, effects come out.

use std::collections::VecDeque;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};

use super::ack_queue::{AckQueue, IDLE_CAPACITY};
use super::high_watermark::HighWatermark;

/// What a replica is for its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes writes and serves reads.
    Leader,
    /// Has a log and does not lead: somebody else does, or nobody.
    Follower,
    /// Its log cannot be used, because its disk failed.
    Offline,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// `acks=0`: nobody is told of success.
    None,
    /// `acks=1`: the leader has it (on disk, with `flush.messages=1`).
    Leader,
    /// `acks=-1`: the high watermark has passed it.
    All,
}

/// What topic and broker configuration say to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `flush.messages=1`: what is not on disk does not count, neither for acknowledgements nor for the
    /// high watermark.
    pub is_durable: bool,
    /// `min.insync.replicas`; never more are asked for than the partition has replicas.
    pub in_sync_min: usize,
}

/// Who leads, as the cluster's metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The leader, `BrokerId::NONE` if there is none.
    pub leader: BrokerId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of the partition's metadata: the mod revision of its key.
    pub partition_epoch: i64,
    /// True if the leader is this broker *in its present life*: the broker epoch agrees as well.
    pub leads: bool,
    /// All replicas, this one included.
    pub replicas: Vec<BrokerId>,
    /// Those in sync.
    pub in_sync: Vec<BrokerId>,
    /// Replicas whose brokers are neither fenced nor draining, each with its broker epoch: who may come
    /// into sync.
    pub eligible: Vec<(BrokerId, i64)>,
    /// The leader was elected outside the in-sync replicas and has yet to answer for its log.
    pub is_recovering: bool,
}

/// What happens to a replica. `W` is whoever waits for an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<W> {
    /// The metadata changed.
    Assigned(Assignment),
    /// The configuration changed.
    Configured(Settings),
    /// The log now ends at `end`, after `bytes` more; only a leader appends.
    Appended { end: Offset, bytes: u64, acks: Acks, waiter: Option<W> },
    /// A producer repeated what the log holds already, up to `end`.
    Repeated { end: Offset, acks: Acks, waiter: W },
    /// Everything below `end` is on disk.
    Flushed { end: Offset },
    /// A follower asked for `end`, so it has everything below.
    FollowerFetched { broker: BrokerId, end: Offset },
    /// A follower's log now ends at `end`, after `bytes` more from its leader, whose high watermark was sent
    /// along.
    Followed { end: Offset, bytes: u64, high_watermark: Offset },
    /// A follower's log was cut: it holds `start` to `end`.
    Truncated { start: Offset, end: Offset },
    /// The log now starts at `start`.
    StartMoved { start: Offset },
    /// The disk failed.
    Failed,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<W> {
    /// Note in the log that `epoch` starts at its present end; before anything is appended.
    BeginEpoch(LeaderEpoch),
    /// The view changed: publish it before the effects that follow are seen by anybody.
    Publish,
    /// Tell a producer.
    Ack(W, Result<(), ErrorCode>),
    /// Consumers can see `visible` bytes more; with `changed`, something else is new to them.
    Wake { visible: u64, changed: bool },
}

/// Role, epochs, high watermark and waiting producers of one replica. Does no IO and knows no time.
///
/// | input | Leader | Follower | Offline |
/// |---|---|---|---|
/// | Assigned, leads, higher epoch | new epoch begins | becomes leader | stays |
/// | Assigned, does not lead | waiters get 6, becomes follower | takes the epoch | stays |
/// | Failed | waiters get 56, becomes offline | becomes offline | stays |
#[derive(Debug)]
pub struct Replica<W> {
    role: Role,
    broker: BrokerId,
    leader: BrokerId,
    leader_epoch: LeaderEpoch,
    log_start: Offset,
    log_end: Offset,
    flushed_end: Offset,
    settings: Settings,
    replicas: usize,
    in_sync: Vec<BrokerId>,
    high_watermark: HighWatermark,
    /// Wait for the leader's own disk.
    leader_acks: AckQueue<W>,
    /// Wait for the high watermark.
    all_acks: AckQueue<W>,
    /// Ends and sizes of what consumers cannot see yet.
    invisible: VecDeque<(Offset, u64)>,
}

/// What a replica finds when its log is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// This broker.
    pub broker: BrokerId,
    /// First offset of the log.
    pub log_start: Offset,
    /// End of the log; everything below is on disk, because recovery syncs what it keeps.
    pub log_end: Offset,
    /// Last known high watermark.
    pub high_watermark: Offset,
}

impl<W> Replica<W> {
    /// A follower of nobody yet.
    pub fn new(opened: Opened, settings: Settings) -> Self {
        let high_watermark = opened.high_watermark.max(opened.log_start).min(opened.log_end);
        Self {
            role: Role::Follower,
            broker: opened.broker,
            leader: BrokerId::NONE,
            leader_epoch: LeaderEpoch::NONE,
            log_start: opened.log_start,
            log_end: opened.log_end,
            flushed_end: opened.log_end,
            settings,
            replicas: 1,
            in_sync: Vec::new(),
            high_watermark: HighWatermark::new(high_watermark),
            leader_acks: AckQueue::new(),
            all_acks: AckQueue::new(),
            invisible: VecDeque::new(),
        }
    }

    /// Takes one input; appends what is to be done to `effects`.
    pub fn handle(&mut self, input: Input<W>, effects: &mut Vec<Effect<W>>) {
        if self.role == Role::Offline {
            return Self::handle_offline(input, effects);
        }
        match input {
            Input::Assigned(assignment) => self.handle_assigned(assignment, effects),
            Input::Configured(settings) => self.handle_configured(settings, effects),
            Input::Appended { end, bytes, acks, waiter } => {
                self.handle_appended(end, bytes);
                effects.push(Effect::Publish);
                self.maybe_advance(effects);
                if let Some(waiter) = waiter {
                    self.wait(end, acks, waiter, effects);
                }
            }
            Input::Repeated { end, acks, waiter } => self.wait(end, acks, waiter, effects),
            Input::Flushed { end } => self.handle_flushed(end, effects),
            Input::FollowerFetched { broker, end } => {
                self.high_watermark.observe_follower(broker, end);
                let before = effects.len();
                if self.role == Role::Leader && self.maybe_advance(effects) {
                    effects.insert(before, Effect::Publish);
                }
            }
            Input::Followed { end, bytes, high_watermark } => {
                self.handle_followed(end, bytes, high_watermark, effects);
            }
            Input::Truncated { start, end } => self.handle_truncated(start, end, effects),
            Input::StartMoved { start } => {
                self.log_start = start;
                effects.push(Effect::Publish);
                effects.push(Effect::Wake { visible: 0, changed: true });
            }
            Input::Failed => self.become_offline(effects),
        }
    }

    /// Whether a write may be appended now, and with which epoch.
    pub fn check_append(&self, acks: Acks) -> Result<LeaderEpoch, ErrorCode> {
        match self.role {
            Role::Offline => Err(ErrorCode::KafkaStorageError),
            Role::Follower => Err(ErrorCode::NotLeaderOrFollower),
            Role::Leader if acks == Acks::All && self.high_watermark.is_under_min() => {
                Err(ErrorCode::NotEnoughReplicas)
            }
            Role::Leader => Ok(self.leader_epoch),
        }
    }

    /// What the replica is.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Who leads, as far as known.
    pub const fn leader(&self) -> BrokerId {
        self.leader
    }

    /// The highest epoch it was assigned.
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The high watermark.
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark.value()
    }

    fn handle_offline(input: Input<W>, effects: &mut Vec<Effect<W>>) {
        let waiter = match input {
            Input::Appended { waiter, .. } => waiter,
            Input::Repeated { waiter, .. } => Some(waiter),
            _ => None,
        };
        if let Some(waiter) = waiter {
            effects.push(Effect::Ack(waiter, Err(ErrorCode::KafkaStorageError)));
        }
    }

    fn handle_assigned(&mut self, assignment: Assignment, effects: &mut Vec<Effect<W>>) {
        if assignment.leader_epoch < self.leader_epoch {
            // Metadata never goes back; what is older than we know is a message overtaken by another.
            return;
        }
        let is_new_epoch = self.leader_epoch < assignment.leader_epoch;
        let led = self.role == Role::Leader;
        self.leader = assignment.leader;
        self.leader_epoch = assignment.leader_epoch;
        self.replicas = assignment.replicas.len().max(1);
        self.in_sync = assignment.in_sync;
        if led && (is_new_epoch || !assignment.leads) {
            self.drain(ErrorCode::NotLeaderOrFollower, effects);
        }
        if assignment.leads {
            if !led || is_new_epoch {
                self.become_leader(effects);
            }
            self.count_in_sync();
            effects.push(Effect::Publish);
            self.maybe_advance(effects);
        } else {
            self.role = Role::Follower;
            self.invisible = VecDeque::new();
            effects.push(Effect::Publish);
        }
        effects.push(Effect::Wake { visible: 0, changed: true });
    }

    fn become_leader(&mut self, effects: &mut Vec<Effect<W>>) {
        self.role = Role::Leader;
        self.high_watermark = HighWatermark::new(self.high_watermark.value());
        self.high_watermark.observe_own(self.counted_end());
        effects.push(Effect::BeginEpoch(self.leader_epoch));
    }

    fn become_offline(&mut self, effects: &mut Vec<Effect<W>>) {
        self.role = Role::Offline;
        effects.push(Effect::Publish);
        self.drain(ErrorCode::KafkaStorageError, effects);
        effects.push(Effect::Wake { visible: 0, changed: true });
    }

    fn handle_configured(&mut self, settings: Settings, effects: &mut Vec<Effect<W>>) {
        self.settings = settings;
        effects.push(Effect::Publish);
        if self.role == Role::Leader {
            self.count_in_sync();
            self.high_watermark.observe_own(self.counted_end());
            self.maybe_advance(effects);
        }
    }

    fn handle_appended(&mut self, end: Offset, bytes: u64) {
        debug_assert!(self.log_end <= end);
        self.log_end = end;
        self.invisible.push_back((end, bytes));
        self.high_watermark.observe_own(self.counted_end());
    }

    fn handle_followed(
        &mut self,
        end: Offset,
        bytes: u64,
        high_watermark: Offset,
        effects: &mut Vec<Effect<W>>,
    ) {
        if self.role != Role::Follower {
            return;
        }
        if self.log_end < end {
            self.log_end = end;
            self.invisible.push_back((end, bytes));
        }
        effects.push(Effect::Publish);
        if self.high_watermark.follow(high_watermark, end) {
            self.wake_consumers(effects);
        }
    }

    /// Also below the high watermark, if the leader's epochs say so.
    fn handle_truncated(&mut self, start: Offset, end: Offset, effects: &mut Vec<Effect<W>>) {
        (self.log_start, self.log_end) = (start, end);
        self.flushed_end = if start == end { end } else { self.flushed_end.min(end) };
        self.high_watermark.cut(start, end);
        self.invisible = VecDeque::new();
        effects.push(Effect::Publish);
        effects.push(Effect::Wake { visible: 0, changed: true });
    }

    fn handle_flushed(&mut self, end: Offset, effects: &mut Vec<Effect<W>>) {
        if end <= self.flushed_end {
            return;
        }
        self.flushed_end = end;
        effects.push(Effect::Publish);
        if self.role == Role::Leader {
            self.high_watermark.observe_own(self.counted_end());
            self.maybe_advance(effects);
        }
    }

    /// Registers a waiter, or answers it at once.
    fn wait(&mut self, end: Offset, acks: Acks, waiter: W, effects: &mut Vec<Effect<W>>) {
        match acks {
            Acks::None => effects.push(Effect::Ack(waiter, Ok(()))),
            Acks::Leader if end <= self.counted_end() => effects.push(Effect::Ack(waiter, Ok(()))),
            Acks::Leader => self.leader_acks.push(end, waiter),
            Acks::All if end <= self.high_watermark.value() => {
                effects.push(Effect::Ack(waiter, self.all_outcome()));
            }
            Acks::All => self.all_acks.push(end, waiter),
        }
    }

    /// Moves the high watermark, wakes consumers, answers whoever waited; true if it moved.
    fn maybe_advance(&mut self, effects: &mut Vec<Effect<W>>) -> bool {
        let has_moved = self.high_watermark.maybe_advance();
        let own = self.counted_end();
        while let Some(waiter) = self.leader_acks.pop_reached(own) {
            effects.push(Effect::Ack(waiter, Ok(())));
        }
        if !has_moved {
            return false;
        }
        let reached = self.high_watermark.value();
        let outcome = self.all_outcome();
        while let Some(waiter) = self.all_acks.pop_reached(reached) {
            effects.push(Effect::Ack(waiter, outcome));
        }
        self.wake_consumers(effects);
        true
    }

    fn wake_consumers(&mut self, effects: &mut Vec<Effect<W>>) {
        let reached = self.high_watermark.value();
        let mut visible = 0u64;
        while let Some((_, bytes)) = self.invisible.pop_front_if(|(end, _)| *end <= reached) {
            visible = visible.saturating_add(bytes);
        }
        if self.invisible.is_empty() && IDLE_CAPACITY < self.invisible.capacity() {
            self.invisible = VecDeque::new();
        }
        effects.push(Effect::Wake { visible, changed: false });
    }

    fn drain(&mut self, error: ErrorCode, effects: &mut Vec<Effect<W>>) {
        let waiters = self.leader_acks.drain().chain(self.all_acks.drain());
        effects.extend(waiters.map(|waiter| Effect::Ack(waiter, Err(error))));
    }

    fn count_in_sync(&mut self) {
        let in_sync_min = self.settings.in_sync_min.min(self.replicas);
        let mut others = std::mem::take(&mut self.in_sync);
        others.retain(|broker| *broker != self.broker);
        self.high_watermark.set_in_sync(&others, &[], in_sync_min);
        self.in_sync = others;
    }

    /// How far the leader's own log counts towards acknowledgements.
    fn counted_end(&self) -> Offset {
        if self.settings.is_durable { self.flushed_end } else { self.log_end }
    }

    fn all_outcome(&self) -> Result<(), ErrorCode> {
        if self.high_watermark.is_under_min() {
            return Err(ErrorCode::NotEnoughReplicasAfterAppend);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "replica/tests.rs"]
mod tests;
