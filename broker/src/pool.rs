//! A few threads for what would hold up a network task: cold reads of a disk, heavy compression.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

/// At most so many threads, started when they are first needed. Callers wait for their turn, so nothing
/// queues up inside. Threads end when the pool is dropped.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    threads_max: usize,
    /// As many as threads at most: what has a turn has a place in the queue.
    turns: Arc<Semaphore>,
    jobs: SyncSender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
    threads: Mutex<usize>,
}

type Job = Box<dyn FnOnce() + Send>;

/// The pool could not do the work.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Spawn(#[source] io::Error),
    /// The work panicked.
    #[error("the work did not end")]
    Lost,
}

impl Pool {
    /// At most `threads_max` threads, called `name` and a number.
    pub fn new(name: &'static str, threads_max: usize) -> Self {
        let threads_max = threads_max.max(1);
        let (jobs, queue) = sync_channel(threads_max);
        let shared = Shared {
            name,
            threads_max,
            turns: Arc::new(Semaphore::new(threads_max)),
            jobs,
            queue: Arc::new(Mutex::new(queue)),
            threads: Mutex::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs `work` on a thread of the pool once there is one to spare.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let shared = &self.shared;
        let turn = Arc::clone(&shared.turns).acquire_owned().await.map_err(|_| PoolError::Lost)?;
        shared.maybe_start_thread()?;
        let (reply, result) = oneshot::channel();
        // The turn ends with the work, not with the caller, who may give up.
        let job: Job = Box::new(move || {
            let _turn = turn;
            drop(reply.send(work()));
        });
        shared.jobs.try_send(job).map_err(|_| PoolError::Lost)?;
        result.await.map_err(|_| PoolError::Lost)
    }
}

impl Shared {
    fn maybe_start_thread(&self) -> Result<bool, PoolError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = self.threads_max - self.turns.available_permits();
        if self.threads_max <= *threads || busy <= *threads {
            return Ok(false);
        }
        let queue = Arc::clone(&self.queue);
        let name = format!("{}-{}", self.name, *threads);
        let spawned = std::thread::Builder::new().name(name).spawn(move || run(&queue));
        spawned.map_err(PoolError::Spawn)?;
        *threads += 1;
        Ok(true)
    }
}

fn run(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The caller learns of a panic by the reply that never comes; the thread lives on.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("work on a pool thread panicked");
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.name)
            .field("threads_max", &self.shared.threads_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn much_work_shares_few_threads() {
        let pool = Pool::new("test", 2);
        let all = (0..64).map(|number| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.run(move || number * 2).await.unwrap() })
        });
        let results = futures_util::future::try_join_all(all).await.unwrap();
        assert_eq!(results, (0..64).map(|number| number * 2).collect::<Vec<_>>());
        assert!(*pool.shared.threads.lock().unwrap() <= 2);
    }

    #[tokio::test]
    async fn panic_is_an_error_and_the_pool_lives_on() {
        let pool = Pool::new("test", 1);
        let lost = pool.run(|| -> i32 { panic!("on purpose") }).await;
        assert!(matches!(lost, Err(PoolError::Lost)));
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }
}
