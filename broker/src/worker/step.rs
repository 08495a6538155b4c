//! What a log worker does in one step.

mod appends;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::time::Now;
use ottla_protocol::types::{BrokerId, Offset};
use ottla_storage::{AppendError, Appended, Log, LogIo, StorageError, SyncTicket};

use super::lead::Leading;
use super::slot::Slot;
use super::{
    ActiveProducer, AppendCommand, AppendItem, Control, Inbox, Open, Queued, Shelf, SlotKey, Waiter,
};
use crate::partition::replica::{Effect, Input, Opened};
use crate::partition::{Acks, Assignment, Role, View};

/// Owns the logs and replicas of some partitions of one log directory. Does not block but for writes,
/// and for syncs where a new epoch or a new folder must last before anything relies on it.
///
/// A step takes what its inbox holds, appends, publishes each view that changed, and only then tells
/// producers and wakes consumers.
pub struct Worker<I: LogIo> {
    broker: BrokerId,
    inbox: Arc<Inbox>,
    shelf: Shelf<I>,
    start_sync: StartSync<I>,
    /// Boxed, for the list doubles as it grows: an empty place is to cost a word.
    pub(super) slots: Vec<Option<Box<Slot<I>>>>,
    /// When logs want to be looked at though nothing arrives; by time, then slot.
    timers: BTreeSet<(Duration, u32)>,
    /// When producers that have been silent for long are next looked for.
    expiry_at: Option<Duration>,
    /// Set when a write or sync of this directory failed; all its replicas are offline then.
    failure: Option<StorageError>,
    is_stopping: bool,
    pub(super) leading: Leading,
    // Reused from step to step.
    touched: Vec<u32>,
    acks: Vec<(Waiter, Result<(), ErrorCode>)>,
    effects: Vec<Effect<Waiter>>,
    queued: Vec<Queued<AppendCommand>>,
    items: Vec<(AppendItem, Acks)>,
    results: Vec<Result<Appended, AppendError>>,
}

/// Runs a sync on some other thread, which then reports [`Control::Synced`] to the worker.
pub type StartSync<I> = Box<dyn Fn(SlotKey, SyncTicket<I>) + Send>;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Something was done, and more may be waiting.
    pub is_busy: bool,
    /// When the next step is due though nothing arrives, on the monotonic clock.
    pub next_deadline: Option<Duration>,
    /// No step is to follow.
    pub is_stopping: bool,
}

/// Segments that one DeleteRecords removes at most; what is left behind the log's start goes with the
/// next.
const SEGMENTS_REMOVED_MAX: usize = 1024;

/// Bytes from leaders elsewhere that are appended in one step, and one answer beyond.
const FOLLOWED_BUDGET: u64 = 4 << 20;

/// Control commands taken in one step.
const CONTROL_BUDGET: usize = 1024;

