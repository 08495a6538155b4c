//! What a classic group writes: see [`ClassicGroupMeta`] for the order that makes every prefix of it readable.

use std::collections::BTreeSet;

use ottla_metadata::keys::GroupKey;
use ottla_metadata::model::Rest;
use ottla_metadata::model::group::{
    ClassicGroupAssignment, ClassicGroupMember, ClassicGroupMeta, ClassicGroupProtocol,
    encode_value,
};
use ottla_protocol::Str;

use super::ClassicGroup;
use super::members::Member;
use crate::group::Effects;

impl ClassicGroup {
    /// Writes the present generation: what its members are, what each was given, `meta`; then deletes what the
    /// last one had and this one has not.
    pub(super) fn store_generation(&mut self, out: &mut Effects) {
        let ids = self.members.ids();
        for id in &ids {
            self.store_member(id, self.generation, out);
        }
        for member in self.members.iter() {
            let key = member.key();
            let value = ClassicGroupAssignment {
                generation: self.generation,
                assignment: member.assignment.clone(),
                rest: Rest::new(),
            };
            out.put(&self.id, GroupKey::Assignment(key.clone()), encode_value(&value));
            self.stored_keys.insert(key);
        }
        self.store_meta(out);
        self.delete_remains(out);
    }

    /// Deletes what is stored of those who are no members.
    pub(super) fn delete_remains(&mut self, out: &mut Effects) {
        let keys: BTreeSet<String> = self.members.iter().map(Member::key).collect();
        for key in self.stored_keys.difference(&keys) {
            out.delete(&self.id, GroupKey::Assignment(key.clone()));
            out.delete(&self.id, GroupKey::Member(key.clone()));
        }
        self.stored_keys.retain(|key| keys.contains(key));
    }

    /// Writes a member under `generation`, unless the journal has it as it is.
    pub(super) fn store_member(&mut self, id: &str, generation: i32, out: &mut Effects) {
        let Some(member) = self.members.get(id).filter(|member| member.stored_in.is_none()) else {
            return;
        };
        let key = member.key();
        out.put(
            &self.id,
            GroupKey::Member(key.clone()),
            encode_value(&to_value(member, generation)),
        );
        self.stored_keys.insert(key);
        if let Some(member) = self.members.get_mut(id) {
            *member.stored_in = Some(generation);
        }
    }

    /// Writes a static member under its new id while there is a rebalance. Else its new process would be fenced
    /// by its own former id after a failover, which no client survives. As a value of the coming generation
    /// it also says that all have to join again.
    pub(super) fn store_replaced(&mut self, id: &str, out: &mut Effects) {
        let is_stored = |key: String| self.stored_keys.contains(&key);
        if self.members.get(id).is_some_and(|member| is_stored(member.key())) {
            self.store_member(id, self.next_generation(), out);
        }
    }

    fn store_meta(&mut self, out: &mut Effects) {
        let leader = self.members.leader().and_then(|id| self.members.get(id));
        let meta = ClassicGroupMeta {
            group_type: ClassicGroupMeta::TYPE.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone().map(String::from),
            protocol: self.protocol.clone().map(String::from),
            leader: leader.map(Member::key),
            state_since_ms: self.state_since_ms,
            rest: self.meta_rest.clone(),
        };
        out.put(&self.id, GroupKey::Meta, encode_value(&meta));
        self.has_meta = true;
    }

    /// Deletes all that the journal holds of the group itself: `meta` first, without which nothing else counts.
    /// Its offsets are not its own.
    pub fn delete(&mut self, out: &mut Effects) {
        if std::mem::take(&mut self.has_meta) {
            out.delete(&self.id, GroupKey::Meta);
        }
        self.delete_members(out);
    }

    /// Deletes members and assignments, after another kind of group has taken `meta` over.
    pub fn delete_members(&mut self, out: &mut Effects) {
        for key in std::mem::take(&mut self.stored_keys) {
            out.delete(&self.id, GroupKey::Assignment(key.clone()));
            out.delete(&self.id, GroupKey::Member(key));
        }
    }
}

fn to_value(member: &Member, generation: i32) -> ClassicGroupMember {
    let millis = |time: std::time::Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let text = |text: &Str| text.as_str().to_owned();
    ClassicGroupMember {
        generation,
        member_id: text(&member.id),
        instance_id: member.instance_id.as_ref().map(text),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        session_timeout_ms: millis(member.session_timeout),
        rebalance_timeout_ms: millis(member.rebalance_timeout),
        protocols: member
            .protocols
            .iter()
            .map(|one| ClassicGroupProtocol {
                name: text(&one.name),
                metadata: one.metadata.clone(),
            })
            .collect(),
        rest: member.rest.clone(),
    }
}
