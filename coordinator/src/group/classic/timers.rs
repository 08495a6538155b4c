//! The deadlines of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_protocol::Str;

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A restored group looks at itself once.
    Restored,
    /// The rebalance, or the wait for more members, ends.
    Join,
    /// Members that have not asked for their assignment are removed.
    Sync,
    /// A member, or an id that was given out, has not been heard of.
    Session(Str),
}

/// Deadlines, each with one time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_timer: BTreeMap<Timer, Duration>,
    by_time: BTreeSet<(Duration, Timer)>,
}

impl Timers {
    /// Sets or moves a deadline.
    pub fn set(&mut self, timer: Timer, at: Duration) {
        if let Some(before) = self.by_timer.insert(timer.clone(), at) {
            self.by_time.remove(&(before, timer.clone()));
        }
        self.by_time.insert((at, timer));
    }

    pub fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.by_timer.remove(timer) {
            self.by_time.remove(&(at, timer.clone()));
        }
    }

    pub fn cancel_session(&mut self, member: &Str) {
        self.cancel(&Timer::Session(member.clone()));
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest one that is due.
    pub fn take_due(&mut self, now: Duration) -> Option<Timer> {
        if self.next().is_none_or(|at| now < at) {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_timer.remove(&timer);
        Some(timer)
    }

    pub fn clear(&mut self) {
        self.by_timer.clear();
        self.by_time.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_deadline_is_due_once() {
        let mut timers = Timers::default();
        let second = Duration::from_secs(1);
        let session = Timer::Session("a".into());
        timers.set(session.clone(), second);
        timers.set(Timer::Join, second * 3);
        timers.set(session.clone(), second * 2);
        assert_eq!(timers.take_due(second), None);
        assert_eq!(timers.next(), Some(second * 2));
        assert_eq!(timers.take_due(second * 3), Some(session));
        timers.cancel(&Timer::Join);
        assert_eq!(timers.take_due(second * 9), None);
        assert_eq!(timers.next(), None);
    }
}
