//! What a group has committed, by topic id and partition: a topic that is deleted and made anew is another
//! one, and nobody resumes in it where he was in the former.

mod commit;
mod delete;
mod expiry;
mod fetch;

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::image::Image;
use ottla_metadata::keys::GroupKey;
use ottla_metadata::model::group::{CommittedOffset, OffsetChunk, encode_value};
use ottla_protocol::Uuid;

use super::Effects;

pub use commit::{Committable, refused_commit};
pub use delete::{Deletable, Subscribed};
pub use expiry::Expiry;

/// The committed offsets of one group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offsets {
    /// Chunks without offsets are not kept.
    topics: BTreeMap<Uuid, BTreeMap<i32, OffsetChunk>>,
}

/// A value that has to be written anew.
type Touched = BTreeSet<(Uuid, i32)>;

impl Offsets {
    /// Takes in what is stored under one key.
    pub fn restore(&mut self, topic: Uuid, number: i32, mut chunk: OffsetChunk) {
        chunk.offsets.sort_unstable_by_key(|committed| committed.partition);
        self.topics.entry(topic).or_default().insert(number, chunk);
    }

    /// What is committed for one partition.
    pub fn get(&self, topic: Uuid, partition: i32) -> Option<&CommittedOffset> {
        let chunk = self.topics.get(&topic)?.get(&OffsetChunk::of(partition))?;
        place(chunk, partition).ok().map(|at| &chunk.offsets[at])
    }

    /// Everything that is committed, by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, chunks)| {
            chunks.values().flat_map(|chunk| chunk.offsets.iter().map(|it| (*topic, it)))
        })
    }

    /// Topics with offsets.
    pub fn topics(&self) -> impl Iterator<Item = Uuid> {
        self.topics.keys().copied()
    }

    /// Whether nothing is committed.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Partitions with offsets.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Forgets the offsets of topics that no longer exist, and returns how many. The image must be one of the
    /// cluster as a whole.
    pub fn drop_deleted_topics(&mut self, group: &str, image: &Image, out: &mut Effects) -> usize {
        let is_gone = |topic: &Uuid| image.is_complete() && image.topic_by_id(*topic).is_none();
        let gone: Vec<Uuid> = self.topics().filter(is_gone).collect();
        gone.into_iter().map(|topic| self.drop_topic(group, topic, out)).sum()
    }

    /// Forgets everything, because the group is deleted, and returns how many offsets that were.
    pub fn drop_all(&mut self, group: &str, out: &mut Effects) -> usize {
        let topics: Vec<Uuid> = self.topics().collect();
        topics.into_iter().map(|topic| self.drop_topic(group, topic, out)).sum()
    }

    fn drop_topic(&mut self, group: &str, topic: Uuid, out: &mut Effects) -> usize {
        let chunks = self.topics.remove(&topic).unwrap_or_default();
        for number in chunks.keys() {
            out.delete(group, GroupKey::Offsets(topic, *number));
        }
        chunks.values().map(|chunk| chunk.offsets.len()).sum()
    }

    fn put(&mut self, topic: Uuid, committed: CommittedOffset, touched: &mut Touched) {
        let number = OffsetChunk::of(committed.partition);
        let chunk = self.topics.entry(topic).or_default().entry(number).or_default();
        match place(chunk, committed.partition) {
            Ok(at) => {
                let rest = std::mem::take(&mut chunk.offsets[at].rest);
                chunk.offsets[at] = CommittedOffset { rest, ..committed };
            }
            Err(at) => chunk.offsets.insert(at, committed),
        }
        touched.insert((topic, number));
    }

    fn remove(&mut self, topic: Uuid, partition: i32, touched: &mut Touched) -> bool {
        let number = OffsetChunk::of(partition);
        let Some(chunk) = self.topics.get_mut(&topic).and_then(|chunks| chunks.get_mut(&number))
        else {
            return false;
        };
        let Ok(at) = place(chunk, partition) else { return false };
        chunk.offsets.remove(at);
        touched.insert((topic, number));
        true
    }

    /// Writes the values that changed, and forgets those without offsets.
    fn write(&mut self, group: &str, touched: &Touched, out: &mut Effects) {
        for (topic, number) in touched {
            let key = GroupKey::Offsets(*topic, *number);
            let Some(chunks) = self.topics.get_mut(topic) else { continue };
            match chunks.get(number) {
                Some(chunk) if !chunk.offsets.is_empty() => {
                    out.put(group, key, encode_value(chunk));
                }
                Some(_) => {
                    chunks.remove(number);
                    if chunks.is_empty() {
                        self.topics.remove(topic);
                    }
                    out.delete(group, key);
                }
                None => {}
            }
        }
    }
}

/// Where a partition is in its chunk, or would be.
fn place(chunk: &OffsetChunk, partition: i32) -> Result<usize, usize> {
    chunk.offsets.binary_search_by_key(&partition, |committed| committed.partition)
}

#[cfg(test)]
mod tests;
