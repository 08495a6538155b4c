//! Moving a group to other offsets.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ottla_metadata::image::Image;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::OffsetCommitRequest;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use serde::{Deserialize, Serialize};

use super::super::caller::RestCaller;
use super::super::extract::{Body, Params, Segments};
use super::super::problem::Problem;
use super::super::state::Rest;
use super::super::topics::WriteQuery;
use super::{asking, offsets};
use crate::admin::stages::{self, Operation};
use crate::group::{Request, Response};
use crate::log_ends::{LogEnd, PartitionName};

/// Where a group is to go.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct OffsetReset {
    /// Where to.
    to: Target,
    /// In which topics; in all that the group has committed if not given.
    topics: Option<Vec<TopicScope>>,
}

/// A topic, or some partitions of it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TopicScope {
    /// The topic.
    topic: String,
    /// The partitions; all of them if not given.
    partitions: Option<Vec<i32>>,
}

/// Where to. Offsets beyond the log are moved to its nearer end.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Target {
    /// To the first record that can be read.
    Earliest,
    /// Behind the last record.
    Latest,
    /// To where the group is: what was never committed goes to the end.
    Current,
    /// To this offset.
    Offset {
        /// The offset.
        offset: i64,
    },
    /// By so many records, forwards or backwards.
    Shift {
        /// How many.
        by: i64,
    },
    /// To the first record of this time or later.
    Timestamp {
        /// The time, Unix ms.
        at_ms: i64,
    },
    /// To the first record of this age or younger.
    Duration {
        /// The age, ms.
        ms: i64,
    },
}

/// What a reset did, or would do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in super::super) struct ResetResult {
    /// One for each partition.
    items: Vec<ResetView>,
    /// Whether it was done.
    applied: bool,
}

/// A partition's offset before and after.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ResetView {
    /// The topic.
    topic: String,
    /// The partition.
    partition: i32,
    /// What was committed; null if nothing was.
    before: Option<i64>,
    /// What is committed now; null if the partition's leader does not answer, so that nothing was done to it.
    after: Option<i64>,
}

