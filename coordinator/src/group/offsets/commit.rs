//! OffsetCommit, versions 0 to 10: what can be committed at all is told apart first, then the group is asked
//! whether this client may.

use ottla_metadata::image::Image;
use ottla_metadata::model::Rest;
use ottla_metadata::model::group::CommittedOffset;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_protocol::{ErrorCode, Uuid};

use super::{Offsets, Touched};
use crate::group::Context;

/// A request with what is known of each of its partitions before the group is asked.
#[derive(Debug)]
pub struct Committable<'a> {
    request: &'a OffsetCommitRequest,
    /// Topics as they exist; `None` for those that do not.
    topics: Vec<Option<Uuid>>,
    uses_ids: bool,
}

impl<'a> Committable<'a> {
    /// Looks the topics of a request up. From version 10 on they are named by id.
    pub fn new(request: &'a OffsetCommitRequest, version: i16, image: &Image) -> Self {
        let uses_ids = FIRST_WITH_TOPIC_IDS <= version;
        let topics = request.topics.iter().map(|topic| {
            if uses_ids {
                return image.topic_by_id(topic.topic_id).map(|topic| topic.id);
            }
            image.topic(&topic.name).map(|topic| topic.id)
        });
        Self { request, topics: topics.collect(), uses_ids }
    }

    /// The request.
    pub fn request(&self) -> &'a OffsetCommitRequest {
        self.request
    }

    /// The partitions that exist. If there are none, the answer does not depend on the group, which is not made
    /// either.
    pub fn existing(&self, image: &Image) -> impl Iterator<Item = (Uuid, i32)> {
        self.request.topics.iter().zip(&self.topics).flat_map(move |(topic, id)| {
            topic.partitions.iter().filter_map(move |partition| {
                let (id, index) = ((*id)?, partition.partition_index);
                image.partition(id, index).map(|_| (id, index))
            })
        })
    }

    /// The answer if the group refuses with `code`: those that do not exist are told so all the same.
    pub fn refused(&self, code: ErrorCode, image: &Image) -> OffsetCommitResponse {
        self.answer(|id, partition| match id {
            Some(id) if image.partition(id, partition.partition_index).is_some() => code,
            Some(_) => ErrorCode::UnknownTopicOrPartition,
            None => self.unknown_topic(),
        })
    }

    fn unknown_topic(&self) -> ErrorCode {
        if self.uses_ids { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition }
    }

    fn answer(
        &self,
        mut code: impl FnMut(Option<Uuid>, &OffsetCommitRequestPartition) -> ErrorCode,
    ) -> OffsetCommitResponse {
        let topics = self.request.topics.iter().zip(&self.topics);
        let topics = topics.map(|(topic, id)| answer_topic(topic, |it| code(*id, it))).collect();
        OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
    }
}

impl Offsets {
    /// Commits what can be committed, and answers for each partition. The group has agreed.
    pub fn commit(
        &mut self,
        group: &str,
        committable: &Committable<'_>,
        cx: &mut Context<'_>,
    ) -> OffsetCommitResponse {
        let mut touched = Touched::new();
        let (image, longest) = (cx.image, cx.settings.offset_metadata_max);
        let stamp = Stamp::new(committable.request, cx.now.wall_ms);
        let answer = committable.answer(|id, partition| {
            let Some(id) = id else { return committable.unknown_topic() };
            if image.partition(id, partition.partition_index).is_none() {
                return ErrorCode::UnknownTopicOrPartition;
            }
            let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
            // Kafka counts what Java counts.
            if longest < metadata.encode_utf16().count() {
                return ErrorCode::OffsetMetadataTooLarge;
            }
            self.put(id, stamp.committed(partition, metadata), &mut touched);
            ErrorCode::None
        });
        self.write(group, &touched, cx.out);
        answer
    }
}

/// When a commit was made, and how long it is kept.
struct Stamp {
    wall_ms: i64,
    expires_at: Option<i64>,
}

impl Stamp {
    fn new(request: &OffsetCommitRequest, wall_ms: i64) -> Self {
        let retention = Some(request.retention_time_ms).filter(|retention| *retention != -1);
        Self { wall_ms, expires_at: retention.map(|ms| wall_ms.saturating_add(ms)) }
    }

    fn committed(&self, partition: &OffsetCommitRequestPartition, text: &str) -> CommittedOffset {
        let given = Some(partition.commit_timestamp).filter(|timestamp| *timestamp != -1);
        CommittedOffset {
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: Some(partition.committed_leader_epoch).filter(|epoch| 0 <= *epoch),
            metadata: text.to_owned(),
            committed_at: given.unwrap_or(self.wall_ms),
            expires_at: self.expires_at,
            rest: Rest::new(),
        }
    }
}

/// The answer when nothing of a request was looked at: every partition has the same code.
pub fn refused_commit(request: &OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| answer_topic(topic, |_| code)).collect();
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}

fn answer_topic(
    topic: &OffsetCommitRequestTopic,
    mut code: impl FnMut(&OffsetCommitRequestPartition) -> ErrorCode,
) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: code(partition).code(),
        ..OffsetCommitResponsePartition::default()
    });
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..OffsetCommitResponseTopic::default()
    }
}

const FIRST_WITH_TOPIC_IDS: i16 = 10;
