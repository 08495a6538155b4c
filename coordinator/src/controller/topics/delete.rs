//! Deletion of topics.

use ottla_metadata::keys::Key;
use ottla_metadata::model::{DeletedTopic as Tombstone, Rest};
use ottla_protocol::ErrorCode;

use crate::admin::{AdminError, DeletedTopic, TopicRef};
use crate::controller::decision::{Context, Decision, duplicates};
use crate::controller::internal_topics;
use crate::controller::plan::{Change, Unit};

/// Decides on a request to delete topics. A topic that is deleted has no key any more; what its id still
/// has is collected later.
pub fn delete(
    context: &Context<'_>,
    topics: &[TopicRef],
    validate_only: bool,
) -> Decision<DeletedTopic> {
    let found: Vec<Option<_>> = topics
        .iter()
        .map(|topic| match topic {
            TopicRef::Name(name) => context.image.topic(name),
            TopicRef::Id(id) => context.image.topic_by_id(*id),
        })
        .collect();
    // A topic may be named by its name and by its id; unknown ones are told apart by what they say.
    let same = duplicates(
        found
            .iter()
            .zip(topics)
            .map(|(found, topic)| found.map(|found| found.id).ok_or_else(|| format!("{topic:?}"))),
    );
    let mut decision = Decision::without_writes(Vec::with_capacity(topics.len()));
    for (index, topic) in topics.iter().enumerate() {
        decision.results.push(if !context.settings.delete_topic_enable {
            let message = "topics cannot be deleted: delete.topic.enable is false";
            Err(AdminError::new(ErrorCode::TopicDeletionDisabled, message))
        } else if same[index] {
            let message = "the request names this topic more than once";
            Err(AdminError::new(ErrorCode::InvalidRequest, message))
        } else {
            let found = found[index].ok_or_else(|| unknown(topic)).and_then(|found| {
                internal_topics::check_unchangeable(&found.name, "deleted").map(|()| found)
            });
            found.map(|found| {
                let tombstone = Tombstone {
                    id: found.id,
                    name: found.name.clone(),
                    partitions: found.partitions,
                    deleted_at_ms: context.now.wall_ms,
                    rest: Rest::new(),
                };
                let changes = vec![
                    Change::delete(Key::Topic(found.name.clone()), found.mod_revision),
                    Change::put(Key::Deleted(found.id), 0, &tombstone),
                ];
                if !validate_only {
                    decision.units.push(Unit::completing(changes, index));
                }
                DeletedTopic { name: found.name.clone(), topic_id: found.id }
            })
        });
    }
    decision
}

fn unknown(topic: &TopicRef) -> AdminError {
    match topic {
        TopicRef::Name(name) => AdminError::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("topic '{name}' does not exist"),
        ),
        TopicRef::Id(id) => {
            AdminError::new(ErrorCode::UnknownTopicId, format!("no topic has the id {id}"))
        }
    }
}
