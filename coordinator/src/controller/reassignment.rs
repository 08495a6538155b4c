//! Reassignment: moving a partition to other replicas.
//!
//! What is under way stands in the partition's own key and nowhere else: `replicas` holds the wanted ones
//! first and then those that go, `adding` and `removing` say which are which. Any controller goes on with
//! it, since [`complete`] is a function of that key and is part of every sweep and of every change of an
//! ISR.

pub mod proposal;

use ottla_metadata::image::Image;
use ottla_metadata::keys::Key;
use ottla_metadata::model::{NO_LEADER, Partition};
use ottla_protocol::ErrorCode;

use super::brokers::{members, rules_of};
use super::decision::{Context, Decision, duplicates};
use super::election::{self, Members, Rules};
use super::placement;
use super::plan::{Change, Unit};
use crate::admin::{AdminError, Reassignment};

/// A reassignment that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ongoing {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// All replicas, those that go included.
    pub replicas: Vec<i32>,
    /// Replicas that are being added.
    pub adding: Vec<i32>,
    /// Replicas that go once the others are in sync.
    pub removing: Vec<i32>,
}

/// Every reassignment that is under way, by topic name and partition.
pub fn ongoing(image: &Image) -> Vec<Ongoing> {
    let mut found: Vec<Ongoing> = image
        .partitions()
        .filter(|(_, _, partition)| partition.is_reassigning())
        .filter_map(|(topic, number, partition)| {
            Some(Ongoing {
                topic: image.topic_by_id(topic)?.name.clone(),
                partition: number,
                replicas: partition.replicas.clone(),
                adding: partition.adding.clone(),
                removing: partition.removing.clone(),
            })
        })
        .collect();
    found
        .sort_by(|left, right| (&left.topic, left.partition).cmp(&(&right.topic, right.partition)));
    found
}

/// Decides on reassignments to start, to redirect or to cancel. Each stands or falls for itself.
pub fn reassign(
    context: &mut Context<'_>,
    items: &[Reassignment],
    validate_only: bool,
) -> Decision<()> {
    let members = members(context.image);
    let duplicate = duplicates(items.iter().map(|item| (&item.topic, item.partition)));
    let mut decision = Decision::without_writes(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let change = if duplicate[index] {
            let message = format!("the request names {}-{} twice", item.topic, item.partition);
            Err(AdminError::new(ErrorCode::InvalidRequest, message))
        } else {
            decide(context, item, &members)
        };
        decision.results.push(change.map(|change| {
            if let Some(change) = change.filter(|_| !validate_only) {
                decision.units.push(Unit::completing(vec![change], index));
            }
        }));
    }
    decision
}

/// `None` if nothing changes.
fn decide(
    context: &Context<'_>,
    item: &Reassignment,
    members: &Members,
) -> Result<Option<Change>, AdminError> {
    let image = context.image;
    let topic = image.topic(&item.topic).ok_or_else(|| unknown(item))?;
    let current = image.partition(topic.id, item.partition).ok_or_else(|| unknown(item))?;
    let rules = rules_of(image, &context.settings.file, topic);
    let next = match &item.replicas {
        Some(target) => {
            check_target(item, target, current, members)?;
            started(current, target, members)
        }
        None => cancelled(item, current, rules)?,
    };
    // What is in sync already, such as a mere change of order, is done at once.
    let next = settled(current, next, members, rules);
    let key = Key::Partition(topic.id, item.partition);
    Ok((next != current.value).then(|| Change::put(key, current.mod_revision, &next)))
}

fn unknown(item: &Reassignment) -> AdminError {
    let message = format!("there is no partition {}-{}", item.topic, item.partition);
    AdminError::new(ErrorCode::UnknownTopicOrPartition, message)
}

/// The replicas must be distinct and registered; a fenced one may be named, and is waited for.
fn check_target(
    item: &Reassignment,
    target: &[i32],
    current: &Partition,
    members: &Members,
) -> Result<(), AdminError> {
    let known = members.iter().map(|(id, _)| id).collect();
    placement::check_replicas(item.partition, target, &known)?;
    let factor = without_added(current).len();
    if !item.allow_replication_factor_change && target.len() != factor {
        let message = format!(
            "the replication factor of {}-{} would change from {factor} to {}, which the request \
             does not allow",
            item.topic,
            item.partition,
            target.len()
        );
        return Err(AdminError::new(ErrorCode::InvalidReplicationFactor, message));
    }
    Ok(())
}

