//! Experiments have a short form, for every run of the tests, and the full one, for `make soak`.

use std::env;

/// Whether the full forms are wanted.
#[must_use]
pub fn is_soak() -> bool {
    env::var_os("OTTLA_SOAK").is_some()
}

/// What the short form takes, or the full one.
#[must_use]
pub fn short_or_long<T>(short: T, long: T) -> T {
    if is_soak() { long } else { short }
}
