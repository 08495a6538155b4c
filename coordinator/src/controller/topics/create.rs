//! Creation of topics.

use std::collections::BTreeSet;

use ottla_metadata::config;
use ottla_metadata::internal_topics::{is_internal, is_metadata_only};
use ottla_metadata::keys::Key;
use ottla_metadata::model::{Partition, Rest, Topic};
use ottla_protocol::{ErrorCode, Uuid};

use super::Places;
use crate::admin::{AdminError, CreatedTopic, NewTopic};
use crate::controller::configs;
use crate::controller::decision::{Context, Decision, duplicates};
use crate::controller::election;
use crate::controller::internal_topics;
use crate::controller::placement::{self, Demand};
use crate::controller::plan::{Change, Unit};

/// Decides on a request to create topics. Each topic stands or falls for itself.
pub fn create(
    context: &mut Context<'_>,
    topics: &[NewTopic],
    validate_only: bool,
) -> Decision<CreatedTopic> {
    let mut creation = Creation::new(context);
    let duplicate = duplicates(topics.iter().map(|topic| &topic.name));
    let mut decision = Decision::without_writes(Vec::with_capacity(topics.len()));
    for (index, topic) in topics.iter().enumerate() {
        let created = if duplicate[index] {
            let message = format!("the request names topic '{}' more than once", topic.name);
            Err(AdminError::new(ErrorCode::InvalidRequest, message))
        } else {
            creation.create(context, topic)
        };
        decision.results.push(created.map(|(mut created, partitions)| {
            if validate_only {
                created.topic_id = Uuid::ZERO;
            } else {
                decision.units.extend(partitions.into_units(index));
            }
            created
        }));
    }
    decision
}

/// What the topics of one request share.
struct Creation {
    places: Places,
    /// Names of all topics as far as collisions go, those of this request included.
    taken: BTreeSet<String>,
    requested: usize,
    existing: usize,
}

/// The keys of a new topic.
struct Keys {
    partitions: Vec<Change>,
    topic: Change,
}

impl Keys {
    /// The commit point comes last.
    fn into_units(self, item: usize) -> impl Iterator<Item = Unit> {
        let commit = Unit::completing(vec![self.topic], item);
        self.partitions.into_iter().map(Unit::from).chain([commit])
    }
}

impl Creation {
    fn new(context: &Context<'_>) -> Self {
        let image = context.image;
        let existing = image.topics().map(|topic| usize::try_from(topic.partitions).unwrap_or(0));
        Self {
            places: Places::of(image),
            taken: image.topics().map(|topic| config::collision_key(&topic.name)).collect(),
            requested: 0,
            existing: existing.sum(),
        }
    }

    fn create(
        &mut self,
        context: &mut Context<'_>,
        topic: &NewTopic,
    ) -> Result<(CreatedTopic, Keys), AdminError> {
        self.check_name(context, &topic.name)?;
        let topic = &*internal_topics::completed(context, topic, self.places.active.len())?;
        let configs = configs::of_creation(context.image, &context.settings.file, &topic.configs)?;
        let replicas = self.replicas(context, topic)?;
        let id = new_id(context);
        let mut partitions = Vec::with_capacity(replicas.len());
        for (number, replicas) in (0..).zip(&replicas) {
            let state = election::first_state(replicas, &self.places.members).ok_or_else(|| {
                let message = format!("no broker of partition {number} can lead it");
                AdminError::new(ErrorCode::InvalidReplicaAssignment, message)
            })?;
            let state = match is_metadata_only(&topic.name) {
                true => Partition { log_dirs: Vec::new(), ..state },
                false => state,
            };
            partitions.push(Change::put(Key::Partition(id, number), 0, &state));
        }
        self.taken.insert(config::collision_key(&topic.name));
        let created = CreatedTopic {
            name: topic.name.clone(),
            topic_id: id,
            partitions: count_of(&replicas),
            replication_factor: replicas.first().map_or(0, |replicas| replicas.len() as i16),
            configs: configs::effective(context.image, &context.settings.file, &configs),
        };
        let value = Topic {
            id,
            name: topic.name.clone(),
            partitions: created.partitions,
            configs,
            internal: is_internal(&topic.name),
            rest: Rest::new(),
        };
        let topic = Change::put(Key::Topic(topic.name.clone()), 0, &value);
        Ok((created, Keys { partitions, topic }))
    }

    fn check_name(&self, context: &Context<'_>, name: &str) -> Result<(), AdminError> {
        config::validate_topic_name(name).map_err(|error| {
            AdminError::new(ErrorCode::InvalidTopicException, error.to_string())
        })?;
        if context.image.topic(name).is_some() {
            let message = format!("topic '{name}' already exists");
            return Err(AdminError::new(ErrorCode::TopicAlreadyExists, message));
        }
        if self.taken.contains(&config::collision_key(name)) {
            let message = format!(
                "topic '{name}' collides with a topic whose name differs only in '.' and '_', \
                 which metrics cannot tell apart"
            );
            return Err(AdminError::new(ErrorCode::InvalidTopicException, message));
        }
        Ok(())
    }

