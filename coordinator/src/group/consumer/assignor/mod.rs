//! Who is to read what: the assignors of the server.

mod balance;
mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ottla_protocol::Uuid;

use super::partitions::Partitions;

/// An assignor, by Kafka's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Everybody has as many partitions as everybody else, and keeps those that it has.
    Uniform,
    /// Everybody has a range of each topic, so that equal partitions of several topics come together.
    Range,
}

/// What an assignor knows.
#[derive(Debug, Default)]
pub struct Input {
    /// All topics that anybody wants.
    pub topics: Vec<InputTopic>,
    /// All members, in the order of their ids.
    pub members: Vec<InputMember>,
}

/// A topic that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputTopic {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// Where the replicas of each partition are, as indexes of racks; empty if nobody cares.
    pub racks: Vec<Vec<u32>>,
}

/// A member.
#[derive(Debug, Clone)]
pub struct InputMember {
    /// Its id.
    pub id: Arc<str>,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// The index of its rack.
    pub rack: Option<u32>,
    /// What it wants to read: indexes of topics, ascending. Members with the same wishes may share them.
    pub topics: Arc<[usize]>,
    /// What it was to have so far.
    pub target: Arc<Partitions>,
}

impl Assignor {
    /// The assignor of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What every member is to have, in the order of the members. What does not change is shared with the input.
    pub fn assign(self, input: &Input) -> Vec<Arc<Partitions>> {
        if input.members.is_empty() {
            return Vec::new();
        }
        match self {
            Self::Range => range::assign(input),
            Self::Uniform if input.is_homogeneous() => uniform::assign(input),
            Self::Uniform => balance::assign(input),
        }
    }
}

impl Input {
    /// True if all members want the same topics.
    pub fn is_homogeneous(&self) -> bool {
        let mut wishes = self.members.iter().map(|member| &member.topics);
        let first = wishes.next();
        wishes
            .all(|topics| first.is_some_and(|first| Arc::ptr_eq(first, topics) || first == topics))
    }
}

impl InputTopic {
    /// Where the replicas of a partition are.
    fn racks_of(&self, partition: i32) -> &[u32] {
        usize::try_from(partition).ok().and_then(|at| self.racks.get(at)).map_or(&[], Vec::as_slice)
    }
}
