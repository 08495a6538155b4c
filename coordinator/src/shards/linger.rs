//! How long the writer waits for more before it writes.

use std::time::Duration;

/// Half of what a write takes on average: the slower the store, the fewer and larger the transactions.
#[derive(Debug, Default)]
pub(super) struct Linger {
    average: Duration,
}

impl Linger {
    /// A write took so long.
    pub fn note(&mut self, took: Duration) {
        self.average = (self.average * 7 + took) / 8;
    }

    /// How long to wait for more, unless there is enough for a whole transaction.
    pub fn pause(&self) -> Duration {
        (self.average / 2).clamp(LINGER_MIN, LINGER_MAX)
    }
}

/// Whoever commits alone waits for this long.
const LINGER_MIN: Duration = Duration::from_millis(2);
/// However slow the store is.
const LINGER_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_with_the_time_that_writes_take_and_shrinks_again() {
        let mut linger = Linger::default();
        assert_eq!(linger.pause(), LINGER_MIN);
        let mut after = |took: Duration| {
            (0..200).for_each(|_| linger.note(took));
            linger.pause()
        };
        assert_eq!(after(Duration::from_millis(3)), LINGER_MIN);
        let slow = after(Duration::from_millis(200));
        assert!((90..=100).contains(&slow.as_millis()), "{slow:?}");
        assert_eq!(after(Duration::from_secs(10)), LINGER_MAX);
        assert_eq!(after(Duration::from_millis(1)), LINGER_MIN);
    }
}
