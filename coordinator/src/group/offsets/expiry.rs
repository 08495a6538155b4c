//! When committed offsets are forgotten.

use std::time::Duration;

use ottla_metadata::model::group::CommittedOffset;

use super::{Offsets, Subscribed, Touched};
use crate::group::Context;

/// From when on the offsets of a group get older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expiry {
    /// From their commit on, as far as nobody is subscribed to their topic.
    SinceCommit(Subscribed),
    /// From the moment on (Unix ms) when the group lost its last member.
    SinceEmpty(i64),
    /// Not at all: the group is between two generations.
    Never,
}

impl Offsets {
    /// Forgets what is older than `offsets.retention.minutes`, and returns how many offsets that are. A wall
    /// clock that steps back makes nothing older.
    pub fn expire(&mut self, group: &str, expiry: &Expiry, cx: &mut Context<'_>) -> usize {
        if *expiry == Expiry::Never {
            return 0;
        }
        let retention = cx.settings.offsets_retention;
        let (image, now) = (cx.image, cx.now.wall_ms);
        let expired: Vec<_> = self
            .iter()
            .filter(|(topic, committed)| {
                let is_kept = || match expiry {
                    Expiry::SinceCommit(subscribed) => image
                        .topic_by_id(*topic)
                        .is_some_and(|topic| subscribed.includes(&topic.name)),
                    Expiry::SinceEmpty(_) | Expiry::Never => false,
                };
                is_old(committed, expiry, retention, now) && !is_kept()
            })
            .map(|(topic, committed)| (topic, committed.partition))
            .collect();
        let mut touched = Touched::new();
        for (topic, partition) in &expired {
            self.remove(*topic, *partition, &mut touched);
        }
        self.write(group, &touched, cx.out);
        expired.len()
    }
}

fn is_old(committed: &CommittedOffset, expiry: &Expiry, retention: Duration, now: i64) -> bool {
    if let Some(at) = committed.expires_at {
        return at <= now;
    }
    let since = match expiry {
        Expiry::SinceEmpty(at) => *at,
        Expiry::SinceCommit(_) | Expiry::Never => committed.committed_at,
    };
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    retention <= now.saturating_sub(since)
}
