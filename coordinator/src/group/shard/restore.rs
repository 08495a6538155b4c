//! A shard out of what its journal holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_metadata::journal::Record;
use ottla_metadata::keys::{GroupKey, ShardKey};
use ottla_metadata::model::group::{
    ClassicGroupMeta, ConsumerAssignment, ConsumerMember, ConsumerMeta, OffsetChunk, decode_value,
};
use ottla_metadata::model::{ModelError, Value};
use ottla_protocol::time::Now;
use serde::{Deserialize, Serialize};

use super::{Group, Shard};
use crate::group::classic::StoredValues;
use crate::group::consumer::StoredConsumerGroup;
use crate::group::membership::Membership;
use crate::group::offsets::Offsets;
use crate::group::{ClassicGroup, ConsumerGroup};

/// Everything stored of one group.
#[derive(Default)]
struct Stored {
    meta: Option<Bytes>,
    members: StoredValues,
    assignments: StoredValues,
    consumer_members: Vec<(String, ConsumerMember)>,
    consumer_assignments: Vec<(String, ConsumerAssignment)>,
    offsets: Offsets,
}

/// What every `meta` says.
#[derive(Serialize, Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    group_type: String,
}

impl Value for Kind {}

impl Shard {
    /// The shard as its journal has it. `now` is when members begin to be waited for.
    ///
    /// # Errors
    /// A value is not readable, or of a later version: nobody may act on a part of the shard.
    pub fn restore(records: Vec<Record>, now: Now) -> Result<Self, ModelError> {
        let mut groups: BTreeMap<String, Stored> = BTreeMap::new();
        for Record { key, value } in records {
            let name = key.to_string();
            if let (ShardKey::Group(group, key), Some(value)) = (key, value) {
                groups.entry(group).or_default().take(key, value, &name)?;
            }
        }
        let mut shard = Self::default();
        for (name, stored) in groups {
            shard.strays.extend(stored.strays(&name)?);
            let offsets = stored.offsets.clone();
            let Some(membership) = stored.membership(&name, now)? else { continue };
            let deadline = membership.next_deadline();
            let key: Arc<str> = Arc::from(name);
            shard.deadlines.extend(deadline.map(|at| (at, key.clone())));
            shard.groups.insert(key, Group { membership, offsets, deadline });
        }
        Ok(shard)
    }
}

impl Stored {
    fn take(&mut self, key: GroupKey, value: Bytes, name: &str) -> Result<(), ModelError> {
        match key {
            GroupKey::Meta => self.meta = Some(value),
            GroupKey::Member(key) => drop(self.members.insert(key, value)),
            GroupKey::Assignment(key) => drop(self.assignments.insert(key, value)),
            GroupKey::ConsumerMember(id) => {
                self.consumer_members.push((id, decode_value(name, &value)?));
            }
            GroupKey::ConsumerAssignment(id) => {
                self.consumer_assignments.push((id, decode_value(name, &value)?));
            }
            GroupKey::Offsets(topic, number) => {
                let chunk: OffsetChunk = decode_value(name, &value)?;
                self.offsets.restore(topic, number, chunk);
            }
            // Of transactions, which know what to do with them.
            GroupKey::Pending(..) => {}
        }
        Ok(())
    }

    fn kind(&self, group: &str) -> Result<Option<String>, ModelError> {
        let Some(meta) = &self.meta else { return Ok(None) };
        let kind: Kind = decode_value(&format!("groups/{group}/meta"), meta)?;
        Ok(Some(kind.group_type))
    }

    /// Members of a kind that the group is not of, or not yet, or no more: whoever wrote them did not come to
    /// the end. They must not be taken for members of a later generation.
    fn strays(&self, group: &str) -> Result<Vec<ShardKey>, ModelError> {
        let kind = self.kind(group)?;
        let mut strays = Vec::new();
        if kind.as_deref() != Some(ClassicGroupMeta::TYPE) {
            strays.extend(self.members.keys().cloned().map(GroupKey::Member));
            strays.extend(self.assignments.keys().cloned().map(GroupKey::Assignment));
        }
        if kind.as_deref() != Some(ConsumerMeta::TYPE) {
            let members = self.consumer_members.iter().map(|(id, _)| id.clone());
            strays.extend(members.map(GroupKey::ConsumerMember));
            let assignments = self.consumer_assignments.iter().map(|(id, _)| id.clone());
            strays.extend(assignments.map(GroupKey::ConsumerAssignment));
        }
        Ok(strays.into_iter().map(|key| ShardKey::Group(group.to_owned(), key)).collect())
    }

    /// The members, or `None` if nothing makes the group exist.
    fn membership(self, group: &str, now: Now) -> Result<Option<Membership>, ModelError> {
        let kind = self.kind(group)?;
        let Some(meta) = self.meta else {
            return Ok((!self.offsets.is_empty()).then(|| Membership::simple(group)));
        };
        let name = format!("groups/{group}/meta");
        let membership = match kind.as_deref() {
            Some(ClassicGroupMeta::TYPE) => {
                let (members, given) = (&self.members, &self.assignments);
                let group = ClassicGroup::restore(group, Some(&meta), members, given, now)?;
                Membership::Classic(Box::new(group))
            }
            Some(ConsumerMeta::TYPE) => {
                let stored = StoredConsumerGroup {
                    meta: decode_value(&name, &meta)?,
                    members: self.consumer_members,
                    assignments: self.consumer_assignments,
                };
                Membership::Consumer(Box::new(ConsumerGroup::restore(group, stored, now)))
            }
            kind => {
                let reason = format!("no group is of the type {}", kind.unwrap_or_default());
                return Err(ModelError::Malformed { key: name, reason });
            }
        };
        Ok(Some(membership))
    }
}
