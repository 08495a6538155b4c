//! Growth of topics: more partitions.

use std::collections::BTreeMap;

use ottla_metadata::keys::Key;
use ottla_protocol::ErrorCode;

use super::Places;
use super::create::check_limits;
use crate::admin::{AdminError, NewPartitions};
use crate::controller::decision::{Context, Decision, duplicates};
use crate::controller::election;
use crate::controller::internal_topics;
use crate::controller::placement::{self, Demand};
use crate::controller::plan::{Change, Unit};

/// Decides on a request to add partitions. The new partitions exist, all at once, when the topic key
/// counts them.
pub fn grow(
    context: &mut Context<'_>,
    topics: &[NewPartitions],
    validate_only: bool,
) -> Decision<()> {
    let existing =
        context.image.topics().map(|topic| usize::try_from(topic.partitions).unwrap_or(0));
    let mut growth =
        Growth { places: Places::of(context.image), requested: 0, existing: existing.sum() };
    let duplicate = duplicates(topics.iter().map(|topic| &topic.topic));
    let mut decision = Decision::without_writes(Vec::with_capacity(topics.len()));
    for (index, topic) in topics.iter().enumerate() {
        let grown = if duplicate[index] {
            let message = format!("the request names topic '{}' more than once", topic.topic);
            Err(AdminError::new(ErrorCode::InvalidRequest, message))
        } else {
            growth.grow(context, topic, index)
        };
        decision.results.push(grown.map(|units| {
            if !validate_only {
                decision.units.extend(units);
            }
        }));
    }
    decision
}

/// What the topics of one request share.
struct Growth {
    places: Places,
    requested: usize,
    existing: usize,
}

impl Growth {
    fn grow(
        &mut self,
        context: &mut Context<'_>,
        wanted: &NewPartitions,
        item: usize,
    ) -> Result<Vec<Unit>, AdminError> {
        let image = context.image;
        let topic = image.topic(&wanted.topic).ok_or_else(|| {
            let message = format!("topic '{}' does not exist", wanted.topic);
            AdminError::new(ErrorCode::UnknownTopicOrPartition, message)
        })?;
        internal_topics::check_unchangeable(&topic.name, "grown")?;
        let added = added(wanted, topic.partitions)?;
        self.requested += added;
        check_limits(context.settings, self.requested, self.existing).inspect_err(|_| {
            self.requested -= added;
        })?;
        let first_partition = image.partition(topic.id, 0);
        let replication_factor = first_partition.map_or(1, |partition| partition.replicas.len());
        let replicas = if wanted.assignments.is_empty() {
            let demand = Demand { first: topic.partitions, count: added, replication_factor };
            placement::place(&mut self.places.candidates, demand, context.random.next_u64())?
        } else {
            self.assigned(wanted, topic.partitions, replication_factor)?
        };
        // A growth that was cut short left keys that nobody counts: they are written anew.
        let left_over: BTreeMap<i32, i64> = image
            .stored_partitions_of(topic.id)
            .map(|(number, partition)| (number, partition.mod_revision))
            .collect();
        let mut units = Vec::with_capacity(added + 1);
        for (number, replicas) in (topic.partitions..).zip(&replicas) {
            let state = election::first_state(replicas, &self.places.members).ok_or_else(|| {
                let message = format!("no broker of partition {number} can lead it");
                AdminError::new(ErrorCode::InvalidReplicaAssignment, message)
            })?;
            let mod_revision = left_over.get(&number).copied().unwrap_or(0);
            units.push(Change::put(Key::Partition(topic.id, number), mod_revision, &state).into());
        }
        let mut grown = topic.value.clone();
        grown.partitions = wanted.count;
        let commit = Change::put(Key::Topic(topic.name.clone()), topic.mod_revision, &grown);
        units.push(Unit::completing(vec![commit], item));
        Ok(units)
    }

    fn assigned(
        &self,
        wanted: &NewPartitions,
        first: i32,
        replication_factor: usize,
    ) -> Result<Vec<Vec<i32>>, AdminError> {
        for (number, replicas) in (first..).zip(&wanted.assignments) {
            placement::check_manual(number, replicas, &self.places.known, &self.places.active)?;
            if replicas.len() != replication_factor {
                let message = format!(
                    "partition {number} has {} replicas and the topic has {replication_factor}",
                    replicas.len()
                );
                return Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message));
            }
        }
        Ok(wanted.assignments.clone())
    }
}

/// How many partitions are new, at least 1.
fn added(wanted: &NewPartitions, current: i32) -> Result<usize, AdminError> {
    let added = i64::from(wanted.count) - i64::from(current);
    let added = usize::try_from(added).ok().filter(|added| 0 < *added).ok_or_else(|| {
        let message = format!(
            "topic '{}' has {current} partitions, so it cannot grow to {}",
            wanted.topic, wanted.count
        );
        AdminError::new(ErrorCode::InvalidPartitions, message)
    })?;
    if !wanted.assignments.is_empty() && wanted.assignments.len() != added {
        let message = format!(
            "{added} partitions are to be added, but replicas are assigned to {}",
            wanted.assignments.len()
        );
        return Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok(added)
}
