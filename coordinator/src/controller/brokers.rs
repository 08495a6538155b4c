//! What follows from a verdict about brokers: their records, and every partition that it touches.
//!
//! The order of the writes is what keeps this safe when the controller dies between them:
//! 1. records that fence or drain, so that nobody is elected who must not be;
//! 2. partitions, every leader in its present life;
//! 3. records that register or unfence, so that no broker is active while a partition still names its
//!    former life.
//!
//! A successor starts from the image: what 1 announced and 2 did not finish is found again by
//! [`sweep`] without any verdict, and before 3 the verdict itself is found again.

use std::collections::BTreeMap;

use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::internal_topics::is_metadata_only;
use ottla_metadata::keys::{ConfigResource, Key};
use ottla_metadata::model::{BrokerClaim, BrokerRecord, Partition, PreviousLife, Rest, Topic};
use ottla_protocol::{ErrorCode, Uuid};

use super::decision::{Context, Decision};
use super::election::{self, Directories, Elected, Election, Member, Members, Rules, Standing};
use super::liveness::Verdict;
use super::plan::{Change, Unit};
use super::reclaim::claim_of_same_process;
use crate::admin::AdminError;

/// What to write, and what it means for the metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sweep {
    /// The writes, in the order that matters.
    pub units: Vec<Unit>,
    /// How leaders were found, one entry for each partition that changes.
    pub elections: Vec<Election>,
}

/// Every registered broker, as the records say. A record whose broker has claimed anew stands for a life
/// that is over, unless the same process did: then it is what it was, with the epoch of its claim.
pub fn members(image: &Image) -> Members {
    let mut members = Members::default();
    for (id, record) in image.brokers() {
        let newer = image.claim(id).filter(|claim| claim.create_revision != record.broker_epoch);
        let mut member = member_of(record);
        if let Some(claim) = claim_of_same_process(image, id) {
            member.broker_epoch = claim.create_revision;
            members.set_reclaimed(id, record.broker_epoch);
        } else if newer.is_some() {
            member.standing = Standing::Fenced;
        }
        members.set(id, member);
        members.set_directories(id, directories_of(record));
    }
    members
}

/// A broker whose directories have all failed can serve nothing, as if it were fenced.
pub(super) fn member_of(record: &BrokerRecord) -> Member {
    let standing = if record.fenced || directories_of(record).all_failed() {
        Standing::Fenced
    } else if record.draining {
        Standing::Draining
    } else {
        Standing::Active
    };
    Member { broker_epoch: record.broker_epoch, standing }
}

fn directories_of(record: &BrokerRecord) -> Directories {
    Directories { all: record.log_dirs.clone(), offline: record.offline_log_dirs.clone() }
}

/// What the topic's configs say about elections, or those of the cluster, or `file`, the coordinator's own.
pub fn rules_of(image: &Image, file: &ConfigMap, topic: &Topic) -> Rules {
    let defaults = image.config(&ConfigResource::BrokerDefault);
    rules(&topic.configs, defaults.map(|entry| &entry.configs), file)
}

