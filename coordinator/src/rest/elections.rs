//! `/v1/elections`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::caller::RestCaller;
use super::extract::{Body, Params};
use super::problem::Problem;
use super::state::{Done, Rest};
use super::topics::WriteQuery;
use crate::admin::{AdminError, Answer, ElectionKind, LeaderElection};
use crate::controller::preferred;

/// Elections to hold.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ElectionOrder {
    /// Who shall lead.
    kind: Kind,
    /// Of which partitions; of all that need it if not given.
    partitions: Option<Vec<PartitionName>>,
}

/// Who shall lead.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// The first replica, if it is in sync.
    Preferred,
    /// Anybody who lives, where nobody leads: acknowledged records may be lost.
    Unclean,
}

/// A partition.
#[derive(Debug, Clone, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PartitionName {
    /// Its topic.
    #[schema(example = "orders")]
    pub topic: String,
    /// Its number.
    pub partition: i32,
}

/// What became of a request that concerns several partitions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PartitionResults {
    /// One for each partition.
    items: Vec<PartitionResult>,
    /// How many of them failed.
    failed: usize,
}

/// What became of one partition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PartitionResult {
    /// Its topic.
    topic: String,
    /// Its number.
    partition: i32,
    /// Kafka's name of the error; null if it was done.
    code: Option<&'static str>,
    /// What happened and what to do; null if it was done.
    detail: Option<String>,
}

/// Elects leaders.
#[utoipa::path(post, path = "/v1/elections", tag = "reassignments", params(WriteQuery),
    request_body = ElectionOrder,
    responses((status = 200, description = "What became of each partition.",
            body = PartitionResults),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn elect(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Params(query): Params<WriteQuery>,
    Body(order): Body<ElectionOrder>,
) -> Result<Response, Problem> {
    let kind = match order.kind {
        Kind::Preferred => ElectionKind::Preferred,
        Kind::Unclean => ElectionKind::Unclean,
    };
    let elections: Vec<LeaderElection> = match order.partitions {
        None => preferred::needing(&*rest.image()?, kind),
        Some(named) => named
            .into_iter()
            .map(|PartitionName { topic, partition }| LeaderElection { topic, partition, kind })
            .collect(),
    };
    let names = elections.iter().map(|it| (it.topic.clone(), it.partition)).collect();
    let answer = rest.admin().elect_leaders(&caller, elections, query.options()).await?;
    Ok(results(&rest, names, answer).await)
}

/// The results of partitions, once this node's image shows them.
pub(super) async fn results(
    rest: &Rest,
    names: Vec<(String, i32)>,
    answer: Answer<()>,
) -> Response {
    let Answer { results, revision } = answer;
    rest.catch_up(revision).await;
    let result = |((topic, partition), result): ((String, i32), Result<(), AdminError>)| {
        let error = result.err();
        let code = error.as_ref().map(|error| error.code.name());
        PartitionResult { topic, partition, code, detail: error.map(|error| error.message) }
    };
    let items: Vec<PartitionResult> = names.into_iter().zip(results).map(result).collect();
    let failed = items.iter().filter(|item| item.code.is_some()).count();
    let done = Done { value: (), revision };
    done.mark(Json(PartitionResults { items, failed }).into_response())
}
