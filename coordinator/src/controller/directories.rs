//! Which log directory a replica is in. A broker with one directory leaves no choice, so the controller
//! knows; one with several chooses for itself, and tells.

use std::collections::BTreeSet;

use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::Image;
use ottla_metadata::keys::Key;
use ottla_metadata::model::LOST_DIR;
use ottla_protocol::{ErrorCode, Uuid};

use super::brokers::{members, rules_of};
use super::election::{self, Members};
use super::plan::{Change, Unit};

/// One replica of the sender and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The directory that the replica is in.
    pub directory: Uuid,
}

/// What a broker tells about its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryReport {
    /// Who.
    pub broker: i32,
    /// In which life.
    pub broker_epoch: i64,
    /// Its replicas.
    pub placed: Vec<Placed>,
}

/// What became of each replica of a report, in its order.
pub type ReportResults = Vec<Result<(), ErrorCode>>;

/// Writes down where replicas are; each change completes its index. A replica in a directory that failed
/// leaves the ISR with the same write, and so does one whose log cannot be used ([`LOST_DIR`]). That one is no
/// longer eligible either, unless it is the only one: nobody knows what will be left of it when it can be used
/// again. The error is that of the whole request.
pub fn assign(
    image: &Image,
    file: &ConfigMap,
    report: &DirectoryReport,
) -> Result<(ReportResults, Vec<Unit>), ErrorCode> {
    let members = members(image);
    let sender = members.member(report.broker).ok_or(ErrorCode::BrokerIdNotRegistered)?;
    if sender.broker_epoch != report.broker_epoch {
        return Err(ErrorCode::StaleBrokerEpoch);
    }
    let mut units = Vec::new();
    let mut seen = BTreeSet::new();
    let results = (0..).zip(&report.placed).map(|(index, placed)| {
        if !seen.insert((placed.topic_id, placed.partition)) {
            return Err(ErrorCode::InvalidRequest);
        }
        if let Some(change) = change(image, file, (report.broker, placed), &members)? {
            units.push(Unit::completing(vec![change], index));
        }
        Ok(())
    });
    let results = results.collect();
    Ok((results, units))
}

/// `None` if it is known already.
fn change(
    image: &Image,
    file: &ConfigMap,
    (broker, placed): (i32, &Placed),
    members: &Members,
) -> Result<Option<Change>, ErrorCode> {
    let topic = image.topic_by_id(placed.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    let current = image
        .partition(placed.topic_id, placed.partition)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !current.replicas.contains(&broker) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    if current.log_dir_of(broker) == placed.directory {
        return Ok(None);
    }
    let demoted = || election::demote(current, broker).filter(|_| placed.directory == LOST_DIR);
    let mut next = demoted().unwrap_or_else(|| current.value.clone());
    let dir = |id: &i32| if *id == broker { placed.directory } else { current.log_dir_of(*id) };
    next.set_log_dirs(current.replicas.iter().map(dir).collect());
    let rules = rules_of(image, file, topic);
    let next = election::reconcile(&next, members, rules).map_or(next, |elected| elected.partition);
    let key = Key::Partition(placed.topic_id, placed.partition);
    Ok(Some(Change::put(key, current.mod_revision, &next)))
}

#[cfg(test)]
mod tests;
