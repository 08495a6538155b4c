//! What the tasks of one term share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_metadata::image::{Image, ImageReader};
use ottla_metadata::journal::ShardReader;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::clock::ShardClock;
use super::lag::Committed;
use super::metrics::ShardMetrics;
use super::outbox::{Outbox, Reply};
use crate::group::shard::Filter;
use crate::group::{Client, Request, Response, SettingsTable, Ticket};
use ottla_protocol::messages::list_groups_response::ListedGroup;

/// What arrives at a shard.
#[derive(Debug)]
pub(super) enum Inbound {
    /// A request about one group.
    Request {
        ticket: Ticket,
        client: Client,
        group: String,
        request: Box<Request>,
        reply: oneshot::Sender<Response>,
    },
    /// Which groups there are.
    List { filter: Filter, reply: oneshot::Sender<Vec<ListedGroup>> },
    /// What is committed, for no more partitions than so many.
    Committed { limit: usize, reply: oneshot::Sender<Vec<Committed>> },
}

/// What a shard is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// It is read from the journal.
    Loading = 0,
    /// It answers.
    Active = 1,
    /// What it decided last may not be in the journal: it has to be read anew.
    Lost = 2,
}

/// One shard, as others see it.
#[derive(Debug)]
pub(super) struct Slot {
    pub id: i32,
    pub calls: mpsc::Sender<Inbound>,
    phase: AtomicU8,
    tickets: AtomicU64,
    abandoned: Mutex<Vec<Ticket>>,
    outbox: Mutex<Outbox>,
    /// Something was abandoned, or the shard is lost.
    pub nudge: Notify,
}

impl Slot {
    pub fn new(id: i32, calls: mpsc::Sender<Inbound>) -> Self {
        Self {
            id,
            calls,
            phase: AtomicU8::new(Phase::Loading as u8),
            tickets: AtomicU64::new(0),
            abandoned: Mutex::default(),
            outbox: Mutex::default(),
            nudge: Notify::new(),
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Loading,
            1 => Phase::Active,
            _ => Phase::Lost,
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub fn next_ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    pub fn abandon(&self, ticket: Ticket) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
        self.nudge.notify_one();
    }

    pub fn take_abandoned(&self) -> Vec<Ticket> {
        std::mem::take(&mut *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard was read from the journal, and answers.
    pub fn begin(&self) {
        self.outbox().open();
        self.set_phase(Phase::Active);
    }

    /// What the shard decided may be lost: whoever waits is told, and it is read anew.
    pub fn lose(&self) {
        self.set_phase(Phase::Lost);
        self.outbox().close();
        self.nudge.notify_one();
    }
}

/// The shared state of a term.
#[derive(Debug)]
pub(super) struct Hub {
    pub slots: Vec<Arc<Slot>>,
    pub images: ImageReader,
    pub settings: ArcSwap<SettingsTable>,
    /// The image as it was when topics last changed.
    pub topology: watch::Sender<Arc<Image>>,
    pub clock: ShardClock,
    pub metrics: ShardMetrics,
    /// Cancelled when the term is over, or when this coordinator no longer owns its shards.
    pub over: CancellationToken,
    /// Reads shards, once they are taken over.
    pub reader: watch::Sender<Option<ShardReader>>,
    /// Shards that are read at a time.
    pub loading: Semaphore,
    /// Shards with something to write.
    dirty: Mutex<BTreeSet<i32>>,
    /// There is something to write.
    pub written: Notify,
    /// Answers that wait until it is known that the shards are still this coordinator's.
    unconfirmed: Mutex<Vec<Reply>>,
    /// There are such answers.
    pub unconfirmed_came: Notify,
    /// What commits are told to wait, ms.
    throttle_ms: AtomicI32,
    /// Commits are refused: the store has no room.
    pub store_is_full: AtomicBool,
    /// Bytes that wait to be written, of all shards, as of the last look.
    backlog: AtomicUsize,
}

/// What a hub is made of.
pub(super) struct HubParts {
    pub slots: Vec<Arc<Slot>>,
    pub images: ImageReader,
    /// The image that the settings are of.
    pub image: Arc<Image>,
    pub settings: SettingsTable,
    pub clock: ShardClock,
    pub metrics: ShardMetrics,
    pub over: CancellationToken,
}

impl Hub {
    pub fn new(parts: HubParts) -> Self {
        Self {
            slots: parts.slots,
            images: parts.images,
            settings: ArcSwap::from_pointee(parts.settings),
            topology: watch::channel(parts.image).0,
            clock: parts.clock,
            metrics: parts.metrics,
            over: parts.over,
            reader: watch::channel(None).0,
            loading: Semaphore::new(LOADS_MAX),
            dirty: Mutex::default(),
            written: Notify::new(),
            unconfirmed: Mutex::default(),
            unconfirmed_came: Notify::new(),
            throttle_ms: AtomicI32::new(0),
            store_is_full: AtomicBool::new(false),
            backlog: AtomicUsize::new(0),
        }
    }

    pub fn slot(&self, shard: i32) -> Option<&Arc<Slot>> {
        self.slots.get(usize::try_from(shard).ok()?)
    }

    /// A shard has something to write.
    pub fn mark_dirty(&self, shard: i32) {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
        self.written.notify_one();
    }

    pub fn take_dirty(&self) -> BTreeSet<i32> {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets answers leave. What was read from memory is first confirmed by the store.
    pub fn release(&self, replies: Vec<Reply>) {
        let mut confirm = Vec::new();
        for reply in replies {
            match reply.response {
                Response::OffsetFetch(_) => confirm.push(reply),
                Response::OffsetCommit(mut response) => {
                    response.throttle_time_ms = self.throttle_ms.load(Ordering::Relaxed);
                    // Whoever does not wait any more does not mind.
                    let _ = reply.to.send(Response::OffsetCommit(response));
                }
                response => drop(reply.to.send(response)),
            }
        }
        if !confirm.is_empty() {
            let mut unconfirmed = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
            unconfirmed.append(&mut confirm);
            drop(unconfirmed);
            self.unconfirmed_came.notify_one();
        }
    }

    pub fn take_unconfirmed(&self) -> Vec<Reply> {
        std::mem::take(&mut *self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes how long records wait to be written and how many bytes do: from half a second on commits are told
    /// to slow down.
    pub fn note_backlog(&self, waited: Duration, bytes: usize) {
        let millis =
            if waited < THROTTLE_AFTER { Duration::ZERO } else { waited.min(THROTTLE_MAX) };
        let millis = i32::try_from(millis.as_millis()).unwrap_or(i32::MAX);
        self.throttle_ms.store(millis, Ordering::Relaxed);
        self.backlog.store(bytes, Ordering::Relaxed);
    }

    /// Whether commits are refused, so that there is room for what keeps groups alive.
    pub fn is_shedding(&self) -> bool {
        self.store_is_full.load(Ordering::Relaxed)
            || BACKLOG_MAX < self.backlog.load(Ordering::Relaxed)
    }
}

/// Requests that wait at a shard.
pub(super) const CALLS_MAX: usize = 4096;
/// Answers of a shard that wait for the journal.
pub(super) const WAITING_MAX: usize = 4096;
/// Shards that are read at a time.
const LOADS_MAX: usize = 8;
/// Records that wait longer show that there is too much to write.
const THROTTLE_AFTER: Duration = Duration::from_millis(500);
/// Nobody is asked to wait longer.
const THROTTLE_MAX: Duration = Duration::from_secs(5);
/// More is not kept in memory to be written.
const BACKLOG_MAX: usize = 64 << 20;
