//! How the network side and a log worker meet: a control queue and a data queue, bounded by bytes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Default bound of the data queue, bytes.
pub const DATA_BYTES_MAX: usize = 64 << 20;

/// Control commands from outside that may wait at once. What the worker's own disk reports is bounded by
/// the number of its logs.
pub const CONTROL_MAX: usize = 4096;

/// What a single entry costs beside its bytes, so that empty ones are bounded as well.
const ENTRY_BYTES: usize = 256;

/// Both queues of one worker. `C` are control commands, `D` data commands.
pub struct Queue<C, D> {
    inner: Mutex<Inner<C, D>>,
    arrival: Condvar,
    data_room: Arc<Semaphore>,
    control_room: Arc<Semaphore>,
    data_bytes_max: usize,
}

struct Inner<C, D> {
    control: VecDeque<(C, Option<OwnedSemaphorePermit>)>,
    data: VecDeque<Queued<D>>,
    is_closed: bool,
    is_asleep: bool,
}

/// A data command in the queue.
#[derive(Debug)]
pub struct Queued<D> {
    /// The command.
    pub command: D,
    /// Its size, bytes.
    pub bytes: usize,
    /// Room in the queue, given back when the worker is done.
    pub permit: OwnedSemaphorePermit,
}

/// The worker is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log worker has stopped")]
pub struct Closed;

impl<C, D> Queue<C, D> {
    /// Empty queues; at most `data_bytes_max` bytes of data wait.
    pub fn new(data_bytes_max: usize) -> Self {
        let data_bytes_max = data_bytes_max.clamp(ENTRY_BYTES, u32::MAX as usize);
        Self {
            inner: Mutex::new(Inner {
                control: VecDeque::new(),
                data: VecDeque::new(),
                is_closed: false,
                is_asleep: false,
            }),
            arrival: Condvar::new(),
            data_room: Arc::new(Semaphore::new(data_bytes_max)),
            control_room: Arc::new(Semaphore::new(CONTROL_MAX)),
            data_bytes_max,
        }
    }

