//! OffsetFetch: what is not committed is answered with offset -1, which is no error.

use std::collections::BTreeMap;

use ottla_metadata::image::Image;
use ottla_metadata::model::group::CommittedOffset;
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla_protocol::{ErrorCode, Str, Uuid};

use super::Offsets;

impl Offsets {
    /// Answers for one group of a request: the partitions that it names, or all that are committed if it names
    /// none. From version 10 on topics have ids. `None` for a group that does not exist.
    pub fn fetch(
        offsets: Option<&Self>,
        request: &OffsetFetchRequestGroup,
        version: i16,
        image: &Image,
    ) -> OffsetFetchResponseGroup {
        let uses_ids = FIRST_WITH_TOPIC_IDS <= version;
        let topics = match &request.topics {
            Some(topics) => topics.iter().map(|it| named(offsets, it, uses_ids, image)).collect(),
            None => offsets.map(|offsets| offsets.all(image)).unwrap_or_default(),
        };
        OffsetFetchResponseGroup {
            group_id: request.group_id.clone(),
            topics,
            ..OffsetFetchResponseGroup::default()
        }
    }

    /// Everything that is committed for topics that exist, by name.
    fn all(&self, image: &Image) -> Vec<OffsetFetchResponseTopics> {
        let mut topics = BTreeMap::new();
        for (id, chunks) in &self.topics {
            let Some(topic) = image.topic_by_id(*id) else { continue };
            let committed = chunks.values().flat_map(|chunk| &chunk.offsets);
            let partitions = committed.map(|it| found(it.partition, it)).collect();
            topics.insert(&topic.name, (*id, partitions));
        }
        let answer = |(name, (topic_id, partitions)): (&String, (Uuid, Vec<_>))| {
            let name = name.as_str().into();
            OffsetFetchResponseTopics { name, topic_id, partitions, ..Default::default() }
        };
        topics.into_iter().map(answer).collect()
    }
}

fn named(
    offsets: Option<&Offsets>,
    topic: &OffsetFetchRequestTopics,
    uses_ids: bool,
    image: &Image,
) -> OffsetFetchResponseTopics {
    let id = if uses_ids {
        image.topic_by_id(topic.topic_id).map(|topic| topic.id)
    } else {
        image.topic(&topic.name).map(|topic| topic.id)
    };
    // By name, a topic that does not exist has no offsets; by id, the client has to look it up anew.
    let missing = match id {
        None if uses_ids => ErrorCode::UnknownTopicId,
        _ => ErrorCode::None,
    };
    let partition = |index: &i32| {
        let committed = id.and_then(|id| offsets?.get(id, *index));
        committed.map_or_else(|| absent(*index, missing), |committed| found(*index, committed))
    };
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        ..OffsetFetchResponseTopics::default()
    }
}

fn found(partition_index: i32, committed: &CommittedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.offset,
        committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
        metadata: Some(committed.metadata.as_str().into()),
        ..OffsetFetchResponsePartitions::default()
    }
}

fn absent(partition_index: i32, code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::new()),
        error_code: code.code(),
        ..OffsetFetchResponsePartitions::default()
    }
}

const FIRST_WITH_TOPIC_IDS: i16 = 10;
