//! From a store's image and the facts of the disks to what has to be written: no IO.

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::features;
use ottla_metadata::image::Image;
use ottla_metadata::keys::{Key, ShardKey};
use ottla_metadata::model::{
    BrokerRecord, Cluster, PreviousLife, ProducerIds, Recovery, Rest, ShardHead,
};
use ottla_metadata::recovery::BrokerFacts;
use ottla_protocol::Uuid;
use serde::Serialize;

use super::topics;
use crate::controller::plan::{Change, Unit};

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The store as it is.
    pub image: &'a Image,
    /// The fences of coordination shards in it, with the revisions that last wrote them.
    pub heads: &'a [(i32, i64, ShardHead)],
    /// What every broker's disks hold.
    pub facts: &'a [BrokerFacts],
    /// The last recovery that coordinators know of.
    pub known: Option<Recovery>,
    /// Brokers whose disks are gone, or are not looked at on purpose.
    pub without: &'a BTreeSet<i32>,
    /// Random: tells this recovery from any other.
    pub id: Uuid,
}

/// What shall be written, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The cluster's id.
    pub cluster_id: String,
    /// The mark of this recovery.
    pub recovery: Recovery,
    /// The writes in their order; the last one is what nodes go by.
    pub units: Vec<Unit>,
    /// Every partition, by topic and number.
    pub partitions: Vec<PartitionRow>,
    /// What is lost, what cannot be proved, and what else changes.
    pub findings: Vec<Finding>,
}

/// What becomes of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionRow {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Its replicas, the preferred one first.
    pub replicas: Vec<i32>,
    /// Those that may lead.
    pub in_sync: Vec<i32>,
    /// The leader epoch in the store; `None` if it did not know the partition.
    pub epoch_before: Option<i32>,
    /// The newest leader epoch in a log; -1 if there is none.
    pub epoch_in_logs: i32,
    /// The leader epoch from now on.
    pub epoch: i32,
    /// Where the log of those in sync ends; `None` if nobody was looked at that has one.
    pub log_end: Option<i64>,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gravity {
    /// Records or settings are known to be gone.
    Lost,
    /// It cannot be shown that nothing is.
    Unproved,
    /// Something is other than the snapshot says.
    Changed,
}

/// Something that whoever recovers a cluster has to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub gravity: Gravity,
    /// What it is about.
    pub subject: String,
    /// What was found.
    pub detail: String,
}

impl Finding {
    pub(super) fn new(gravity: Gravity, subject: impl ToString, detail: impl Into<String>) -> Self {
        Self { gravity, subject: subject.to_string(), detail: detail.into() }
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nobody's disks were looked at.
    #[error("no broker's log directories were given")]
    NoFacts,
    /// Two facts about one broker.
    #[error("broker {0} is given twice")]
    Twice(i32),
    /// Disks of different clusters.
    #[error("the disks of broker {broker} belong to cluster {found}, others to {expected}")]
    Clusters {
        /// Whose.
        broker: i32,
        /// The cluster of others.
        expected: String,
        /// Its cluster.
        found: String,
    },
    /// The store is that of another cluster, which holds something.
    #[error(
        "the store is that of cluster {found}, the disks belong to {expected}: check the endpoints and the \
         prefix of etcd"
    )]
    OtherStore {
        /// The disks' cluster.
        expected: String,
        /// The store's.
        found: String,
    },
    /// Brokers that the store knows and nobody looked at.
    #[error(
        "brokers {0} are not among those given: collect their facts too, for only they may have the newest \
         records; leave one out with --without if its disks are gone for good"
    )]
    Missing(String),
}

/// Plans a recovery.
///
/// # Errors
/// When the facts are not those of this cluster, or some are missing.
pub fn plan(request: &Request<'_>) -> Result<Plan, PlanError> {
    let cluster_id = cluster_of(request)?;
    let missing = missing(request);
    let unnamed: Vec<String> =
        missing.difference(request.without).map(ToString::to_string).collect();
    if !unnamed.is_empty() {
        return Err(PlanError::Missing(unnamed.join(", ")));
    }
    let recovery = next_recovery(request);
    let mut findings = broker_findings(request, &missing);
    let planned = topics::plan(request, &missing);
    findings.extend(planned.findings);
    let mut units = planned.units;
    units.extend(broker_units(request));
    units.push(producer_ids(request));
    units.extend(shard_heads(request, &mut findings));
    units.push(mark(request, &cluster_id, recovery));
    findings.sort();
    Ok(Plan { cluster_id, recovery, units, partitions: planned.rows, findings })
}

