//! The only place of this crate that reads a clock.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ottla_protocol::time::Now;

/// Tells the time to the drivers, which hand it to the logic.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// The clocks of the machine; monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is where drivers get the time from")]
    pub fn system() -> Self {
        let start = Instant::now();
        Self::new(move || {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Now {
                monotonic: start.elapsed(),
                wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
            }
        })
    }

    /// Any other source of time.
    pub fn new(now: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Now {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
