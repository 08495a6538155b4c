//! The checkers: each is told what happened and objects to what must never happen.

mod contents;
mod durability;
mod leadership;
mod sequences;
mod visibility;
mod watermarks;

use std::collections::BTreeMap;

use ottla_metadata::image::Image;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, Partition, Topic};
use ottla_metadata::store::{Event, WatchBatch};
use ottla_protocol::Uuid;

pub use contents::Contents;
pub use durability::{Durability, LogEntry};
pub use leadership::{Leader, Leadership};
pub use sequences::Sequences;
pub use visibility::Visibility;
pub use watermarks::Watermarks;

use super::env::Process;
use super::message::ShownTopic;

/// A partition of a topic.
pub type PartitionKey = (Uuid, i32);

/// All checkers, and their objections.
#[derive(Debug, Default)]
pub struct History {
    /// What was acknowledged or read stays.
    pub durability: Durability,
    /// No offset shows two contents in an epoch.
    pub contents: Contents,
    /// Who may lead.
    pub leadership: Leadership,
    /// High watermarks do not go back.
    pub watermarks: Watermarks,
    /// No duplicates, gaps or reorders.
    pub sequences: Sequences,
    /// Topics are there as a whole or not at all.
    pub visibility: Visibility,
    /// What is in each log now, acknowledged or not.
    logs: BTreeMap<PartitionKey, BTreeMap<i64, u32>>,
    topics: BTreeMap<String, (Uuid, i32)>,
    objections: Vec<String>,
}

impl History {
    /// Something must never happen, and did.
    pub fn object(&mut self, objection: String) {
        if self.objections.len() < OBJECTIONS_MAX {
            self.objections.push(objection);
        }
    }

    /// Notes the outcome of a check.
    pub fn check(&mut self, outcome: Result<(), String>) {
        if let Err(objection) = outcome {
            self.object(objection);
        }
    }

    /// What was objected to.
    pub fn objections(&self) -> &[String] {
        &self.objections
    }

    /// A log was opened: what it holds is seen anew.
    pub fn handle_opened(&mut self, key: PartitionKey) {
        self.logs.remove(&key);
    }

    /// A batch was seen in a log.
    pub fn handle_seen(&mut self, key: PartitionKey, entry: LogEntry) {
        self.logs.entry(key).or_default().insert(entry.base, entry.content);
        let outcome = self.contents.seen(key, entry);
        self.check(outcome);
    }

    /// Whether a log holds this content now.
    pub fn holds(&self, key: PartitionKey, content: u32) -> bool {
        self.logs.get(&key).is_some_and(|log| log.values().any(|held| *held == content))
    }

    /// The store applied a write.
    pub fn handle_stored(&mut self, keys: &KeySpace, batch: &WatchBatch) {
        for event in &batch.events {
            match (keys.parse(event.key()), event) {
                (Ok(Key::Partition(topic, number)), Event::Put(kv)) => {
                    if let Ok(partition) = model::decode::<Partition>("stored", &kv.value) {
                        let outcome = self.leadership.stored((topic, number), &partition);
                        self.check(outcome);
                    }
                }
                (Ok(Key::Topic(name)), Event::Put(kv)) => {
                    if let Ok(topic) = model::decode::<Topic>("stored", &kv.value) {
                        self.topics.insert(name, (topic.id, topic.partitions));
                    }
                }
                (Ok(Key::Topic(name)), Event::Delete { .. }) => {
                    self.topics.remove(&name);
                }
                _ => {}
            }
        }
    }

    /// Every partition that exists.
    pub fn partitions(&self) -> Vec<PartitionKey> {
        let of = |(id, count): &(Uuid, i32)| {
            let id = *id;
            (0..*count).map(move |number| (id, number))
        };
        self.topics.values().flat_map(of).collect()
    }

    /// The id of a topic that exists.
    pub fn topic(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).map(|(id, _)| *id)
    }

    /// A process shows an image of the cluster to its readers.
    pub fn handle_image(&mut self, process: Process, image: &Image) {
        for topic in image.topics() {
            let shown: Vec<i32> = image.partitions_of(topic.id).map(|(number, _)| number).collect();
            if i32::try_from(shown.len()) != Ok(topic.partitions) {
                let (name, count, at) = (&topic.name, topic.partitions, image.revision());
                self.object(format!("{process:?} at {at}: {name} has {count}, shows {shown:?}"));
            }
            let outcome = self.visibility.shown(topic.id, &shown);
            self.check(outcome);
        }
    }

    /// A client was shown a topic.
    pub fn handle_metadata(&mut self, topic: &ShownTopic) {
        let shown: Vec<i32> = topic.partitions.iter().map(|(number, ..)| *number).collect();
        let outcome = self.visibility.shown(topic.id, &shown);
        self.check(outcome);
    }
}

const OBJECTIONS_MAX: usize = 20;
