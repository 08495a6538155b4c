//! Which partitions have a replica here.

use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::HashMap;
use ottla_protocol::Uuid;

use super::PartitionHandle;

type Map = HashMap<(Uuid, i32), Arc<PartitionHandle>>;

/// The routing table from (topic id, partition) to its handle. Written by the assigner alone; looking
/// something up takes no lock.
#[derive(Debug, Default)]
pub struct PartitionTable {
    map: ArcSwap<Map>,
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

    /// Changes the table at one stroke. For the assigner only: two at a time would undo each other.
    pub fn update(
        &self,
        added: impl IntoIterator<Item = Arc<PartitionHandle>>,
        removed: impl IntoIterator<Item = (Uuid, i32)>,
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
