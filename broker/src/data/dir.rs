//! One log directory with its workers.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_storage::{Log, LogDir, LogIo, SyncPool, SyncTicket, Synced};
use tokio::sync::mpsc;

use super::DataConfig;
use crate::clock::Clock;
use crate::isr::Proposals;
use crate::worker::{Control, Inbox, Shelf, SlotKey, Worker, WorkerThread};

/// A directory and the threads that own its logs.
#[derive(Debug)]
pub(super) struct Dir<I: LogIo> {
    pub dir: Arc<LogDir<I>>,
    pub workers: Vec<WorkerLink<I>>,
    /// Logs that it has, for placing new ones.
    pub logs: usize,
    pub is_offline: bool,
    _syncs: Arc<SyncPool<I>>,
}

/// One worker as the assigner sees it.
#[derive(Debug)]
pub(super) struct WorkerLink<I: LogIo> {
    pub inbox: Arc<Inbox>,
    pub shelf: Shelf<I>,
    thread: Option<WorkerThread<I>>,
    slots: Slots,
}

/// Hands out places in a worker.
#[derive(Debug, Default)]
struct Slots {
    next: u32,
    free: Vec<u32>,
    users: u32,
}

/// Threads that sync in one directory; more do not make a disk's group commit faster.
const SYNC_THREADS: usize = 8;

/// Bits of a sync's token that say which place of the worker it is for; the user has 32 below, the
/// worker's number the rest above.
const INDEX_BITS: u32 = 28;

impl<I: LogIo> Dir<I> {
    pub fn start(
        (number, dir): (usize, Arc<LogDir<I>>),
        config: &DataConfig,
        (clock, failures): (&Arc<dyn Clock>, &mpsc::Sender<usize>),
        proposals: &Arc<Proposals>,
    ) -> io::Result<Self> {
        let count = config.workers_per_dir.clamp(1, 4);
        let inboxes: Vec<Arc<Inbox>> =
            (0..count).map(|_| Arc::new(Inbox::new(config.worker_queue_bytes))).collect();
        let targets = inboxes.clone();
        let done = move |token, synced| report(&targets, token, synced);
        // One ticket per log is out at most, so the number of logs is the bound.
        let syncs = Arc::new(SyncPool::start(SYNC_THREADS, usize::MAX, Arc::new(done))?);
        let mut workers = Vec::with_capacity(count);
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let shelf = Shelf::new();
            let pool = Arc::clone(&syncs);
            let start_sync = Box::new(move |slot, ticket: SyncTicket<I>| {
                if pool.submit(token(index, slot), ticket).is_err() {
                    tracing::error!("a sync was refused; its log stays unsynced");
                }
            });
            let worker = Worker::new(config.broker, Arc::clone(&inbox), shelf.clone(), start_sync)
                .with_proposals(Arc::clone(proposals), config.lag_max);
            let failures = failures.clone();
            let on_failure = Box::new(move |reason: String| {
                tracing::error!(%reason, "log directory is offline");
                // Bounded by the number of workers, which is what the channel has room for.
                let _ = failures.try_send(number);
            });
            let name = format!("log-{number}-{index}");
            let thread = WorkerThread::start(
                name,
                worker,
                Arc::clone(&inbox),
                Arc::clone(clock),
                on_failure,
            )?;
            workers.push(WorkerLink {
                inbox,
                shelf,
                thread: Some(thread),
                slots: Slots::default(),
            });
        }
        Ok(Self { dir, workers, logs: 0, is_offline: false, _syncs: syncs })
    }

    /// The worker that a partition hashes to.
    pub fn worker_of(&self, topic: Uuid, partition: i32) -> usize {
        let mut hasher = DefaultHasher::new();
        (topic, partition).hash(&mut hasher);
        (hasher.finish() % self.workers.len() as u64) as usize
    }

    /// Ends the workers and returns their logs. Waits for them.
    pub fn stop(&mut self) -> Vec<Log<I>> {
        for worker in &self.workers {
            // One that is closed has ended already.
            let _ = worker.inbox.report(Control::Stop);
        }
        let threads = self.workers.iter_mut().filter_map(|worker| worker.thread.take());
        threads.flat_map(WorkerThread::join).collect()
    }
}

impl<I: LogIo> WorkerLink<I> {
    /// A place for one more replica.
    pub fn add_slot(&mut self) -> SlotKey {
        let slots = &mut self.slots;
        slots.users = slots.users.wrapping_add(1);
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.next += 1;
            slots.next - 1
        });
        debug_assert!(index < 1 << INDEX_BITS);
        SlotKey { index, user: slots.users }
    }

    /// The place can be used again.
    pub fn free_slot(&mut self, slot: SlotKey) {
        self.slots.free.push(slot.index);
    }
}

fn token(worker: usize, slot: SlotKey) -> u64 {
    (worker as u64) << (32 + INDEX_BITS) | u64::from(slot.index) << 32 | u64::from(slot.user)
}

fn report(inboxes: &[Arc<Inbox>], token: u64, synced: Synced) {
    let worker = (token >> (32 + INDEX_BITS)) as usize;
    let index = (token >> 32) as u32 & ((1 << INDEX_BITS) - 1);
    let slot = SlotKey { index, user: token as u32 };
    if let Some(inbox) = inboxes.get(worker) {
        // A worker that has ended needs no outcome.
        let _ = inbox.report(Control::Synced { slot, synced });
    }
}
