//! Changes of the ISR, which leaders propose and only the controller writes.

use std::collections::BTreeSet;

use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::keys::Key;
use ottla_metadata::model::Partition;
use ottla_protocol::{ErrorCode, Uuid};

use super::brokers::{members, rules_of};
use super::election::{self, Members};
use super::plan::{Change, Unit};

/// What a leader proposes for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposal {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The epoch that the sender leads in.
    pub leader_epoch: i32,
    /// The partition epoch that it saw, as the wire carries it: see [`wire_partition_epoch`].
    pub partition_epoch: i32,
    /// The ISR it wants, each with the broker epoch in which it is in sync; -1 = not told.
    pub isr: Vec<(i32, i64)>,
    /// Whether the leader has yet to answer for its log after an unclean election.
    pub recovering: bool,
}

/// A request of one leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartition {
    /// Who leads.
    pub broker: i32,
    /// In which life.
    pub broker_epoch: i64,
    /// What it proposes.
    pub proposals: Vec<IsrProposal>,
}

/// What became of one proposal.
pub type IsrResult = Result<Partition, ErrorCode>;

/// A mod revision as AlterPartition's 32 bits carry it. Only equality means anything: a leader that has
/// not seen the last two billion revisions cannot exist.
pub fn wire_partition_epoch(mod_revision: i64) -> i32 {
    (mod_revision & i64::from(i32::MAX)) as i32
}

/// Judges every proposal, and writes those that stand; each accepted partition completes its index. The
/// error is that of the whole request. `file` holds the coordinator's own configs.
pub fn alter_partition(
    image: &Image,
    file: &ConfigMap,
    request: &AlterPartition,
) -> Result<(Vec<IsrResult>, Vec<Unit>), ErrorCode> {
    let members = members(image);
    let sender = members.member(request.broker).ok_or(ErrorCode::BrokerIdNotRegistered)?;
    if sender.broker_epoch != request.broker_epoch {
        return Err(ErrorCode::StaleBrokerEpoch);
    }
    let mut units = Vec::new();
    let mut seen = BTreeSet::new();
    let results = (0..).zip(&request.proposals).map(|(index, proposal)| {
        if !seen.insert((proposal.topic_id, proposal.partition)) {
            return Err(ErrorCode::InvalidRequest);
        }
        let (current, isr) = judge(image, request, proposal, &members)?;
        let rules = image
            .topic_by_id(proposal.topic_id)
            .map(|topic| rules_of(image, file, topic))
            .ok_or(ErrorCode::UnknownTopicId)?;
        let next = election::with_isr(current, isr, proposal.recovering, rules);
        if next != current.value {
            let key = Key::Partition(proposal.topic_id, proposal.partition);
            let change = Change::put(key, current.mod_revision, &next);
            units.push(Unit::completing(vec![change], index));
        }
        Ok(next)
    });
    let results = results.collect();
    Ok((results, units))
}

/// The partition as it is and the ISR that it may get.
fn judge<'a>(
    image: &'a Image,
    request: &AlterPartition,
    proposal: &IsrProposal,
    members: &Members,
) -> Result<(&'a Versioned<Partition>, Vec<i32>), ErrorCode> {
    image.topic_by_id(proposal.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    let current = image
        .partition(proposal.topic_id, proposal.partition)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_epochs(current, request, proposal)?;
    let isr: Vec<i32> = proposal.isr.iter().map(|(id, _)| *id).collect();
    let distinct: BTreeSet<i32> = isr.iter().copied().collect();
    let valid = distinct.len() == isr.len()
        && isr.iter().all(|id| current.replicas.contains(id))
        && isr.contains(&request.broker)
        && !(proposal.recovering && (1 < isr.len() || !current.recovering));
    if !valid {
        return Err(ErrorCode::InvalidRequest);
    }
    let eligible = |(id, epoch): &(i32, i64)| {
        // The seat is that of a life: one that ended since it caught up has to catch up again.
        let same_life = members.member(*id).is_some_and(|member| member.broker_epoch == *epoch);
        members.is_active(*id) && (*epoch == -1 || same_life)
    };
    // The leader itself may stay while it drains; everybody else must be able to stay in sync.
    if proposal.isr.iter().any(|seat| seat.0 != request.broker && !eligible(seat)) {
        return Err(ErrorCode::IneligibleReplica);
    }
    Ok((current, isr))
}

fn check_epochs(
    current: &Versioned<Partition>,
    request: &AlterPartition,
    proposal: &IsrProposal,
) -> Result<(), ErrorCode> {
    if proposal.leader_epoch < current.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if current.leader_epoch < proposal.leader_epoch {
        // The sender knows more than this image: it is this controller that is behind.
        return Err(ErrorCode::NotController);
    }
    if current.leader != request.broker || current.leader_broker_epoch != request.broker_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if proposal.partition_epoch != wire_partition_epoch(current.mod_revision) {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
