//! What a connection's handles and tasks share: the calls that await their answers, and the bounds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::{CallError, CloseReason, ConnectionOptions};

/// A frame on its way to the writer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Vec<Bytes>,
    /// Its share of the bytes that may be queued.
    pub(super) _bytes: Option<OwnedSemaphorePermit>,
    /// Told once it is written.
    pub(super) written: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: ConnectionOptions,
    /// Cancelled once, after the reason is set.
    pub(super) closed: CancellationToken,
    state: Mutex<State>,
    calls: Arc<Semaphore>,
    queued_bytes: Arc<Semaphore>,
    queued_bytes_max: u32,
    next_id: AtomicI32,
}

#[derive(Debug, Default)]
struct State {
    pending: HashMap<i32, Pending>,
    reason: Option<CloseReason>,
    /// When the last answer came.
    answered_at: Option<Instant>,
    /// Since when answers are owed and none came. Calls that were given up count: their peer owes them still.
    waiting_since: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    answer: oneshot::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Shared {
    pub(super) fn new(options: ConnectionOptions) -> Self {
        let most = (Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let queued_bytes_max = options.queued_bytes_max.clamp(1, most);
        Self {
            closed: CancellationToken::new(),
            state: Mutex::default(),
            calls: Arc::new(Semaphore::new(options.calls_max.clamp(1, most))),
            queued_bytes: Arc::new(Semaphore::new(queued_bytes_max)),
            queued_bytes_max: queued_bytes_max as u32,
            next_id: AtomicI32::new(0),
            options,
        }
    }

    pub(super) fn next_correlation_id(&self) -> i32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits until one more call may be in flight.
    pub(super) async fn call_permit(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let permit = self.calls.clone().acquire_owned().await;
        permit.map_err(|_| self.closed_error())
    }

    /// Waits until the frame may be queued.
    pub(super) async fn bytes_permit(
        &self,
        frame: &[Bytes],
    ) -> Result<OwnedSemaphorePermit, CallError> {
        let len: usize = frame.iter().map(Bytes::len).sum();
        let share = u32::try_from(len).unwrap_or(u32::MAX).min(self.queued_bytes_max);
        let permit = self.queued_bytes.clone().acquire_many_owned(share).await;
        permit.map_err(|_| self.closed_error())
    }

    /// Makes the connection expect an answer.
    pub(super) fn register(
        &self,
        id: i32,
        permit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Bytes>, CallError> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state();
        if let Some(reason) = &state.reason {
            return Err(CallError::Closed(reason.clone()));
        }
        state.waiting_since.get_or_insert_with(Instant::now);
        state.pending.insert(id, Pending { answer, _permit: permit });
        Ok(receiver)
    }

    /// Hands an answer to its call. An answer to a call that was given up is dropped; one to a call that was never
    /// made is an error.
    pub(super) fn answer(&self, frame: Bytes) -> Result<(), CloseReason> {
        let Some(prefix) = frame.first_chunk::<4>() else {
            return Err(CloseReason::Protocol("an answer without a correlation id".into()));
        };
        let id = i32::from_be_bytes(*prefix);
        let pending = {
            let mut state = self.state();
            let pending = state.pending.remove(&id);
            let now = Instant::now();
            state.answered_at = Some(now);
            state.waiting_since = (!state.pending.is_empty()).then_some(now);
            pending
        };
        if let Some(pending) = pending {
            // The caller may have left meanwhile.
            let _ = pending.answer.send(frame);
            return Ok(());
        }
        if self.next_id.load(Ordering::Relaxed).wrapping_sub(id) <= 0 {
            return Err(CloseReason::Protocol(format!("an answer to call {id}, never made")));
        }
        Ok(())
    }

    /// Expects no answer to this call any more.
    pub(super) fn forget(&self, id: i32) {
        self.state().pending.remove(&id);
    }

    pub(super) fn calls_in_flight(&self) -> usize {
        self.state().pending.len()
    }

    pub(super) fn answered_at(&self) -> Option<Instant> {
        self.state().answered_at
    }

    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.state().waiting_since
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        self.state().reason.clone()
    }

    pub(super) fn closed_error(&self) -> CallError {
        CallError::Closed(self.close_reason().unwrap_or(CloseReason::Local))
    }

    /// Fails every call, now and later. Only the first reason counts.
    pub(super) fn close(&self, reason: CloseReason) {
        let pending = {
            let mut state = self.state();
            state.reason.get_or_insert(reason);
            std::mem::take(&mut state.pending)
        };
        self.calls.close();
        self.queued_bytes.close();
        self.closed.cancel();
        drop(pending);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and every change is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
