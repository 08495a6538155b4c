//! Internal topics that are metadata alone: the leader of a partition is the broker that speaks for the groups,
//! or the transactional ids, of one shard.
//!
//! No broker has a log of them, so nothing can be behind, lost or copied, and the rules of ordinary partitions
//! give way to simpler ones:
//! 1. whoever is active is in sync at once;
//! 2. there are as many replicas as are configured, or as many as there are brokers, and brokers that join are
//!    added;
//! 3. a partition none of whose replicas is active goes to brokers that are;
//! 4. a broker that this node has not heard for long reaches no coordinator, so it speaks for nobody, although it
//!    may well go on leading ordinary partitions.
//!
//! [`settle`] is repeated whenever the image has changed, and changes nothing where all is well.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::Image;
use ottla_metadata::internal_topics::{CONSUMER_OFFSETS, TRANSACTION_STATE, is_metadata_only};
use ottla_metadata::keys::Key;
use ottla_metadata::model::{Cluster, Partition, Topic};
use ottla_protocol::ErrorCode;

use super::brokers::members;
use super::decision::Context;
use super::election::{self, Members, Rules};
use super::plan::{Change, Unit};
use super::reassignment;
use crate::admin::{AdminError, NewTopic};

/// One of the topics, and what the coordinator's file says about it.
struct Kind {
    name: &'static str,
    replication_factor: &'static str,
    segment_bytes: &'static str,
    /// Configs that Kafka creates it with, beside the size of segments.
    configs: &'static [(&'static str, &'static str)],
    /// The config of the file that stands for `min.insync.replicas`.
    min_isr: Option<&'static str>,
    shards: fn(&Cluster) -> i32,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: CONSUMER_OFFSETS,
        replication_factor: "offsets.topic.replication.factor",
        segment_bytes: "offsets.topic.segment.bytes",
        configs: &[("cleanup.policy", "compact"), ("compression.type", "producer")],
        min_isr: None,
        shards: |cluster| cluster.group_shards,
    },
    Kind {
        name: TRANSACTION_STATE,
        replication_factor: "transaction.state.log.replication.factor",
        segment_bytes: "transaction.state.log.segment.bytes",
        configs: &[
            ("cleanup.policy", "compact"),
            ("compression.type", "uncompressed"),
            ("unclean.leader.election.enable", "false"),
        ],
        min_isr: Some("transaction.state.log.min.isr"),
        shards: |cluster| cluster.transaction_shards,
    },
];

/// Kafka's defaults, where the file says nothing.
const REPLICATION_FACTOR: usize = 3;
const SEGMENT_BYTES: &str = "104857600";
const MIN_ISR: &str = "2";

/// The creation of such a topic with what it leaves open filled in; any other creation as it is. The number of
/// partitions is nobody's choice: it is that of the shards.
pub fn completed<'a>(
    context: &Context<'_>,
    topic: &'a NewTopic,
    active: usize,
) -> Result<Cow<'a, NewTopic>, AdminError> {
    let Some(kind) = KINDS.iter().find(|kind| kind.name == topic.name) else {
        return Ok(Cow::Borrowed(topic));
    };
    let cluster = context.image.cluster().ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let shards = (kind.shards)(cluster);
    let mut topic = topic.clone();
    let asked = topic.partitions.or_else(|| {
        (!topic.assignments.is_empty())
            .then(|| i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX))
    });
    if asked.is_some_and(|asked| asked != shards) {
        let message = format!(
            "'{}' has {shards} partitions, one for each shard of the cluster, and no other number",
            topic.name
        );
        return Err(AdminError::new(ErrorCode::InvalidPartitions, message));
    }
    let file = &context.settings.file;
    if topic.assignments.is_empty() {
        topic.partitions = Some(shards);
        let factor = kind.replication_factor(file).min(active).max(1);
        let factor = i16::try_from(factor).unwrap_or(i16::MAX);
        topic.replication_factor = topic.replication_factor.or(Some(factor));
    }
    let segment_bytes = file.get(kind.segment_bytes).map_or(SEGMENT_BYTES, String::as_str);
    let min_isr =
        kind.min_isr.map(|name| ("min.insync.replicas", file.get(name).map_or(MIN_ISR, |isr| isr)));
    let defaults = kind.configs.iter().copied().chain([("segment.bytes", segment_bytes)]);
    for (name, value) in defaults.chain(min_isr) {
        if topic.configs.iter().all(|(known, _)| known != name) {
            topic.configs.push((name.to_owned(), Some(value.to_owned())));
        }
    }
    Ok(Cow::Owned(topic))
}

/// Refuses what would break the tie between partitions and shards.
pub fn check_unchangeable(name: &str, what: &str) -> Result<(), AdminError> {
    if !is_metadata_only(name) {
        return Ok(());
    }
    let message = format!("'{name}' belongs to the cluster and cannot be {what}");
    Err(AdminError::new(ErrorCode::InvalidRequest, message))
}

/// Brings the partitions of these topics in line with the brokers. `silent` were not heard for long.
pub fn settle(image: &Image, file: &ConfigMap, silent: &BTreeSet<i32>) -> Vec<Unit> {
    let topics: Vec<_> =
        KINDS.iter().filter_map(|kind| Some((kind, image.topic(kind.name)?))).collect();
    if topics.is_empty() {
        return Vec::new();
    }
    let faces = Faces::of(image, silent);
    topics.into_iter().flat_map(|(kind, topic)| faces.settle(image, topic, kind, file)).collect()
}

