//! Elections that somebody asks for, and the balance of leaders: the first replica of a partition is its
//! preferred leader, since placement spreads first replicas evenly.

use std::time::Duration;

use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::Image;
use ottla_metadata::keys::Key;
use ottla_metadata::model::{NO_LEADER, Partition};
use ottla_protocol::ErrorCode;

use super::brokers::{members, rules_of};
use super::decision::{Context, Decision, duplicates};
use super::election::{self, Members, Rules};
use super::plan::{Change, Unit};
use crate::admin::{AdminError, ElectionKind, LeaderElection};

/// When leadership goes back to preferred replicas by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// `auto.leader.rebalance.enable`.
    pub enabled: bool,
    /// `leader.imbalance.check.interval.seconds`.
    pub interval: Duration,
}

impl Default for Balance {
    fn default() -> Self {
        Self { enabled: true, interval: Duration::from_secs(300) }
    }
}

/// Decides on elections that were asked for.
pub fn elect(
    context: &mut Context<'_>,
    items: &[LeaderElection],
    validate_only: bool,
) -> Decision<()> {
    let members = members(context.image);
    let duplicate = duplicates(items.iter().map(|item| (&item.topic, item.partition)));
    let mut decision = Decision::without_writes(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let change = if duplicate[index] {
            let message = format!("the request names {}-{} twice", item.topic, item.partition);
            Err(AdminError::new(ErrorCode::InvalidRequest, message))
        } else {
            decide(context, item, &members)
        };
        decision.results.push(change.map(|change| {
            if !validate_only {
                decision.units.push(Unit::completing(vec![change], index));
            }
        }));
    }
    decision
}

fn decide(
    context: &Context<'_>,
    item: &LeaderElection,
    members: &Members,
) -> Result<Change, AdminError> {
    let image = context.image;
    let unknown = || {
        let message = format!("there is no partition {}-{}", item.topic, item.partition);
        AdminError::new(ErrorCode::UnknownTopicOrPartition, message)
    };
    let topic = image.topic(&item.topic).ok_or_else(unknown)?;
    let current = image.partition(topic.id, item.partition).ok_or_else(unknown)?;
    if !is_needed(current, item.kind) {
        return Err(ErrorCode::ElectionNotNeeded.into());
    }
    let rules = rules_of(image, &context.settings.file, topic);
    let next = match item.kind {
        ElectionKind::Preferred => preferred(current, members, rules).ok_or_else(|| {
            let message = format!(
                "the preferred leader of {}-{} is not in sync, or cannot lead at the moment",
                item.topic, item.partition
            );
            AdminError::new(ErrorCode::PreferredLeaderNotAvailable, message)
        })?,
        ElectionKind::Unclean => unclean(current, members, rules).ok_or_else(|| {
            let message =
                format!("no replica of {}-{} can lead at the moment", item.topic, item.partition);
            AdminError::new(ErrorCode::EligibleLeadersNotAvailable, message)
        })?,
    };
    Ok(Change::put(Key::Partition(topic.id, item.partition), current.mod_revision, &next))
}

/// The partitions that an election of this kind would concern, by topic name.
pub fn needing(image: &Image, kind: ElectionKind) -> Vec<LeaderElection> {
    let partitions = image.topics().flat_map(|topic| {
        let needing =
            image.partitions_of(topic.id).filter(move |(_, partition)| is_needed(partition, kind));
        needing.map(|(partition, _)| LeaderElection { topic: topic.name.clone(), partition, kind })
    });
    partitions.collect()
}

fn is_needed(partition: &Partition, kind: ElectionKind) -> bool {
    match kind {
        ElectionKind::Preferred => partition.replicas.first() != Some(&partition.leader),
        ElectionKind::Unclean => partition.leader == NO_LEADER,
    }
}

/// The partition led by its preferred replica, if that may lead without any loss.
fn preferred(current: &Partition, members: &Members, rules: Rules) -> Option<Partition> {
    let preferred = *current.replicas.first()?;
    let is_electable = members.can_serve(current, preferred)
        && (current.isr.contains(&preferred)
            || current.leader == NO_LEADER && current.elr.contains(&preferred));
    is_electable.then(|| election::hand_over(current, preferred, members, rules)).flatten()
}

/// The partition led by whoever is the safest choice among those who live.
fn unclean(current: &Partition, members: &Members, rules: Rules) -> Option<Partition> {
    let elected = election::reconcile(current, members, Rules { unclean: true, ..rules })?;
    (elected.partition.leader != NO_LEADER).then_some(elected.partition)
}

/// Elections that give leadership back to preferred replicas which are in sync, at most `max`; true if more
/// remain.
pub fn balance(image: &Image, file: &ConfigMap, max: usize) -> (Vec<Unit>, bool) {
    let members = members(image);
    let candidates =
        image.partitions().filter(|(_, _, current)| is_needed(current, ElectionKind::Preferred));
    let mut changes = candidates.filter_map(|(topic, number, current)| {
        let rules = rules_of(image, file, image.topic_by_id(topic)?);
        let next = preferred(current, &members, rules)?;
        Some(Unit::from(Change::put(Key::Partition(topic, number), current.mod_revision, &next)))
    });
    let units: Vec<Unit> = changes.by_ref().take(max).collect();
    let has_more = changes.next().is_some();
    (units, has_more)
}

#[cfg(test)]
mod tests;
