//! Which topics there are: those of the store that are still on a disk, and those on disks that it lacks.

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::internal_topics::{is_internal, is_metadata_only};
use ottla_metadata::keys::Key;
use ottla_metadata::model::{Partition, Rest, Topic};
use ottla_metadata::recovery::LogFacts;
use ottla_protocol::Uuid;

use super::partition::{self, Copy, Known};
use super::plan::{Finding, Gravity, PartitionRow, Request};
use crate::controller::plan::{Change, Unit};

/// What becomes of topics and partitions.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub units: Vec<Unit>,
    pub rows: Vec<PartitionRow>,
    pub findings: Vec<Finding>,
}

/// The logs of one topic.
#[derive(Debug, Default)]
struct OnDisk<'a> {
    name: &'a str,
    partitions: BTreeMap<i32, Vec<Copy<'a>>>,
}

/// What becomes of a topic of the store.
enum Fate {
    Stays,
    /// It was deleted since: no disk has any of it.
    Deleted,
    /// Another of its name came after it.
    Replaced,
}

pub(super) fn plan(request: &Request<'_>, missing: &BTreeSet<i32>) -> Planned {
    let mut out = Planned::default();
    let disks = on_disk(request, &mut out.findings);
    let restored = restored(request.image, &disks, &mut out.findings);
    let mut topic_units = Vec::new();
    for topic in request.image.topics() {
        let fate = fate(request.image, topic, (&disks, &restored), missing);
        match fate {
            Fate::Stays => {
                let count = settle(request.image, topic, disks.get(&topic.id), missing, &mut out);
                if count != topic.partitions {
                    let detail = format!("grew to {count} partitions since the snapshot");
                    out.findings.push(Finding::new(Gravity::Changed, &topic.name, detail));
                    let grown = Topic { partitions: count, ..topic.value.clone() };
                    let key = Key::Topic(topic.name.clone());
                    topic_units.push(Change::put(key, topic.mod_revision, &grown).into());
                }
            }
            Fate::Deleted | Fate::Replaced => {
                let detail = "was deleted since the snapshot, and is deleted again";
                out.findings.push(Finding::new(Gravity::Changed, &topic.name, detail));
                for (number, stored) in request.image.stored_partitions_of(topic.id) {
                    let key = Key::Partition(topic.id, number);
                    topic_units.push(Change::delete(key, stored.mod_revision).into());
                }
                if matches!(fate, Fate::Deleted) {
                    let key = Key::Topic(topic.name.clone());
                    topic_units.push(Change::delete(key, topic.mod_revision).into());
                }
            }
        }
    }
    for (name, id) in restored {
        let former = request.image.topic(name);
        let topic = Topic {
            id,
            name: name.to_owned(),
            partitions: 0,
            configs: BTreeMap::new(),
            internal: is_internal(name),
            rest: Rest::new(),
        };
        let topic = Versioned {
            value: topic,
            create_revision: 0,
            mod_revision: former.map_or(0, |former| former.mod_revision),
        };
        let partitions = settle(request.image, &topic, disks.get(&id), missing, &mut out);
        let value = Topic { partitions, ..topic.value };
        let key = Key::Topic(name.to_owned());
        topic_units.push(Change::put(key, topic.mod_revision, &value).into());
        let detail =
            "the store does not have it, so it is restored from the disks: its configs are lost";
        out.findings.push(Finding::new(Gravity::Lost, name, detail));
    }
    // A topic's own key makes its partitions exist.
    out.units.extend(topic_units);
    out.rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    out
}

/// The logs on all disks by topic id. Of two in one broker the one that has more counts.
fn on_disk<'a>(request: &Request<'a>, findings: &mut Vec<Finding>) -> BTreeMap<Uuid, OnDisk<'a>> {
    let mut out: BTreeMap<Uuid, OnDisk<'a>> = BTreeMap::new();
    for facts in request.facts {
        // Of topics that are metadata alone only Kafka has logs.
        for log in facts.logs.iter().filter(|log| !is_metadata_only(&log.topic)) {
            let subject = || format!("{}-{} on broker {}", log.topic, log.partition, facts.broker);
            let Some(id) = id_of(request.image, log) else {
                let detail = "its folder does not say which topic it is of, so it is left aside";
                findings.push(Finding::new(Gravity::Unproved, subject(), detail));
                continue;
            };
            let topic = out.entry(id).or_default();
            topic.name = &log.topic;
            let copies = topic.partitions.entry(log.partition).or_default();
            let copy = Copy { broker: facts.broker, log };
            let measure =
                |log: &LogFacts| (log.unreadable.is_none(), log.leader_epoch, log.log_end);
            match copies.iter_mut().find(|copy| copy.broker == facts.broker) {
                None => copies.push(copy),
                Some(other) => {
                    let detail = "is there twice; the one that has more is taken";
                    findings.push(Finding::new(Gravity::Unproved, subject(), detail));
                    if measure(other.log) < measure(log) {
                        *other = copy;
                    }
                }
            }
        }
    }
    out
}

