//! The groups of one shard.

mod listing;
mod members;
mod requests;
mod restore;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_metadata::journal::Record;
use ottla_metadata::keys::ShardKey;
use ottla_metadata::model::group::CommittedOffset;
use ottla_protocol::Uuid;
use ottla_protocol::time::Now;
use rand::RngCore;

use super::membership::Membership;
use super::offsets::Offsets;
use super::{Client, Context, Effects, Request, SettingsTable, Ticket};

pub use listing::Filter;
pub use upkeep::Swept;

/// All groups of a shard. Whoever owns the shard gives it requests, the time and news of the cluster, and does
/// what comes out in [`Effects`].
#[derive(Debug, Default)]
pub struct Shard {
    groups: BTreeMap<Arc<str>, Group>,
    /// When something is due, by time.
    deadlines: BTreeSet<(Duration, Arc<str>)>,
    /// Requests that have no answer yet, and whose group they are about.
    parked: BTreeMap<Ticket, Arc<str>>,
    /// What remains of groups that were never completed, and is to be deleted first of all.
    strays: Vec<ShardKey>,
    /// Rebalances so far.
    rebalances: u64,
}

/// One group.
#[derive(Debug)]
struct Group {
    membership: Membership,
    offsets: Offsets,
    /// As it is in `deadlines`.
    deadline: Option<Duration>,
}

impl Group {
    fn new(membership: Membership) -> Self {
        Self { membership, offsets: Offsets::default(), deadline: None }
    }
}

/// What a step reads, and where its effects go.
pub struct World<'a> {
    /// The time; `monotonic` is store-healthy time.
    pub now: Now,
    /// The cluster.
    pub image: &'a Image,
    /// The settings of all groups.
    pub settings: &'a SettingsTable,
    /// Where member ids come from.
    pub random: &'a mut dyn RngCore,
    /// Where writes and answers go.
    pub out: &'a mut Effects,
}

impl World<'_> {
    /// The world as one group sees it.
    fn context(&mut self, group: &str) -> Context<'_> {
        Context {
            now: self.now,
            image: self.image,
            settings: self.settings.of(group),
            random: self.random,
            out: self.out,
        }
    }
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).finish_non_exhaustive()
    }
}

/// A request on its way into a shard.
#[derive(Debug)]
pub struct Call<'a> {
    /// What the answer will be known by.
    pub ticket: Ticket,
    /// Who asks.
    pub client: &'a Client,
    /// The group that it is about.
    pub group: &'a str,
    /// What is asked.
    pub request: Request,
}

impl Shard {
    /// Takes one request in. Its answer is among the effects of this step, or of a later one.
    pub fn handle(&mut self, call: Call<'_>, world: &mut World<'_>) {
        let (ticket, group) = (call.ticket, call.group);
        let answers = world.out.answers.len();
        let epoch = self.epoch(group);
        self.dispatch(call, world);
        self.settle(group, (answers, epoch), world);
        let is_answered = world.out.answers[answers..].iter().any(|it| it.ticket == ticket);
        if !is_answered && let Some((name, _)) = self.groups.get_key_value(group) {
            self.parked.insert(ticket, name.clone());
        }
    }

    /// When something is due next, in store-healthy time.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Does everything that is due.
    pub fn on_timer(&mut self, world: &mut World<'_>) {
        let now = world.now.monotonic;
        let due: Vec<Arc<str>> = self
            .deadlines
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, group)| group.clone())
            .collect();
        for name in due {
            self.step(&name, world, |group, cx| group.membership.on_timer(cx));
        }
    }

    /// Nobody waits for this request any more.
    pub fn abandon(&mut self, ticket: Ticket, world: &mut World<'_>) {
        if let Some(name) = self.parked.remove(&ticket) {
            self.step(&name, world, |group, cx| group.membership.abandon(ticket, cx));
        }
    }

    /// Deletes what remains of groups that were never completed. To be called first of all.
    pub fn begin(&mut self, out: &mut Effects) {
        let strays = std::mem::take(&mut self.strays);
        out.writes.extend(strays.into_iter().map(|key| Record { key, value: None }));
    }

    /// Everything that is committed: group, topic, and where it is in which partition.
    pub fn committed(&self) -> impl Iterator<Item = (&str, Uuid, &CommittedOffset)> {
        self.groups.iter().flat_map(|(name, group)| {
            group.offsets.iter().map(move |(topic, committed)| (&**name, topic, committed))
        })
    }

    /// Rebalances since the shard was loaded.
    pub fn rebalances(&self) -> u64 {
        self.rebalances
    }

    /// Groups of the shard.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Requests that wait for what others do.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Lets one group act.
    fn step(
        &mut self,
        name: &str,
        world: &mut World<'_>,
        act: impl FnOnce(&mut Group, &mut Context<'_>),
    ) {
        let before = (world.out.answers.len(), self.epoch(name));
        if let Some(group) = self.groups.get_mut(name) {
            act(group, &mut world.context(name));
        }
        self.settle(name, before, world);
    }

    fn epoch(&self, name: &str) -> Option<i32> {
        self.groups.get(name).map(|group| group.membership.epoch())
    }

    /// Notes what a step did since there were so many answers and the group had this epoch: whom it answered,
    /// and when the group wants to act again.
    fn settle(&mut self, name: &str, before: (usize, Option<i32>), world: &mut World<'_>) {
        let (answers, epoch) = before;
        if let Some(group) = self.groups.get_mut(name) {
            group.membership.change_kind(&mut world.context(name));
            let after = group.membership.epoch();
            self.rebalances += u64::from(after != epoch.unwrap_or(0));
        }
        for answer in &world.out.answers[answers..] {
            self.parked.remove(&answer.ticket);
        }
        let Some((key, _)) = self.groups.get_key_value(name) else { return };
        let key = key.clone();
        let Some(group) = self.groups.get_mut(name) else { return };
        let deadline = group.membership.next_deadline();
        if group.deadline == deadline {
            return;
        }
        if let Some(before) = group.deadline {
            self.deadlines.remove(&(before, key.clone()));
        }
        group.deadline = deadline;
        self.deadlines.extend(deadline.map(|at| (at, key)));
    }

    fn forget(&mut self, name: &str) {
        if let Some((key, group)) = self.groups.remove_entry(name)
            && let Some(at) = group.deadline
        {
            self.deadlines.remove(&(at, key));
        }
    }
}

#[cfg(test)]
mod tests;
