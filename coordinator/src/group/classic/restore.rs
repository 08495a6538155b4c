//! A group from what the journal holds: any prefix of what was written is a valid group.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::model::group::{
    ClassicGroupAssignment, ClassicGroupMember, ClassicGroupMeta, decode_value,
};
use ottla_metadata::model::{ModelError, Value};
use ottla_protocol::Str;
use ottla_protocol::time::Now;
use tracing::info;

use super::members::Member;
use super::protocols::Protocol;
use super::timers::Timer;
use super::{ClassicGroup, ClassicState, StoredValues};

impl ClassicGroup {
    /// The group as of the last generation that anybody was given. All members have their whole session timeout
    /// from `now`. Without a `meta` there is none, but what its first generation left behind has to be known.
    /// Of use or not, everything found is taken; the first [`on_timer`](Self::on_timer), which is due at once,
    /// deletes what nobody needs.
    ///
    /// If a later generation was being written when its coordinator went, that was never answered to anybody, and
    /// this one may have lost values to it: then all members are asked to join again.
    ///
    /// # Errors
    /// A value of this group cannot be read.
    pub fn restore(
        id: &str,
        meta: Option<&Bytes>,
        members: &StoredValues,
        assignments: &StoredValues,
        now: Now,
    ) -> Result<Self, ModelError> {
        let mut group = Self::new(id);
        let found = read::<ClassicGroupMember>(id, "members", members)?;
        let given = read::<ClassicGroupAssignment>(id, "assignments", assignments)?;
        let generations = found.values().map(|member| member.generation);
        let seen = generations.chain(given.values().map(|one| one.generation)).max();
        group.generation_seen = seen.unwrap_or(0);
        group.stored_keys = members.keys().chain(assignments.keys()).cloned().collect();
        group.timers.set(Timer::Restored, now.monotonic);
        let Some(meta) = meta else { return Ok(group) };
        let meta: ClassicGroupMeta = decode_value(&format!("groups/{id}/meta"), meta)?;
        let is_torn = meta.generation < group.generation_seen;
        group.take_meta(&meta);
        let own = |key: &str| given.get(key).filter(|one| one.generation == meta.generation);
        // Without a protocol the generation is an empty one.
        if meta.protocol.is_some() {
            group.take_members(&found, |key| match own(key) {
                Some(assignment) => Some(assignment.assignment.clone()),
                None => is_torn.then(Bytes::new),
            });
        }
        group.settle(meta.leader.as_deref(), is_torn, now);
        Ok(group)
    }

    fn take_meta(&mut self, meta: &ClassicGroupMeta) {
        self.has_meta = true;
        self.generation = meta.generation;
        self.protocol_type = meta.protocol_type.as_deref().map(Str::from);
        self.protocol = meta.protocol.as_deref().map(Str::from);
        self.state_since_ms = meta.state_since_ms;
        self.meta_rest = meta.rest.clone();
    }

    /// Takes the members to which `assignment` gives one. Of those that have no protocol in common, which can
    /// only be remains of different generations, the latest stay.
    fn take_members(
        &mut self,
        found: &BTreeMap<String, ClassicGroupMember>,
        assignment: impl Fn(&str) -> Option<Bytes>,
    ) {
        let mut latest_first: Vec<_> = found.iter().collect();
        latest_first.sort_by_key(|(_, member)| std::cmp::Reverse(member.generation));
        for (key, value) in latest_first {
            let Some(assignment) = assignment(key) else { continue };
            let mut member = from_value(value, assignment);
            member.stored_in = member.stored_in.filter(|stored| *stored <= self.generation);
            if self.members.all_speak_one_of(&member.protocols) {
                self.members.insert(member);
            }
        }
    }

    fn settle(&mut self, leader: Option<&str>, is_torn: bool, now: Now) {
        let sessions: Vec<(Str, Duration)> =
            self.members.iter().map(|member| (member.id.clone(), member.session_timeout)).collect();
        let leads = self.members.iter().find(|member| Some(member.key().as_str()) == leader);
        if let Some(id) = leads.map(|member| member.id.clone()) {
            self.members.set_leader(id);
        }
        for (id, timeout) in sessions {
            self.timers.set(Timer::Session(id), now.monotonic + timeout);
        }
        let is_agreed = self.members.choose_protocol() == self.protocol && self.protocol.is_some();
        if self.members.is_empty() {
            self.protocol = None;
        } else if is_torn || !is_agreed {
            info!(
                group = self.id,
                generation = self.generation,
                "generation is asked to join again"
            );
            self.state = ClassicState::PreparingRebalance;
            self.timers.set(Timer::Join, now.monotonic + self.members.rebalance_timeout());
        } else {
            self.state = ClassicState::Stable;
        }
        self.subscribed = self.read_subscriptions();
    }
}

fn read<T: Value>(
    group: &str,
    kind: &str,
    values: &StoredValues,
) -> Result<BTreeMap<String, T>, ModelError> {
    let read = |(key, bytes): (&String, &Bytes)| {
        Ok((key.clone(), decode_value(&format!("groups/{group}/{kind}/{key}"), bytes)?))
    };
    values.iter().map(read).collect()
}

fn from_value(value: &ClassicGroupMember, assignment: Bytes) -> Member {
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Member {
        id: value.member_id.as_str().into(),
        instance_id: value.instance_id.as_deref().map(Str::from),
        client_id: value.client_id.as_str().into(),
        client_host: value.client_host.as_str().into(),
        session_timeout: millis(value.session_timeout_ms),
        rebalance_timeout: millis(value.rebalance_timeout_ms),
        protocols: value
            .protocols
            .iter()
            .map(|one| Protocol { name: one.name.as_str().into(), metadata: one.metadata.clone() })
            .collect(),
        assignment,
        join: None,
        sync: None,
        is_new: false,
        stored_in: Some(value.generation),
        rest: value.rest.clone(),
    }
}
