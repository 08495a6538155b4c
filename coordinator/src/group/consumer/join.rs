//! Who is let in, and in whose place.

use std::sync::Arc;

use ottla_metadata::model::group::ConsumerMember;
use ottla_protocol::Str;
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::ConsumerGroup;
use super::error::HeartbeatError;
use super::heartbeat::JOINS;
use super::member::Member;
use super::partitions::Claimed;
use crate::group::Client;

/// In what way somebody comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is a member.
    Member(Arc<str>),
    /// It is none yet.
    New,
    /// It takes the place of a static member.
    Replaces(Arc<str>),
    /// It is a static member that was away, or repeats its join.
    Back(Arc<str>),
}

impl ConsumerGroup {
    /// Whether a heartbeat may come in, and how.
    pub(super) fn admit(
        &self,
        id: &str,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Entry, HeartbeatError> {
        let joins = request.member_epoch == JOINS;
        let Some(instance) = &request.instance_id else {
            return match self.members.get(id) {
                Some(member) => {
                    check_epoch(member, request)?;
                    Ok(Entry::Member(Arc::clone(&member.id)))
                }
                None if joins => Ok(Entry::New),
                None => Err(HeartbeatError::UnknownMember(id.to_owned())),
            };
        };
        let owner = self.static_member(instance);
        if joins {
            return match owner {
                None => Ok(self.entry_of(id)),
                Some(owner) if *owner.id == *id => Ok(Entry::Back(Arc::clone(&owner.id))),
                Some(owner) if owner.classic.is_none() && !owner.is_away() => {
                    Err(HeartbeatError::Unreleased {
                        instance: instance.to_string(),
                        owner: owner.id.to_string(),
                    })
                }
                Some(owner) => Ok(Entry::Replaces(Arc::clone(&owner.id))),
            };
        }
        let owner = self.check_static(id, instance)?;
        check_epoch(owner, request)?;
        Ok(Entry::Member(Arc::clone(&owner.id)))
    }

    /// The member of an instance id, if it is this one.
    pub(super) fn check_static(&self, id: &str, instance: &str) -> Result<&Member, HeartbeatError> {
        let Some(owner) = self.static_member(instance) else {
            return Err(HeartbeatError::UnknownInstance(instance.to_owned()));
        };
        if *owner.id != *id {
            return Err(HeartbeatError::FencedInstance {
                instance: instance.to_owned(),
                owner: owner.id.to_string(),
            });
        }
        Ok(owner)
    }

    /// The member of an instance id.
    pub(super) fn static_member(&self, instance: &str) -> Option<&Member> {
        self.members.get(self.static_members.get(instance)?)
    }

    /// As a member if it is one, else as a new one.
    pub(super) fn entry_of(&self, id: &str) -> Entry {
        self.members.get(id).map_or(Entry::New, |member| Entry::Member(Arc::clone(&member.id)))
    }

    /// Lets somebody in who was admitted.
    pub(super) fn enter(&mut self, id: &str, entry: Entry) {
        match entry {
            Entry::Member(_) => {}
            Entry::New => {
                tracing::info!(group = self.id, member = id, "member joins the consumer group");
                let member = Member::new(id);
                self.unreconciled += usize::from(super::is_pending(&member, self.assignment_epoch));
                self.step.members.insert(Arc::clone(&member.id));
                self.step.assignments.insert(Arc::clone(&member.id));
                self.members.insert(Arc::clone(&member.id), member);
            }
            Entry::Replaces(owner) => self.replace(&owner, id),
            Entry::Back(owner) => {
                let Some(member) = self.members.get(&owner) else { return };
                let mut current = member.current.clone();
                (current.epoch, current.previous_epoch) = (JOINS, JOINS);
                self.set_current(&owner, current);
            }
        }
    }

    /// A static member comes back as another process: it has what the one before had.
    fn replace(&mut self, owner: &str, id: &str) {
        let Some(old) = self.members.remove(owner) else { return };
        tracing::info!(group = self.id, member = id, replaced = owner, "static member is back");
        self.downgrade_due |= old.classic.is_none();
        let mut member = Member::new(id);
        for (topic, partition, _) in old.current.assigned.iter().chain(old.current.revoking.iter())
        {
            self.owners.insert((topic, partition), Arc::clone(&member.id));
        }
        let was_pending = super::is_pending(&old, self.assignment_epoch);
        member.about = old.about;
        member.about.replaces = Some(owner.to_owned());
        member.classic = old.classic;
        member.target = old.target;
        member.current = old.current;
        (member.current.epoch, member.current.previous_epoch) = (JOINS, JOINS);
        if let Some(instance) = &member.about.instance_id {
            self.static_members.insert(instance.clone(), Arc::clone(&member.id));
        }
        let is_pending = super::is_pending(&member, self.assignment_epoch);
        self.unreconciled = self.unreconciled + usize::from(is_pending) - usize::from(was_pending);
        self.step.members.insert(Arc::clone(&member.id));
        self.step.assignments.insert(Arc::clone(&member.id));
        self.step.removed.insert(old.id);
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// What a member says of itself, if that is not what it said before.
    pub(super) fn about(
        &self,
        entry: &Entry,
        client: &Client,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Option<ConsumerMember> {
        let known = match entry {
            Entry::New => None,
            Entry::Member(id) | Entry::Replaces(id) | Entry::Back(id) => self.members.get(id),
        };
        let names = request.subscribed_topic_names.as_deref().map(sorted);
        if let Some(member) = known
            && !says_news(member, client, request, names.as_deref())
        {
            return None;
        }
        let mut about = known.map(|member| member.about.clone()).unwrap_or_default();
        if let Entry::Replaces(id) = entry {
            about.replaces = Some(id.to_string());
        }
        let text = |text: &Str| text.as_str().to_owned();
        about.client_id.clone_from(&client.id);
        about.client_host.clone_from(&client.host);
        about.classic = None;
        if let Some(instance) = &request.instance_id {
            about.instance_id = Some(text(instance));
        }
        if let Some(rack) = &request.rack_id {
            about.rack_id = Some(text(rack));
        }
        if request.rebalance_timeout_ms != -1 {
            about.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(assignor) = &request.server_assignor {
            about.assignor = Some(text(assignor));
        }
        if let Some(names) = names {
            about.topics = names;
        }
        if let Some(pattern) = &request.subscribed_topic_regex {
            about.topic_regex = (!pattern.is_empty()).then(|| text(pattern));
        }
        Some(about)
    }
}

/// Whether a request says anything of a member that is not known. A usual heartbeat says nothing.
fn says_news(
    member: &Member,
    client: &Client,
    request: &ConsumerGroupHeartbeatRequest,
    names: Option<&[String]>,
) -> bool {
    let about = &member.about;
    let differs = |said: &Option<Str>, known: &Option<String>| {
        said.as_ref().is_some_and(|said| known.as_deref() != Some(said.as_str()))
    };
    let pattern = request.subscribed_topic_regex.as_deref();
    about.client_id != client.id
        || about.client_host != client.host
        || about.classic.is_some()
        || differs(&request.instance_id, &about.instance_id)
        || differs(&request.rack_id, &about.rack_id)
        || differs(&request.server_assignor, &about.assignor)
        || ![-1, about.rebalance_timeout_ms].contains(&request.rebalance_timeout_ms)
        || names.is_some_and(|names| names != about.topics)
        || pattern.is_some_and(|pattern| pattern != about.topic_regex.as_deref().unwrap_or(""))
}

/// Names in order, none twice.
pub(super) fn sorted(names: &[Str]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| name.as_str().to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn check_epoch(
    member: &Member,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), HeartbeatError> {
    let (received, known) = (request.member_epoch, member.current.epoch);
    let fenced = Err(HeartbeatError::FencedEpoch { received, known });
    if received == JOINS || received == known {
        return Ok(());
    }
    if known < received {
        return fenced;
    }
    // The answer with the newer epoch may have been lost, if the member has no more than it was given.
    let claimed = request.topic_partitions.as_deref().map(Claimed);
    let may_be_behind = received == member.current.previous_epoch
        && claimed.is_some_and(|claimed| claimed.is_within(&member.current.assigned));
    if may_be_behind { Ok(()) } else { fenced }
}
