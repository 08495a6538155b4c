//! Who has been silent or slow for too long.
//!
//! A heartbeat only moves a deadline. The queue has an entry for each member, which may be early: when it comes up and
//! nothing is due, it goes back with the deadline that holds now.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::ConsumerGroup;
use super::member::Member;
use crate::group::Context;

/// Entries of the queue: when, and which member.
pub type Timer = Reverse<(Duration, Arc<str>)>;

impl ConsumerGroup {
    /// When [`on_timer`](Self::on_timer) has something to do, in store-healthy time. May be early.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.restored {
            return Some(self.changed_at);
        }
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        [timer, self.assign_at].into_iter().flatten().min()
    }

    /// Expels who is silent or too slow, and computes an assignment that was put off.
    pub fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.settle_in(cx);
        let now = cx.now.monotonic;
        let mut late = BTreeSet::new();
        while let Some(Reverse((at, id))) = self.timers.peek().cloned() {
            if now < at {
                break;
            }
            self.timers.pop();
            let Some(member) = self.members.get_mut(&id) else { continue };
            if member.deadlines.armed != Some(at) {
                continue;
            }
            member.deadlines.armed = None;
            if member.deadlines.first().is_some_and(|deadline| deadline <= now) {
                late.insert(id);
            } else {
                self.arm(&id);
            }
        }
        for id in &late {
            tracing::info!(group = self.id, member = %id, "member expelled: silent or too slow");
            self.remove_member(id);
        }
        if !late.is_empty() {
            self.bump(cx);
        }
        self.assign_if_due(cx);
        self.finish_step(cx);
    }

    /// Changes a member's deadlines, and sees that the queue knows of an earlier one.
    pub(super) fn set_deadlines(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(id) {
            change(member);
            self.arm(id);
        }
    }

    fn arm(&mut self, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        let Some(first) = member.deadlines.first() else { return };
        if member.deadlines.armed.is_none_or(|armed| first < armed) {
            member.deadlines.armed = Some(first);
            self.timers.push(Reverse((first, Arc::clone(&member.id))));
        }
    }
}
