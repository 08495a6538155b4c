//! Reads that may wait for a disk, on threads of their own.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::buffers::PooledBuffer;
use crate::handlers::SliceSource;

/// A small pool of threads for what is not in the page cache, so that a consumer that lags far behind
/// slows nobody but itself. Threads are started as they are needed.
#[derive(Debug, Clone)]
pub struct ColdReads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// As many as there are threads at most, so the queue never overflows.
    turns: Arc<Semaphore>,
    jobs: SyncSender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
    threads: Mutex<usize>,
    threads_max: usize,
}

struct Job {
    source: Arc<dyn SliceSource>,
    position: u64,
    len: usize,
    buffer: PooledBuffer,
    /// Goes with the job, not with the caller, who may give up: what has a turn has a place in the queue.
    turn: OwnedSemaphorePermit,
    reply: oneshot::Sender<(PooledBuffer, io::Result<usize>)>,
}

impl ColdReads {
    /// A pool of at most `threads_max` threads.
    pub fn new(threads_max: usize) -> Self {
        let threads_max = threads_max.max(1);
        let (jobs, queue) = sync_channel(threads_max);
        let shared = Shared {
            turns: Arc::new(Semaphore::new(threads_max)),
            jobs,
            queue: Arc::new(Mutex::new(queue)),
            threads: Mutex::new(0),
            threads_max,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Reads up to `len` bytes into the buffer and gives it back.
    pub async fn read(
        &self,
        source: Arc<dyn SliceSource>,
        position: u64,
        len: usize,
        buffer: PooledBuffer,
    ) -> io::Result<(PooledBuffer, usize)> {
        let turns = Arc::clone(&self.shared.turns);
        let turn = turns.acquire_owned().await.expect("the semaphore is never closed");
        self.shared.maybe_start_thread()?;
        let (reply, answer) = oneshot::channel();
        let job = Job { source, position, len, buffer, turn, reply };
        self.shared.jobs.try_send(job).map_err(io::Error::other)?;
        let (buffer, read) = answer.await.map_err(io::Error::other)?;
        Ok((buffer, read?))
    }
}

impl Shared {
    /// Starts one more thread unless there are enough; an idle one may exist, but that is not worth knowing.
    fn maybe_start_thread(&self) -> io::Result<bool> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = self.threads_max - self.turns.available_permits();
        if self.threads_max <= *threads || busy <= *threads {
            return Ok(false);
        }
        let queue = Arc::clone(&self.queue);
        let name = format!("cold-read-{}", *threads);
        std::thread::Builder::new().name(name).spawn(move || run(&queue))?;
        *threads += 1;
        Ok(true)
    }
}

/// Ends when the pool is dropped.
fn run(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { source, position, len, mut buffer, turn, reply }) = job else { return };
        let len = len.min(buffer.len());
        let read = source.read_cold(position, &mut buffer[..len]);
        // The connection may be gone; then the buffer returns to its pool here.
        drop(turn);
        drop(reply.send((buffer, read)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffers::BufferPool;
    use super::*;

    struct Counting;

    impl SliceSource for Counting {
        fn read_cached(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn read_cold(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(position as u8);
            Ok(buffer.len())
        }
    }

    #[tokio::test]
    async fn many_reads_share_few_threads_and_buffers_come_back() {
        let pool = BufferPool::new(4);
        let reads = ColdReads::new(2);
        let all = (0..64u64).map(|position| {
            let (pool, reads) = (pool.clone(), reads.clone());
            tokio::spawn(async move {
                let buffer = pool.acquire().await;
                let (buffer, read) =
                    reads.read(Arc::new(Counting), position, 10, buffer).await.unwrap();
                assert_eq!((read, &buffer[..10]), (10, &[position as u8; 10][..]));
            })
        });
        futures_util::future::try_join_all(all).await.unwrap();
        assert_eq!(pool.available(), 4);
        assert!(*reads.shared.threads.lock().unwrap() <= 2);
    }

    /// Reads once it is let.
    struct Gated(Mutex<Receiver<()>>);

    impl SliceSource for Gated {
        fn read_cached(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn read_cold(&self, _: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.lock().unwrap().recv().map_err(io::Error::other)?;
            Ok(buffer.len())
        }
    }

    #[tokio::test]
    async fn callers_that_give_up_leave_no_jobs_without_a_turn() {
        let (let_go, gate) = sync_channel(8);
        let source: Arc<dyn SliceSource> = Arc::new(Gated(Mutex::new(gate)));
        let (pool, reads) = (BufferPool::new(8), ColdReads::new(1));
        let read = |buffer| reads.read(Arc::clone(&source), 0, 10, buffer);
        for _ in 0..4 {
            // Polled once and dropped; the first holds the only thread up.
            let mut given_up = Box::pin(read(pool.acquire().await));
            assert!(futures_util::poll!(&mut given_up).is_pending());
        }
        let mut last = Box::pin(read(pool.acquire().await));
        assert!(futures_util::poll!(&mut last).is_pending(), "waits for its turn");
        let_go.send(()).unwrap();
        let_go.send(()).unwrap();
        assert_eq!(last.await.unwrap().1, 10);
        assert_eq!(pool.available(), 8);
    }
}
