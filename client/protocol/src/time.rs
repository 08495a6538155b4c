//! The time, as an argument: logic that is told the time can be simulated.

use std::time::Duration;

/// A reading of both clocks. Deadlines and ages use `monotonic`; only what users see uses `wall_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since an arbitrary start, never going back within one process.
    pub monotonic: Duration,
    /// Unix time in milliseconds; may step in either direction.
    pub wall_ms: i64,
}

impl Now {
    /// The same moment, `by` later on both clocks. For tests and deadlines.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self { monotonic: self.monotonic + by, wall_ms: self.wall_ms.saturating_add(by_ms) }
    }
}
