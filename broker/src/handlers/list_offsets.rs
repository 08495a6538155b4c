//! ListOffsets, 1 to 11: where a timestamp, or a named place, is in a partition.
//!
//! | timestamp | from version | answer |
//! |---|---|---|
//! | −1 latest | 1 | high watermark, or last stable offset for committed reads; the log's end for a replica |
//! | −2 earliest | 1 | the log's start |
//! | −3 largest timestamp | 7 | the record that has it |
//! | −4 earliest local | 8 | the log's start, as nothing is tiered |
//! | −5 last tiered, −6 earliest pending upload | 9, 11 | −1, as nothing is tiered |
//! | any other | 1 | the first record at or after it |
//!
//! - A place that a version does not know is UNSUPPORTED_VERSION; a partition named twice is
//!   INVALID_REQUEST.
//! - What is not found, or not visible yet, is offset −1 and no error.
//! - While a new leader's high watermark is below the start of its epoch, the end is not known:
//!   OFFSET_NOT_AVAILABLE (LEADER_NOT_AVAILABLE before version 5).
//! - Only the leader answers, but for a tool that compares replicas (replica −2).
//! - Version 0 lists segments, and goes the way of the old message formats.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::types::{BrokerId, Offset};
use ottla_storage::{ReadError, TimestampOffset};

use super::{Answer, Handler, Reply, RequestContext};
use crate::data_path::{DataPath, Resolver};
use crate::partition::{PartitionHandle, View};
use crate::services::Services;

/// Serves ListOffsets.
#[derive(Debug)]
pub struct ListOffsets;

/// Replica ids of those that are no replicas.
const CONSUMER: i32 = -1;
const DEBUGGING: i32 = -2;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The first version that knows each special timestamp.
const SPECIAL: [(i64, i16); 6] = [
    (LATEST, 1),
    (EARLIEST, 1),
    (MAX_TIMESTAMP, 7),
    (EARLIEST_LOCAL, 8),
    (LATEST_TIERED, 9),
    (EARLIEST_PENDING_UPLOAD, 11),
];

/// How a request reads.
#[derive(Debug, Clone, Copy)]
struct Terms {
    version: i16,
    is_committed_only: bool,
    /// A replica asks: its broker id.
    replica: Option<BrokerId>,
    /// A replica asks, or a tool that compares replicas: it wants to know how long the log is, not what
    /// consumers see of it.
    is_replica: bool,
    /// The tool, which any replica answers.
    is_tool: bool,
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

impl Handler for ListOffsets {
    type Request = ListOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=11;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: ListOffsetsRequest,
    ) -> Answer {
        let (data, context) = (Arc::clone(&services.data), context.clone());
        Answer::later(async move {
            let response = list(&data, context.api_version, request).await;
            Reply::new::<ListOffsetsRequest>(&context, &response)
        })
    }
}

async fn list(data: &DataPath, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let terms = Terms {
        version,
        is_committed_only: request.isolation_level == 1,
        replica: (0 <= request.replica_id).then_some(BrokerId(request.replica_id)),
        is_replica: request.replica_id != CONSUMER,
        is_tool: request.replica_id == DEBUGGING,
    };
    let resolver = data.resolver();
    let repeated = repeated(&request);
    let mut refused = HashSet::new();
    let mut response = ListOffsetsResponse::default();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let key = (topic.name.to_string(), index);
            let found = if repeated.contains(&key) {
                if !refused.insert(key) {
                    continue; // One answer, however often it was named.
                }
                Err(ErrorCode::InvalidRequest)
            } else {
                find(data, &resolver, (&topic.name, &partition), terms).await
            };
            partitions.push(match found {
                Ok(place) => ListOffsetsPartitionResponse {
                    partition_index: index,
                    timestamp: place.timestamp,
                    offset: place.offset,
                    // Older versions have no place for it.
                    leader_epoch: if version < 4 { -1 } else { place.leader_epoch },
                    ..ListOffsetsPartitionResponse::default()
                },
                Err(error) => ListOffsetsPartitionResponse {
                    partition_index: index,
                    error_code: error.code(),
                    ..ListOffsetsPartitionResponse::default()
                },
            });
        }
        response.topics.push(ListOffsetsTopicResponse {
            name: topic.name,
            partitions,
            ..ListOffsetsTopicResponse::default()
        });
    }
    response
}

