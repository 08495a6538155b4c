//! Time that stands still while the metadata store cannot be written.

use std::time::Duration;

/// Measures *store-healthy* time.
///
/// While the store is away nobody can renew a claim, so nobody may be judged by having failed to: the
/// clock stands, and after the outage it stands on for one heartbeat, so that everybody can be heard
/// first. It also never takes more than one heartbeat per step: if this process itself slept, what
/// others sent meanwhile is still unread.
#[derive(Debug, Clone)]
pub struct StoreClock {
    step_max: Duration,
    grace: Duration,
    elapsed: Duration,
    last: Option<Duration>,
    healthy: bool,
    held_back: Duration,
}

impl StoreClock {
    /// A clock at zero. `heartbeat` is the interval in which everybody is heard.
    pub fn new(heartbeat: Duration) -> Self {
        Self::with_grace(heartbeat, heartbeat)
    }

    /// A clock at zero that takes no more than `step_max` per step, and after an outage stands for `grace`.
    pub fn with_grace(step_max: Duration, grace: Duration) -> Self {
        Self {
            step_max,
            grace,
            elapsed: Duration::ZERO,
            last: None,
            healthy: true,
            held_back: Duration::ZERO,
        }
    }

    /// The store answers again, or no longer.
    pub fn set_healthy(&mut self, healthy: bool, monotonic: Duration) {
        self.advance(monotonic);
        if healthy && !self.healthy {
            self.held_back = self.grace;
        }
        self.healthy = healthy;
    }

    /// Moves to `monotonic` and returns the store-healthy time.
    pub fn advance(&mut self, monotonic: Duration) -> Duration {
        let step = self.last.map_or(Duration::ZERO, |last| monotonic.saturating_sub(last));
        self.last = Some(self.last.map_or(monotonic, |last| last.max(monotonic)));
        if self.healthy {
            let step = step.min(self.step_max);
            let held = step.min(self.held_back);
            self.held_back -= held;
            self.elapsed += step - held;
        }
        self.elapsed
    }

    /// The store-healthy time of the last step.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn run(clock: &mut StoreClock, from: u64, to: u64) -> Duration {
        (from..=to).map(|at| clock.advance(Duration::from_secs(at))).last().unwrap_or_default()
    }

    #[test]
    fn stands_while_the_store_is_away_and_one_heartbeat_longer() {
        let mut clock = StoreClock::new(SECOND);
        assert_eq!(run(&mut clock, 100, 103), 3 * SECOND);
        clock.set_healthy(false, 103 * SECOND);
        assert_eq!(run(&mut clock, 104, 200), 3 * SECOND);
        clock.set_healthy(true, 200 * SECOND);
        assert_eq!(clock.advance(201 * SECOND), 3 * SECOND);
        assert_eq!(run(&mut clock, 202, 203), 5 * SECOND);
    }

    #[test]
    fn sleep_of_this_process_counts_as_one_heartbeat() {
        let mut clock = StoreClock::new(SECOND);
        clock.advance(SECOND);
        assert_eq!(clock.advance(1000 * SECOND), SECOND);
    }

    #[test]
    fn never_goes_back() {
        let mut clock = StoreClock::new(SECOND);
        clock.advance(10 * SECOND);
        clock.advance(11 * SECOND);
        assert_eq!(clock.advance(5 * SECOND), SECOND);
        assert_eq!(clock.advance(11 * SECOND), SECOND);
    }
}