/// Moves a group that has no members to other offsets; with `validate_only` it only says to which.
#[utoipa::path(post, path = "/v1/groups/{group}/reset", tag = "groups",
    params(("group" = String, Path, description = "The group's id."), WriteQuery),
    request_body = OffsetReset,
    responses((status = 200, description = "The offsets before and after.", body = ResetResult),
        (status = 404, description = "There is no such topic.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The group has members.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(in super::super) async fn reset(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(group): Segments<String>,
    Params(query): Params<WriteQuery>,
    Body(order): Body<OffsetReset>,
) -> Result<Json<ResetResult>, Problem> {
    stages::authorise(&caller, Operation::ReadGroup, &group)?;
    match asking::describe(&rest, &caller, &group).await {
        Ok(detail) if !detail.members.is_empty() => {
            return Err(asking::problem(ErrorCode::NonEmptyGroup, &group));
        }
        // It comes to be by what is committed for it.
        Err(problem) if problem.status != StatusCode::NOT_FOUND.as_u16() => return Err(problem),
        _ => {}
    }
    let committed = asking::committed(&rest, &caller, &group).await?;
    let before: BTreeMap<PartitionName, i64> = offsets::by_partition(&committed)
        .into_iter()
        .map(|(name, found)| (name, found.committed_offset))
        .collect();
    let image = rest.image()?;
    let names = match &order.topics {
        Some(topics) => in_scope(&image, topics)?,
        None => before.keys().cloned().collect(),
    };
    let after = targets(&rest, &image, (&names, &before), order.to).await;
    let applied = !query.validate_only && !after.is_empty();
    if applied {
        let code = commit(&rest, &caller, &group, &after).await;
        if code != ErrorCode::None {
            return Err(asking::problem(code, &group));
        }
    }
    let items = names.into_iter().map(|name| ResetView {
        before: before.get(&name).copied(),
        after: after.get(&name).copied(),
        topic: name.0,
        partition: name.1,
    });
    Ok(Json(ResetResult { items: items.collect(), applied }))
}

fn in_scope(image: &Image, topics: &[TopicScope]) -> Result<Vec<PartitionName>, Problem> {
    let mut names = Vec::new();
    for scope in topics {
        let topic = image.topic(&scope.topic).ok_or_else(|| Problem::no_topic(&scope.topic))?;
        let all = || (0..topic.partitions).collect();
        let wanted: Vec<i32> = scope.partitions.clone().unwrap_or_else(all);
        for partition in wanted {
            if image.partition(topic.id, partition).is_none() {
                let detail = format!("{} has no partition {partition}", scope.topic);
                return Err(Problem::of_code(ErrorCode::UnknownTopicOrPartition, detail));
            }
            names.push((scope.topic.clone(), partition));
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Where each partition goes, as far as its leader answers.
async fn targets(
    rest: &Rest,
    image: &Image,
    (names, before): (&[PartitionName], &BTreeMap<PartitionName, i64>),
    to: Target,
) -> BTreeMap<PartitionName, i64> {
    let ends = rest.log_ends().get(image, names).await;
    let at_ms = match to {
        Target::Timestamp { at_ms } => Some(at_ms),
        Target::Duration { ms } => Some(rest.now().wall_ms.saturating_sub(ms)),
        _ => None,
    };
    if let Some(at_ms) = at_ms {
        return rest.log_ends().at_time(image, names, at_ms).await;
    }
    let target = |name: &PartitionName, end: LogEnd| to.of(before.get(name).copied(), end);
    ends.into_iter().map(|(name, end)| (name.clone(), target(&name, end))).collect()
}

impl Target {
    /// Where a partition goes that is committed up to `current`. Times are looked up in the log.
    fn of(self, current: Option<i64>, end: LogEnd) -> i64 {
        let wanted = match self {
            Self::Earliest => end.start,
            Self::Offset { offset } => offset,
            Self::Shift { by } => current.unwrap_or(end.end).saturating_add(by),
            // Also where it is not in the log any more.
            Self::Current => return current.unwrap_or(end.end),
            Self::Latest | Self::Timestamp { .. } | Self::Duration { .. } => end.end,
        };
        wanted.max(end.start).min(end.end)
    }
}

async fn commit(
    rest: &Rest,
    caller: &crate::admin::Caller,
    group: &str,
    after: &BTreeMap<PartitionName, i64>,
) -> ErrorCode {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, partition), offset) in after {
        topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..OffsetCommitRequestPartition::default()
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
        name: name.into(),
        partitions,
        ..OffsetCommitRequestTopic::default()
    });
    let request = OffsetCommitRequest {
        group_id: group.into(),
        topics: topics.collect(),
        ..OffsetCommitRequest::default()
    };
    let asked = asking::ask(rest, caller, (group, 9), Request::OffsetCommit(request)).await;
    let Response::OffsetCommit(answer) = asked else { return ErrorCode::UnknownServerError };
    let codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let mut codes = codes.map(|partition| ErrorCode::from_code(partition.error_code));
    codes.find(|code| *code != ErrorCode::None).unwrap_or(ErrorCode::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_beyond_the_log_are_moved_to_its_nearer_end() {
        let end = LogEnd { start: 5, end: 25 };
        for (to, current, expected) in [
            (Target::Earliest, Some(7), 5),
            (Target::Latest, Some(7), 25),
            (Target::Offset { offset: 9 }, None, 9),
            (Target::Offset { offset: 3 }, None, 5),
            (Target::Offset { offset: i64::MAX }, None, 25),
            (Target::Shift { by: -1 }, Some(7), 6),
            (Target::Shift { by: i64::MIN }, Some(7), 5),
            (Target::Shift { by: 100 }, Some(7), 25),
            (Target::Shift { by: -1 }, None, 24),
            (Target::Current, Some(3), 3),
            (Target::Current, None, 25),
        ] {
            assert_eq!(to.of(current, end), expected, "{to:?} from {current:?}");
        }
    }
}
