//! The driver of a log worker: a plain thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use ottla_storage::{Log, LogIo};

use super::{Inbox, Worker};
use crate::clock::Clock;

/// A running worker.
#[derive(Debug)]
pub struct WorkerThread<I: LogIo> {
    /// How it is reached.
    pub inbox: Arc<Inbox>,
    thread: JoinHandle<Vec<Log<I>>>,
}

/// Told when the worker's directory has failed, with the reason; once.
pub type OnFailure = Box<dyn FnOnce(String) + Send>;

/// Bytes of appends in one step. A step ends in answers, so it is not to take long.
const STEP_BYTES: usize = 4 << 20;

impl<I: LogIo> WorkerThread<I> {
    /// Starts a worker on a thread called `name`.
    pub fn start(
        name: String,
        worker: Worker<I>,
        inbox: Arc<Inbox>,
        clock: Arc<dyn Clock>,
        on_failure: OnFailure,
    ) -> io::Result<Self> {
        let theirs = Arc::clone(&inbox);
        let run = move || drive(worker, &theirs, &*clock, on_failure);
        let thread = std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Self { inbox, thread })
    }

    /// Waits for the thread to end, which [`super::Control::Stop`] makes it do, and returns its logs. None
    /// come back from one that panicked.
    pub fn join(self) -> Vec<Log<I>> {
        self.thread.join().unwrap_or_default()
    }
}

fn drive<I: LogIo>(
    mut worker: Worker<I>,
    inbox: &Inbox,
    clock: &dyn Clock,
    on_failure: OnFailure,
) -> Vec<Log<I>> {
    let mut on_failure = Some(on_failure);
    let end = catch_unwind(AssertUnwindSafe(|| {
        loop {
            let now = clock.now();
            let progress = worker.step(now, STEP_BYTES);
            if let Some(failure) = worker.failure()
                && let Some(tell) = on_failure.take()
            {
                tell(failure.to_string());
            }
            if progress.is_stopping {
                return;
            }
            if !progress.is_busy {
                let deadline = progress.next_deadline;
                inbox.park(deadline.map(|at| at.saturating_sub(now.monotonic)));
            }
        }
    }));
    inbox.close();
    match end {
        Ok(()) => worker.into_logs(),
        Err(_) => {
            // Half-changed state must not be worked on: the directory is lost to this process.
            worker.abandon();
            if let Some(tell) = on_failure.take() {
                tell("a log worker panicked".to_owned());
            }
            Vec::new()
        }
    }
}