/// Partitions that the request names more than once.
fn repeated(request: &ListOffsetsRequest) -> HashSet<(String, i32)> {
    let mut seen = HashSet::new();
    let all = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.as_str(), partition.partition_index))
    });
    let again = all.filter(|key| !seen.insert(*key));
    again.map(|(name, index)| (name.to_owned(), index)).collect()
}

async fn find(
    data: &DataPath,
    resolver: &Resolver,
    (topic, partition): (&str, &ListOffsetsPartition),
    terms: Terms,
) -> Result<Place, ErrorCode> {
    let timestamp = partition.timestamp;
    let special = SPECIAL.iter().find(|(place, _)| *place == timestamp);
    let is_unknown = timestamp < 0 && special.is_none();
    if is_unknown || special.is_some_and(|(_, from)| terms.version < *from) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let id = resolver.topic_id_by_name(topic);
    let found = resolver.find(id, partition.partition_index);
    if let (Err(_), Ok(id)) = (&found, id)
        && let Some(empty) = resolver.empty_log(id, partition.partition_index)
    {
        empty.check_epoch(partition.current_leader_epoch)?;
        return Ok(match timestamp {
            LATEST | EARLIEST | EARLIEST_LOCAL => Place::named(Offset(0), empty.leader_epoch.0),
            _ => Place::NONE,
        });
    }
    let handle = found.map_err(|unroutable| unroutable.error)?;
    let view = handle.view_full();
    if terms.is_tool {
        view.check_epoch(partition.current_leader_epoch)?;
    } else {
        view.check_leader(partition.current_leader_epoch)?;
    }
    let is_replica = |id: BrokerId| view.followers.iter().any(|follower| follower.broker == id);
    if terms.replica.is_some_and(|id| !is_replica(id)) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    match timestamp {
        LATEST => {
            check_end_is_known(&view, terms)?;
            Ok(Place::named(visible_end(&view, terms), view.leader_epoch.0))
        }
        EARLIEST | EARLIEST_LOCAL => {
            let epoch = view.log.epoch_at(view.log_start).unwrap_or(view.leader_epoch);
            Ok(Place::named(view.log_start, epoch.0))
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(Place::NONE),
        _ => {
            let found = search(data, &handle, Arc::clone(&view), timestamp).await?;
            match found.filter(|found| found.offset < visible_end(&view, terms)) {
                Some(found) => Ok(found.into()),
                None => {
                    check_end_is_known(&view, terms)?;
                    Ok(Place::NONE)
                }
            }
        }
    }
}

fn visible_end(view: &View, terms: Terms) -> Offset {
    match terms {
        Terms { is_replica: true, .. } => view.log_end,
        Terms { is_committed_only: true, .. } => view.last_stable,
        _ => view.high_watermark,
    }
}

fn check_end_is_known(view: &View, terms: Terms) -> Result<(), ErrorCode> {
    if terms.is_replica || view.epoch_start <= view.high_watermark {
        return Ok(());
    }
    Err(if terms.version < 5 {
        ErrorCode::LeaderNotAvailable
    } else {
        ErrorCode::OffsetNotAvailable
    })
}

/// Looks for a timestamp on a thread that may wait for the disk.
async fn search(
    data: &DataPath,
    handle: &PartitionHandle,
    view: Arc<View>,
    timestamp: i64,
) -> Result<Option<TimestampOffset>, ErrorCode> {
    if view.log_start == view.log_end {
        return Ok(None);
    }
    let look = move || match timestamp {
        MAX_TIMESTAMP => view.log.max_timestamp(),
        _ => view.log.find_timestamp(timestamp),
    };
    let result = data.readers.run(look).await.map_err(|_| ErrorCode::UnknownServerError)?;
    result.map_err(|error| {
        let PartitionHandle { topic, index, .. } = handle;
        tracing::error!(%topic, partition = index, %error, "a timestamp cannot be looked up");
        match error {
            ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
            // The segment went meanwhile; the client asks again.
            ReadError::Gone => ErrorCode::NotLeaderOrFollower,
            _ => ErrorCode::KafkaStorageError,
        }
    })
}

impl Place {
    const NONE: Self = Self { timestamp: -1, offset: -1, leader_epoch: -1 };

    const fn named(offset: Offset, leader_epoch: i32) -> Self {
        Self { timestamp: -1, offset: offset.0, leader_epoch }
    }
}

impl From<TimestampOffset> for Place {
    fn from(found: TimestampOffset) -> Self {
        Self {
            timestamp: found.timestamp,
            offset: found.offset.0,
            leader_epoch: found.leader_epoch.0,
        }
    }
}

#[cfg(test)]
mod tests;
