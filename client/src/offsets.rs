//! Offsets by position or time.

use std::collections::HashMap;

use futures_util::future::join_all;
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset, PartitionId};
use ottla_protocol::{ErrorCode, Str};

use crate::client::Client;
use crate::error::{ClientError, check};
use crate::metadata_cache::Metadata;
use crate::node::PATIENCE;

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetAt {
    /// The first that can be read.
    Earliest,
    /// The next that will be written, as far as consumers may read.
    Latest,
    /// That of the record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first whose record has this timestamp (Unix ms) or a later one.
    Timestamp(i64),
}

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetFound {
    /// −1 if no record has the timestamp or a later one.
    pub offset: Offset,
    /// Of the record, Unix ms; −1 where none was asked for or none found.
    pub timestamp: i64,
    /// Epoch of the leader that wrote it; −1 if unknown.
    pub leader_epoch: LeaderEpoch,
}

/// An offset to ask for.
pub(crate) type Query = (Str, PartitionId, OffsetAt);

/// Lowest version that answers with one offset rather than a list.
const VERSION_MIN: i16 = 1;

/// The first version that knows [`OffsetAt::MaxTimestamp`].
const MAX_TIMESTAMP_VERSION: i16 = 7;

impl OffsetAt {
    fn code(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Timestamp(at_ms) => at_ms.max(0),
        }
    }
}

/// Asks the leaders, once, all at the same time; the answers are in the order of the queries. After an answer that says
/// that the leader is another, the metadata is refreshed, so that the next attempt may do better.
pub(crate) async fn list_offsets_once(
    client: &Client,
    queries: &[Query],
) -> Vec<Result<OffsetFound, ClientError>> {
    let mut results: Vec<Option<Result<OffsetFound, ClientError>>> = vec![None; queries.len()];
    // A request may name a partition once, so further queries of the same one go into requests of their own.
    let mut by_leader: HashMap<(BrokerId, usize), Vec<usize>> = HashMap::new();
    let mut times_named: HashMap<(&Str, PartitionId), usize> = HashMap::new();
    for (index, (topic, partition, _)) in queries.iter().enumerate() {
        let times = times_named.entry((topic, *partition)).or_default();
        match client.leader(topic, *partition).await {
            Ok(leader) => by_leader.entry((leader, *times)).or_default().push(index),
            Err(error) => results[index] = Some(Err(error)),
        }
        *times += 1;
    }
    let asked = by_leader.into_iter().map(|((leader, _), indexes)| async move {
        let before = client.metadata();
        let has_moved = |metadata: &Metadata| {
            let mut asked = indexes.iter().map(|&index| &queries[index]);
            asked.any(|(topic, id, _)| metadata.has_moved_since(&before, topic, *id))
        };
        let call = ask(client, leader, queries, &indexes);
        let answer = client.unless_moved(PATIENCE, call, has_moved).await;
        (indexes, answer)
    });
    for (indexes, answer) in join_all(asked).await {
        for index in indexes {
            let (topic, partition, _) = &queries[index];
            let found = answer.as_ref().map_err(Clone::clone);
            results[index] = Some(found.and_then(|answer| find(answer, topic, *partition)));
        }
    }
    let missing = || Err(ClientError::server(ErrorCode::UnknownServerError, None));
    let results: Vec<_> = results.into_iter().map(|found| found.unwrap_or_else(missing)).collect();
    let stale =
        |result: &Result<_, ClientError>| result.as_ref().is_err_and(ClientError::is_retriable);
    if results.iter().any(stale) {
        // A failure shows at the next attempt.
        let _ = client.refresh_metadata(&[]).await;
    }
    results
}

async fn ask(
    client: &Client,
    leader: BrokerId,
    queries: &[Query],
    indexes: &[usize],
) -> Result<ListOffsetsResponse, ClientError> {
    let link = client.broker(leader).await?;
    let metadata = client.metadata();
    let mut topics: HashMap<&Str, Vec<ListOffsetsPartition>> = HashMap::new();
    let mut version_min = VERSION_MIN;
    for &index in indexes {
        let (topic, partition, at) = &queries[index];
        if *at == OffsetAt::MaxTimestamp {
            version_min = MAX_TIMESTAMP_VERSION;
        }
        let epoch = metadata.leader(topic, *partition).map_or(LeaderEpoch::NONE, |(_, e)| e);
        topics.entry(topic).or_default().push(ListOffsetsPartition {
            partition_index: partition.0,
            current_leader_epoch: epoch.0,
            timestamp: at.code(),
            ..ListOffsetsPartition::default()
        });
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| ListOffsetsTopic {
            name: name.clone(),
            partitions,
            ..ListOffsetsTopic::default()
        })
        .collect();
    let timeout_ms = i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX);
    let request = ListOffsetsRequest {
        replica_id: BrokerId::NONE.0,
        topics,
        timeout_ms,
        ..ListOffsetsRequest::default()
    };
    link.call_from(version_min, |_| request).await
}

fn find(
    answer: &ListOffsetsResponse,
    topic: &Str,
    partition: PartitionId,
) -> Result<OffsetFound, ClientError> {
    let found = answer
        .topics
        .iter()
        .filter(|answered| answered.name == *topic)
        .flat_map(|answered| &answered.partitions)
        .find(|answered| answered.partition_index == partition.0)
        .ok_or_else(|| ClientError::server(ErrorCode::UnknownServerError, None))?;
    check(found.error_code, None)?;
    Ok(OffsetFound {
        offset: Offset(found.offset),
        timestamp: found.timestamp,
        leader_epoch: LeaderEpoch(found.leader_epoch),
    })
}
