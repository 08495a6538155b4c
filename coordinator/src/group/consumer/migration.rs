//! From the classic protocol to the new one and back, while a group works.
//!
//! **Up**: the first member of the new protocol that comes to a classic group of consumers makes it a consumer
//! group. The classic members stay members: they have what they had, and are told to join anew when that changes.
//! **Down**: when the last member of the new protocol goes and classic ones remain, they are a classic group.
//!
//! Either way the new group's keys are written first, then `meta` with the new type, and the keys of the old type
//! are deleted last: whatever part of that is found is one of the two groups.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::model::group::ConsumerMember;
use ottla_protocol::ErrorCode;

use super::ConsumerGroup;
use super::consumer_protocol::{read_assignment, subscription, write_assignment};
use super::member::{Classic, Current, Member};
use super::partitions::Owned;
use crate::group::Context;

/// A classic group of the protocol type `consumer`, as data: what becomes of one becomes the other.
///
/// A classic group that cannot be expressed so (another protocol type) is never upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicParts {
    /// The group's id.
    pub id: String,
    /// Its generation.
    pub generation: i32,
    /// The protocol (assignor) that was chosen for this generation, if one was.
    pub protocol: Option<String>,
    /// Everybody who is a member, by member id. Members that only were given an id are not.
    pub members: Vec<ClassicMemberParts>,
    /// After a downgrade: the members have to join anew at once, since one of them left.
    pub rebalance: bool,
}

/// One member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMemberParts {
    /// Its id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Its address, as Kafka shows it.
    pub client_host: String,
    /// Its session timeout.
    pub session_timeout: Duration,
    /// How long it may take to join anew.
    pub rebalance_timeout: Duration,
    /// Its protocols with their metadata, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
    /// Its assignment in this generation; empty if it has none.
    pub assignment: Bytes,
}

impl ConsumerGroup {
    /// Takes a classic group over because a member of the new protocol wants to join it (its heartbeat comes
    /// next). The caller then drops the classic group, answers whoever waits in it with REBALANCE_IN_PROGRESS,
    /// and deletes its keys but `meta`, all after this.
    ///
    /// # Errors
    /// The error to answer the new member with; the group stays classic.
    pub fn upgrade(parts: &ClassicParts, cx: &mut Context<'_>) -> Result<Self, ErrorCode> {
        if !cx.settings.allows_upgrade || cx.settings.consumer_size_max < parts.members.len() {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let mut group = Self::new(&parts.id);
        group.epoch = parts.generation.max(1);
        group.assignment_epoch = group.epoch;
        for member in &parts.members {
            group.take_over(member, parts.protocol.as_deref(), cx)?;
        }
        let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
        for id in &ids {
            group.restart_deadlines(id, cx);
        }
        group.changed_at = cx.now.monotonic;
        group.step.write_meta = true;
        group.finish_step(cx);
        tracing::info!(group = group.id, "classic group became a consumer group");
        Ok(group)
    }

    fn take_over(
        &mut self,
        parts: &ClassicMemberParts,
        protocol: Option<&str>,
        cx: &Context<'_>,
    ) -> Result<(), ErrorCode> {
        let chosen = parts.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        let metadata = chosen.or(parts.protocols.first()).map(|(_, metadata)| metadata);
        let subscription = metadata.and_then(subscription).ok_or(ErrorCode::GroupIdNotFound)?;
        let assigned = read_assignment(&parts.assignment, cx.image, self.epoch);
        let assigned = assigned.ok_or(ErrorCode::GroupIdNotFound)?;

        let classic =
            Classic { session_timeout: parts.session_timeout, protocols: parts.protocols.clone() };
        let mut member = Member::new(&parts.member_id);
        let rebalance = parts.rebalance_timeout.as_millis();
        member.about = ConsumerMember {
            instance_id: parts.instance_id.clone(),
            rack_id: subscription.rack_id.as_deref().map(str::to_owned),
            client_id: parts.client_id.clone(),
            client_host: parts.client_host.clone(),
            rebalance_timeout_ms: i32::try_from(rebalance).unwrap_or(i32::MAX),
            topics: super::join::sorted(&subscription.topics),
            classic: Some(classic.to_stored()),
            ..ConsumerMember::default()
        };
        member.classic = Some(classic);
        // Consumers assigned these among themselves: what two of them have stays with the first here.
        let free: Owned = assigned
            .iter()
            .filter(|(topic, partition, _)| !self.owners.contains_key(&(*topic, *partition)))
            .collect();
        member.target = Arc::new(free.partitions());
        self.subscription.add(&member.about, cx.image);
        if let Some(instance) = &member.about.instance_id {
            self.static_members.insert(instance.clone(), Arc::clone(&member.id));
        }
        let id = Arc::clone(&member.id);
        member.current.epoch = self.epoch;
        self.members.insert(Arc::clone(&id), member);
        self.step.members.insert(Arc::clone(&id));
        let (epoch, previous_epoch) = (self.epoch, self.epoch);
        let current = Current { epoch, previous_epoch, assigned: free, ..Current::default() };
        self.set_current(&id, current);
        Ok(())
    }

    /// The classic group that this one has become, because the last member that spoke the new protocol went. To
    /// be asked after every step. The caller makes the classic group of it, which writes its keys and `meta`, then
    /// calls [`delete_members`](Self::delete_members) and drops this group.
    pub fn take_downgrade(&mut self, cx: &mut Context<'_>) -> Option<ClassicParts> {
        if !std::mem::take(&mut self.downgrade_due) || !cx.settings.allows_downgrade {
            return None;
        }
        let is_classic = self.members.values().all(|member| member.classic.is_some());
        if self.members.is_empty() || !is_classic || cx.settings.size_max < self.members.len() {
            return None;
        }
        tracing::info!(group = self.id, "consumer group became a classic group");
        Some(ClassicParts {
            id: self.id.clone(),
            generation: self.epoch,
            protocol: self.common_protocol(),
            members: self.members.values().map(|member| to_parts(member, cx)).collect(),
            rebalance: true,
        })
    }

    /// The protocol that all members speak and the first prefers.
    fn common_protocol(&self) -> Option<String> {
        let speaks = |member: &Member, name: &str| {
            let classic = member.classic.as_ref();
            classic.is_some_and(|it| it.protocols.iter().any(|(other, _)| other == name))
        };
        let first = self.members.values().find_map(|member| member.classic.as_ref())?;
        let names = first.protocols.iter().map(|(name, _)| name);
        let common = |name: &&String| self.members.values().all(|member| speaks(member, name));
        names.into_iter().find(common).cloned()
    }
}

fn to_parts(member: &Member, cx: &Context<'_>) -> ClassicMemberParts {
    let classic = member.classic.clone();
    let classic = classic.unwrap_or(Classic { session_timeout: Duration::ZERO, protocols: vec![] });
    let metadata = classic.protocols.first().map(|(_, metadata)| metadata.clone());
    let metadata = metadata.unwrap_or_default();
    ClassicMemberParts {
        member_id: member.id.to_string(),
        instance_id: member.about.instance_id.clone(),
        client_id: member.about.client_id.clone(),
        client_host: member.about.client_host.clone(),
        session_timeout: classic.session_timeout,
        rebalance_timeout: member.rebalance_timeout(),
        assignment: write_assignment(&member.current.assigned, &metadata, cx.image),
        protocols: classic.protocols,
    }
}
