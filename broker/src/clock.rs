//! Where the broker's drivers read the time.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_protocol::time::Now;
use tokio::time::Instant;

/// A source of time. Logic is told the time; only drivers ask.
pub trait Clock: Debug + Send + Sync {
    /// Both clocks, now.
    fn now(&self) -> Now;
}

/// The machine's clocks. The monotonic one is tokio's, so that a paused runtime pauses it too.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        #[expect(clippy::disallowed_methods, reason = "this is the driver that reads the clock")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Now { monotonic: self.started.elapsed(), wall_ms }
    }
}