    /// Adds a data command of `bytes` bytes as soon as there is room. Whoever came first gets in first;
    /// one that is larger than the whole queue waits until it is empty. Dropping the future leaves
    /// nothing behind.
    pub async fn send(&self, command: D, bytes: usize) -> Result<(), Closed> {
        let cost = bytes.saturating_add(ENTRY_BYTES).min(self.data_bytes_max);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.data_room);
        let permit = room.acquire_many_owned(cost).await.map_err(|_| Closed)?;
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(Closed);
        }
        inner.data.push_back(Queued { command, bytes, permit });
        self.notify(inner);
        Ok(())
    }

    /// Adds a control command as soon as there is room.
    pub async fn send_control(&self, command: C) -> Result<(), Closed> {
        let room = Arc::clone(&self.control_room);
        let permit = room.acquire_owned().await.map_err(|_| Closed)?;
        self.push_control(command, Some(permit))
    }

    /// Adds a control command without waiting: for those whose number is bounded in another way, such
    /// as one per log.
    pub fn report(&self, command: C) -> Result<(), Closed> {
        self.push_control(command, None)
    }

    fn push_control(&self, command: C, permit: Option<OwnedSemaphorePermit>) -> Result<(), Closed> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(Closed);
        }
        inner.control.push_back((command, permit));
        self.notify(inner);
        Ok(())
    }

    /// The next control command, if there is one.
    pub fn pop_control(&self) -> Option<C> {
        self.lock().control.pop_front().map(|(command, _)| command)
    }

    /// Moves data commands into `out` until they have `budget` bytes; at least one, if there is one.
    pub fn pop_data(&self, budget: usize, out: &mut Vec<Queued<D>>) {
        let mut inner = self.lock();
        let mut taken = 0usize;
        while taken < budget {
            let Some(queued) = inner.data.pop_front() else { break };
            taken = taken.saturating_add(queued.bytes).saturating_add(ENTRY_BYTES);
            out.push(queued);
        }
    }

    /// Sleeps until something arrives, `timeout` is over (`None`: never) or the queue is closed. For
    /// the worker's thread only.
    pub fn park(&self, timeout: Option<Duration>) {
        let mut inner = self.lock();
        if !inner.control.is_empty() || !inner.data.is_empty() || inner.is_closed {
            return;
        }
        inner.is_asleep = true;
        let mut inner = match timeout {
            Some(timeout) => {
                let woken = self.arrival.wait_timeout(inner, timeout);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.arrival.wait(inner).unwrap_or_else(PoisonError::into_inner),
        };
        inner.is_asleep = false;
    }

    /// Takes nothing more and drops what waits.
    pub fn close(&self) {
        self.data_room.close();
        self.control_room.close();
        let mut inner = self.lock();
        inner.is_closed = true;
        let waiting = (std::mem::take(&mut inner.control), std::mem::take(&mut inner.data));
        self.notify(inner);
        drop(waiting);
    }

    /// True when nothing is taken any more.
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Data commands and their bytes that wait, for metrics.
    pub fn data_waiting(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.data.len(), inner.data.iter().map(|queued| queued.bytes).sum())
    }

    fn notify(&self, inner: MutexGuard<'_, Inner<C, D>>) {
        let is_asleep = inner.is_asleep;
        drop(inner);
        if is_asleep {
            self.arrival.notify_one();
        }
    }

    /// Nothing is half done when the lock is given back by a panic.
    fn lock(&self) -> MutexGuard<'_, Inner<C, D>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C, D> fmt::Debug for Queue<C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("Queue")
            .field("control", &inner.control.len())
            .field("data", &inner.data.len())
            .field("is_closed", &inner.is_closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn full_queue_makes_the_sender_wait_in_turn() {
        let queue = Queue::<(), &str>::new(1_000);
        queue.send("first", 700).await.unwrap();
        let mut second = Box::pin(queue.send("second", 700));
        let mut third = Box::pin(queue.send("third", 1));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(futures_util::poll!(&mut third).is_pending(), "the small one does not overtake");
        let mut out = Vec::new();
        queue.pop_data(usize::MAX, &mut out);
        assert_eq!(out.len(), 1);
        assert!(futures_util::poll!(&mut second).is_pending(), "room comes back when it is done");
        out.clear();
        second.await.unwrap();
        assert!(futures_util::poll!(&mut third).is_pending());
        queue.pop_data(usize::MAX, &mut out);
        assert_eq!(out[0].command, "second");
    }

    #[tokio::test]
    async fn larger_than_the_queue_is_taken_alone() {
        let queue = Queue::<(), u32>::new(1_000);
        queue.send(1, 50_000).await.unwrap();
        assert!(futures_util::poll!(Box::pin(queue.send(2, 0))).is_pending());
        assert_eq!(queue.data_waiting(), (1, 50_000));
    }

    #[tokio::test]
    async fn budget_bounds_what_is_taken_at_once() {
        let queue = Queue::<(), u32>::new(100_000);
        for command in 0..5 {
            queue.send(command, 1_000).await.unwrap();
        }
        let mut out = Vec::new();
        queue.pop_data(2_000, &mut out);
        assert_eq!(out.len(), 2);
        queue.pop_data(1, &mut out);
        assert_eq!(out.len(), 3);
    }

    #[tokio::test]
    async fn closed_queue_refuses_and_forgets() {
        let queue = Queue::<u32, u32>::new(1_000);
        queue.send_control(1).await.unwrap();
        queue.close();
        assert_eq!(queue.pop_control(), None);
        assert_eq!(queue.send(1, 1).await, Err(Closed));
        assert_eq!(queue.report(1), Err(Closed));
        queue.park(None);
    }

    #[test]
    fn sleeping_worker_is_woken_by_an_arrival() {
        let queue = Arc::new(Queue::<u32, u32>::new(1_000));
        let sender = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.report(7).unwrap()
        });
        let command = loop {
            if let Some(command) = queue.pop_control() {
                break command;
            }
            queue.park(None);
        };
        assert_eq!(command, 7);
        sender.join().unwrap();
    }
}
