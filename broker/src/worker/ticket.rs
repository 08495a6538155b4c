//! The join of one produce request: as many outcomes as partitions, one waker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use ottla_protocol::ErrorCode;
use ottla_protocol::types::Offset;

/// What became of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// `ErrorCode::None` for success.
    pub error: ErrorCode,
    /// Offset of the first record, −1 with most errors.
    pub base_offset: Offset,
    /// The time of all records with LogAppendTime, Unix ms; −1 with CreateTime.
    pub log_append_time: i64,
    /// First offset of the log.
    pub log_start: Offset,
}

/// Shared by a request and the workers that have parts of it.
#[derive(Debug)]
pub struct Ticket {
    outcomes: Box<[OnceLock<Outcome>]>,
    missing: AtomicUsize,
    waker: AtomicWaker,
}

/// The duty to say what became of one batch. Dropped without a word (its worker died) it says that
/// storage failed, so no producer waits for nothing.
#[derive(Debug)]
pub struct Waiter {
    ticket: Arc<Ticket>,
    index: u32,
    /// What will be said on success.
    pub success: Outcome,
}

impl Outcome {
    /// A failure that leaves nothing in the log.
    pub const fn failed(error: ErrorCode) -> Self {
        Self { error, base_offset: Offset::NONE, log_append_time: -1, log_start: Offset::NONE }
    }
}

impl Ticket {
    /// Waits for `count` outcomes.
    pub fn new(count: usize) -> Arc<Self> {
        let outcomes = (0..count).map(|_| OnceLock::new()).collect();
        Arc::new(Self { outcomes, missing: AtomicUsize::new(count), waker: AtomicWaker::new() })
    }

    /// Says what became of batch `index`; the first word counts.
    pub fn complete(&self, index: u32, outcome: Outcome) {
        let Some(slot) = self.outcomes.get(index as usize) else { return };
        if slot.set(outcome).is_ok() && self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }

    /// Completes when every outcome is there. One task at a time may wait.
    pub async fn wait(&self) {
        std::future::poll_fn(|context| {
            if self.is_complete() {
                return Poll::Ready(());
            }
            self.waker.register(context.waker());
            if self.is_complete() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// True when every outcome is there.
    pub fn is_complete(&self) -> bool {
        self.missing.load(Ordering::Acquire) == 0
    }

    /// The outcome of batch `index`, if it is known.
    pub fn outcome(&self, index: u32) -> Option<Outcome> {
        self.outcomes.get(index as usize)?.get().copied()
    }
}

impl Waiter {
    /// Takes the duty for batch `index` of `ticket`.
    pub fn new(ticket: Arc<Ticket>, index: u32) -> Self {
        Self { ticket, index, success: Outcome::failed(ErrorCode::KafkaStorageError) }
    }

    /// Says it.
    pub fn complete(self, result: Result<(), ErrorCode>) {
        let outcome = match result {
            Ok(()) => self.success,
            // The batch is in the log and only its acknowledgement failed.
            Err(error) => Outcome { error, ..self.success },
        };
        self.ticket.complete(self.index, outcome);
    }

    /// Says that nothing was appended.
    pub fn refuse(self, error: ErrorCode, log_start: Offset) {
        self.ticket.complete(self.index, Outcome { log_start, ..Outcome::failed(error) });
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // After `complete` this changes nothing.
        self.ticket.complete(self.index, Outcome::failed(ErrorCode::KafkaStorageError));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_completes_with_its_last_batch() {
        let ticket = Ticket::new(2);
        let mut first = Waiter::new(Arc::clone(&ticket), 0);
        let second = Waiter::new(Arc::clone(&ticket), 1);
        first.success.error = ErrorCode::None;
        first.success.base_offset = Offset(42);
        let mut wait = Box::pin(ticket.wait());
        first.complete(Ok(()));
        assert!(futures_util::poll!(&mut wait).is_pending());
        second.refuse(ErrorCode::NotLeaderOrFollower, Offset(3));
        wait.await;
        assert_eq!(ticket.outcome(0).map(|outcome| outcome.base_offset), Some(Offset(42)));
        let refused = ticket.outcome(1).unwrap();
        assert_eq!((refused.error, refused.log_start), (ErrorCode::NotLeaderOrFollower, Offset(3)));
    }

    #[tokio::test]
    async fn forgotten_duty_is_a_storage_error() {
        let ticket = Ticket::new(1);
        drop(Waiter::new(Arc::clone(&ticket), 0));
        ticket.wait().await;
        assert_eq!(ticket.outcome(0), Some(Outcome::failed(ErrorCode::KafkaStorageError)));
    }
}
