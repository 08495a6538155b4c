//! `/v1/reassignments`.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ottla_metadata::image::Image;
use ottla_metadata::model::Topic;
use ottla_protocol::ErrorCode;
use serde::{Deserialize, Serialize};

use super::caller::RestCaller;
use super::elections::{PartitionResults, results};
use super::extract::{Body, Params};
use super::limits::WRITE_TIMEOUT;
use super::paging::PageQuery;
use super::problem::Problem;
use super::state::Rest;
use super::topics::WriteQuery;
use crate::admin::{Options, Reassignment};
use crate::controller::reassignment::proposal::{self, Placement, Target};
use crate::controller::reassignment::{Ongoing, ongoing};

/// A reassignment that is under way.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ReassignmentView {
    /// The topic.
    topic: String,
    /// The partition.
    partition: i32,
    /// All replicas, those that go included.
    replicas: Vec<i32>,
    /// Replicas that are being added.
    adding_replicas: Vec<i32>,
    /// Replicas that go once the others are in sync.
    removing_replicas: Vec<i32>,
}

/// One page of reassignments, by topic and partition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ReassignmentList {
    /// The reassignments.
    items: Vec<ReassignmentView>,
    /// What to give as `after` for the next page; null on the last one.
    next: Option<String>,
}

/// Replicas of a partition.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PlacementView {
    /// The topic.
    #[schema(example = "orders")]
    topic: String,
    /// The partition.
    partition: i32,
    /// Ids of the brokers that shall have it, the preferred leader first.
    replicas: Vec<i32>,
}

/// An assignment to carry out.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReassignmentOrder {
    /// The partitions, as a plan has them.
    partitions: Vec<PlacementView>,
    /// Whether partitions may have more or fewer replicas than before.
    #[serde(default)]
    allow_replication_factor_change: bool,
}

/// What a plan is wanted for. With `empty_brokers` every replica leaves these; otherwise the topics are spread
/// evenly.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanOrder {
    /// Brokers that shall have no replica any more.
    #[serde(default)]
    empty_brokers: BTreeSet<i32>,
    /// The topics concerned; all if empty and brokers are to be emptied.
    #[serde(default)]
    topics: BTreeSet<String>,
    /// Brokers that may get replicas; all active ones if empty.
    #[serde(default)]
    brokers: BTreeSet<i32>,
    /// Only brokers in these racks may get replicas; in any if empty.
    #[serde(default)]
    racks: BTreeSet<String>,
}

/// What would move.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Plan {
    /// The partitions that would change, as `POST /v1/reassignments` takes them.
    partitions: Vec<PlacementView>,
    /// The same partitions as they are.
    before: Vec<PlacementView>,
    /// Replicas that would be copied to another broker.
    replicas_to_copy: usize,
}

/// What to cancel.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelQuery {
    /// Only of this topic.
    topic: Option<String>,
    /// Only of this partition of it.
    partition: Option<i32>,
}

