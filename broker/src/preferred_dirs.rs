//! Where an administrator wants replicas that are not here yet: a reassignment names log directories before the replicas
//! exist.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ottla_protocol::Uuid;

/// Log directories for replicas to come, by topic and partition. Kept in memory only, as by Kafka: after a restart the
/// broker chooses.
#[derive(Debug, Default)]
pub struct PreferredDirs {
    dirs: Mutex<HashMap<(Uuid, i32), Uuid>>,
}

/// Replicas that are remembered at most; what is asked for beyond that is forgotten at once.
const REMEMBERED_MAX: usize = 100_000;

impl PreferredDirs {
    /// The replica is to be made in `dir`. False if too many are remembered already.
    pub fn prefer(&self, partition: (Uuid, i32), dir: Uuid) -> bool {
        let mut dirs = self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = dirs.len() < REMEMBERED_MAX || dirs.contains_key(&partition);
        if has_room {
            dirs.insert(partition, dir);
        }
        has_room
    }

    /// Where the replica, which is made now, is to be; forgotten afterwards.
    pub fn take(&self, partition: (Uuid, i32)) -> Option<Uuid> {
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition)
    }
}