    /// The replicas of every partition, placed or as asked for.
    fn replicas(
        &mut self,
        context: &mut Context<'_>,
        topic: &NewTopic,
    ) -> Result<Vec<Vec<i32>>, AdminError> {
        if !topic.assignments.is_empty() {
            self.charge(context, (&topic.name, topic.assignments.len()))?;
            return self.assigned(topic);
        }
        let partitions = topic.partitions.unwrap_or(context.settings.num_partitions);
        let count =
            usize::try_from(partitions).ok().filter(|count| 0 < *count).ok_or_else(|| {
                let message = format!("a topic has at least 1 partition, not {partitions}");
                AdminError::new(ErrorCode::InvalidPartitions, message)
            })?;
        let factor =
            topic.replication_factor.unwrap_or(context.settings.default_replication_factor);
        let factor =
            usize::try_from(factor).ok().filter(|factor| 0 < *factor).ok_or_else(|| {
                let message = format!("a partition has at least 1 replica, not {factor}");
                AdminError::new(ErrorCode::InvalidReplicationFactor, message)
            })?;
        self.charge(context, (&topic.name, count))?;
        let demand = Demand { first: 0, count, replication_factor: factor };
        placement::place(&mut self.places.candidates, demand, context.random.next_u64())
    }

    /// Replicas chosen by hand: partitions from 0 on, each with as many replicas as the first.
    fn assigned(&self, topic: &NewTopic) -> Result<Vec<Vec<i32>>, AdminError> {
        if topic.partitions.is_some() || topic.replication_factor.is_some() {
            return Err(AdminError::new(
                ErrorCode::InvalidRequest,
                "partitions and replication factor must be -1 where replicas are assigned by hand",
            ));
        }
        let mut assignments = topic.assignments.clone();
        assignments.sort_by_key(|(partition, _)| *partition);
        let invalid =
            |message: String| Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message));
        for (expected, (partition, replicas)) in (0..).zip(&assignments) {
            if *partition != expected {
                return invalid(format!(
                    "the assigned partitions are not 0 to {}: {expected} is missing or named twice",
                    assignments.len() - 1
                ));
            }
            placement::check_manual(*partition, replicas, &self.places.known, &self.places.active)?;
            let factor = assignments[0].1.len();
            if replicas.len() != factor {
                return invalid(format!(
                    "partition {partition} has {} replicas and partition 0 has {factor}",
                    replicas.len()
                ));
            }
        }
        Ok(assignments.into_iter().map(|(_, replicas)| replicas).collect())
    }

    /// Refuses more partitions than the limits allow; what is refused is not counted. What groups cannot do
    /// without is not refused.
    fn charge(
        &mut self,
        context: &Context<'_>,
        (name, count): (&str, usize),
    ) -> Result<(), AdminError> {
        if is_metadata_only(name) {
            return Ok(());
        }
        let settings = context.settings;
        let requested = self.requested.saturating_add(count);
        check_limits(settings, requested, self.existing)?;
        self.requested = requested;
        Ok(())
    }
}

/// Refuses more partitions than one request, or the cluster, may have.
pub(super) fn check_limits(
    settings: &crate::controller::decision::AdminSettings,
    requested: usize,
    existing: usize,
) -> Result<(), AdminError> {
    if settings.partitions_per_request_max < requested {
        let message = format!(
            "{requested} new partitions in one request are more than max.partitions.per.request = {}",
            settings.partitions_per_request_max
        );
        return Err(AdminError::new(ErrorCode::PolicyViolation, message));
    }
    let total = existing.saturating_add(requested);
    if settings.partitions_max < total {
        let message = format!(
            "{total} partitions in the cluster are more than max.partitions.per.cluster = {}",
            settings.partitions_max
        );
        return Err(AdminError::new(ErrorCode::PolicyViolation, message));
    }
    Ok(())
}

/// A random id that is none of the reserved ones and, for what it is worth, not in use.
fn new_id(context: &mut Context<'_>) -> Uuid {
    loop {
        let mut bytes = [0; 16];
        context.random.fill_bytes(&mut bytes);
        // Kafka's random ids have the marks of a version 4 UUID, and never print with a leading dash,
        // which tools would take for an option.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Uuid::from_bytes(bytes);
        let image = context.image;
        let is_free = image.topic_by_id(id).is_none() && image.deleted_topic(id).is_none();
        if is_free && !id.to_string().starts_with('-') {
            return id;
        }
    }
}

fn count_of(replicas: &[Vec<i32>]) -> i32 {
    i32::try_from(replicas.len()).unwrap_or(i32::MAX)
}
