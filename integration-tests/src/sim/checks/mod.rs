//! The checkers: each is told what happened and objects to what must never happen.
//!
//! # What is promised
//!
//! Topics have three replicas and `min.insync.replicas=2`; one has a single replica, and syncs.
//!
//! - Whatever was acknowledged with acks=all, read by a consumer or below the high watermark of any replica
//!   stays where it is, unchanged. With `flush.messages=1` that holds whatever processes, machines and disks
//!   do, as long as disks keep what they synced.
//! - Without it, a machine that goes down loses what it did not sync, and gives up its seats. Then the promise
//!   holds while, whenever a machine goes down, somebody else in the ISR or ELR holds everything: somebody
//!   whose own machine did not go down since the controller put it there. Where nobody does, and where after a
//!   machine went down nobody is left in ISR and ELR and a last known leader is elected, the partition is
//!   *lossy* from then on, and only what holds for everybody is checked.
//! - Whoever is in the ISR as the store has it holds everything below any high watermark of any leader.
//! - For everybody: (offset, epoch) has one content, an epoch one leader in one of its lives, a high watermark
//!   never goes back within an epoch, topics are there as a whole, replicas are equal in the end, and it heals.
//! - With acks=1 nothing is promised but that what consumers saw stays.

mod committed;
mod contents;
mod durability;
mod holders;
mod leadership;
mod pauses;
mod replicas;
mod sequences;
mod visibility;
mod watermarks;

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::image::Image;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, BrokerRecord, Partition, Topic};
use ottla_metadata::store::{Event, WatchBatch};
use ottla_protocol::Uuid;

pub use committed::Committed;
pub use contents::Contents;
pub use durability::{Durability, LogEntry};
pub use holders::Holders;
pub use leadership::{Leader, Leadership};
pub use pauses::Pauses;
pub use replicas::Replicas;
pub use sequences::Sequences;
pub use visibility::Visibility;
pub use watermarks::Watermarks;

use super::env::Process;
use super::message::ShownTopic;

/// A partition of a topic.
pub type PartitionKey = (Uuid, i32);

/// A topic as the store has it.
#[derive(Debug, Clone, Copy)]
struct StoredTopic {
    id: Uuid,
    partitions: i32,
    is_durable: bool,
}

/// All checkers, and their objections.
#[derive(Debug, Default)]
pub struct History {
    /// What was acknowledged or read stays.
    pub durability: Durability,
    /// What is below a high watermark stays.
    pub committed: Committed,
    /// Who stood still puts nobody out of an ISR at once.
    pub pauses: Pauses,
    /// Members of an ISR hold what is committed.
    holders: Holders,
    /// All replicas are equal in the end.
    pub replicas: Replicas,
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
    topics: BTreeMap<String, StoredTopic>,
    stored: BTreeMap<PartitionKey, Partition>,
    boots: BTreeMap<i32, String>,
    /// What no replica is bound to keep any more: see [`History::lose_machine`].
    lossy: BTreeSet<PartitionKey>,
    /// Machines that lost what they had not synced, with the boot that follows.
    lost: BTreeMap<i32, String>,
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

    /// A replica has a batch below its high watermark.
    pub fn commit(&mut self, key: PartitionKey, entry: LogEntry) -> Result<(), String> {
        if self.may_lose(key) { Ok(()) } else { self.committed.seen(key, entry) }
    }

    /// Whether records of a partition may be lost that were acknowledged or read.
    pub fn may_lose(&self, key: PartitionKey) -> bool {
        self.lossy.contains(&key)
    }

    /// Whether a machine may lose what it did not sync without anything being lost that was promised.
    pub fn is_covered(&self, broker: i32) -> bool {
        self.uncovered_by(broker).is_empty()
    }

    /// A machine loses what it did not sync, and will come back as `boot`. Where acknowledged means written
    /// that is promised to cost nothing as long as another member of the ISR or ELR holds it: one whose
    /// machine did not lose anything since the controller put it there.
    pub fn lose_machine(&mut self, broker: i32, boot: String) {
        let uncovered = self.uncovered_by(broker);
        self.lossy.extend(uncovered);
        self.lost.insert(broker, boot);
    }

