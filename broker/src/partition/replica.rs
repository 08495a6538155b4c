//! One replica of a partition, as a state machine: inputs go in, effects come out.

use std::collections::VecDeque;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};

use super::ack_queue::{AckQueue, IDLE_CAPACITY};
use super::high_watermark::HighWatermark;
use super::isr::{FollowerProgress, FollowerView, Isr, LeaderMarks, Proposal, ProposalOutcome};

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
    /// A follower fetched, naming this leader epoch, from where its log agrees with ours.
    FollowerFetched { leader_epoch: LeaderEpoch, progress: FollowerProgress },
    /// Some time has passed: who has lagged for `lag_max` (`replica.lag.time.max.ms`) is to go.
    LagScan { lag_max: Duration },
    /// This broker stood still for long.
    ClocksRestarted,
    /// The controller answered a proposal.
    ProposalResolved { id: u64, outcome: ProposalOutcome },
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
    /// The view changed in where a follower's log starts: those who wait for that are to look.
    FollowerStartMoved,
    /// Have the controller decide on this; it comes back as [`Input::ProposalResolved`].
    Propose(Proposal),
}

/// Role, epochs, high watermark, in-sync replicas and waiting producers of one replica. Does no IO;
/// monotonic time is an argument.
///
/// | input | Leader | Follower | Offline |
/// |---|---|---|---|
/// | Assigned, leads, higher epoch | new epoch begins, who waits goes on waiting | becomes leader | stays |
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
    /// Where this broker's leadership began.
    epoch_start: Offset,
    /// Empty unless this replica leads.
    isr: Isr,
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
            epoch_start: opened.log_end,
            isr: Isr::default(),
            high_watermark: HighWatermark::new(high_watermark),
            leader_acks: AckQueue::new(),
            all_acks: AckQueue::new(),
            invisible: VecDeque::new(),
        }
    }

    /// Takes one input; appends what is to be done to `effects`. `now` is monotonic.
    pub fn handle(&mut self, input: Input<W>, now: Duration, effects: &mut Vec<Effect<W>>) {
        if self.role == Role::Offline {
            return Self::handle_offline(input, effects);
        }
        match input {
            Input::Assigned(assignment) => self.handle_assigned(&assignment, now, effects),
            Input::Configured(settings) => self.handle_configured(settings, effects),
            Input::Appended { end, bytes, acks, waiter } => {
                self.handle_appended(end, bytes, now);
                effects.push(Effect::Publish);
                self.maybe_advance(effects);
                if let Some(waiter) = waiter {
                    self.wait(end, acks, waiter, effects);
                }
            }
            Input::Repeated { end, acks, waiter } => self.wait(end, acks, waiter, effects),
            Input::Flushed { end } => self.handle_flushed(end, effects),
            Input::FollowerFetched { leader_epoch, progress } => {
                self.handle_fetched(leader_epoch, progress, now, effects);
            }
            Input::LagScan { lag_max } if self.role == Role::Leader => {
                let proposal = self.isr.propose_any(self.marks(), lag_max, now);
                effects.extend(proposal.map(Effect::Propose));
            }
            Input::ClocksRestarted => self.isr.restart_clocks(now),
            Input::LagScan { .. } => {}
            Input::ProposalResolved { id, outcome } => {
                self.handle_resolved((id, outcome), now, effects);
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
            Role::Leader if acks == Acks::All && self.is_under_min() => {
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

    /// Who follows, and how far each has come; empty unless this replica leads.
    pub fn followers(&self) -> Box<[FollowerView]> {
        self.isr.followers()
    }

    /// The partition epoch that the leader knows.
    pub const fn partition_epoch(&self) -> i64 {
        self.isr.partition_epoch()
    }

    /// True if lag scans are wanted.
    pub fn needs_scan(&self) -> bool {
        self.role == Role::Leader && self.isr.needs_scan()
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

    fn handle_assigned(
        &mut self,
        assignment: &Assignment,
        now: Duration,
        effects: &mut Vec<Effect<W>>,
    ) {
        if assignment.leader_epoch < self.leader_epoch {
            // Metadata never goes back; what is older than we know is a message overtaken by another.
            return;
        }
        let is_new_epoch = self.leader_epoch < assignment.leader_epoch;
        let led = self.role == Role::Leader;
        self.leader = assignment.leader;
        self.leader_epoch = assignment.leader_epoch;
        // Who leads on goes on with those who wait. Between the two epochs, and even if others led in some that it never heard
        // of, it followed nobody, so its log has just what they wait for; and in the new epoch everybody in sync has to show
        // anew that it has that, too.
        if led && !assignment.leads {
            self.drain(ErrorCode::NotLeaderOrFollower, effects);
        }
        if assignment.leads {
            if led && !is_new_epoch {
                self.isr.update(assignment, now);
            } else {
                self.become_leader(assignment, now, effects);
            }
            effects.push(Effect::Publish);
            self.maybe_expand(now, effects);
            self.maybe_advance(effects);
        } else {
            self.role = Role::Follower;
            self.isr = Isr::default();
            self.invisible = VecDeque::new();
            effects.push(Effect::Publish);
        }
        effects.push(Effect::Wake { visible: 0, changed: true });
    }

    fn become_leader(
        &mut self,
        assignment: &Assignment,
        now: Duration,
        effects: &mut Vec<Effect<W>>,
    ) {
        self.role = Role::Leader;
        self.epoch_start = self.log_end;
        self.isr = Isr::begin(self.broker, assignment, now);
        effects.push(Effect::BeginEpoch(self.leader_epoch));
    }

    fn handle_fetched(
        &mut self,
        leader_epoch: LeaderEpoch,
        progress: FollowerProgress,
        now: Duration,
        effects: &mut Vec<Effect<W>>,
    ) {
        // What was checked against the log of another epoch says nothing now.
        let is_current = self.role == Role::Leader && leader_epoch == self.leader_epoch;
        if !is_current || self.log_end < progress.end {
            return;
        }
        let news = self.isr.observe(progress, self.log_end, now);
        if news.has_start {
            effects.push(Effect::FollowerStartMoved);
        }
        if news.has_progress {
            effects.push(Effect::Publish);
            self.maybe_expand(now, effects);
            self.maybe_advance(effects);
        }
    }

    fn handle_resolved(
        &mut self,
        (id, outcome): (u64, ProposalOutcome),
        now: Duration,
        effects: &mut Vec<Effect<W>>,
    ) {
        if self.role != Role::Leader {
            return;
        }
        let again = self.isr.resolve(id, outcome, now);
        effects.extend(again.map(Effect::Propose));
        effects.push(Effect::Publish);
        self.maybe_expand(now, effects);
        self.maybe_advance(effects);
    }

    /// Before the high watermark moves: it has to count whoever is proposed.
    fn maybe_expand(&mut self, now: Duration, effects: &mut Vec<Effect<W>>) {
        let proposal = self.isr.propose_expansion(self.marks(), now);
        effects.extend(proposal.map(Effect::Propose));
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
            self.maybe_advance(effects);
        }
    }

    fn handle_appended(&mut self, end: Offset, bytes: u64, now: Duration) {
        debug_assert!(self.log_end <= end);
        self.isr.note_append(self.log_end, now);
        self.log_end = end;
        self.invisible.push_back((end, bytes));
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

    /// Moves the high watermark, wakes consumers, answers whoever waited.
    fn maybe_advance(&mut self, effects: &mut Vec<Effect<W>>) {
        let own = self.counted_end();
        let in_sync_min = self.settings.in_sync_min;
        let has_moved = self.high_watermark.maybe_advance(own, &self.isr, in_sync_min);
        while let Some(waiter) = self.leader_acks.pop_reached(own) {
            effects.push(Effect::Ack(waiter, Ok(())));
        }
        if !has_moved {
            return;
        }
        let reached = self.high_watermark.value();
        let outcome = self.all_outcome();
        while let Some(waiter) = self.all_acks.pop_reached(reached) {
            effects.push(Effect::Ack(waiter, outcome));
        }
        self.wake_consumers(effects);
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
        // Of what was there before this broker led the sizes are not known.
        effects.push(Effect::Wake { visible: visible.max(1), changed: false });
    }

    fn drain(&mut self, error: ErrorCode, effects: &mut Vec<Effect<W>>) {
        let waiters = self.leader_acks.drain().chain(self.all_acks.drain());
        effects.extend(waiters.map(|waiter| Effect::Ack(waiter, Err(error))));
    }

    fn is_under_min(&self) -> bool {
        self.isr.is_under_min(self.settings.in_sync_min)
    }

    fn marks(&self) -> LeaderMarks {
        LeaderMarks {
            high_watermark: self.high_watermark.value(),
            epoch_start: self.epoch_start,
            log_end: self.log_end,
        }
    }

    /// How far the leader's own log counts towards acknowledgements.
    fn counted_end(&self) -> Offset {
        if self.settings.is_durable { self.flushed_end } else { self.log_end }
    }

    fn all_outcome(&self) -> Result<(), ErrorCode> {
        if self.is_under_min() {
            return Err(ErrorCode::NotEnoughReplicasAfterAppend);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "replica/tests.rs"]
mod tests;
