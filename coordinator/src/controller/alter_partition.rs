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
use super::reassignment;

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

/// What became of a request, and of each of its proposals.
pub type RequestResult = Result<Vec<IsrResult>, ErrorCode>;

/// Judges every proposal of one request: see [`alter_partitions`].
pub fn alter_partition(
    image: &Image,
    file: &ConfigMap,
    request: &AlterPartition,
) -> Result<(Vec<IsrResult>, Vec<Unit>), ErrorCode> {
    let (mut results, units) = alter_partitions(image, file, std::slice::from_ref(request));
    let results = results.pop().ok_or(ErrorCode::UnknownServerError)??;
    Ok((results, units))
}

/// Judges the proposals of several requests together, so that they share transactions. Those that stand are
/// written; each write completes the index of its proposal, counted over all requests. `file` holds the
/// coordinator's own configs.
///
/// Of two proposals for one partition the second was made before the first was known, so it is refused.
pub fn alter_partitions(
    image: &Image,
    file: &ConfigMap,
    requests: &[AlterPartition],
) -> (Vec<RequestResult>, Vec<Unit>) {
    let mut judging = Judging { image, file, members: members(image), units: Vec::new() };
    let mut written = BTreeSet::new();
    let mut first = 0;
    let mut results = Vec::with_capacity(requests.len());
    for request in requests {
        results.push(judging.request(request, first, &mut written));
        first += request.proposals.len();
    }
    (results, judging.units)
}

/// What the requests of one batch share.
struct Judging<'a> {
    image: &'a Image,
    file: &'a ConfigMap,
    members: Members,
    units: Vec<Unit>,
}

impl Judging<'_> {
    fn request(
        &mut self,
        request: &AlterPartition,
        first: usize,
        written: &mut BTreeSet<(Uuid, i32)>,
    ) -> RequestResult {
        let sender = self.members.member(request.broker).ok_or(ErrorCode::BrokerIdNotRegistered)?;
        if sender.broker_epoch != request.broker_epoch {
            return Err(ErrorCode::StaleBrokerEpoch);
        }
        let mut seen = BTreeSet::new();
        let results = (first..).zip(&request.proposals).map(|(index, proposal)| {
            let partition = (proposal.topic_id, proposal.partition);
            if !seen.insert(partition) {
                return Err(ErrorCode::InvalidRequest);
            }
            if written.contains(&partition) {
                return Err(ErrorCode::InvalidUpdateVersion);
            }
            let units = self.units.len();
            let result = self.proposal(request, proposal, index);
            if units < self.units.len() {
                written.insert(partition);
            }
            result
        });
        Ok(results.collect())
    }

    fn proposal(
        &mut self,
        request: &AlterPartition,
        proposal: &IsrProposal,
        index: usize,
    ) -> IsrResult {
        let image = self.image;
        let (current, isr) = judge(image, request, proposal, &self.members)?;
        let topic = image.topic_by_id(proposal.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let rules = rules_of(image, self.file, topic);
        let mut next = election::with_isr(current, isr, proposal.recovering, rules);
        if next.is_reassigning() {
            next = reassignment::settled(current, next, &self.members, rules);
        }
        // Also what is so already: the leader wants a new partition epoch, which makes proposals void that it
        // sent and has no answer to.
        let key = Key::Partition(proposal.topic_id, proposal.partition);
        let change = Change::put(key, current.mod_revision, &next);
        self.units.push(Unit::completing(vec![change], index));
        if next.leader_epoch != current.leader_epoch {
            // It completed a reassignment; what the sender led in is over, even if it leads on.
            return Err(ErrorCode::NewLeaderElected);
        }
        Ok(next)
    }
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
        members.can_serve(current, *id) && (*epoch == -1 || same_life)
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
