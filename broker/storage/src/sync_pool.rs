//! Threads that sync, so that log workers never wait for the disk.
//!
//! One pool per log dir. A log has at most one ticket out, so the queue is bounded by the number of logs; the syncs of
//! different logs run at once, and the file system commits them together.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::io::LogIo;
use crate::log::{SyncTicket, Synced};

/// What takes a finished sync: the log's `token` as it was submitted, and the outcome for [`crate::Log::on_synced`]. Called
/// on a thread of the pool; must not block for long.
pub type OnSynced = dyn Fn(u64, Synced) + Send + Sync;

/// A pool of syncing threads. Dropping it finishes what was submitted.
pub struct SyncPool<I: LogIo> {
    shared: Arc<Shared<I>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<I: LogIo> {
    state: Mutex<State<I>>,
    ready: Condvar,
    queue_max: usize,
}

struct State<I: LogIo> {
    queue: VecDeque<(u64, SyncTicket<I>)>,
    closed: bool,
}

/// More tickets than logs were submitted, which is an error of the caller. The ticket comes back.
#[derive(Debug)]
pub struct QueueFull<I: LogIo>(pub SyncTicket<I>);

impl<I: LogIo> SyncPool<I> {
    /// Starts `threads` threads (8 to 16 is where a disk's group commit levels off); at most `queue_max` tickets wait.
    pub fn start(threads: usize, queue_max: usize, done: Arc<OnSynced>) -> io::Result<Self> {
        let state = Mutex::new(State { queue: VecDeque::new(), closed: false });
        let shared = Arc::new(Shared { state, ready: Condvar::new(), queue_max });
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..threads.max(1) {
            let (shared, done) = (Arc::clone(&pool.shared), Arc::clone(&done));
            let thread = std::thread::Builder::new().name(format!("sync-{number}"));
            pool.threads.push(thread.spawn(move || shared.work(&*done))?);
        }
        Ok(pool)
    }

    /// Queues a ticket. `token` comes back with the outcome.
    pub fn submit(&self, token: u64, ticket: SyncTicket<I>) -> Result<(), QueueFull<I>> {
        let mut state = self.shared.lock();
        if self.shared.queue_max <= state.queue.len() {
            return Err(QueueFull(ticket));
        }
        state.queue.push_back((token, ticket));
        drop(state);
        self.shared.ready.notify_one();
        Ok(())
    }

    /// Tickets that wait for a thread.
    pub fn queued(&self) -> usize {
        self.shared.lock().queue.len()
    }
}

impl<I: LogIo> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, State<I>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, done: &OnSynced) {
        while let Some((token, ticket)) = self.take() {
            done(token, ticket.run());
        }
    }

    fn take(&self) -> Option<(u64, SyncTicket<I>)> {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.queue.pop_front() {
                return Some(next);
            }
            if state.closed {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<I: LogIo> Drop for SyncPool<I> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // A panic in `done` was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl<I: LogIo> fmt::Debug for SyncPool<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncPool({} threads)", self.threads.len())
    }
}
