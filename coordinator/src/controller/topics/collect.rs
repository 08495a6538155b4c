//! Collection of what deleted topics, and creations that were cut short, left behind.

use std::collections::BTreeSet;

use ottla_metadata::image::Image;
use ottla_metadata::keys::Key;

use crate::controller::plan::{Change, Unit};

/// Deletes up to `changes_max` keys that belong to no topic: the partition keys of deleted topics, then
/// their entries, then partition keys whose topic was never committed.
///
/// May only be called between plans: while a topic is being created its partition keys look like rubbish.
pub fn collect(image: &Image, changes_max: usize) -> Vec<Unit> {
    let mut changes = Vec::new();
    for (id, deleted) in image.deleted() {
        let partitions = image.stored_partitions_of(id).map(|(number, partition)| {
            Change::delete(Key::Partition(id, number), partition.mod_revision)
        });
        changes.extend(partitions.take(changes_max.saturating_sub(changes.len())));
        if changes_max <= changes.len() {
            break;
        }
        changes.push(Change::delete(Key::Deleted(id), deleted.mod_revision));
    }
    let orphans = image
        .stored_partitions()
        .filter(|(topic, number, _)| {
            let counted = image.topic_by_id(*topic).is_some_and(|topic| *number < topic.partitions);
            !counted && image.deleted_topic(*topic).is_none()
        })
        .map(|(topic, number, partition)| {
            Change::delete(Key::Partition(topic, number), partition.mod_revision)
        });
    changes.extend(orphans.take(changes_max.saturating_sub(changes.len())));
    debug_assert_eq!(
        changes.iter().map(|change| &change.key).collect::<BTreeSet<_>>().len(),
        changes.len(),
        "a key is collected once"
    );
    changes.into_iter().map(Unit::from).collect()
}