impl<I: LogIo> Worker<I> {
    /// Without replicas.
    pub fn new(
        broker: BrokerId,
        inbox: Arc<Inbox>,
        shelf: Shelf<I>,
        start_sync: StartSync<I>,
    ) -> Self {
        Self {
            broker,
            inbox,
            shelf,
            start_sync,
            slots: Vec::new(),
            timers: BTreeSet::new(),
            expiry_at: None,
            failure: None,
            is_stopping: false,
            leading: Leading::default(),
            touched: Vec::new(),
            acks: Vec::new(),
            effects: Vec::new(),
            queued: Vec::new(),
            items: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Does what is to be done now, at most `budget` bytes of appends (and one command, however large).
    pub fn step(&mut self, now: Now, budget: usize) -> Progress {
        self.begin_step(now);
        let controls = self.run_controls(now);
        self.maybe_scan_lag();
        let timers = self.run_timers(now);
        let appends = self.run_appends(now, budget);
        self.publish();
        self.maybe_expire_producers(now);
        let next_timer = self.timers.first().map(|(at, _)| *at);
        let next_look = self.leading.next_look();
        let progress = Progress {
            is_busy: controls || timers || appends,
            next_deadline: next_timer.into_iter().chain(self.expiry_at).chain(next_look).min(),
            is_stopping: self.is_stopping,
        };
        self.leading.end_step(&progress, now);
        progress
    }

    /// Why the directory is offline, if it is.
    pub fn failure(&self) -> Option<&StorageError> {
        self.failure.as_ref()
    }

    /// Gives all logs back, at the end.
    pub fn into_logs(mut self) -> Vec<Log<I>> {
        let slots = std::mem::take(&mut self.slots);
        let mut logs: Vec<_> = slots.into_iter().flatten().map(|slot| slot.log).collect();
        logs.extend(self.shelf.take_all());
        logs
    }

    /// After a panic nothing here can be believed: says so to everybody who looks.
    pub fn abandon(self) {
        for slot in self.slots.iter().flatten() {
            let view = View { role: Role::Offline, ..View::clone(&slot.handle.view()) };
            slot.handle.publish(view);
            slot.handle.wake_all();
        }
    }

    // === control ===

    fn run_controls(&mut self, now: Now) -> bool {
        let mut followed = 0;
        for done in 0..CONTROL_BUDGET {
            let Some(control) = self.inbox.pop_control() else { return 0 < done };
            if let Control::Follow(follow) = &control {
                followed += follow.bytes();
            }
            self.run_control(control, now);
            // Followers of others take turns with producers.
            if FOLLOWED_BUDGET <= followed {
                break;
            }
        }
        true
    }

    fn run_control(&mut self, control: Control, now: Now) {
        match control {
            Control::Open(open) => self.open(*open),
            Control::Assign { slot, assignment } => {
                self.with_slot(slot, |worker, at| worker.assign(at, assignment));
            }
            Control::Configure { slot, settings } => {
                self.with_slot(slot, |worker, at| {
                    let Some(slot) = &mut worker.slots[at] else { return };
                    slot.log.set_config(Arc::clone(&settings.log));
                    let of_replica = settings.of_replica();
                    slot.settings = settings;
                    worker.handle(at, Input::Configured(of_replica));
                    worker.flush_if_due(at, now);
                    worker.settle_follow(at);
                });
            }
            Control::Close { slot, reply } => {
                self.close(slot);
                // Whoever asked may be gone.
                let _ = reply.send(());
            }
            Control::DeleteRecords { slot, offset, reply } => {
                let result = self.delete_records(slot, offset);
                // The new start has to be visible to everybody before it is told.
                self.publish();
                let _ = reply.send(result);
            }
            Control::DescribeProducers { slot, reply } => {
                let _ = reply.send(self.describe_producers(slot));
            }
            Control::Follow(follow) => self.run_follow(*follow, now),
            Control::Fetched(fetched) => self.on_fetched(&fetched),
            Control::ProposalResolved { slot, id, outcome } => {
                self.with_slot(slot, |worker, at| {
                    worker.handle(at, Input::ProposalResolved { id, outcome });
                });
            }
            Control::Synced { slot, synced } => {
                self.with_slot(slot, |worker, at| worker.on_synced(at, synced, now));
            }
            Control::Fail => self.fail_all(),
            Control::Stop => self.is_stopping = true,
        }
    }

    pub(super) fn with_slot(&mut self, key: SlotKey, run: impl FnOnce(&mut Self, usize)) {
        if self.slot(key).is_some() {
            run(self, key.index as usize);
        }
    }

    pub(super) fn slot(&self, key: SlotKey) -> Option<&Slot<I>> {
        let slot = self.slots.get(key.index as usize)?.as_deref()?;
        (slot.key == key).then_some(slot)
    }

    fn open(&mut self, open: Open) {
        let Open { handle, settings, assignment, high_watermark } = open;
        let Some(mut log) = self.shelf.take(handle.slot) else {
            tracing::error!(topic = %handle.topic, partition = handle.index, "a replica came without its log");
            return;
        };
        log.set_config(Arc::clone(&settings.log));
        let opened = Opened {
            broker: self.broker,
            log_start: log.log_start(),
            log_end: log.log_end(),
            high_watermark,
        };
        let at = handle.slot.index as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at] = Some(Box::new(Slot::new(handle, settings, log, opened)));
        if self.failure.is_some() {
            self.handle(at, Input::Failed);
        } else {
            self.assign(at, assignment);
        }
    }

    fn close(&mut self, key: SlotKey) {
        self.with_slot(key, |worker, at| {
            if let Some(slot) = &worker.slots[at] {
                let resigned = Assignment {
                    leader: BrokerId::NONE,
                    leader_epoch: slot.replica.leader_epoch(),
                    partition_epoch: i64::MAX,
                    leads: false,
                    replicas: Vec::new(),
                    in_sync: Vec::new(),
                    eligible: Vec::new(),
                    is_recovering: false,
                };
                worker.handle(at, Input::Assigned(resigned));
            }
            worker.publish();
            let Some(slot) = worker.slots[at].take() else { return };
            if let Some(timer) = slot.timer {
                worker.timers.remove(&(timer, at as u32));
            }
            slot.handle.publish(slot.closed_view());
            slot.handle.wake_all();
            worker.shelf.put(key, slot.log);
        });
    }

    fn delete_records(&mut self, key: SlotKey, offset: i64) -> Result<Offset, ErrorCode> {
        let slot = self.slot(key).ok_or(ErrorCode::NotLeaderOrFollower)?;
        slot.replica.check_append(Acks::Leader)?;
        let high_watermark = slot.replica.high_watermark();
        let start = if offset == -1 { high_watermark } else { Offset(offset) };
        if start.0 < 0 || high_watermark < start {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let at = key.index as usize;
        let Some(slot) = &mut self.slots[at] else { return Err(ErrorCode::NotLeaderOrFollower) };
        let moved = slot.log.advance_log_start(start);
        let removed = moved.and_then(|start| {
            slot.log.remove_deleted_segments(SEGMENTS_REMOVED_MAX)?;
            Ok(start)
        });
        match removed {
            Ok(start) => {
                self.handle(at, Input::StartMoved { start });
                Ok(start)
            }
            Err(error) => {
                self.fail_dir(error);
                Err(ErrorCode::KafkaStorageError)
            }
        }
    }

    fn describe_producers(&self, key: SlotKey) -> Result<Vec<ActiveProducer>, ErrorCode> {
        let slot = self.slot(key).ok_or(ErrorCode::NotLeaderOrFollower)?;
        let producers = slot.log.producers().map(|(producer_id, entry)| ActiveProducer {
            producer_id,
            epoch: i32::from(entry.epoch.0),
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            transaction_start: entry.txn_first_offset.unwrap_or(Offset::NONE),
        });
        Ok(producers.collect())
    }

    // === effects ===

    pub(super) fn handle(&mut self, at: usize, input: Input<Waiter>) {
        let Some(slot) = &mut self.slots[at] else { return };
        let mut effects = std::mem::take(&mut self.effects);
        slot.replica.handle(input, self.leading.now(), &mut effects);
        for effect in effects.drain(..) {
            self.perform(at, effect);
        }
        self.effects = effects;
    }

    fn perform(&mut self, at: usize, effect: Effect<Waiter>) {
        let Some(slot) = &mut self.slots[at] else { return };
        match effect {
            // The log itself puts an epoch on disk before the first record of it. One without records is
            // not worth a sync: after a restart there would be thousands.
            Effect::BeginEpoch(_) => slot.epoch_start = slot.log.log_end(),
            Effect::Publish => {}
            Effect::FollowerStartMoved => slot.has_follower_start = true,
            Effect::Ack(waiter, outcome) => return self.acks.push((waiter, outcome)),
            Effect::Propose(proposal) => return self.leading.propose(&slot.handle, proposal),
            Effect::Wake { visible, changed } => {
                slot.visible = slot.visible.saturating_add(visible);
                slot.is_changed |= changed;
            }
        }
        if let Some(slot) = &mut self.slots[at]
            && !slot.is_touched
        {
            slot.is_touched = true;
            self.touched.push(at as u32);
        }
    }

    /// Publishes views, then answers, then wakes: whoever hears of something finds it.
    fn publish(&mut self) {
        for at in &self.touched {
            if let Some(slot) = &mut self.slots[*at as usize] {
                let view = slot.view();
                slot.has_risen = slot.handle.view().high_watermark < view.high_watermark;
                slot.handle.publish(view);
            }
        }
        for (waiter, outcome) in self.acks.drain(..) {
            waiter.complete(outcome);
        }
        for at in self.touched.drain(..) {
            let Some(slot) = &mut self.slots[at as usize] else { continue };
            slot.is_touched = false;
            let (visible, is_changed) = (slot.visible, slot.is_changed);
            (slot.visible, slot.is_changed) = (0, false);
            slot.tell_followers(is_changed);
            slot.tell_subscribers(visible, is_changed);
        }
    }

    // === failure ===

    /// A write or sync failed: every replica of the directory goes offline, and nothing else does.
    pub(super) fn fail_dir(&mut self, error: StorageError) {
        if self.failure.is_none() {
            self.failure = Some(error);
        }
        self.fail_all();
    }

    fn fail_all(&mut self) {
        for at in 0..self.slots.len() {
            let is_online =
                self.slots[at].as_ref().is_some_and(|slot| slot.replica.role() != Role::Offline);
            if is_online {
                self.handle(at, Input::Failed);
            }
            if let Some(slot) = &mut self.slots[at] {
                // Dropped without a word, which its fetcher understands.
                slot.follow_reply = None;
            }
        }
    }
}

impl<I: LogIo> std::fmt::Debug for Worker<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("inbox", &self.inbox)
            .field("slots", &self.slots.len())
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