/// The replicas that the partition had before the reassignment under way.
fn without_added(current: &Partition) -> Vec<i32> {
    current.replicas.iter().copied().filter(|id| !current.adding.contains(id)).collect()
}

/// The partition on its way to `target`. A reassignment that is under way is redirected: what it was adding
/// and is no longer wanted goes at once, unless nobody else is in sync.
fn started(current: &Partition, target: &[i32], members: &Members) -> Partition {
    let origin = without_added(current);
    let is_dropped = |id: &i32| current.adding.contains(id) && !target.contains(id);
    let may_drop = current.isr.is_empty() || !current.isr.iter().all(is_dropped);
    let removing: Vec<i32> = current
        .replicas
        .iter()
        .copied()
        .filter(|id| !(target.contains(id) || may_drop && is_dropped(id)))
        .collect();
    let mut next = current.clone();
    next.set_replicas(target.iter().chain(&removing).copied().collect());
    next.adding = target.iter().copied().filter(|id| !origin.contains(id)).collect();
    next.removing = removing;
    let dir = |id: &i32| {
        let is_new = !current.replicas.contains(id);
        if is_new { members.directory_for(*id) } else { next.log_dir_of(*id) }
    };
    let dirs = next.replicas.iter().map(dir).collect();
    next.set_log_dirs(dirs);
    retain_seats(&mut next);
    next
}

/// The partition without the replicas that were being added. If only they are in sync, the records since are
/// lost, which the topic must allow.
fn cancelled(
    item: &Reassignment,
    current: &Partition,
    rules: Rules,
) -> Result<Partition, AdminError> {
    if !current.is_reassigning() {
        let message = format!("no reassignment of {}-{} is under way", item.topic, item.partition);
        return Err(AdminError::new(ErrorCode::NoReassignmentInProgress, message));
    }
    let mut next = current.clone();
    next.set_replicas(without_added(current));
    next.adding.clear();
    next.removing.clear();
    retain_seats(&mut next);
    let loses_all_seats = next.isr.is_empty() && next.elr.is_empty();
    let had_a_seat = !current.isr.is_empty() || !current.elr.is_empty();
    if next.replicas.is_empty() || loses_all_seats && had_a_seat && !rules.unclean {
        let message = format!(
            "the reassignment of {}-{} cannot be cancelled: only replicas that it added are in sync, so \
             records would be lost",
            item.topic, item.partition
        );
        return Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok(next)
}

/// Completes a reassignment if all that is wanted is in sync: what is not wanted is no replica any more. The
/// caller sees to the leader. True if it changed something.
pub(super) fn complete(partition: &mut Partition) -> bool {
    if !partition.is_reassigning() {
        return false;
    }
    let target = partition.target_replicas();
    if target.is_empty() || !target.iter().all(|id| partition.isr.contains(id)) {
        return false;
    }
    partition.set_replicas(target);
    partition.adding.clear();
    partition.removing.clear();
    retain_seats(partition);
    true
}

/// `next`, which `current` shall become, with its reassignment completed if that can be, and with a leader.
pub(super) fn settled(
    current: &Partition,
    mut next: Partition,
    members: &Members,
    rules: Rules,
) -> Partition {
    complete(&mut next);
    election::settle_eligible(&mut next, current, rules);
    let has_to_elect = next.leader == NO_LEADER || !next.isr.contains(&next.leader);
    if has_to_elect || current.replicas.iter().any(|id| !next.replicas.contains(id)) {
        election::settle_leader(&mut next, current, members, rules);
    }
    next
}

/// Only replicas have seats.
fn retain_seats(partition: &mut Partition) {
    let Partition { replicas, isr, elr, last_known_elr, .. } = partition;
    for seats in [isr, elr, last_known_elr] {
        seats.retain(|id| replicas.contains(id));
    }
}

#[cfg(test)]
mod tests;
