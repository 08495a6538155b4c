//! `/v1/topics/{topic}/partitions`.

use axum::Json;
use axum::extract::State;
use ottla_metadata::image::Versioned;
use ottla_metadata::model::Partition;
use ottla_protocol::ErrorCode;
use serde::Serialize;

use super::extract::{Params, Segments};
use super::paging::PageQuery;
use super::problem::Problem;
use super::state::Rest;

/// A partition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PartitionView {
    /// Its number.
    partition: i32,
    /// The broker that leads; null while nobody does.
    leader: Option<i32>,
    /// Grows with every election.
    leader_epoch: i32,
    /// Grows with every change of the partition.
    partition_epoch: i64,
    /// Brokers that hold it, the preferred leader first.
    replicas: Vec<i32>,
    /// Those in sync.
    isr: Vec<i32>,
    /// Those that are not in sync but hold everything that was acknowledged.
    eligible_leader_replicas: Vec<i32>,
    /// Those that a reassignment adds.
    adding_replicas: Vec<i32>,
    /// Those that a reassignment removes.
    removing_replicas: Vec<i32>,
    /// Whether the leader was elected from outside the replicas in sync, and records may be missing.
    recovering: bool,
}

/// One page of partitions, by number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PartitionList {
    /// The partitions.
    items: Vec<PartitionView>,
    /// What to give as `after` for the next page; null on the last one.
    next: Option<String>,
}

/// Lists the partitions of a topic, by number.
#[utoipa::path(get, path = "/v1/topics/{topic}/partitions", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."), PageQuery),
    responses((status = 200, description = "A page of partitions.", body = PartitionList),
        (status = 404, description = "There is no such topic.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn list(
    State(rest): State<Rest>,
    Segments(name): Segments<String>,
    Params(page): Params<PageQuery>,
) -> Result<Json<PartitionList>, Problem> {
    let image = rest.image()?;
    let topic = image.topic(&name).ok_or_else(|| Problem::no_topic(&name))?;
    let after = page.after_number()?;
    let partitions = image.partitions_of(topic.id).filter(|(number, _)| after < *number);
    let (items, next) = page.take(partitions, |(number, _)| number.to_string())?;
    let items = items.into_iter().map(|(number, partition)| view(number, partition)).collect();
    Ok(Json(PartitionList { items, next }))
}

/// Shows one partition.
#[utoipa::path(get, path = "/v1/topics/{topic}/partitions/{partition}", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."),
        ("partition" = i32, Path, description = "The partition's number.")),
    responses((status = 200, description = "The partition.", body = PartitionView),
        (status = 404, description = "There is no such partition.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn get(
    State(rest): State<Rest>,
    Segments((name, number)): Segments<(String, i32)>,
) -> Result<Json<PartitionView>, Problem> {
    let image = rest.image()?;
    let topic = image.topic(&name).ok_or_else(|| Problem::no_topic(&name))?;
    let partition = image.partition(topic.id, number).ok_or_else(|| {
        let count = topic.partitions;
        let detail = format!("topic {name:?} has no partition {number}; it has {count}, from 0 on");
        Problem::of_code(ErrorCode::UnknownTopicOrPartition, detail)
    })?;
    Ok(Json(view(number, partition)))
}

fn view(number: i32, partition: &Versioned<Partition>) -> PartitionView {
    PartitionView {
        partition: number,
        leader: Some(partition.leader).filter(|leader| 0 <= *leader),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.mod_revision,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        eligible_leader_replicas: partition.elr.clone(),
        adding_replicas: partition.adding.clone(),
        removing_replicas: partition.removing.clone(),
        recovering: partition.recovering,
    }
}
