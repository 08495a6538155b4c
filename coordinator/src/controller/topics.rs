//! Topics: created, grown, deleted, collected.
//!
//! The key `topics/<name>` is the commit point of all of it. Partition keys are written first and do not
//! exist for anybody until the topic key counts them; deleting moves the topic key away, after which its
//! partition keys are mere rubbish. So whoever dies in the middle leaves a topic that is there as a whole
//! or not at all, and rubbish for [`collect()`].

mod collect;
mod create;
mod delete;
mod grow;

pub use collect::collect;
pub use create::create;
pub use delete::delete;
pub use grow::grow;

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::image::Image;

use super::brokers::members;
use super::election::{Members, Standing};
use super::placement::Candidate;

/// Who can take replicas, with what they carry already.
struct Places {
    members: Members,
    candidates: Vec<Candidate>,
    known: BTreeSet<i32>,
    active: BTreeSet<i32>,
}

impl Places {
    fn of(image: &Image) -> Self {
        let members = members(image);
        let mut loads: BTreeMap<i32, (u32, u32)> = BTreeMap::new();
        for (_, _, partition) in image.partitions() {
            for id in &partition.replicas {
                loads.entry(*id).or_default().1 += 1;
            }
            loads.entry(partition.leader).or_default().0 += 1;
        }
        let known = members.iter().map(|(id, _)| id).collect();
        let active: BTreeSet<i32> = members
            .iter()
            .filter(|(_, member)| member.standing == Standing::Active)
            .map(|(id, _)| id)
            .collect();
        let candidate = |id: &i32| {
            let (leaders, replicas) = loads.get(id).copied().unwrap_or_default();
            let rack = image.broker(*id).and_then(|record| record.rack.clone());
            Candidate { id: *id, rack, leaders, replicas }
        };
        let candidates = active.iter().map(candidate).collect();
        Self { members, candidates, known, active }
    }
}

#[cfg(test)]
mod tests;
