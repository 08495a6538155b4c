//! Waiting for a condition, with a bound: never a sleep and a hope.

use std::{
    future::Future,
    thread,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_millis(20);

/// Calls `probe` until it returns a value, and returns that.
///
/// # Panics
/// When `within` has passed; the message says what was waited for.
pub fn eventually<T>(what: &str, within: Duration, probe: impl FnMut() -> Option<T>) -> T {
    poll(within, probe).unwrap_or_else(|| panic!("not within {within:?}: {what}"))
}

/// As [`eventually`], for whoever has more to say when it does not come: returns nothing then.
#[expect(clippy::disallowed_methods, reason = "a test waits on real time")]
pub fn poll<T>(within: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if deadline <= Instant::now() {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// [`eventually`] for a probe that has to be awaited.
///
/// # Panics
/// When `within` has passed; the message says what was waited for.
#[expect(clippy::disallowed_methods, reason = "a test waits on real time")]
pub async fn eventually_async<T, F>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
