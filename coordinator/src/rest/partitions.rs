//! `/v1/topics/{topic}/partitions` and `/v1/partitions`.

use axum::Json;
use axum::extract::State;
use ottla_metadata::image::Versioned;
use ottla_metadata::model::Partition;
use ottla_protocol::ErrorCode;
use serde::{Deserialize, Serialize};

use super::extract::{Params, Segments};
use super::paging::PageQuery;
use super::problem::Problem;
use super::state::Rest;
use crate::controller::brokers::rules_of;
use crate::controller::election::Rules;

/// A partition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PartitionView {
    /// Its topic.
    topic: String,
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
    /// Those that were eligible before their broker ended in a way that may have lost records.
    last_known_eligible_leader_replicas: Vec<i32>,
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

/// Which partitions, and which page of them.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StateQuery {
    /// Only those in this state.
    #[param(inline)]
    state: Option<PartitionState>,
    /// Most items to answer: 1 to 1000, 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before; without it the first page.
    after: Option<String>,
}

/// A state worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartitionState {
    /// Nobody leads.
    Offline,
    /// A replica that is wanted is not in sync.
    UnderReplicated,
    /// Fewer are in sync than `min.insync.replicas`.
    UnderMinIsr,
    /// A reassignment is under way.
    Reassigning,
}

impl PartitionState {
    fn holds(self, partition: &Partition, rules: Rules) -> bool {
        match self {
            Self::Offline => partition.leader().is_none(),
            Self::UnderReplicated => is_under_replicated(partition),
            Self::UnderMinIsr => partition.isr.len() < rules.min_isr_of(partition),
            Self::Reassigning => partition.is_reassigning(),
        }
    }
}

/// True if a replica is not in sync, other than those that a reassignment has yet to fill.
pub(super) fn is_under_replicated(partition: &Partition) -> bool {
    let mut wanted = partition.replicas.iter().filter(|id| !partition.adding.contains(id));
    wanted.any(|id| !partition.isr.contains(id))
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
    let items =
        items.into_iter().map(|(number, partition)| view(&name, number, partition)).collect();
    Ok(Json(PartitionList { items, next }))
}

/// Lists the partitions of all topics, by topic and number, or those of them in a state.
#[utoipa::path(get, path = "/v1/partitions", tag = "topics", params(StateQuery),
    responses((status = 200, description = "A page of partitions.", body = PartitionList),
        (status = 400, description = "The page cannot be had.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn list_all(
    State(rest): State<Rest>,
    Params(query): Params<StateQuery>,
) -> Result<Json<PartitionList>, Problem> {
    let image = rest.image()?;
    let page = PageQuery { limit: query.limit, after: query.after };
    let (after_topic, after_number) = page.after_partition()?;
    let state = query.state;
    let mut topics: Vec<_> = image.topics().filter(|topic| after_topic <= topic.name).collect();
    topics.sort_by(|left, right| left.name.cmp(&right.name));
    let partitions = topics.into_iter().flat_map(|topic| {
        let first = if topic.name == after_topic { after_number } else { -1 };
        let rules = rules_of(&image, rest.file(), topic);
        image
            .partitions_of(topic.id)
            .filter(move |(number, _)| first < *number)
            .filter(move |(_, partition)| state.is_none_or(|it| it.holds(partition, rules)))
            .map(move |(number, partition)| (&topic.name, number, partition))
    });
    let (items, next) = page.take(partitions, |(topic, number, _)| format!("{topic}:{number}"))?;
    let items = items.into_iter().map(|(topic, number, it)| view(topic, number, it)).collect();
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
    Ok(Json(view(&name, number, partition)))
}

fn view(topic: &str, number: i32, partition: &Versioned<Partition>) -> PartitionView {
    PartitionView {
        topic: topic.to_owned(),
        partition: number,
        leader: Some(partition.leader).filter(|leader| 0 <= *leader),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.mod_revision,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        eligible_leader_replicas: partition.elr.clone(),
        last_known_eligible_leader_replicas: partition.last_known_elr.clone(),
        adding_replicas: partition.adding.clone(),
        removing_replicas: partition.removing.clone(),
        recovering: partition.recovering,
    }
}