fn cluster_of(request: &Request<'_>) -> Result<String, PlanError> {
    let expected = request.facts.first().ok_or(PlanError::NoFacts)?.cluster_id.clone();
    let mut seen = BTreeSet::new();
    for facts in request.facts {
        if !seen.insert(facts.broker) {
            return Err(PlanError::Twice(facts.broker));
        }
        if facts.cluster_id != expected {
            let found = facts.cluster_id.clone();
            return Err(PlanError::Clusters { broker: facts.broker, expected, found });
        }
    }
    match request.image.cluster() {
        // A coordinator may have founded a cluster in an empty store.
        Some(cluster) if cluster.cluster_id != expected && 0 < request.image.topic_count() => {
            Err(PlanError::OtherStore { expected, found: cluster.cluster_id.clone() })
        }
        _ => Ok(expected),
    }
}

/// Brokers that the store knows, whose disks were not looked at.
fn missing(request: &Request<'_>) -> BTreeSet<i32> {
    let replicas =
        request.image.partitions().flat_map(|(_, _, partition)| partition.replicas.clone());
    let mut known: BTreeSet<i32> = replicas.collect();
    known.extend(request.image.brokers().map(|(id, _)| id));
    for facts in request.facts {
        known.remove(&facts.broker);
    }
    known
}

fn next_recovery(request: &Request<'_>) -> Recovery {
    let in_store = request.image.cluster().and_then(|cluster| cluster.recovery);
    let marks = request.facts.iter().map(|facts| facts.recovery).chain([request.known]);
    let last = marks.fold(in_store, Recovery::later);
    Recovery { number: last.map_or(0, |mark| mark.number) + 1, id: request.id }
}

fn broker_findings(request: &Request<'_>, missing: &BTreeSet<i32>) -> Vec<Finding> {
    let mut out = Vec::new();
    if request.image.brokers().next().is_none() {
        let detail = "it knows no broker, so it cannot be shown that all were looked at";
        out.push(Finding::new(Gravity::Unproved, "the store", detail));
    }
    for broker in missing {
        let detail = "its disks are not looked at: what only they hold is not counted, and it keeps no \
                      seat where another replica is known";
        out.push(Finding::new(Gravity::Unproved, format_args!("broker {broker}"), detail));
    }
    for facts in request.facts {
        let subject = format!("broker {}", facts.broker);
        if matches!(facts.previous, PreviousLife::MachineCrash { .. }) {
            let detail = "its machine went down, or a disk failed: records that were acknowledged and not \
                          yet synced there may be gone";
            out.push(Finding::new(Gravity::Unproved, &subject, detail));
        }
        let known = request.image.broker(facts.broker);
        for dir in known.map(|record| record.log_dirs.clone()).unwrap_or_default() {
            if !dir.is_zero() && !facts.dirs.contains_key(&dir.to_string()) {
                let detail = format!("its log directory {dir} is not among those looked at");
                out.push(Finding::new(Gravity::Unproved, &subject, detail));
            }
        }
        for log in facts.logs.iter() {
            if let Some(reason) = &log.unreadable {
                let subject = format!("{}-{} on broker {}", log.topic, log.partition, facts.broker);
                let detail = format!("cannot be read: {reason}");
                out.push(Finding::new(Gravity::Unproved, subject, detail));
            }
        }
    }
    out
}

