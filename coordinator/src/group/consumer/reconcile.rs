//! How a member gets from what it has to what it is to have.
//!
//! | state | it has | until |
//! |---|---|---|
//! | `Stable` | all that was wanted in its epoch | there is a newer assignment |
//! | `UnrevokedPartitions` | less than before, and a list to give up; its epoch stays | it no longer names one of them, or its rebalance timeout |
//! | `UnreleasedPartitions` | all that is free in its new epoch | others gave up the rest |
//!
//! A partition is free when nobody has it, nor is giving it up: so nobody gets it before its owner said that it
//! let go of it.

use ottla_metadata::model::group::ReconciliationState;
use ottla_protocol::Uuid;

use super::member::Current;
use super::partitions::{Claimed, Owned, Partitions};

/// What a member is to be reconciled with.
pub struct Goal<'a> {
    /// What the assignor wants.
    pub target: &'a Partitions,
    /// The epoch of that assignment.
    pub epoch: i32,
    /// Whether the member wants to read a topic, which exists.
    pub wants: &'a dyn Fn(Uuid) -> bool,
    /// Whether nobody has a partition.
    pub is_free: &'a dyn Fn(Uuid, i32) -> bool,
    /// The member wants to read something else than before this step.
    pub subscription_changed: bool,
    /// What the member says that it has; `None` if it said nothing.
    pub claimed: Option<Claimed<'a>>,
}

/// What the member has next, if that is not what it has.
pub fn reconcile(current: &Current, goal: &Goal<'_>) -> Option<Current> {
    let next = match current.state {
        ReconciliationState::Stable if current.epoch != goal.epoch => next(current, goal),
        ReconciliationState::UnrevokedPartitions if !still_has(&current.revoking, goal) => {
            next(current, goal)
        }
        ReconciliationState::UnreleasedPartitions => {
            if !goal.subscription_changed && nothing_came_free(current, goal) {
                return None;
            }
            next(current, goal)
        }
        ReconciliationState::Stable | ReconciliationState::UnrevokedPartitions => {
            if !goal.subscription_changed {
                return None;
            }
            stripped(current, goal)?
        }
    };
    (next != *current).then_some(next)
}

/// The way to the target, as far as it is open.
fn next(current: &Current, goal: &Goal<'_>) -> Current {
    let is_target =
        |topic, partition| goal.target.contains(topic, partition) && (goal.wants)(topic);
    let (assigned, revoking) = split(&current.assigned, is_target);
    if !revoking.is_empty() && still_has(&revoking, goal) {
        return moved(current, current.epoch, Step { assigned, revoking, waits: false });
    }
    let mut step = Step { assigned, revoking: Owned::default(), waits: false };
    for (topic, partitions) in goal.target.topics().filter(|(topic, _)| (goal.wants)(*topic)) {
        for partition in partitions {
            if step.assigned.contains(topic, *partition) {
                continue;
            }
            // What this member itself is giving up is nobody else's.
            let is_free =
                (goal.is_free)(topic, *partition) || current.revoking.contains(topic, *partition);
            if is_free {
                step.assigned.insert(topic, *partition, goal.epoch);
            } else {
                step.waits = true;
            }
        }
    }
    moved(current, goal.epoch, step)
}

/// Without topics that the member no longer wants; `None` if it has none of them.
fn stripped(current: &Current, goal: &Goal<'_>) -> Option<Current> {
    let (assigned, mut revoking) = split(&current.assigned, |topic, _| (goal.wants)(topic));
    if revoking.is_empty() {
        return None;
    }
    for (topic, partition, epoch) in current.revoking.iter() {
        revoking.insert(topic, partition, epoch);
    }
    if still_has(&revoking, goal) {
        let step = Step { assigned, revoking, waits: false };
        return Some(moved(current, current.epoch, step));
    }
    // It has given them up already.
    let mut next = current.clone();
    next.assigned = assigned;
    Some(next)
}

struct Step {
    assigned: Owned,
    revoking: Owned,
    waits: bool,
}

fn moved(current: &Current, epoch: i32, step: Step) -> Current {
    let state = if !step.revoking.is_empty() {
        ReconciliationState::UnrevokedPartitions
    } else if step.waits {
        ReconciliationState::UnreleasedPartitions
    } else {
        ReconciliationState::Stable
    };
    // A member that did not get the answer to its last epoch may come with the one before until it has another.
    let same_epoch = epoch == current.epoch;
    Current {
        epoch,
        previous_epoch: if same_epoch { current.previous_epoch } else { current.epoch },
        state,
        assigned: step.assigned,
        revoking: step.revoking,
        rest: current.rest.clone(),
    }
}

/// Whether the member may still read one of these: it has to say that it does not.
fn still_has(revoking: &Owned, goal: &Goal<'_>) -> bool {
    goal.claimed.is_none_or(|claimed| claimed.has_any_of(revoking))
}

/// Whether a member that waits has to wait on, found out without making anything.
fn nothing_came_free(current: &Current, goal: &Goal<'_>) -> bool {
    current.epoch == goal.epoch
        && !goal.target.iter().any(|(topic, partition)| {
            !current.assigned.contains(topic, partition) && (goal.is_free)(topic, partition)
        })
        && current.assigned.iter().all(|(topic, partition, _)| {
            goal.target.contains(topic, partition) && (goal.wants)(topic)
        })
        && goal.target.len() != current.assigned.len()
}

fn split(owned: &Owned, keep: impl Fn(Uuid, i32) -> bool) -> (Owned, Owned) {
    let mut kept = Owned::default();
    let mut dropped = Owned::default();
    for (topic, partition, epoch) in owned.iter() {
        let to = if keep(topic, partition) { &mut kept } else { &mut dropped };
        to.insert(topic, partition, epoch);
    }
    (kept, dropped)
}
