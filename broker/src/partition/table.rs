//! Which partitions have a replica here.

use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::{HashMap, HashSet};
use ottla_protocol::Uuid;

use super::PartitionHandle;

type Key = (Uuid, i32);
type Map = HashMap<Key, Arc<PartitionHandle>>;

/// The routing table from (topic id, partition) to its handle. Written by the assigner alone; looking
/// something up takes no lock.
#[derive(Debug, Default)]
pub struct PartitionTable {
    map: ArcSwap<Map>,
    /// Replicas that should be here and whose logs cannot be opened.
    unusable: ArcSwap<HashSet<Key>>,
}

impl PartitionTable {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle of a partition, if this broker has a replica of it.
    pub fn find(&self, topic: Uuid, partition: i32) -> Option<Arc<PartitionHandle>> {
        self.map.load().get(&(topic, partition)).cloned()
    }

    /// Whether there is a replica here whose log cannot be opened.
    pub fn is_unusable(&self, topic: Uuid, partition: i32) -> bool {
        self.unusable.load().contains(&(topic, partition))
    }

    /// All handles, in no order.
    pub fn all(&self) -> Vec<Arc<PartitionHandle>> {
        self.map.load().values().cloned().collect()
    }

    /// Number of replicas here.
    pub fn len(&self) -> usize {
        self.map.load().len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes more replicas whose logs cannot be opened. For the assigner only.
    pub fn set_unusable(&self, keys: impl IntoIterator<Item = Key>) {
        let mut all = HashSet::clone(&self.unusable.load());
        all.extend(keys);
        self.unusable.store(Arc::new(all));
    }

    /// Changes the table at one stroke. For the assigner only: two at a time would undo each other.
    pub fn update(
        &self,
        added: impl IntoIterator<Item = Arc<PartitionHandle>>,
        removed: impl IntoIterator<Item = Key>,
    ) {
        let mut map = Map::clone(&self.map.load());
        for key in removed {
            map.remove(&key);
        }
        for handle in added {
            map.insert((handle.topic_id, handle.index), handle);
        }
        self.map.store(Arc::new(map));
    }
}
