//! Changes of an image: one batch of the watch is one step.

use std::sync::Arc;

use imbl::OrdMap;

use super::entry::Entry;
use super::picture::{Image, Versioned};
use crate::keys::{Key, KeySpace};
use crate::model::{ModelError, Topic};
use crate::store::{Event, Page, WatchBatch};

/// The decoded changes of one watch batch. Decoding comes first and as a whole, so that a value that
/// cannot be read leaves the image as it was.
#[derive(Debug)]
pub struct Delta {
    revision: i64,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Put(Entry),
    Delete(Key, i64),
}

impl Delta {
    /// Decodes the part of a batch that is newer than the revision `after`.
    pub fn decode(keys: &KeySpace, batch: &WatchBatch, after: i64) -> Result<Self, ModelError> {
        let mut changes = Vec::with_capacity(batch.events.len());
        for event in batch.events.iter().filter(|event| after < event.revision()) {
            match event {
                Event::Put(kv) => changes.push(Change::Put(Entry::decode(keys, kv)?)),
                Event::Delete { key, revision } => {
                    if let Ok(key) = keys.parse(key) {
                        changes.push(Change::Delete(key, *revision));
                    }
                }
            }
        }
        Ok(Self { revision: batch.revision, changes })
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True for mere progress.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Image {
    /// The image of these keys, for tools and for tests of what reads images.
    pub fn from_items(keys: &KeySpace, page: &Page) -> Result<Self, ModelError> {
        let mut image =
            Self { store_id: page.store_id, revision: page.revision, ..Self::default() };
        for kv in &page.items {
            image.put(Entry::decode(keys, kv)?);
        }
        Ok(image)
    }

    /// The image after `delta`. A change that is older than what the image has is skipped.
    #[must_use]
    pub fn with(&self, delta: Delta) -> Self {
        let mut image = self.clone();
        for change in delta.changes {
            match change {
                Change::Put(entry) => image.put(entry),
                Change::Delete(key, revision) => image.delete(&key, revision),
            }
        }
        image.revision = image.revision.max(delta.revision);
        image
    }

    pub(super) fn put(&mut self, entry: Entry) {
        match entry {
            Entry::Cluster(value) => replace(&mut self.cluster, value),
            Entry::Controller(value) => replace(&mut self.controller, value),
            Entry::ProducerIds(value) => replace(&mut self.producer_ids, value),
            Entry::Claim(id, value) => insert(&mut self.claims, id, value),
            Entry::Coordinator(id, value) => insert(&mut self.coordinators, id, value),
            Entry::Broker(id, value) => insert(&mut self.brokers, id, value),
            Entry::Topic(name, value) => self.put_topic(name, value),
            Entry::Partition(topic, number, value) => {
                insert(&mut self.partitions, (topic, number), value);
            }
            Entry::Deleted(id, value) => insert(&mut self.deleted, id, value),
            Entry::Config(resource, value) => insert(&mut self.configs, resource, value),
            Entry::Other => {}
        }
    }

    fn put_topic(&mut self, name: String, value: Shared<Topic>) {
        if let Some(current) = self.topics.get(&name) {
            if value.mod_revision <= current.mod_revision {
                return;
            }
            let former = current.id;
            self.topics_by_id.remove(&former);
        }
        self.topics_by_id.insert(value.id, value.clone());
        self.topics.insert(name, value);
    }

    fn delete(&mut self, key: &Key, revision: i64) {
        match key {
            Key::Cluster => clear(&mut self.cluster, revision),
            Key::Controller => clear(&mut self.controller, revision),
            Key::ProducerIds => clear(&mut self.producer_ids, revision),
            Key::BrokerClaim(id) => remove(&mut self.claims, id, revision),
            Key::CoordinatorClaim(id) => remove(&mut self.coordinators, id, revision),
            Key::Broker(id) => remove(&mut self.brokers, id, revision),
            Key::Topic(name) => {
                if let Some(topic) = self.topics.get(name)
                    && topic.mod_revision < revision
                {
                    let id = topic.id;
                    self.topics_by_id.remove(&id);
                    self.topics.remove(name);
                }
            }
            Key::Partition(topic, number) => {
                remove(&mut self.partitions, &(*topic, *number), revision);
            }
            Key::Deleted(id) => remove(&mut self.deleted, id, revision),
            Key::Config(resource) => remove(&mut self.configs, resource, revision),
            Key::Acl(_) | Key::Scram { .. } | Key::Quota(_) | Key::Token(_) | Key::Shard(..) => {}
        }
    }
}

type Shared<T> = Arc<Versioned<T>>;

fn replace<T>(slot: &mut Option<Shared<T>>, value: Shared<T>) {
    if slot.as_ref().is_none_or(|current| current.mod_revision < value.mod_revision) {
        *slot = Some(value);
    }
}

fn clear<T>(slot: &mut Option<Shared<T>>, revision: i64) {
    if slot.as_ref().is_some_and(|current| current.mod_revision < revision) {
        *slot = None;
    }
}

fn insert<K: Ord + Clone, T>(map: &mut OrdMap<K, Shared<T>>, key: K, value: Shared<T>) {
    if map.get(&key).is_none_or(|current| current.mod_revision < value.mod_revision) {
        map.insert(key, value);
    }
}

fn remove<K: Ord + Clone, T>(map: &mut OrdMap<K, Shared<T>>, key: &K, revision: i64) {
    if map.get(key).is_some_and(|current| current.mod_revision < revision) {
        map.remove(key);
    }
}
