//! The time of groups: it stands still while their decisions cannot be written.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ottla_protocol::time::Now;

use crate::clock::Clock;
use crate::controller::store_clock::StoreClock;

/// Tells store-healthy time to all shards of a term.
#[derive(Debug)]
pub(crate) struct ShardClock {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: StoreClock,
    healthy: bool,
    /// Since when the journal waits for the store, in real time.
    writing_since: Option<Duration>,
    /// The latest wall time that was told.
    wall_ms: i64,
}

impl ShardClock {
    pub fn new(clock: Clock) -> Self {
        let now = clock.now();
        let mut store = StoreClock::with_grace(STEP_MAX, GRACE);
        store.advance(now.monotonic);
        let state = State { store, healthy: true, writing_since: None, wall_ms: now.wall_ms };
        Self { clock, state: Mutex::new(state) }
    }

    /// The time: monotonic time is store-healthy, wall time never steps back.
    pub fn now(&self) -> Now {
        let real = self.clock.now();
        let mut state = self.lock();
        state.look(real.monotonic);
        state.wall_ms = state.wall_ms.max(real.wall_ms);
        Now { monotonic: state.store.advance(real.monotonic), wall_ms: state.wall_ms }
    }

    /// Real time, which also passes while the store is away.
    pub fn real(&self) -> Duration {
        self.clock.now().monotonic
    }

    /// Whether the store answered when it was last asked.
    pub fn set_healthy(&self, healthy: bool) {
        let real = self.real();
        let mut state = self.lock();
        state.healthy = healthy;
        state.look(real);
    }

    /// A write began, or ended.
    pub fn set_writing(&self, writing: bool) {
        let real = self.real();
        let mut state = self.lock();
        state.writing_since = writing.then_some(real);
        state.look(real);
    }

    /// Whether time passes.
    #[cfg(test)]
    pub fn is_healthy(&self) -> bool {
        let real = self.real();
        self.lock().is_healthy(real)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_healthy(&self, real: Duration) -> bool {
        let stalled = |since: Duration| STALLED_AFTER < real.saturating_sub(since);
        self.healthy && !self.writing_since.is_some_and(stalled)
    }

    fn look(&mut self, real: Duration) {
        self.store.set_healthy(self.is_healthy(real), real);
    }
}

/// A step of the clock counts for no more: what arrived while this process slept is still unread.
const STEP_MAX: Duration = Duration::from_secs(1);
/// How long the clock stands on after an outage: everybody sends a heartbeat within this time.
const GRACE: Duration = Duration::from_secs(5);
/// A write that takes longer shows a store that is away.
const STALLED_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn clock() -> (ShardClock, Arc<AtomicU64>) {
        let millis = Arc::new(AtomicU64::new(0));
        let read = millis.clone();
        let clock = Clock::new(move || {
            let millis = read.load(Ordering::SeqCst);
            // A wall clock that runs backwards.
            Now { monotonic: Duration::from_millis(millis), wall_ms: 1_000_000 - millis as i64 }
        });
        (ShardClock::new(clock), millis)
    }

    fn run(clock: &ShardClock, millis: &AtomicU64, seconds: u64) -> u64 {
        for _ in 0..seconds * 4 {
            millis.fetch_add(250, Ordering::SeqCst);
            clock.now();
        }
        clock.now().monotonic.as_millis() as u64
    }

    #[test]
    fn time_stands_while_a_write_hangs_and_for_a_heartbeat_after_it() {
        let (clock, millis) = clock();
        assert_eq!(run(&clock, &millis, 10), 10_000);
        clock.set_writing(true);
        // For as long as it may still be an ordinary write the clock goes on.
        assert_eq!(run(&clock, &millis, 60), 11_250);
        clock.set_writing(false);
        assert_eq!(run(&clock, &millis, 5), 11_250);
        assert_eq!(run(&clock, &millis, 5), 16_250);
    }

    #[test]
    fn time_stands_while_the_store_does_not_answer() {
        let (clock, millis) = clock();
        clock.set_healthy(false);
        assert_eq!(run(&clock, &millis, 30), 0);
        assert!(!clock.is_healthy());
        clock.set_healthy(true);
        assert_eq!(run(&clock, &millis, 6), 1_000);
    }

    #[test]
    fn wall_time_never_steps_back() {
        let (clock, millis) = clock();
        let before = clock.now().wall_ms;
        millis.fetch_add(1000, Ordering::SeqCst);
        assert_eq!(clock.now().wall_ms, before);
    }
}
