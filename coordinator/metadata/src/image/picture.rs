//! The state of the cluster at one revision, on persistent maps.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use ottla_protocol::Uuid;

use crate::keys::ConfigResource;
use crate::model::{
    BrokerClaim, BrokerRecord, Cluster, ConfigEntry, Controller, DeletedTopic, Partition,
    ProducerIds, Topic,
};

/// A value with the revisions that the store keeps beside it. The mod revision of a partition is its
/// partition epoch; create revisions are broker epoch (of a claim) and controller term.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The revision that created the key.
    pub create_revision: i64,
    /// The revision that last wrote it: what a write that replaces it compares.
    pub mod_revision: i64,
}

impl<T> std::ops::Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The cluster at one revision of the store. Cloning is cheap: clones share what did not change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    pub(super) store_id: u64,
    pub(super) revision: i64,
    pub(super) cluster: Option<Arc<Versioned<Cluster>>>,
    pub(super) controller: Option<Arc<Versioned<Controller>>>,
    pub(super) producer_ids: Option<Arc<Versioned<ProducerIds>>>,
    pub(super) claims: OrdMap<i32, Arc<Versioned<BrokerClaim>>>,
    pub(super) coordinators: OrdMap<i32, Arc<Versioned<Controller>>>,
    pub(super) brokers: OrdMap<i32, Arc<Versioned<BrokerRecord>>>,
    pub(super) topics: OrdMap<String, Arc<Versioned<Topic>>>,
    pub(super) topics_by_id: OrdMap<Uuid, Arc<Versioned<Topic>>>,
    pub(super) partitions: OrdMap<(Uuid, i32), Arc<Versioned<Partition>>>,
    pub(super) deleted: OrdMap<Uuid, Arc<Versioned<DeletedTopic>>>,
    pub(super) configs: OrdMap<ConfigResource, Arc<Versioned<ConfigEntry>>>,
}

impl Image {
    /// The revision that the image is at; 0 before the first list is complete.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The id of the store that it was read from.
    pub fn store_id(&self) -> u64 {
        self.store_id
    }

    /// True once the cluster was read as a whole. An empty image answers nothing: a topic that it lacks may exist.
    pub fn is_complete(&self) -> bool {
        0 < self.revision
    }

    /// What is decided once for the cluster.
    pub fn cluster(&self) -> Option<&Arc<Versioned<Cluster>>> {
        self.cluster.as_ref()
    }

    /// The active coordinator. Its term is the create revision.
    pub fn controller(&self) -> Option<&Arc<Versioned<Controller>>> {
        self.controller.as_ref()
    }

    /// The supply of producer ids.
    pub fn producer_ids(&self) -> Option<&Arc<Versioned<ProducerIds>>> {
        self.producer_ids.as_ref()
    }

    /// The claim of a broker, if it has one now.
    pub fn claim(&self, broker: i32) -> Option<&Arc<Versioned<BrokerClaim>>> {
        self.claims.get(&broker)
    }

    /// All claims, by broker id.
    pub fn claims(&self) -> impl Iterator<Item = (i32, &Arc<Versioned<BrokerClaim>>)> {
        self.claims.iter().map(|(id, claim)| (*id, claim))
    }

    /// The coordinators that say they are alive, the active one included, by id. For people: who is active, and
    /// whether anybody is, only [`Image::controller`] tells.
    pub fn coordinators(&self) -> impl Iterator<Item = (i32, &Arc<Versioned<Controller>>)> {
        self.coordinators.iter().map(|(id, coordinator)| (*id, coordinator))
    }

    /// The controller's record of a broker.
    pub fn broker(&self, broker: i32) -> Option<&Arc<Versioned<BrokerRecord>>> {
        self.brokers.get(&broker)
    }

