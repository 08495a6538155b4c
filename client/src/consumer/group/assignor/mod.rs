//! How a leader divides partitions among the members.

mod range;
mod sticky;

use std::collections::BTreeMap;

use ottla_protocol::Str;

use crate::consumer::TopicPartition;

/// A way to divide partitions. All members of a group must know one in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Of each topic a run of neighbours, so that partitions of the same number meet at the same member.
    Range,
    /// As even as it gets, with as few moves as it takes; members go on reading what does not move (KIP-429).
    CooperativeSticky,
}

/// What one member wants, and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub member_id: Str,
    pub instance_id: Option<Str>,
    pub topics: Vec<Str>,
    /// What it has, as of `generation`.
    pub owned: Vec<TopicPartition>,
    /// −1 where it does not say.
    pub generation: i32,
}

/// What each member gets.
pub(super) type Assignment = BTreeMap<Str, Vec<TopicPartition>>;

impl Assignor {
    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of this name, if it is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Range, Self::CooperativeSticky].into_iter().find(|one| one.name() == name)
    }

    /// Whether members keep what they have during a rebalance.
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// Divides topics with so many partitions among the members.
    pub(super) fn assign(
        self,
        members: &[Subscription],
        topics: &BTreeMap<Str, i32>,
    ) -> Assignment {
        match self {
            Self::Range => range::assign(members, topics),
            Self::CooperativeSticky => sticky::assign(members, topics),
        }
    }
}
