//! Out of a classic group into a consumer group, and back.

use bytes::Bytes;
use ottla_metadata::model::Rest;
use ottla_protocol::Str;

use super::members::Member;
use super::protocols::Protocol;
use super::timers::Timer;
use super::{CONSUMER, ClassicGroup, ClassicState};
use crate::group::Context;
use crate::group::consumer::{ClassicMemberParts, ClassicParts};

impl ClassicGroup {
    /// What a consumer group needs to take this one over. `None` if it cannot: it has members that are no consumers.
    ///
    /// Once it has, call [`release`](Self::release) with REBALANCE_IN_PROGRESS, then
    /// [`delete_members`](Self::delete_members), and drop this group.
    pub fn parts(&self) -> Option<ClassicParts> {
        if !self.has_consumers() && !self.is_empty() {
            return None;
        }
        Some(ClassicParts {
            id: self.id.clone(),
            generation: self.generation,
            protocol: self.protocol.clone().map(String::from),
            members: self.members.iter().map(to_parts).collect(),
            rebalance: false,
        })
    }

    /// The classic group that a consumer group became, stored as a generation that everybody has been assigned.
    /// Its members are asked to join again at once if `parts` says so, else only when something changes.
    pub fn from_parts(parts: &ClassicParts, cx: &mut Context<'_>) -> Self {
        let mut group = Self::new(&parts.id);
        group.generation = parts.generation;
        group.protocol_type = Some(Str::from_static(CONSUMER));
        for member in parts.members.iter().map(from_parts) {
            let deadline = cx.now.monotonic + member.session_timeout;
            group.timers.set(Timer::Session(member.id.clone()), deadline);
            group.members.insert(member);
        }
        group.protocol = group.members.choose_protocol();
        group.subscribed = group.read_subscriptions();
        let is_empty = group.members.is_empty();
        group.enter(if is_empty { ClassicState::Empty } else { ClassicState::Stable }, cx);
        group.store_generation(cx.out);
        if parts.rebalance && !is_empty {
            group.prepare_rebalance("consumer group became a classic one", cx);
        }
        group
    }
}

fn to_parts(member: &Member) -> ClassicMemberParts {
    let text = |text: &Str| text.as_str().to_owned();
    ClassicMemberParts {
        member_id: text(&member.id),
        instance_id: member.instance_id.as_ref().map(text),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        session_timeout: member.session_timeout,
        rebalance_timeout: member.rebalance_timeout,
        protocols: member
            .protocols
            .iter()
            .map(|one| (text(&one.name), one.metadata.clone()))
            .collect(),
        assignment: member.assignment.clone(),
    }
}

fn from_parts(parts: &ClassicMemberParts) -> Member {
    let text = |text: &String| Str::from(text.as_str());
    let protocol = |(name, metadata): &(String, Bytes)| Protocol {
        name: text(name),
        metadata: metadata.clone(),
    };
    Member {
        id: text(&parts.member_id),
        instance_id: parts.instance_id.as_ref().map(text),
        client_id: text(&parts.client_id),
        client_host: text(&parts.client_host),
        session_timeout: parts.session_timeout,
        rebalance_timeout: parts.rebalance_timeout,
        protocols: parts.protocols.iter().map(protocol).collect(),
        assignment: parts.assignment.clone(),
        join: None,
        sync: None,
        is_new: false,
        stored_in: None,
        rest: Rest::new(),
    }
}
