//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with jitter: doubles from `initial` to `max`, spread by a fifth either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub initial: Duration,
    /// After many failures, before the jitter.
    pub max: Duration,
}

const JITTER: f64 = 0.2;

impl Backoff {
    /// The wait after that many failures in a row; none without a failure. `random` is from 0 to 1.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let doubled = self.initial.as_secs_f64() * 2f64.powi(doublings.min(60) as i32);
        let spread = 1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        Duration::from_secs_f64(doubled.min(self.max.as_secs_f64()) * spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let backoff =
            Backoff { initial: Duration::from_millis(50), max: Duration::from_millis(1000) };
        let ms = |failures, random| backoff.delay(failures, random).as_millis();
        assert_eq!(ms(0, 0.5), 0);
        assert_eq!([ms(1, 0.5), ms(2, 0.5), ms(3, 0.5)], [50, 100, 200]);
        assert_eq!(ms(u32::MAX, 0.5), 1000);
        assert_eq!((ms(6, 0.0), ms(6, 1.0)), (800, 1200));
    }
}