    /// Everybody who was bound to hold what was acknowledged gave that up, and somebody leads all the same: after
    /// machines went down that may cost what was not synced.
    fn note_last_known(&mut self, key: PartitionKey, partition: &Partition) {
        if partition.recovering && !self.lost.is_empty() && !self.is_durable(&key) {
            self.lossy.insert(key);
        }
    }

    fn is_durable(&self, key: &PartitionKey) -> bool {
        self.topics.values().any(|topic| topic.id == key.0 && topic.is_durable)
    }

    fn uncovered_by(&self, broker: i32) -> Vec<PartitionKey> {
        let holds = |id: &i32| *id != broker && !self.is_lost(*id);
        let uncovered = self.stored.iter().filter(|(key, partition)| {
            let mut members = partition.isr.iter().chain(&partition.elr);
            partition.replicas.contains(&broker) && !self.is_durable(key) && !members.any(holds)
        });
        uncovered.map(|(key, _)| *key).collect()
    }

    /// The log of a broker ends here.
    pub fn handle_end(&mut self, key: PartitionKey, broker: i32, end: i64) {
        if self.holders.ended(key, broker, end) {
            self.check_holders(key);
        }
    }

    /// A leader has this high watermark.
    pub fn handle_mark(&mut self, key: PartitionKey, mark: i64) {
        if self.holders.committed(key, mark) {
            self.check_holders(key);
        }
    }

    fn check_holders(&mut self, key: PartitionKey) {
        let Some(partition) = self.stored.get(&key).filter(|_| !self.may_lose(key)) else { return };
        let members = partition.isr.iter().copied().filter(|id| !self.is_lost(*id));
        let outcome = self.holders.check(key, members);
        self.check(outcome);
    }

    /// Whether a machine went down, and the controller has not yet registered what came back.
    fn is_lost(&self, id: i32) -> bool {
        self.lost.get(&id).is_some_and(|boot| self.boots.get(&id) != Some(boot))
    }

    /// Partitions whose ISR is not full.
    pub fn under_replicated(&self) -> Vec<PartitionKey> {
        let all = self.partitions();
        let is_full = |key: &PartitionKey| {
            let stored = self.stored.get(key);
            stored.is_some_and(|partition| partition.isr.len() == partition.replicas.len())
        };
        all.into_iter().filter(|key| !is_full(key)).collect()
    }

    /// The replicas of a partition.
    pub fn replicas_of(&self, key: PartitionKey) -> &[i32] {
        self.stored.get(&key).map_or(&[], |partition| &partition.replicas)
    }

    /// The store applied a write.
    pub fn handle_stored(&mut self, keys: &KeySpace, batch: &WatchBatch) {
        for event in &batch.events {
            match (keys.parse(event.key()), event) {
                (Ok(Key::Partition(topic, number)), Event::Put(kv)) => {
                    if let Ok(partition) = model::decode::<Partition>("stored", &kv.value) {
                        let outcome = self.leadership.stored((topic, number), &partition);
                        self.check(outcome);
                        self.note_last_known((topic, number), &partition);
                        self.stored.insert((topic, number), partition);
                        self.check_holders((topic, number));
                    }
                }
                (Ok(Key::Broker(id)), Event::Put(kv)) => {
                    if let Ok(record) = model::decode::<BrokerRecord>("stored", &kv.value) {
                        self.boots.insert(id, record.boot_id);
                    }
                }
                (Ok(Key::Topic(name)), Event::Put(kv)) => {
                    if let Ok(topic) = model::decode::<Topic>("stored", &kv.value) {
                        let is_durable =
                            topic.configs.get("flush.messages").is_some_and(|value| value == "1");
                        let (id, partitions) = (topic.id, topic.partitions);
                        self.topics.insert(name, StoredTopic { id, partitions, is_durable });
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
        let of = |topic: &StoredTopic| {
            let id = topic.id;
            (0..topic.partitions).map(move |number| (id, number))
        };
        self.topics.values().flat_map(of).collect()
    }

    /// The id of a topic that exists.
    pub fn topic(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).map(|topic| topic.id)
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
