//! Consumer groups (KIP-848): the server assigns, members heartbeat.
//!
//! | epoch | rises when | who has it |
//! |---|---|---|
//! | group | a member comes, goes or wants to read something else; a topic comes, goes or grows | the group |
//! | assignment | an assignment is computed, for the group epoch of that moment | the group |
//! | member | the member gave up what that assignment takes from it | each member |
//!
//! Nobody ever waits here: every request is answered in the step that it comes in, and members learn the rest with
//! their next heartbeats. While a group settles they are asked to come soon, so that it does not take as many
//! heartbeat intervals as in Kafka. Members that speak the classic protocol are served as well, while a group moves
//! from one protocol to the other.
//!
//! What the assignor wants is soft state; `stored` says what is written, and why any part of it will do.

mod assignor;
mod classic_members;
mod commit;
mod consumer_protocol;
mod describe;
mod error;
mod heartbeat;
mod join;
mod leave;
mod member;
pub mod migration;
mod partitions;
mod reconcile;
mod stored;
mod subscription;
mod target;
mod timers;
mod topic_pattern;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::model::Rest;
use ottla_metadata::model::group::{ConsumerAssignment, ConsumerMember, ConsumerMeta};
use ottla_protocol::Uuid;

use self::member::{Current, Member};
use self::reconcile::{Goal, reconcile};
use self::subscription::Subscription;
use self::timers::Timer;
use super::Context;

pub use self::commit::CommitClaim;
pub use self::describe::ConsumerGroupState;
pub use self::error::HeartbeatError;
pub use self::migration::{ClassicMemberParts, ClassicParts};

/// One consumer group.
#[derive(Debug)]
pub struct ConsumerGroup {
    id: String,
    epoch: i32,
    assignment_epoch: i32,
    members: BTreeMap<Arc<str>, Member>,
    /// The member of each instance id.
    static_members: BTreeMap<String, Arc<str>>,
    subscription: Subscription,
    /// Who has a partition, or is giving it up. Never iterated.
    owners: HashMap<(Uuid, i32), Arc<str>>,
    /// Members that are here and not where the assignment wants them.
    unreconciled: usize,
    /// When an assignment that was put off is due.
    assign_at: Option<Duration>,
    /// When the last one was computed, if this coordinator did.
    assigned_at: Option<Duration>,
    /// When anything last changed; for a while after it members heartbeat often.
    changed_at: Duration,
    timers: BinaryHeap<Timer>,
    /// Read back, and not yet looked through.
    restored: bool,
    /// Ids of members of which only a part was found, or which were replaced.
    leftovers: BTreeSet<String>,
    /// A member that spoke the new protocol went: if it was the last, the group becomes a classic one.
    downgrade_due: bool,
    rest: Rest,
    step: Step,
}

/// What the present step has changed, to be written at its end.
#[derive(Debug, Default)]
struct Step {
    bumped: bool,
    write_meta: bool,
    members: BTreeSet<Arc<str>>,
    assignments: BTreeSet<Arc<str>>,
    removed: BTreeSet<Arc<str>>,
}

/// What the journal holds of a consumer group, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConsumerGroup {
    /// Below `meta`.
    pub meta: ConsumerMeta,
    /// Below `consumer-members`, by member id.
    pub members: Vec<(String, ConsumerMember)>,
    /// Below `consumer-assignments`, by member id.
    pub assignments: Vec<(String, ConsumerAssignment)>,
}

