//! How far a group is behind, partition by partition.

use std::collections::BTreeMap;

use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions,
};

use super::super::problem::Problem;
use super::super::state::Rest;
use super::views::{GroupDetail, OffsetView};
use crate::log_ends::PartitionName;

/// What is committed, by partition.
pub(super) fn by_partition(
    committed: &OffsetFetchResponseGroup,
) -> BTreeMap<PartitionName, &OffsetFetchResponsePartitions> {
    let topics = committed.topics.iter();
    let partitions = topics.flat_map(|topic| {
        let name = |partition: &OffsetFetchResponsePartitions| {
            (topic.name.as_str().to_owned(), partition.partition_index)
        };
        topic.partitions.iter().map(move |partition| (name(partition), partition))
    });
    partitions.collect()
}

/// Adds every partition that is committed or assigned to what is shown of a group.
pub(super) async fn fill_in(
    rest: &Rest,
    detail: &mut GroupDetail,
    committed: &OffsetFetchResponseGroup,
) -> Result<(), Problem> {
    let committed = by_partition(committed);
    let mut readers: BTreeMap<PartitionName, String> = BTreeMap::new();
    for member in &detail.members {
        for topic in &member.assignment {
            let names = topic.partitions.iter().map(|partition| (topic.topic.clone(), *partition));
            readers.extend(names.map(|name| (name, member.id.clone())));
        }
    }
    let mut names: Vec<PartitionName> = committed.keys().chain(readers.keys()).cloned().collect();
    names.sort_unstable();
    names.dedup();
    let image = rest.image()?;
    let ends = rest.log_ends().get(&image, &names).await;
    let rows = names.into_iter().map(|name| {
        let found = committed.get(&name);
        let offset = found.map(|found| found.committed_offset).filter(|offset| 0 <= *offset);
        let end = ends.get(&name);
        let lag = offset.zip(end).map(|(offset, end)| end.end.saturating_sub(offset).max(0));
        let metadata = found.and_then(|found| found.metadata.as_deref()).unwrap_or_default();
        OffsetView {
            committed: offset,
            metadata: metadata.to_owned(),
            log_start: end.map(|end| end.start),
            log_end: end.map(|end| end.end),
            lag,
            member: readers.get(&name).cloned(),
            topic: name.0,
            partition: name.1,
        }
    });
    detail.offsets = rows.collect();
    detail.lag = detail.offsets.iter().filter_map(|row| row.lag).sum();
    Ok(())
}