/// Lists the reassignments that are under way, by topic and partition.
#[utoipa::path(get, path = "/v1/reassignments", tag = "reassignments", params(PageQuery),
    responses((status = 200, description = "A page of reassignments.", body = ReassignmentList),
        (status = 400, description = "The page cannot be had.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn list(
    State(rest): State<Rest>,
    Params(page): Params<PageQuery>,
) -> Result<Json<ReassignmentList>, Problem> {
    let after = page.after_partition()?;
    let mut all = ongoing(&*rest.image()?);
    all.retain(|it| (after.0.as_str(), after.1) < (it.topic.as_str(), it.partition));
    let (items, next) =
        page.take(all.into_iter(), |it| format!("{}:{}", it.topic, it.partition))?;
    let items = items.into_iter().map(|it| ReassignmentView {
        topic: it.topic,
        partition: it.partition,
        replicas: it.replicas,
        adding_replicas: it.adding,
        removing_replicas: it.removing,
    });
    Ok(Json(ReassignmentList { items: items.collect(), next }))
}

/// Proposes an assignment; changes nothing.
#[utoipa::path(post, path = "/v1/reassignments/plan", tag = "reassignments",
    request_body = PlanOrder,
    responses((status = 200, description = "What would move.", body = Plan),
        (status = 400, description = "There is no such assignment.", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "A topic or broker does not exist.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn plan(
    State(rest): State<Rest>,
    Body(order): Body<PlanOrder>,
) -> Result<Json<Plan>, Problem> {
    let image = rest.image()?;
    if order.topics.is_empty() && order.empty_brokers.is_empty() {
        let detail = "name topics to spread, or empty_brokers to empty";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let targets = targets(&image, &order)?;
    let partitions = placements(&image, &order)?;
    let proposed = if order.empty_brokers.is_empty() {
        proposal::spread(&targets, &partitions)
    } else {
        proposal::empty(&targets, &partitions, &order.empty_brokers)
    };
    let moves = proposed.map_err(|error| {
        Problem::of_code(ErrorCode::InvalidReplicationFactor, error.to_string())
    })?;
    Ok(Json(Plan {
        replicas_to_copy: moves.iter().map(|it| it.adding().count()).sum(),
        before: moves.iter().map(|it| placement_view(&it.before)).collect(),
        partitions: moves.iter().map(|it| placement_view(&it.after)).collect(),
    }))
}

/// Starts reassignments. Answered when they are under way, not when they are done.
#[utoipa::path(post, path = "/v1/reassignments", tag = "reassignments", params(WriteQuery),
    request_body = ReassignmentOrder,
    responses((status = 200, description = "What became of each partition.",
            body = PartitionResults),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn run(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Params(query): Params<WriteQuery>,
    Body(order): Body<ReassignmentOrder>,
) -> Result<Response, Problem> {
    let allow_replication_factor_change = order.allow_replication_factor_change;
    let reassignment = |it: PlacementView| Reassignment {
        topic: it.topic,
        partition: it.partition,
        replicas: Some(it.replicas),
        allow_replication_factor_change,
    };
    let wanted: Vec<Reassignment> = order.partitions.into_iter().map(reassignment).collect();
    let names = wanted.iter().map(|it| (it.topic.clone(), it.partition)).collect();
    let answer = rest.admin().reassign_partitions(&caller, wanted, query.options()).await?;
    Ok(results(&rest, names, answer).await)
}

/// Cancels reassignments that are under way: replicas that were being added go, all others stay.
#[utoipa::path(delete, path = "/v1/reassignments", tag = "reassignments", params(CancelQuery),
    responses((status = 200, description = "What became of each that was under way.",
            body = PartitionResults),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn cancel(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Params(query): Params<CancelQuery>,
) -> Result<Response, Problem> {
    if query.topic.is_none() && query.partition.is_some() {
        let detail = "partition is given without topic";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let is_meant = |it: &Ongoing| {
        query.topic.as_ref().is_none_or(|topic| *topic == it.topic)
            && query.partition.is_none_or(|partition| partition == it.partition)
    };
    let wanted: Vec<Reassignment> = ongoing(&*rest.image()?)
        .into_iter()
        .filter(is_meant)
        .map(|it| Reassignment {
            topic: it.topic,
            partition: it.partition,
            replicas: None,
            allow_replication_factor_change: true,
        })
        .collect();
    let names = wanted.iter().map(|it| (it.topic.clone(), it.partition)).collect();
    let options = Options { validate_only: false, timeout: WRITE_TIMEOUT };
    let answer = rest.admin().reassign_partitions(&caller, wanted, options).await?;
    Ok(results(&rest, names, answer).await)
}

fn placement_view(placement: &Placement) -> PlacementView {
    PlacementView {
        topic: placement.topic.clone(),
        partition: placement.partition,
        replicas: placement.replicas.clone(),
    }
}

/// The brokers that may get replicas.
fn targets(image: &Image, order: &PlanOrder) -> Result<Vec<Target>, Problem> {
    let mut named = order.brokers.iter().chain(&order.empty_brokers);
    if let Some(unknown) = named.find(|id| image.broker(**id).is_none()) {
        return Err(Problem::no_broker(*unknown));
    }
    let mut loads: BTreeMap<i32, usize> = BTreeMap::new();
    for (_, _, partition) in image.partitions() {
        for id in &partition.replicas {
            *loads.entry(*id).or_default() += 1;
        }
    }
    let is_meant = |id: i32, rack: Option<&String>| {
        let in_rack = order.racks.is_empty() || rack.is_some_and(|it| order.racks.contains(it));
        in_rack && (order.brokers.is_empty() || order.brokers.contains(&id))
    };
    let brokers = image.brokers().filter(|(id, record)| {
        let wanted = record.is_active() || order.brokers.contains(id);
        wanted && is_meant(*id, record.rack.as_ref())
    });
    let targets = brokers.map(|(id, record)| {
        let replicas = loads.get(&id).copied().unwrap_or_default();
        Target { id, rack: record.rack.clone(), replicas }
    });
    Ok(targets.collect())
}

/// The partitions that the plan is about, as they will be once what is under way is done.
fn placements(image: &Image, order: &PlanOrder) -> Result<Vec<Placement>, Problem> {
    if let Some(unknown) = order.topics.iter().find(|name| image.topic(name).is_none()) {
        return Err(Problem::no_topic(unknown));
    }
    let is_meant = |topic: &Topic| order.topics.is_empty() || order.topics.contains(&topic.name);
    let mut placements = Vec::new();
    for topic in image.topics().filter(|topic| is_meant(topic)) {
        for (number, partition) in image.partitions_of(topic.id) {
            placements.push(Placement {
                topic: topic.name.clone(),
                partition: number,
                replicas: partition.target_replicas(),
            });
        }
    }
    if PLAN_PARTITIONS_MAX < placements.len() && order.empty_brokers.is_empty() {
        let detail = format!(
            "the topics have {} partitions; a plan spreads at most {PLAN_PARTITIONS_MAX} at once, so \
             name fewer topics",
            placements.len()
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    placements.sort();
    Ok(placements)
}

/// Partitions that a plan spreads evenly at once: more would keep the API busy for seconds.
const PLAN_PARTITIONS_MAX: usize = 10_000;
