//! How much may wait for the coordinator.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Whether a request is answered at once or may be held for long. Requests that are held must not use
/// up what those need that are answered at once: a thousand members waiting for a rebalance must not
/// stop the heartbeats of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallClass {
    /// Answered as soon as the store allows.
    Prompt,
    /// May be held until others do something, as JoinGroup is.
    Parked,
}

/// Bounds of all calls in flight of one broker.
#[derive(Debug, Clone)]
pub struct Bounds {
    calls: Arc<Semaphore>,
    parked: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// One call that is in flight.
#[derive(Debug)]
pub struct CallPermit {
    _permits: [Option<OwnedSemaphorePermit>; 3],
}

/// Calls in flight.
const CALLS_MAX: usize = 4096;
/// Calls that only those get that are answered at once.
const PROMPT_RESERVE: usize = 512;
/// Bytes of requests in flight.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes are counted in these.
const UNIT: usize = 1024;

impl Bounds {
    /// Explicit numbers; [`Bounds::default`] has 4096 calls, 512 of them reserved, and 64 MiB.
    pub fn new(calls: usize, prompt_reserve: usize, bytes: usize) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(calls)),
            parked: Arc::new(Semaphore::new(calls.saturating_sub(prompt_reserve))),
            bytes: Arc::new(Semaphore::new(bytes.div_ceil(UNIT))),
        }
    }

    /// The right to send a call, unless there are too many. Never waits.
    pub fn admit(&self, class: CallClass, bytes: usize) -> Option<CallPermit> {
        let parked = match class {
            CallClass::Prompt => None,
            CallClass::Parked => Some(Arc::clone(&self.parked).try_acquire_owned().ok()?),
        };
        let call = Arc::clone(&self.calls).try_acquire_owned().ok()?;
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(units).ok()?;
        Some(CallPermit { _permits: [parked, Some(call), Some(bytes)] })
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::new(CALLS_MAX, PROMPT_RESERVE, BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parked_calls_leave_room_for_prompt_ones() {
        let bounds = Bounds::new(3, 1, 10 * UNIT);
        let parked: Vec<_> = (0..5).map_while(|_| bounds.admit(CallClass::Parked, 1)).collect();
        assert_eq!(parked.len(), 2);
        let prompt = bounds.admit(CallClass::Prompt, 1);
        assert!(prompt.is_some() && bounds.admit(CallClass::Prompt, 1).is_none());
        drop(parked);
        assert!(bounds.admit(CallClass::Prompt, 10 * UNIT).is_none(), "bytes are bounded too");
        assert!(bounds.admit(CallClass::Prompt, 9 * UNIT).is_some());
    }
}