/// The rules of a topic with these configs of its own, of the cluster, and of the coordinator's file.
pub(super) fn rules(own: &ConfigMap, defaults: Option<&ConfigMap>, file: &ConfigMap) -> Rules {
    let config = |name: &str| {
        let dynamic = || defaults.and_then(|configs| configs.get(name));
        own.get(name).or_else(dynamic).or_else(|| file.get(name))
    };
    let min_isr = config("min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1);
    let unclean = config("unclean.leader.election.enable").is_some_and(|value| value == "true");
    Rules { min_isr, unclean }
}

/// Writes what `verdicts` ask for, and brings every partition in line with it. Without verdicts it brings
/// the partitions in line with the records as they are. `file` holds the coordinator's own configs.
pub fn sweep(image: &Image, file: &ConfigMap, verdicts: &[Verdict]) -> Sweep {
    let mut before = Vec::new();
    let mut after = Vec::new();
    let mut members = members(image);
    let mut crashed = Vec::new();
    for verdict in verdicts {
        let Some(judged) = Judged::of(image, verdict) else { continue };
        members.set(judged.broker, member_of(&judged.record));
        members.set_directories(judged.broker, directories_of(&judged.record));
        if judged.crashed {
            crashed.push(judged.broker);
        }
        let unit = Unit::from(judged.change());
        if judged.last { after.push(unit) } else { before.push(unit) }
    }
    let mut sweep = Sweep { units: before, elections: Vec::new() };
    sweep_partitions(image, file, (&members, &crashed), &mut sweep);
    sweep.units.extend(after);
    sweep
}

/// Forgets brokers: whatever they led is led by others, and their records go. They stay replicas of what they
/// had; one that is still alive is registered anew.
pub fn unregister(context: &mut Context<'_>, brokers: &[i32], validate_only: bool) -> Decision<()> {
    let (image, file) = (context.image, &context.settings.file);
    let mut members = members(image);
    let mut decision = Decision::without_writes(Vec::with_capacity(brokers.len()));
    let mut records = Vec::new();
    for (index, broker) in brokers.iter().enumerate() {
        let Some(record) = image.broker(*broker).filter(|_| members.member(*broker).is_some())
        else {
            let message = format!("broker {broker} is not registered");
            let error = AdminError::new(ErrorCode::BrokerIdNotRegistered, message);
            decision.results.push(Err(error));
            continue;
        };
        members.remove(*broker);
        let change = Change::delete(Key::Broker(*broker), record.mod_revision);
        records.push(Unit::completing(vec![change], index));
        decision.results.push(Ok(()));
    }
    if !validate_only && !records.is_empty() {
        let mut sweep = Sweep::default();
        sweep_partitions(image, file, (&members, &[]), &mut sweep);
        decision.units = sweep.units;
        decision.units.extend(records);
    }
    decision
}

fn sweep_partitions(
    image: &Image,
    file: &ConfigMap,
    (members, crashed): (&Members, &[i32]),
    sweep: &mut Sweep,
) {
    let mut rules: BTreeMap<Uuid, Option<Rules>> = BTreeMap::new();
    for (topic, number, partition) in image.partitions() {
        let rules = *rules.entry(topic).or_insert_with(|| {
            // Topics without logs have rules of their own: see `internal_topics`.
            let topic = image.topic_by_id(topic).filter(|topic| !is_metadata_only(&topic.name))?;
            Some(rules_of(image, file, topic))
        });
        let Some(rules) = rules else { continue };
        let Some(elected) = judge_partition(partition, crashed, members, rules) else { continue };
        let key = Key::Partition(topic, number);
        sweep.units.push(Change::put(key, partition.mod_revision, &elected.partition).into());
        sweep.elections.push(elected.election);
    }
}

/// A partition after brokers whose disks may have lost something left it, and after the elections that
/// follow; `None` if nothing changes.
fn judge_partition(
    partition: &Partition,
    crashed: &[i32],
    members: &Members,
    rules: Rules,
) -> Option<Elected> {
    let mut demoted: Option<Partition> = None;
    for broker in crashed {
        if let Some(next) = election::demote(demoted.as_ref().unwrap_or(partition), *broker) {
            demoted = Some(next);
        }
    }
    match demoted {
        None => election::reconcile(partition, members, rules),
        Some(demoted) => Some(
            election::reconcile(&demoted, members, rules)
                .unwrap_or(Elected { partition: demoted, election: Election::Kept }),
        ),
    }
}

/// A verdict with what it makes of the broker's record.
struct Judged {
    broker: i32,
    mod_revision: i64,
    record: BrokerRecord,
    /// It must be written after the partitions.
    last: bool,
    /// Its disks may have lost what its seats promise.
    crashed: bool,
}

impl Judged {
    /// `None` if the image no longer has what the verdict was about.
    fn of(image: &Image, verdict: &Verdict) -> Option<Self> {
        if let Verdict::Register { broker, heard } = verdict {
            return Self::registered(image, *broker, *heard);
        }
        if let Verdict::Reclaim { broker } = verdict {
            return Self::reclaimed(image, *broker);
        }
        let (broker, last) = match verdict {
            Verdict::Unfence { broker } => (*broker, true),
            Verdict::Fence { broker, .. }
            | Verdict::Drain { broker }
            | Verdict::LogDirs { broker, .. }
            | Verdict::Reclaim { broker }
            | Verdict::Register { broker, .. } => (*broker, false),
        };
        let current = image.broker(broker)?;
        let mut record = current.value.clone();
        match verdict {
            Verdict::Fence { .. } => record.fenced = true,
            Verdict::Unfence { .. } => record.fenced = false,
            Verdict::Drain { .. } => record.draining = true,
            Verdict::LogDirs { offline, .. } => record.offline_log_dirs = offline.clone(),
            Verdict::Reclaim { .. } | Verdict::Register { .. } => {}
        }
        Some(Self { broker, mod_revision: current.mod_revision, record, last, crashed: false })
    }

    fn registered(image: &Image, broker: i32, heard: bool) -> Option<Self> {
        let claim = image.claim(broker)?;
        let former = image.broker(broker);
        Some(Self {
            broker,
            mod_revision: former.map_or(0, |record| record.mod_revision),
            record: record_of(claim, former.map(|record| &record.value), !heard),
            last: true,
            // Without a record nothing tells what became of the disks since it was forgotten.
            crashed: former.is_none_or(|record| !keeps_seats(claim, record)),
        })
    }

    /// The record with the epoch of the new claim, and else as it was. Like any epoch it comes after the
    /// partitions: until then a successor sees that they are meant to keep their leaders.
    fn reclaimed(image: &Image, broker: i32) -> Option<Self> {
        let claim = claim_of_same_process(image, broker)?;
        let former = image.broker(broker)?;
        let record = BrokerRecord {
            draining: former.draining,
            offline_log_dirs: former.offline_log_dirs.clone(),
            ..record_of(claim, Some(&former.value), former.fenced)
        };
        let mod_revision = former.mod_revision;
        Some(Self { broker, mod_revision, record, last: true, crashed: false })
    }

    fn change(&self) -> Change {
        Change::put(Key::Broker(self.broker), self.mod_revision, &self.record)
    }
}

/// Whether the disks of a broker that claims anew still hold what its seats in ISR and ELR promise: it
/// must know the life that the record stands for as its previous one, and that life must have ended
/// cleanly or as a mere crash of the process.
fn keeps_seats(claim: &Versioned<BrokerClaim>, record: &BrokerRecord) -> bool {
    let lost_no_directory =
        record.log_dirs.iter().all(|id| claim.log_dirs.contains(id) || id.is_zero());
    if let Some(looked_at) = record.recovered {
        // Whoever recovered the cluster gave the seats by what the disks hold since that end.
        return claim.previous == looked_at && lost_no_directory;
    }
    match claim.previous {
        PreviousLife::Clean { broker_epoch } | PreviousLife::ProcessCrash { broker_epoch } => {
            broker_epoch == record.broker_epoch && lost_no_directory
        }
        PreviousLife::None | PreviousLife::MachineCrash { .. } => false,
    }
}

fn record_of(
    claim: &Versioned<BrokerClaim>,
    former: Option<&BrokerRecord>,
    fenced: bool,
) -> BrokerRecord {
    BrokerRecord {
        broker_epoch: claim.create_revision,
        fenced,
        draining: false,
        boot_id: claim.boot_id.clone(),
        incarnation_id: claim.incarnation_id,
        listeners: claim.listeners.clone(),
        inter_broker_listener: claim.inter_broker_listener.clone(),
        rack: claim.rack.clone(),
        log_dirs: claim.log_dirs.clone(),
        offline_log_dirs: Vec::new(),
        features: claim.features.clone(),
        version: claim.version.clone(),
        http: claim.http.clone(),
        recovered: None,
        rest: former.map_or_else(Rest::new, |record| record.rest.clone()),
    }
}

#[cfg(test)]
mod tests;
