//! What a consumer group writes, and how it is read back.
//!
//! A step writes members and what they have first, `meta` after them, and deletes last. Whatever part of that is
//! found, these hold:
//!
//! - A member exists if both its values are there, and no other took its place.
//! - Nobody was told of a partition before it was written, and it was written for one only after the other's value
//!   without it. So what is found never gives a partition to two.
//! - The group's epoch is at least that of every member.
//! - If not everybody has all that was wanted, or somebody lacks something that exists, an assignment is due, in a new
//!   epoch. It starts from what members have, so it moves no more than the one that was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::keys::GroupKey;
use ottla_metadata::model::group::{
    ConsumerAssignment, ConsumerMember, ConsumerMeta, PartitionRun, encode_value,
};
use ottla_protocol::Uuid;
use ottla_protocol::time::Now;

use super::member::{Classic, Current, Member};
use super::partitions::Owned;
use super::{ConsumerGroup, StoredConsumerGroup};
use crate::group::{Context, Effects};

impl ConsumerGroup {
    /// The group that the journal holds. Any prefix of its writes makes a valid group; what a crash left half
    /// done is finished by the first [`on_timer`](Self::on_timer), which is due at once.
    pub fn restore(id: &str, stored: StoredConsumerGroup, now: Now) -> Self {
        let mut group = Self::new(id);
        group.epoch = stored.meta.epoch.max(1);
        group.assignment_epoch = stored.meta.assignment_epoch;
        group.rest = stored.meta.rest;
        group.restored = true;
        group.changed_at = now.monotonic;
        let replaced: BTreeSet<String> =
            stored.members.iter().filter_map(|(_, member)| member.replaces.clone()).collect();
        let mut assignments: BTreeMap<String, ConsumerAssignment> =
            stored.assignments.into_iter().collect();
        for (id, about) in stored.members {
            let assignment = assignments.remove(&id).filter(|_| !replaced.contains(&id));
            let Some(assignment) = assignment else {
                group.leftovers.insert(id);
                continue;
            };
            group.add_restored(&id, about, assignment);
        }
        group.leftovers.extend(assignments.into_keys());
        group
    }

    fn add_restored(&mut self, id: &str, about: ConsumerMember, assignment: ConsumerAssignment) {
        let mut member = Member::new(id);
        member.classic = about.classic.as_ref().map(Classic::from_stored);
        member.about = about;
        member.current = current(assignment);
        member.target = Arc::new(member.current.assigned.partitions());
        self.epoch = self.epoch.max(member.current.epoch);
        let held = member.current.assigned.iter().chain(member.current.revoking.iter());
        for (topic, partition, _) in held {
            self.owners.entry((topic, partition)).or_insert_with(|| Arc::clone(&member.id));
        }
        if let Some(instance) = &member.about.instance_id {
            self.static_members.insert(instance.clone(), Arc::clone(&member.id));
        }
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Finishes what was left half done when the group was read back; later it does nothing.
    pub(super) fn settle_in(&mut self, cx: &mut Context<'_>) {
        if !self.restored {
            return;
        }
        self.restored = false;
        for member in self.members.values() {
            self.subscription.add(&member.about, cx.image);
        }
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            self.restart_deadlines(id, cx);
        }
        self.count_unreconciled();
        self.changed_at = cx.now.monotonic;
        if !self.members.is_empty() && !self.is_settled() {
            self.bump(cx);
            self.assign_if_due(cx);
        }
        let leftovers = std::mem::take(&mut self.leftovers);
        self.step.removed.extend(leftovers.into_iter().map(Arc::from));
    }

    /// Whether everybody has all that was wanted, and nothing is left that somebody wants.
    fn is_settled(&self) -> bool {
        let reconciled = self.assignment_epoch == self.epoch
            && self
                .members
                .values()
                .all(|member| member.is_away() || member.is_reconciled_to(self.assignment_epoch));
        let within = || {
            self.members.values().all(|member| {
                member.current.assigned.iter().all(|(topic, partition, _)| {
                    self.subscription.wants(&member.about, topic)
                        && self.owners.get(&(topic, partition)).is_some_and(|it| *it == member.id)
                })
            })
        };
        let covered = || {
            let held: usize =
                self.members.values().map(|member| member.current.assigned.len()).sum();
            let wanted: i64 =
                self.subscription.topics().map(|(_, topic)| i64::from(topic.partitions)).sum();
            i64::try_from(held).is_ok_and(|held| held == wanted)
        };
        reconciled && within() && covered()
    }