/// Folders of old Kafkas do not name their topic's id; then the store's of that name is meant.
fn id_of(image: &Image, log: &LogFacts) -> Option<Uuid> {
    if !log.topic_id.is_zero() {
        return Some(log.topic_id);
    }
    image.topic(&log.topic).map(|topic| topic.id)
}

/// Topics that only disks have, by name. They are younger than the snapshot, so they win over one of the same
/// name that the store has.
fn restored<'a>(
    image: &Image,
    disks: &BTreeMap<Uuid, OnDisk<'a>>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<&'a str, Uuid> {
    let mut out: BTreeMap<&str, Uuid> = BTreeMap::new();
    let size = |id: &Uuid| {
        let logs = disks.get(id).map(|topic| topic.partitions.values().map(Vec::len).sum());
        logs.unwrap_or(0usize)
    };
    for (id, topic) in disks {
        if image.topic_by_id(*id).is_some() {
            continue;
        }
        if image.deleted_topic(*id).is_some() {
            let detail = "was being deleted; what disks still have of it becomes stray";
            findings.push(Finding::new(Gravity::Changed, topic.name, detail));
            continue;
        }
        let Some(other) = out.get(topic.name).copied() else {
            out.insert(topic.name, *id);
            continue;
        };
        let (taken, left) = if size(&other) < size(id) { (*id, other) } else { (other, *id) };
        out.insert(topic.name, taken);
        let detail = format!(
            "two topics of this name are on the disks; {taken} is taken, what is of {left} becomes stray"
        );
        findings.push(Finding::new(Gravity::Unproved, topic.name, detail));
    }
    out
}

fn fate(
    image: &Image,
    topic: &Topic,
    (disks, restored): (&BTreeMap<Uuid, OnDisk<'_>>, &BTreeMap<&str, Uuid>),
    missing: &BTreeSet<i32>,
) -> Fate {
    if is_metadata_only(&topic.name) {
        return Fate::Stays;
    }
    if restored.contains_key(topic.name.as_str()) {
        return Fate::Replaced;
    }
    let mut replicas = image.partitions_of(topic.id).flat_map(|(_, partition)| &partition.replicas);
    let is_seen = replicas.all(|id| !missing.contains(id));
    if !disks.contains_key(&topic.id) && is_seen { Fate::Deleted } else { Fate::Stays }
}

/// Writes all partitions of a topic; how many it has.
fn settle(
    image: &Image,
    topic: &Versioned<Topic>,
    disk: Option<&OnDisk<'_>>,
    missing: &BTreeSet<i32>,
    out: &mut Planned,
) -> i32 {
    let stored: BTreeMap<i32, _> = image.stored_partitions_of(topic.id).collect();
    let on_disk = disk.and_then(|disk| disk.partitions.keys().next_back());
    let count = on_disk.map_or(0, |last| last.saturating_add(1)).max(topic.partitions);
    let anywhere: Vec<i32> = disk
        .and_then(|disk| disk.partitions.values().next())
        .map(|copies| copies.iter().map(|copy| copy.broker).collect())
        .unwrap_or_default();
    for number in 0..count {
        let stored = stored.get(&number).map(|stored| &***stored);
        let copies = disk.and_then(|disk| disk.partitions.get(&number));
        let known = Known {
            topic: &topic.name,
            number,
            stored,
            copies: copies.map_or(&[], Vec::as_slice),
            missing,
            otherwise: &anywhere,
        };
        let settled = partition::settle(&known);
        write(topic.id, number, stored, &settled.partition, out);
        if !is_metadata_only(&topic.name) {
            out.rows.push(settled.row);
            out.findings.extend(settled.findings);
        }
    }
    count
}

fn write(
    topic: Uuid,
    number: i32,
    stored: Option<&Versioned<Partition>>,
    value: &Partition,
    out: &mut Planned,
) {
    let revision = stored.map_or(0, |stored| stored.mod_revision);
    out.units.push(Change::put(Key::Partition(topic, number), revision, value).into());
}
