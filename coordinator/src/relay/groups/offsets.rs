//! OffsetCommit, OffsetFetch and OffsetDelete.

use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::super::{Call, Handler, Relayed, Unavailable};
use super::member::NOTHING_OF_THE_IMAGE;
use super::{ask_each, ask_in_time};
use crate::admin::stages::Operation;
use crate::group::{Request, Response};

pub(in super::super) struct OffsetCommit;
pub(in super::super) struct OffsetFetch;
pub(in super::super) struct OffsetDelete;

impl Handler for OffsetCommit {
    type Request = OffsetCommitRequest;

    async fn handle(
        call: &Call<'_>,
        request: OffsetCommitRequest,
    ) -> Result<Relayed<OffsetCommitResponse>, Unavailable> {
        let group = request.group_id.clone();
        let request = Request::OffsetCommit(request);
        let response = match ask_in_time(call, &group, Operation::ReadGroup, request).await? {
            Response::OffsetCommit(response) => response,
            _ => OffsetCommitResponse::default(),
        };
        Ok(Relayed { response, revision: NOTHING_OF_THE_IMAGE })
    }
}

impl Handler for OffsetDelete {
    type Request = OffsetDeleteRequest;

    async fn handle(
        call: &Call<'_>,
        request: OffsetDeleteRequest,
    ) -> Result<Relayed<OffsetDeleteResponse>, Unavailable> {
        let group = request.group_id.clone();
        let request = Request::OffsetDelete(request);
        let response = match ask_in_time(call, &group, Operation::DeleteOffsets, request).await? {
            Response::OffsetDelete(response) => response,
            _ => OffsetDeleteResponse::default(),
        };
        Ok(Relayed { response, revision: NOTHING_OF_THE_IMAGE })
    }
}

impl Handler for OffsetFetch {
    type Request = OffsetFetchRequest;

    /// Offsets are always stable: none of a transaction can be pending yet.
    async fn handle(
        call: &Call<'_>,
        request: OffsetFetchRequest,
    ) -> Result<Relayed<OffsetFetchResponse>, Unavailable> {
        let groups = if call.version < FIRST_WITH_GROUPS {
            vec![only_group(&request)]
        } else {
            request.groups
        };
        let asked = groups
            .iter()
            .map(|group| (group.group_id.as_str().to_owned(), Request::OffsetFetch(group.clone())));
        let answers = ask_each(call, Operation::DescribeGroup, asked.collect()).await?;
        let answers = answers.into_iter().filter_map(|answer| match answer {
            Response::OffsetFetch(answer) => Some(answer),
            _ => None,
        });
        let answers: Vec<OffsetFetchResponseGroup> = answers.collect();
        let response = if call.version < FIRST_WITH_GROUPS {
            let asked = groups.into_iter().next().unwrap_or_default();
            old_answer(answers.into_iter().next().unwrap_or_default(), &asked, call.version)
        } else {
            OffsetFetchResponse { groups: answers, ..OffsetFetchResponse::default() }
        };
        Ok(Relayed { response, revision: NOTHING_OF_THE_IMAGE })
    }
}

/// The one group of an older request.
fn only_group(request: &OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.as_ref().map(|topics| {
        let topic =
            |topic: &ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
                OffsetFetchRequestTopics {
                    name: topic.name.clone(),
                    partition_indexes: topic.partition_indexes.clone(),
                    ..OffsetFetchRequestTopics::default()
                }
            };
        topics.iter().map(topic).collect()
    });
    OffsetFetchRequestGroup {
        group_id: request.group_id.clone(),
        topics,
        ..OffsetFetchRequestGroup::default()
    }
}

/// The answer for one group as older versions say it. The oldest have no error but those of partitions.
fn old_answer(
    group: OffsetFetchResponseGroup,
    asked: &OffsetFetchRequestGroup,
    version: i16,
) -> OffsetFetchResponse {
    if version < FIRST_WITH_ERROR && group.error_code != ErrorCode::None.code() {
        let topics = asked.topics.iter().flatten();
        let topics = topics.map(|topic| failed(topic, group.error_code)).collect();
        return OffsetFetchResponse { topics, ..OffsetFetchResponse::default() };
    }
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
                ..OffsetFetchResponsePartition::default()
            })
            .collect(),
        ..OffsetFetchResponseTopic::default()
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}

fn failed(topic: &OffsetFetchRequestTopics, error_code: i16) -> OffsetFetchResponseTopic {
    let partition = |index: &i32| OffsetFetchResponsePartition {
        partition_index: *index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::new()),
        error_code,
        ..OffsetFetchResponsePartition::default()
    };
    OffsetFetchResponseTopic {
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        ..OffsetFetchResponseTopic::default()
    }
}

/// The version of OffsetFetch from which on a request is about several groups.
const FIRST_WITH_GROUPS: i16 = 8;
/// The version from which on an answer has an error for the group.
const FIRST_WITH_ERROR: i16 = 2;
