//! How much one peer may have under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// What kind of call asks for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answered at once, and what keeps the cluster alive: heartbeats, ISR changes, producer ids.
    Prompt,
    /// A client's request, which may wait long.
    Relayed,
}

/// The room of one peer, over all its connections. Relayed calls leave a reserve to prompt ones, so that
/// waiting clients never keep a heartbeat out.
#[derive(Debug)]
pub(crate) struct Budget {
    used: Mutex<Used>,
    freed: Notify,
    limits: Limits,
}

/// Room for calls and for the bytes of their requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub calls: usize,
    pub bytes: usize,
    /// What of it only prompt calls may use.
    pub calls_reserved: usize,
    pub bytes_reserved: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 4096,
            bytes: 64 * 1024 * 1024,
            calls_reserved: 256,
            bytes_reserved: 4 * 1024 * 1024,
        }
    }
}

#[derive(Debug, Default)]
struct Used {
    calls: usize,
    bytes: usize,
}

/// Room that one call has; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Room of this size, all free.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { used: Mutex::default(), freed: Notify::new(), limits })
    }

    /// Room for one call, if there is any.
    pub fn try_take(self: &Arc<Self>, kind: Kind, bytes: usize) -> Option<Permit> {
        let (calls_kept, bytes_kept) = match kind {
            Kind::Prompt => (0, 0),
            Kind::Relayed => (self.limits.calls_reserved, self.limits.bytes_reserved),
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = used.calls + calls_kept < self.limits.calls
            && used.bytes + bytes + bytes_kept <= self.limits.bytes;
        if !has_room {
            return None;
        }
        used.calls += 1;
        used.bytes += bytes;
        Some(Permit { budget: self.clone(), bytes })
    }

    /// Room for one prompt call, once there is some.
    pub async fn take_prompt(self: &Arc<Self>, bytes: usize) -> Permit {
        loop {
            // Registered before the look, so that room freed in between is not missed.
            let freed = self.freed.notified();
            if let Some(permit) = self.try_take(Kind::Prompt, bytes) {
                return permit;
            }
            freed.await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.calls -= 1;
        used.bytes -= self.bytes;
        drop(used);
        self.budget.freed.notify_waiters();
    }
}

/// The budgets of all peers that are connected.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<HashMap<i32, Weak<Budget>>>);

impl Budgets {
    /// The budget that all connections of `node` share.
    pub fn of(&self, node: i32) -> Arc<Budget> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.retain(|_, budget| 0 < budget.strong_count());
        if let Some(budget) = budgets.get(&node).and_then(Weak::upgrade) {
            return budget;
        }
        let budget = Budget::new(Limits::default());
        budgets.insert(node, Arc::downgrade(&budget));
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { calls: 4, bytes: 100, calls_reserved: 1, bytes_reserved: 20 };

    #[test]
    fn relayed_calls_leave_the_reserve_to_prompt_ones() {
        let budget = Budget::new(LIMITS);
        let held: Vec<Permit> =
            (0..3).map(|_| budget.try_take(Kind::Relayed, 1).unwrap()).collect();
        assert!(budget.try_take(Kind::Relayed, 1).is_none());
        let prompt = budget.try_take(Kind::Prompt, 1).unwrap();
        assert!(budget.try_take(Kind::Prompt, 1).is_none());
        drop((held, prompt));
        assert!(budget.try_take(Kind::Relayed, 80).is_some());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let budget = Budget::new(LIMITS);
        assert!(budget.try_take(Kind::Relayed, 81).is_none());
        let held = budget.try_take(Kind::Relayed, 80).unwrap();
        assert!(budget.try_take(Kind::Relayed, 1).is_none());
        assert!(budget.try_take(Kind::Prompt, 20).is_some());
        drop(held);
    }

    #[tokio::test]
    async fn prompt_call_waits_for_room() {
        let budget = Budget::new(LIMITS);
        let held: Vec<Permit> = (0..4).map(|_| budget.try_take(Kind::Prompt, 1).unwrap()).collect();
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take_prompt(1).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
    }

    #[test]
    fn connections_of_a_node_share_its_budget() {
        let budgets = Budgets::default();
        let (one, other) = (budgets.of(1), budgets.of(1));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &budgets.of(2)));
    }
}
