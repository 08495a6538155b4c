//! OffsetCommit, 2 to 10: how far a group has come.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequest;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves OffsetCommit.
#[derive(Debug)]
pub struct OffsetCommit;

impl Handler for OffsetCommit {
    type Request = OffsetCommitRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=10;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: OffsetCommitRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for OffsetCommitRequest {
    fn groups(&self) -> Vec<&str> {
        vec![&self.group_id]
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> OffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions =
                topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: error.code(),
                    ..OffsetCommitResponsePartition::default()
                });
            OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: partitions.collect(),
                ..OffsetCommitResponseTopic::default()
            }
        });
        OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
    }
}
