//! One partition: which of its logs has all that was acknowledged, and what its key becomes.

use std::collections::BTreeSet;

use ottla_metadata::image::Versioned;
use ottla_metadata::model::{NO_LEADER, Partition};
use ottla_metadata::recovery::LogFacts;
use ottla_protocol::Uuid;

use super::plan::{Finding, Gravity, PartitionRow};

/// A log of the partition on a broker's disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copy<'a> {
    pub broker: i32,
    pub log: &'a LogFacts,
}

/// What is known of the partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// Its topic's name.
    pub topic: &'a str,
    pub number: i32,
    /// What the store has.
    pub stored: Option<&'a Versioned<Partition>>,
    /// At most one for each broker.
    pub copies: &'a [Copy<'a>],
    /// Brokers whose disks were not looked at.
    pub missing: &'a BTreeSet<i32>,
    /// Whom to make replicas if neither store nor disks name one.
    pub otherwise: &'a [i32],
}

/// What it becomes.
#[derive(Debug)]
pub(super) struct Settled {
    pub partition: Partition,
    pub row: PartitionRow,
    pub findings: Vec<Finding>,
}

/// How much a log has: a later epoch stands for a leader that had all that was acknowledged before, and
/// within one epoch the logs are the same as far as they go.
fn measure(log: &LogFacts) -> (i32, i64) {
    (log.leader_epoch, log.log_end)
}

/// Settles a partition.
pub(super) fn settle(known: &Known<'_>) -> Settled {
    let readable = known.copies.iter().filter(|copy| copy.log.unreadable.is_none());
    let best = readable.clone().map(|copy| measure(copy.log)).max();
    let replicas = replicas(known, best);
    let stored = known.stored.map(|stored| &stored.value);
    let holds_all = |id: &i32| {
        let of_broker = known.copies.iter().find(|copy| copy.broker == *id);
        match best {
            Some(best) => of_broker
                .is_some_and(|copy| copy.log.unreadable.is_none() && measure(copy.log) == best),
            // Nobody was looked at that has a log: what the store says, or all alike if it says nothing.
            None => stored.is_none_or(|stored| stored.isr.contains(id) || stored.elr.contains(id)),
        }
    };
    let mut isr: Vec<i32> = replicas.iter().copied().filter(holds_all).collect();
    if isr.is_empty() {
        isr.clone_from(&replicas);
    }
    let epoch_in_logs = known.copies.iter().map(|copy| copy.log.leader_epoch).max().unwrap_or(-1);
    let epoch_before = stored.map(|stored| stored.leader_epoch);
    let leader_epoch = epoch_in_logs.max(epoch_before.unwrap_or(-1)).saturating_add(EPOCHS_SKIPPED);
    let mut partition = Partition {
        replicas: Vec::new(),
        log_dirs: Vec::new(),
        adding: Vec::new(),
        removing: Vec::new(),
        isr: isr.clone(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: NO_LEADER,
        leader_epoch,
        leader_broker_epoch: -1,
        recovering: false,
        rest: stored.map(|stored| stored.rest.clone()).unwrap_or_default(),
    };
    let dirs = replicas.iter().map(|id| dir_of(known, *id)).collect();
    partition.replicas.clone_from(&replicas);
    partition.set_log_dirs(dirs);
    let row = PartitionRow {
        topic: known.topic.to_owned(),
        partition: known.number,
        replicas,
        in_sync: isr,
        epoch_before,
        epoch_in_logs,
        epoch: leader_epoch,
        log_end: best.map(|(_, end)| end),
    };
    let findings = findings(known, &row);
    Settled { partition, row, findings }
}

/// Who has a log now is a replica; who has none although it was looked at is none any more.
fn replicas(known: &Known<'_>, best: Option<(i32, i64)>) -> Vec<i32> {
    let has_log = |id: &i32| known.copies.iter().any(|copy| copy.broker == *id);
    let stored = known.stored.map(|stored| stored.replicas.clone()).unwrap_or_default();
    let mut out: Vec<i32> =
        (stored.iter().copied()).filter(|id| has_log(id) || known.missing.contains(id)).collect();
    let mut others: Vec<&Copy<'_>> =
        known.copies.iter().filter(|copy| !out.contains(&copy.broker)).collect();
    others.sort_by_key(|copy| (Some(measure(copy.log)) != best, copy.broker));
    out.extend(others.into_iter().map(|copy| copy.broker));
    match (out.is_empty(), stored.is_empty()) {
        (false, _) => out,
        (true, false) => stored,
        (true, true) => known.otherwise.to_vec(),
    }
}

fn dir_of(known: &Known<'_>, broker: i32) -> Uuid {
    match known.copies.iter().find(|copy| copy.broker == broker) {
        Some(copy) => copy.log.dir,
        None if known.missing.contains(&broker) => {
            known.stored.map_or(Uuid::ZERO, |stored| stored.log_dir_of(broker))
        }
        None => Uuid::ZERO,
    }
}

fn findings(known: &Known<'_>, row: &PartitionRow) -> Vec<Finding> {
    let subject = format!("{}-{}", known.topic, known.number);
    let mut out = Vec::new();
    let mut found = |gravity, detail: String| out.push(Finding::new(gravity, &subject, detail));
    let Some(end) = row.log_end else {
        if row.replicas.iter().any(|id| known.missing.contains(id)) {
            found(Gravity::Unproved, "only brokers that were not looked at may have it".to_owned());
        } else {
            found(Gravity::Lost, "no disk has a log of it: it begins empty".to_owned());
        }
        return out;
    };
    let readable = || known.copies.iter().filter(|copy| copy.log.unreadable.is_none());
    let acknowledged = readable().map(|copy| copy.log.high_watermark).max().unwrap_or(0);
    if end < acknowledged {
        let detail = format!("acknowledged records {end} to {} are gone", acknowledged - 1);
        found(Gravity::Lost, detail);
    }
    let best = readable().filter(|copy| row.in_sync.contains(&copy.broker));
    let synced = best.map(|copy| copy.log.synced_end).max().unwrap_or(0);
    if end < synced && acknowledged <= end {
        found(
            Gravity::Lost,
            format!("records {end} to {}, which were synced, are gone", synced - 1),
        );
    }
    let unseen: Vec<i32> =
        row.replicas.iter().copied().filter(|id| known.missing.contains(id)).collect();
    if !unseen.is_empty() {
        let detail = format!("replicas on {unseen:?} were not looked at and may have more");
        found(Gravity::Unproved, detail);
    }
    if let Some(stored) = known.stored
        && !same_members(&stored.replicas, &row.replicas)
    {
        let detail = format!(
            "the store has it on {:?}, the disks on {:?}: the disks are followed",
            stored.replicas, row.replicas
        );
        found(Gravity::Changed, detail);
    }
    out
}

fn same_members(one: &[i32], other: &[i32]) -> bool {
    one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
}

/// One would be beyond all that logs noted. More, since elections of which no log took note were told to
/// clients, who believe only what is newer.
const EPOCHS_SKIPPED: i32 = 100;
