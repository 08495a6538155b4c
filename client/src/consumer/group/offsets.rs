//! Committed offsets.

use std::collections::BTreeMap;

use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use ottla_protocol::types::{LeaderEpoch, Offset, PartitionId};
use ottla_protocol::{ErrorCode, Str};

use super::Identity;
use crate::consumer::TopicPartition;
use crate::coordinator::Coordinator;
use crate::error::{ClientError, check};

/// An offset that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record to read.
    pub offset: Offset,
    /// Of the last record that was read; −1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// What the client wrote beside it.
    pub metadata: Str,
}

/// The last versions that name topics by their names.
const COMMIT_VERSIONS: (i16, i16) = (2, 9);
const FETCH_VERSIONS: (i16, i16) = (2, 9);
/// The first version that asks for several groups.
const GROUPS_VERSION: i16 = 8;
/// The first that can wait for transactions to end.
const STABLE_VERSION: i16 = 7;

/// What a group has committed, of these partitions or of all; partitions without an offset are left out.
pub(crate) async fn committed(
    coordinator: &Coordinator,
    partitions: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
    if partitions.is_some_and(<[TopicPartition]>::is_empty) {
        return Ok(BTreeMap::new());
    }
    let group = coordinator.group();
    let response: OffsetFetchResponse = coordinator
        .call_until_done(
            "fetching committed offsets",
            FETCH_VERSIONS,
            |version| fetch_request(group, partitions, version),
            first_error,
        )
        .await?;
    check(first_error(&response), None)?;
    let mut found = BTreeMap::new();
    for group in &response.groups {
        for topic in &group.topics {
            for one in &topic.partitions {
                let key = (topic.name.detach(), PartitionId(one.partition_index));
                let offset = (one.committed_offset, one.committed_leader_epoch);
                insert(&mut found, key, offset, one.metadata.as_ref());
            }
        }
    }
    for topic in &response.topics {
        for one in &topic.partitions {
            let key = (topic.name.detach(), PartitionId(one.partition_index));
            let offset = (one.committed_offset, one.committed_leader_epoch);
            insert(&mut found, key, offset, one.metadata.as_ref());
        }
    }
    Ok(found)
}

fn insert(
    found: &mut BTreeMap<TopicPartition, CommittedOffset>,
    key: TopicPartition,
    (offset, leader_epoch): (i64, i32),
    metadata: Option<&Str>,
) {
    if 0 <= offset {
        let committed = CommittedOffset {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(leader_epoch),
            metadata: metadata.map(Str::detach).unwrap_or_default(),
        };
        found.insert(key, committed);
    }
}

fn fetch_request(
    group: &Str,
    partitions: Option<&[TopicPartition]>,
    version: i16,
) -> OffsetFetchRequest {
    let topics = partitions.map(|partitions| {
        let mut topics = BTreeMap::<&Str, Vec<i32>>::new();
        for (topic, partition) in partitions {
            topics.entry(topic).or_default().push(partition.0);
        }
        topics
    });
    let require_stable = STABLE_VERSION <= version;
    if version < GROUPS_VERSION {
        let topic = |(name, partition_indexes): (&Str, Vec<i32>)| OffsetFetchRequestTopic {
            name: name.clone(),
            partition_indexes,
            ..OffsetFetchRequestTopic::default()
        };
        return OffsetFetchRequest {
            group_id: group.clone(),
            topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
            require_stable,
            ..OffsetFetchRequest::default()
        };
    }
    let topic = |(name, partition_indexes): (&Str, Vec<i32>)| OffsetFetchRequestTopics {
        name: name.clone(),
        partition_indexes,
        ..OffsetFetchRequestTopics::default()
    };
    let asked = OffsetFetchRequestGroup {
        group_id: group.clone(),
        topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
        ..OffsetFetchRequestGroup::default()
    };
    OffsetFetchRequest { groups: vec![asked], require_stable, ..OffsetFetchRequest::default() }
}

fn first_error(response: &OffsetFetchResponse) -> i16 {
    let groups = response.groups.iter().map(|group| group.error_code);
    let listed = response.groups.iter().flat_map(|group| &group.topics);
    let listed = listed.flat_map(|topic| topic.partitions.iter().map(|one| one.error_code));
    let single = response.topics.iter().flat_map(|topic| &topic.partitions);
    let single = single.map(|one| one.error_code);
    let mut codes = [response.error_code].into_iter().chain(groups).chain(listed).chain(single);
    codes.find(|code| *code != 0).unwrap_or(0)
}

/// Commits as `identity`; an error of any partition is an error.
pub(super) async fn commit(
    coordinator: &Coordinator,
    identity: &Identity,
    instance_id: Option<Str>,
    offsets: &[(TopicPartition, Offset)],
) -> Result<(), ClientError> {
    let results = commit_each(coordinator, identity, instance_id, offsets).await?;
    results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
}

/// Commits as nobody, which only a group without members allows; a result for each, in their order.
pub(crate) async fn commit_as_nobody(
    coordinator: &Coordinator,
    offsets: &[(TopicPartition, Offset)],
) -> Result<Vec<Result<(), ClientError>>, ClientError> {
    let nobody = Identity { member_id: Str::new(), generation: -1 };
    commit_each(coordinator, &nobody, None, offsets).await
}

async fn commit_each(
    coordinator: &Coordinator,
    identity: &Identity,
    instance_id: Option<Str>,
    offsets: &[(TopicPartition, Offset)],
) -> Result<Vec<Result<(), ClientError>>, ClientError> {
    let mut topics = BTreeMap::<&Str, Vec<OffsetCommitRequestPartition>>::new();
    for ((topic, partition), offset) in offsets {
        topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: partition.0,
            committed_offset: offset.0,
            committed_metadata: Some(Str::new()),
            ..OffsetCommitRequestPartition::default()
        });
    }
    let topic = |(name, partitions): (&Str, Vec<_>)| OffsetCommitRequestTopic {
        name: name.clone(),
        partitions,
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: coordinator.group().clone(),
        generation_id_or_member_epoch: identity.generation,
        member_id: identity.member_id.clone(),
        group_instance_id: instance_id,
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetCommitRequest::default()
    };
    let response: OffsetCommitResponse = coordinator
        .call_until_done("committing offsets", COMMIT_VERSIONS, |_| request.clone(), worst)
        .await?;
    let code = |(topic, partition): &TopicPartition| {
        let answered = response.topics.iter().filter(|answered| answered.name == *topic);
        let mut codes = answered.flat_map(|answered| &answered.partitions);
        codes.find(|one| one.partition_index == partition.0).map(|one| one.error_code)
    };
    let missing = ErrorCode::UnknownServerError.code();
    Ok(offsets.iter().map(|(key, _)| check(code(key).unwrap_or(missing), None)).collect())
}

/// An error of the coordinator as a whole, which may pass; others are for the caller.
fn worst(response: &OffsetCommitResponse) -> i16 {
    let passes = [
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
        ErrorCode::RequestTimedOut,
    ];
    let codes = response.topics.iter().flat_map(|topic| &topic.partitions);
    let mut codes = codes.map(|one| one.error_code);
    codes.find(|code| passes.contains(&ErrorCode::from_code(*code))).unwrap_or(0)
}