impl ConsumerGroup {
    /// A group that nobody has joined. It exists once somebody has: a group that is still
    /// [`is_new`](Self::is_new) after a request is to be dropped.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            epoch: 0,
            assignment_epoch: 0,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            subscription: Subscription::default(),
            owners: HashMap::new(),
            unreconciled: 0,
            assign_at: None,
            assigned_at: None,
            changed_at: Duration::ZERO,
            timers: BinaryHeap::new(),
            restored: false,
            leftovers: BTreeSet::new(),
            downgrade_due: false,
            rest: Rest::new(),
            step: Step::default(),
        }
    }

    /// The group id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// True until somebody has joined.
    pub fn is_new(&self) -> bool {
        self.epoch == 0
    }

    /// Topics came, grew or went: `changed` are their ids (`ImageDiff::topics`), `cx.image` is the image after it.
    pub fn image_changed(&mut self, changed: &BTreeSet<Uuid>, cx: &mut Context<'_>) {
        if self.restored {
            // The first step takes the whole image in.
            return;
        }
        if self.subscription.topics_changed(changed, cx.image) && !self.members.is_empty() {
            self.bump(cx);
            self.assign_if_due(cx);
            self.finish_step(cx);
        }
    }

    /// What members have subscribed to, by name or by expression; also topics that do not exist.
    pub fn subscribed_topics(&self) -> BTreeSet<String> {
        if self.restored {
            // Expressions have not been looked at yet.
            let members = self.members.values();
            return members.flat_map(|member| member.about.topics.iter().cloned()).collect();
        }
        self.subscription.names()
    }

    /// Lets a member have what it is to have, as far as that is free.
    fn reconcile(&mut self, id: &str, claimed: Option<partitions::Claimed<'_>>, changed: bool) {
        let Some(member) = self.members.get(id) else { return };
        let next = reconcile(
            &member.current,
            &Goal {
                target: &member.target,
                epoch: self.assignment_epoch,
                wants: &|topic| self.subscription.wants(&member.about, topic),
                is_free: &|topic, partition| !self.owners.contains_key(&(topic, partition)),
                subscription_changed: changed,
                claimed,
            },
        );
        if let Some(next) = next {
            self.set_current(id, next);
        }
    }

    /// Gives a member what `next` says. The only place where partitions change hands.
    fn set_current(&mut self, id: &str, next: Current) {
        let Some(member) = self.members.get_mut(id) else { return };
        let was_pending = is_pending(member, self.assignment_epoch);
        let before = std::mem::replace(&mut member.current, next);
        for (topic, partition, _) in before.assigned.iter().chain(before.revoking.iter()) {
            if self.owners.get(&(topic, partition)).is_some_and(|owner| *owner == member.id) {
                self.owners.remove(&(topic, partition));
            }
        }
        let current = &member.current;
        for (topic, partition, _) in current.assigned.iter().chain(current.revoking.iter()) {
            let other = self.owners.insert((topic, partition), Arc::clone(&member.id));
            debug_assert!(other.is_none(), "{topic}-{partition} belongs to {other:?}");
        }
        let is_pending = is_pending(member, self.assignment_epoch);
        self.unreconciled = self.unreconciled + usize::from(is_pending) - usize::from(was_pending);
        self.step.assignments.insert(Arc::clone(&member.id));
    }

    /// Takes a member out. The group's epoch is for the caller to raise.
    fn remove_member(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        for (topic, partition, _) in
            member.current.assigned.iter().chain(member.current.revoking.iter())
        {
            if self.owners.get(&(topic, partition)).is_some_and(|owner| *owner == member.id) {
                self.owners.remove(&(topic, partition));
            }
        }
        if let Some(instance) = &member.about.instance_id
            && self.static_members.get(instance) == Some(&member.id)
        {
            self.static_members.remove(instance);
        }
        self.unreconciled -= usize::from(is_pending(&member, self.assignment_epoch));
        self.subscription.remove(&member.about);
        self.downgrade_due |= member.classic.is_none();
        self.step.removed.insert(member.id);
    }

    fn count_unreconciled(&mut self) {
        let pending = self.members.values().filter(|it| is_pending(it, self.assignment_epoch));
        self.unreconciled = pending.count();
    }
}

fn is_pending(member: &Member, assignment_epoch: i32) -> bool {
    !member.is_away() && !member.is_reconciled_to(assignment_epoch)
}
