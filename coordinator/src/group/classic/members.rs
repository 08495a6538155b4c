//! The members of a group, and what is counted over them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::model::Rest;
use ottla_metadata::model::group::ClassicGroupMember;
use ottla_protocol::Str;

use super::protocols::Protocol;
use crate::group::Ticket;

/// One member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub id: Str,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    /// What it speaks, best first.
    pub protocols: Vec<Protocol>,
    /// What the leader gave it; empty before.
    pub assignment: Bytes,
    /// Its JoinGroup, while it waits for the others.
    pub join: Option<Parked>,
    /// Its SyncGroup, while it waits for the leader's.
    pub sync: Option<Parked>,
    /// It has not been in any generation: its JoinGroup may wait for [`NEW_MEMBER_JOIN_TIMEOUT`] only.
    pub is_new: bool,
    /// The generation under which its stored value was written, if the journal has all of the above.
    pub stored_in: Option<i32>,
    /// Fields of its stored value that this version does not know.
    pub rest: Rest,
}

/// A request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parked {
    /// Whom to answer; `None` once the client hung up.
    pub ticket: Option<Ticket>,
    /// The version of its API.
    pub version: i16,
}

impl Member {
    pub fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    /// The last part of the keys of its stored values.
    pub fn key(&self) -> String {
        ClassicGroupMember::key(&self.id, self.instance_id.as_deref())
    }

    /// Silence is no failure while it waits for an answer of ours, unless it is new.
    pub fn may_be_silent(&self) -> bool {
        let waits = |parked: &Option<Parked>| parked.is_some_and(|parked| parked.ticket.is_some());
        !self.is_new && (waits(&self.join) || waits(&self.sync))
    }

    /// Whether the client could come back as this member before its first JoinGroup is answered: it was told its
    /// id beforehand, or has one of its own.
    pub fn knows_its_id(&self) -> bool {
        let version = self.join.map_or(0, |parked| parked.version);
        super::join::REQUIRES_MEMBER_ID_SINCE <= version || self.is_static()
    }
}

/// All members of a group. Keeps count of who joined and of who speaks what.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<Str, Member>,
    by_instance: BTreeMap<Str, Str>,
    /// How many members speak each protocol.
    speaking: BTreeMap<Str, usize>,
    joined: usize,
    leader: Option<Str>,
}

impl Members {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    /// The member whose request `ticket` waits.
    pub fn find_ticket(&mut self, ticket: Ticket) -> Option<&mut Member> {
        let is_its = |parked: &Option<Parked>| parked.is_some_and(|p| p.ticket == Some(ticket));
        self.by_id.values_mut().find(|member| is_its(&member.join) || is_its(&member.sync))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    pub fn ids(&self) -> Vec<Str> {
        self.by_id.keys().cloned().collect()
    }

    /// The member id that the instance id stands for.
    pub fn by_instance(&self, instance: &str) -> Option<&Str> {
        self.by_instance.get(instance)
    }

    /// How many have joined the coming generation.
    pub fn joined(&self) -> usize {
        self.joined
    }

    pub fn leader(&self) -> Option<&Str> {
        self.leader.as_ref()
    }

    pub fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    pub fn set_leader(&mut self, id: Str) {
        self.leader = Some(id);
    }

    /// The longest that any member wants a rebalance to wait.
    pub fn rebalance_timeout(&self) -> Duration {
        self.iter().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Whether every member speaks one of `protocols`; anything goes without members.
    pub fn all_speak_one_of(&self, protocols: &[Protocol]) -> bool {
        let all = self.len();
        protocols.iter().any(|one| self.speaking.get(&one.name).copied().unwrap_or(0) == all)
    }

    /// Adds a member; the first one leads.
    pub fn insert(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.by_instance.insert(instance.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.joined += usize::from(member.join.is_some());
        self.count(&member.protocols, true);
        self.by_id.insert(member.id.clone(), member);
    }

    /// Takes a member out; if it led, the next one does.
    pub fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        self.joined -= usize::from(member.join.is_some());
        self.count(&member.protocols, false);
        if let Some(instance) = &member.instance_id
            && self.by_instance.get(instance).is_some_and(|holder| holder == &member.id)
        {
            self.by_instance.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.by_id.keys().next().cloned();
        }
        Some(member)
    }

    /// Lets a static member go on under a new id, as the leader if it led.
    pub fn rename(&mut self, old: &str, new: &Str) {
        let is_leader = self.is_leader(old);
        let Some(mut member) = self.remove(old) else { return };
        member.id = new.clone();
        self.insert(member);
        if is_leader {
            self.leader = Some(new.clone());
        }
    }

    /// Changes a member, and counts anew what it joined and speaks.
    pub fn update(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        let Some(mut member) = self.by_id.remove(id) else { return };
        self.joined -= usize::from(member.join.is_some());
        self.count(&member.protocols, false);
        change(&mut member);
        self.joined += usize::from(member.join.is_some());
        self.count(&member.protocols, true);
        self.by_id.insert(member.id.clone(), member);
    }

    /// Changes what is not counted.
    pub fn get_mut(&mut self, id: &str) -> Option<Uncounted<'_>> {
        let member = self.by_id.get_mut(id)?;
        Some(Uncounted {
            assignment: &mut member.assignment,
            sync: &mut member.sync,
            is_new: &mut member.is_new,
            stored_in: &mut member.stored_in,
        })
    }

    /// Takes the waiting JoinGroup of a member.
    pub fn take_join(&mut self, id: &str) -> Option<Parked> {
        let parked = self.by_id.get_mut(id)?.join.take()?;
        self.joined -= 1;
        Some(parked)
    }

    /// The protocol that most members vote for: each for the first one it speaks among those that all speak.
    /// Where votes are equal, what the leader likes best wins. `None` if there is no common one.
    pub fn choose_protocol(&self) -> Option<Str> {
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.iter() {
            let vote = member.protocols.iter().find(|one| self.is_common(one))?;
            *votes.entry(&vote.name).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_deref().and_then(|id| self.get(id))?;
        let preferred = leader.protocols.iter().map(|one| &one.name);
        let winner = preferred.clone().find(|name| votes.get(name) == Some(&most));
        winner.or_else(|| votes.iter().find(|(_, n)| **n == most).map(|(name, _)| *name)).cloned()
    }

    fn is_common(&self, protocol: &Protocol) -> bool {
        self.speaking.get(&protocol.name).copied() == Some(self.len())
    }

    fn count(&mut self, protocols: &[Protocol], is_added: bool) {
        for protocol in protocols {
            let count = self.speaking.entry(protocol.name.clone()).or_default();
            *count = if is_added { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.speaking.remove(&protocol.name);
            }
        }
    }
}

/// The parts of a member that no count depends on.
#[derive(Debug)]
pub(super) struct Uncounted<'a> {
    pub assignment: &'a mut Bytes,
    pub sync: &'a mut Option<Parked>,
    pub is_new: &'a mut bool,
    pub stored_in: &'a mut Option<i32>,
}

/// How long the JoinGroup of a new member may wait. It sends no heartbeats yet, so that without a limit one that
/// went away would stay for ever.
pub(super) const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_mins(5);