/// Every broker is fenced, in no life at all, so that nobody acts for it before it has claimed anew.
fn broker_units(request: &Request<'_>) -> Vec<Unit> {
    let facts: BTreeMap<i32, &BrokerFacts> =
        request.facts.iter().map(|facts| (facts.broker, facts)).collect();
    let mut ids: BTreeSet<i32> = facts.keys().copied().collect();
    ids.extend(request.image.brokers().map(|(id, _)| id));
    let unit = |id| {
        let known = request.image.broker(id);
        let record = known.map_or_else(blank, |record| record.value.clone());
        let looked_at = facts.get(&id);
        let ids = looked_at.map(|facts| facts.dirs.keys().filter_map(|id| id.parse().ok()));
        let record = BrokerRecord {
            broker_epoch: -1,
            fenced: true,
            draining: false,
            boot_id: String::new(),
            incarnation_id: Uuid::ZERO,
            log_dirs: ids.map_or_else(Vec::new, Iterator::collect),
            offline_log_dirs: Vec::new(),
            recovered: looked_at.map(|facts| facts.previous),
            ..record
        };
        let revision = known.map_or(0, |record| record.mod_revision);
        Unit::from(Change::put(Key::Broker(id), revision, &record))
    };
    ids.into_iter().map(unit).collect()
}

/// A broker of which nothing is known but its disks; it tells the rest itself.
fn blank() -> BrokerRecord {
    BrokerRecord {
        broker_epoch: -1,
        fenced: true,
        draining: false,
        boot_id: String::new(),
        incarnation_id: Uuid::ZERO,
        listeners: Vec::new(),
        inter_broker_listener: String::new(),
        rack: None,
        log_dirs: Vec::new(),
        offline_log_dirs: Vec::new(),
        features: BTreeMap::new(),
        version: String::new(),
        http: None,
        recovered: None,
        rest: Rest::new(),
    }
}

/// Blocks that were handed out since the snapshot leave no trace before their first record is written.
fn producer_ids(request: &Request<'_>) -> Unit {
    let current = request.image.producer_ids();
    let (next, revision, rest) = current.map_or((0, 0, Rest::new()), |ids| {
        (ids.next_block_start, ids.mod_revision, ids.rest.clone())
    });
    let logs = request.facts.iter().flat_map(|facts| &facts.logs);
    let met = logs.map(|log| log.max_producer_id.saturating_add(1)).max().unwrap_or(0);
    let beyond = next.max(met).saturating_add(PRODUCER_IDS_SKIPPED);
    let block = i64::from(ProducerIds::BLOCK_LEN);
    let next_block_start = beyond.checked_add(block - 1).map_or(beyond, |sum| sum / block * block);
    let value = ProducerIds { next_block_start, rest };
    Change::put(Key::ProducerIds, revision, &value).into()
}

/// What shards hold goes on from the snapshot, under owners that no former one is taken for.
fn shard_heads(request: &Request<'_>, findings: &mut Vec<Finding>) -> Vec<Unit> {
    let detail = "configs, access rules, quotas, groups and their committed offsets are those of the \
                  snapshot: what was set or committed since is gone";
    findings.push(Finding::new(Gravity::Lost, "the snapshot", detail));
    let heads = request.heads.iter().map(|(shard, revision, head)| {
        let epoch = head.epoch.saturating_add(SHARD_EPOCHS_SKIPPED);
        let next = ShardHead { epoch, sequence: head.sequence + 1, ..head.clone() };
        Change::put(Key::Shard(*shard, ShardKey::Head), *revision, &next).into()
    });
    heads.collect()
}

/// The key by which nodes accept the store again.
fn mark(request: &Request<'_>, cluster_id: &str, recovery: Recovery) -> Unit {
    let known = request.image.cluster();
    let new = || Cluster {
        cluster_id: cluster_id.to_owned(),
        format_version: Cluster::FORMAT_VERSION,
        features: features::defaults(),
        group_shards: Cluster::SHARDS,
        transaction_shards: Cluster::SHARDS,
        recovery: None,
        rest: Rest::new(),
    };
    let cluster = known.map_or_else(new, |cluster| cluster.value.clone());
    let cluster =
        Cluster { cluster_id: cluster_id.to_owned(), recovery: Some(recovery), ..cluster };
    Change::put(Key::Cluster, known.map_or(0, |cluster| cluster.mod_revision), &cluster).into()
}

/// More ids than are handed out between two snapshots: a million blocks.
const PRODUCER_IDS_SKIPPED: i64 = 1_000_000_000;
/// More take-overs than a shard sees between two snapshots.
const SHARD_EPOCHS_SKIPPED: i32 = 1000;