impl Kind {
    fn replication_factor(&self, file: &ConfigMap) -> usize {
        let configured = file.get(self.replication_factor).and_then(|value| value.parse().ok());
        configured.unwrap_or(REPLICATION_FACTOR).max(1)
    }
}

/// Without a log there is nothing to fall short of, and nothing to lose.
const RULES: Rules = Rules { min_isr: 1, unclean: false };

/// The brokers that can speak for shards.
struct Faces {
    members: Members,
    /// Those that can, with their racks.
    able: BTreeMap<i32, Option<String>>,
}

/// What brokers have of one topic.
#[derive(Default)]
struct Loads {
    replicas: BTreeMap<i32, usize>,
    /// Partitions in which they come first.
    preferred: BTreeMap<i32, usize>,
}

impl Faces {
    /// Silence counts only where somebody else is heard: if nobody is, it is this node that hears nothing.
    fn of(image: &Image, silent: &BTreeSet<i32>) -> Self {
        let members = members(image);
        let rack = |id: i32| image.broker(id).and_then(|record| record.rack.clone());
        let ids: Vec<i32> =
            members.iter().map(|(id, _)| id).filter(|id| members.is_active(*id)).collect();
        let heard: Vec<i32> = ids.iter().copied().filter(|id| !silent.contains(id)).collect();
        let able = if heard.is_empty() { ids } else { heard };
        let able = able.into_iter().map(|id| (id, rack(id))).collect();
        Self { members, able }
    }

    fn settle(&self, image: &Image, topic: &Topic, kind: &Kind, file: &ConfigMap) -> Vec<Unit> {
        let factor = kind.replication_factor(file).min(self.able.len());
        let mut loads = Loads::of(image, topic);
        let units = image.partitions_of(topic.id).filter_map(|(number, current)| {
            let next = self.settled(current, factor, &mut loads);
            let key = Key::Partition(topic.id, number);
            (next != current.value).then(|| Change::put(key, current.mod_revision, &next).into())
        });
        units.collect()
    }

    fn settled(&self, current: &Partition, factor: usize, loads: &mut Loads) -> Partition {
        let mut next = current.clone();
        next.log_dirs.clear();
        self.widen(&mut next, factor, loads);
        let is_able = |id: &i32| self.able.contains_key(id);
        let in_sync: Vec<i32> = next.replicas.iter().copied().filter(is_able).collect();
        if !is_same_set(&in_sync, &next.isr) {
            next.isr = in_sync;
        }
        next.elr.clear();
        next.recovering = false;
        reassignment::complete(&mut next);
        election::settle_leader(&mut next, current, &self.members, RULES);
        // Whoever led last has no more than others.
        next.last_known_elr.clear();
        next
    }

    /// Adds replicas where there are too few, or where none of them can speak.
    fn widen(&self, next: &mut Partition, factor: usize, loads: &mut Loads) {
        if next.is_reassigning() {
            return;
        }
        let mut replicas = next.replicas.clone();
        if replicas.iter().all(|id| !self.able.contains_key(id)) && 0 < factor {
            // They have nothing that others lack.
            loads.leave(&replicas);
            replicas.clear();
            loads.enter(&replicas);
        }
        if factor <= replicas.len() {
            return;
        }
        loads.leave(&replicas);
        while replicas.len() < factor
            && let Some(added) = self.best(&replicas, loads)
        {
            replicas.push(added);
        }
        // Whoever comes first in the fewest comes first here, so that newcomers get their share to lead.
        let preferred = |id: &i32| loads.preferred.get(id).copied().unwrap_or(0);
        if let Some(first) = (0..replicas.len()).min_by_key(|at| preferred(&replicas[*at])) {
            replicas[..=first].rotate_right(1);
        }
        loads.enter(&replicas);
        next.replicas = replicas;
    }

    /// The broker with the fewest replicas, in a rack that has none of the others if there is one.
    fn best(&self, taken: &[i32], loads: &Loads) -> Option<i32> {
        let racks: BTreeSet<&Option<String>> =
            taken.iter().filter_map(|id| self.able.get(id)).collect();
        let free = self.able.iter().filter(|(id, _)| !taken.contains(id));
        let best = free.min_by_key(|(id, rack)| {
            let replicas = loads.replicas.get(id).copied().unwrap_or(0);
            (rack.is_some() && racks.contains(rack), replicas, Reverse(**id))
        });
        best.map(|(id, _)| *id)
    }
}

impl Loads {
    fn of(image: &Image, topic: &Topic) -> Self {
        let mut loads = Self::default();
        for (_, partition) in image.partitions_of(topic.id) {
            loads.enter(&partition.replicas);
        }
        loads
    }

    fn enter(&mut self, replicas: &[i32]) {
        for id in replicas {
            *self.replicas.entry(*id).or_default() += 1;
        }
        if let Some(first) = replicas.first() {
            *self.preferred.entry(*first).or_default() += 1;
        }
    }

    fn leave(&mut self, replicas: &[i32]) {
        for id in replicas {
            if let Some(count) = self.replicas.get_mut(id) {
                *count -= 1;
            }
        }
        if let Some(count) = replicas.first().and_then(|first| self.preferred.get_mut(first)) {
            *count -= 1;
        }
    }
}

fn is_same_set(left: &[i32], right: &[i32]) -> bool {
    left.len() == right.len() && left.iter().all(|id| right.contains(id))
}

#[cfg(test)]
mod tests;