    /// All records, fenced ones included, by broker id.
    pub fn brokers(&self) -> impl Iterator<Item = (i32, &Arc<Versioned<BrokerRecord>>)> {
        self.brokers.iter().map(|(id, record)| (*id, record))
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Versioned<Topic>>> {
        self.topics.get(name)
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Versioned<Topic>>> {
        self.topics_by_id.get(&id)
    }

    /// All topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Versioned<Topic>>> {
        self.topics.values()
    }

    /// The topics whose names come after this one, by name; all of them after an empty name.
    pub fn topics_after(&self, name: &str) -> impl Iterator<Item = &Arc<Versioned<Topic>>> {
        let bounds = (Bound::Excluded(name), Bound::Unbounded);
        self.topics.range::<_, str>(bounds).map(|(_, topic)| topic)
    }

    /// How many topics exist.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// A partition, if it exists: a key at or beyond the topic's partition count does not make one.
    pub fn partition(&self, topic: Uuid, partition: i32) -> Option<&Arc<Versioned<Partition>>> {
        let count = self.topics_by_id.get(&topic)?.partitions;
        if count <= partition {
            return None;
        }
        self.partitions.get(&(topic, partition))
    }

    /// The partitions that exist of a topic, by number.
    pub fn partitions_of(
        &self,
        topic: Uuid,
    ) -> impl Iterator<Item = (i32, &Arc<Versioned<Partition>>)> {
        let count = self.topics_by_id.get(&topic).map_or(0, |topic| topic.partitions);
        let range = self.partitions.range((topic, 0)..(topic, count.max(0)));
        range.map(|((_, number), partition)| (*number, partition))
    }

    /// All partitions that exist, by topic id and number.
    pub fn partitions(&self) -> impl Iterator<Item = (Uuid, i32, &Arc<Versioned<Partition>>)> {
        self.stored_partitions().filter(|(topic, number, _)| {
            self.topics_by_id.get(topic).is_some_and(|topic| *number < topic.partitions)
        })
    }

    /// All partition keys, also those that are prepared for a topic or left over from one. For the controller only.
    pub fn stored_partitions(
        &self,
    ) -> impl Iterator<Item = (Uuid, i32, &Arc<Versioned<Partition>>)> {
        self.partitions.iter().map(|((topic, number), partition)| (*topic, *number, partition))
    }

    /// The partition keys of one topic id, whether or not they make partitions. For the controller only.
    pub fn stored_partitions_of(
        &self,
        topic: Uuid,
    ) -> impl Iterator<Item = (i32, &Arc<Versioned<Partition>>)> {
        let range = self.partitions.range((topic, 0)..=(topic, i32::MAX));
        range.map(|((_, number), partition)| (*number, partition))
    }

    /// Topics that are being collected.
    pub fn deleted(&self) -> impl Iterator<Item = (Uuid, &Arc<Versioned<DeletedTopic>>)> {
        self.deleted.iter().map(|(id, topic)| (*id, topic))
    }

    /// A topic that is being collected.
    pub fn deleted_topic(&self, id: Uuid) -> Option<&Arc<Versioned<DeletedTopic>>> {
        self.deleted.get(&id)
    }

    /// The dynamic configs of a resource.
    pub fn config(&self, resource: &ConfigResource) -> Option<&Arc<Versioned<ConfigEntry>>> {
        self.configs.get(resource)
    }

    /// All dynamic configs.
    pub fn configs(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<Versioned<ConfigEntry>>)> {
        self.configs.iter()
    }

    /// What differs from `older`, in time proportional to the difference as far as the images share structure.
    pub fn diff(&self, older: &Self) -> ImageDiff {
        let mut partitions: BTreeSet<(Uuid, i32)> = changed(&older.partitions, &self.partitions);
        let topics: BTreeSet<Uuid> = changed(&older.topics_by_id, &self.topics_by_id);
        // A partition appears and goes with its topic's count, although its own key does not change.
        for topic in &topics {
            let before = older.topics_by_id.get(topic).map_or(0, |topic| topic.partitions);
            let after = self.topics_by_id.get(topic).map_or(0, |topic| topic.partitions);
            let numbers = before.min(after).max(0)..before.max(after);
            partitions.extend(numbers.map(|number| (*topic, number)));
        }
        let exists = |image: &Self, (topic, number): &(Uuid, i32)| {
            image.partition(*topic, *number).is_some()
        };
        partitions.retain(|key| exists(self, key) || exists(older, key));
        ImageDiff {
            cluster: differs(&older.cluster, &self.cluster),
            controller: differs(&older.controller, &self.controller),
            claims: changed(&older.claims, &self.claims),
            brokers: changed(&older.brokers, &self.brokers),
            topics,
            partitions,
            deleted: changed(&older.deleted, &self.deleted),
            configs: changed(&older.configs, &self.configs),
        }
    }
}

/// What differs between two images: keys that were added, changed or removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDiff {
    /// The cluster's value changed.
    pub cluster: bool,
    /// The active coordinator changed.
    pub controller: bool,
    /// Brokers whose claim came, changed or went.
    pub claims: BTreeSet<i32>,
    /// Brokers whose record changed.
    pub brokers: BTreeSet<i32>,
    /// Topics by id.
    pub topics: BTreeSet<Uuid>,
    /// Partitions that exist in one of the images, or in both and differ.
    pub partitions: BTreeSet<(Uuid, i32)>,
    /// Topics being collected.
    pub deleted: BTreeSet<Uuid>,
    /// Resources whose configs changed.
    pub configs: BTreeSet<ConfigResource>,
}

impl ImageDiff {
    /// True if nothing differs but the revision.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn differs<T>(older: &Option<Arc<Versioned<T>>>, newer: &Option<Arc<Versioned<T>>>) -> bool {
    older.as_ref().map(|value| value.mod_revision) != newer.as_ref().map(|value| value.mod_revision)
}

fn changed<K: Ord + Clone, T: PartialEq>(
    older: &OrdMap<K, Arc<Versioned<T>>>,
    newer: &OrdMap<K, Arc<Versioned<T>>>,
) -> BTreeSet<K> {
    let keys = older.diff(newer).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
        DiffItem::Update { new: (key, _), .. } => key,
    });
    keys.cloned().collect()
}
