//! Sets of partitions of many topics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::Uuid;
use ottla_protocol::messages::consumer_group_heartbeat_request as request;
use ottla_protocol::messages::consumer_group_heartbeat_response as response;

/// Partitions by topic id. No topic is there without a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitions {
    topics: BTreeMap<Uuid, BTreeSet<i32>>,
}

impl Partitions {
    /// Adds a partition.
    pub fn insert(&mut self, topic: Uuid, partition: i32) {
        self.topics.entry(topic).or_default().insert(partition);
    }

    /// Adds partitions `from..to`.
    pub fn insert_range(&mut self, topic: Uuid, range: std::ops::Range<i32>) {
        if !range.is_empty() {
            self.topics.entry(topic).or_default().extend(range);
        }
    }

    /// True if the partition is in.
    pub fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.topics.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.topics.values().map(BTreeSet::len).sum()
    }

    /// The partitions of each topic.
    pub fn topics(&self) -> impl Iterator<Item = (Uuid, &BTreeSet<i32>)> {
        self.topics.iter().map(|(topic, partitions)| (*topic, partitions))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.topics().flat_map(|(topic, partitions)| partitions.iter().map(move |p| (topic, *p)))
    }
}

impl FromIterator<(Uuid, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32)>>(all: I) -> Self {
        let mut partitions = Self::default();
        for (topic, partition) in all {
            partitions.insert(topic, partition);
        }
        partitions
    }
}

/// Partitions by topic id, each with the member epoch in which it was assigned. No topic is there without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    topics: BTreeMap<Uuid, BTreeMap<i32, i32>>,
}

impl Owned {
    /// Adds a partition.
    pub fn insert(&mut self, topic: Uuid, partition: i32, epoch: i32) {
        self.topics.entry(topic).or_default().insert(partition, epoch);
    }

    /// The epoch in which a partition was assigned, if it is in.
    pub fn epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        self.topics.get(&topic)?.get(&partition).copied()
    }

    /// True if the partition is in.
    pub fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.epoch(topic, partition).is_some()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.topics.values().map(BTreeMap::len).sum()
    }

    /// The partitions of each topic, with their epochs.
    pub fn topics(&self) -> impl Iterator<Item = (Uuid, &BTreeMap<i32, i32>)> {
        self.topics.iter().map(|(topic, partitions)| (*topic, partitions))
    }

    /// All of them, with their epochs.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, i32, i32)> {
        self.topics().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, epoch)| (topic, *partition, *epoch))
        })
    }

    /// Makes a commit of any epoch acceptable for all of them.
    pub fn forget_epochs(&mut self) {
        for epoch in self.topics.values_mut().flat_map(BTreeMap::values_mut) {
            *epoch = 0;
        }
    }

    /// True if both have the same partitions, whatever their epochs.
    pub fn same_partitions(&self, other: &Self) -> bool {
        self.topics.len() == other.topics.len()
            && self.topics.iter().zip(&other.topics).all(|((topic, ours), (topic2, theirs))| {
                topic == topic2 && ours.len() == theirs.len() && ours.keys().eq(theirs.keys())
            })
    }

    /// Without epochs.
    pub fn partitions(&self) -> Partitions {
        self.iter().map(|(topic, partition, _)| (topic, partition)).collect()
    }

    /// As an answer to a heartbeat.
    pub fn to_response(&self) -> Vec<response::TopicPartitions> {
        self.topics()
            .map(|(topic_id, partitions)| response::TopicPartitions {
                topic_id,
                partitions: partitions.keys().copied().collect(),
                ..Default::default()
            })
            .collect()
    }
}

impl FromIterator<(Uuid, i32, i32)> for Owned {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32, i32)>>(all: I) -> Self {
        let mut owned = Self::default();
        for (topic, partition, epoch) in all {
            owned.insert(topic, partition, epoch);
        }
        owned
    }
}

/// What a member says that it has, in its own words.
#[derive(Debug, Clone, Copy)]
pub struct Claimed<'a>(pub &'a [request::TopicPartitions]);

impl<'a> Claimed<'a> {
    /// True if it says that it has a partition of `owned`.
    pub fn has_any_of(self, owned: &Owned) -> bool {
        self.iter().any(|(topic, partition)| owned.contains(topic, partition))
    }

    /// True if all that it says to have is in `owned`.
    pub fn is_within(self, owned: &Owned) -> bool {
        self.iter().all(|(topic, partition)| owned.contains(topic, partition))
    }

    fn iter(self) -> impl Iterator<Item = (Uuid, i32)> + 'a {
        self.0.iter().flat_map(|topic| {
            topic.partitions.iter().map(move |partition| (topic.topic_id, *partition))
        })
    }
}