    /// Writes what the step changed.
    pub(super) fn finish_step(&mut self, cx: &mut Context<'_>) {
        let step = std::mem::take(&mut self.step);
        for id in &step.members {
            if let Some(member) = self.members.get(id) {
                let value = encode_value(&member.about);
                cx.out.put(&self.id, GroupKey::ConsumerMember(id.to_string()), value);
            }
        }
        for id in &step.assignments {
            if let Some(member) = self.members.get(id) {
                let value = encode_value(&assignment(&member.current));
                cx.out.put(&self.id, GroupKey::ConsumerAssignment(id.to_string()), value);
            }
        }
        if step.write_meta {
            let meta = ConsumerMeta {
                group_type: ConsumerMeta::TYPE.to_owned(),
                epoch: self.epoch,
                assignment_epoch: self.assignment_epoch,
                rest: self.rest.clone(),
            };
            cx.out.put(&self.id, GroupKey::Meta, encode_value(&meta));
        }
        for id in step.removed.iter().filter(|id| !self.members.contains_key(*id)) {
            delete_member(&self.id, id, cx.out);
        }
    }

    /// Deletes the group from the journal, but not its offsets. Only an empty group may be deleted.
    pub fn delete(&self, out: &mut Effects) {
        out.delete(&self.id, GroupKey::Meta);
        self.delete_members(out);
    }

    /// Deletes all that the group stores but `meta` and offsets, once it is a group of another type.
    pub fn delete_members(&self, out: &mut Effects) {
        for id in self.members.keys().map(|id| &**id).chain(self.leftovers.iter().map(|id| &**id)) {
            delete_member(&self.id, id, out);
        }
    }
}

fn delete_member(group: &str, id: &str, out: &mut Effects) {
    out.delete(group, GroupKey::ConsumerAssignment(id.to_owned()));
    out.delete(group, GroupKey::ConsumerMember(id.to_owned()));
}

fn assignment(current: &Current) -> ConsumerAssignment {
    ConsumerAssignment {
        epoch: current.epoch,
        previous_epoch: current.previous_epoch,
        state: current.state,
        assigned: runs(&current.assigned),
        revoking: runs(&current.revoking),
        rest: current.rest.clone(),
    }
}

fn current(stored: ConsumerAssignment) -> Current {
    Current {
        epoch: stored.epoch,
        previous_epoch: stored.previous_epoch,
        state: stored.state,
        assigned: owned(&stored.assigned),
        revoking: owned(&stored.revoking),
        rest: stored.rest,
    }
}

fn runs(owned: &Owned) -> BTreeMap<String, Vec<PartitionRun>> {
    let mut topics = BTreeMap::new();
    for (topic, partitions) in owned.topics() {
        let mut runs: Vec<PartitionRun> = Vec::new();
        for (partition, epoch) in partitions {
            match runs.last_mut() {
                Some(run) if run.0 + run.1 == *partition && run.2 == *epoch => run.1 += 1,
                _ => runs.push(PartitionRun(*partition, 1, *epoch)),
            }
        }
        topics.insert(topic.to_string(), runs);
    }
    topics
}

/// Topic ids that are none, and runs of absurd length, are nothing that Ottla wrote.
fn owned(topics: &BTreeMap<String, Vec<PartitionRun>>) -> Owned {
    let mut owned = Owned::default();
    for (topic, runs) in topics {
        let Ok(topic) = topic.parse::<Uuid>() else { continue };
        for PartitionRun(first, count, epoch) in runs {
            for partition in
                (*first..=i32::MAX).take(usize::try_from(*count).unwrap_or(0).min(RUN_MAX))
            {
                owned.insert(topic, partition, *epoch);
            }
        }
    }
    owned
}

/// More partitions than a topic has.
const RUN_MAX: usize = 1 << 20;
