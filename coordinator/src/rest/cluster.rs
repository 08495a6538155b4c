//! `/v1/cluster`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::problem::Problem;
use super::state::Rest;

/// The cluster as a whole.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ClusterView {
    /// Kafka's cluster id; null before the first controller has made one.
    cluster_id: Option<String>,
    /// The active coordinator; null while nobody is.
    controller: Option<ControllerView>,
    /// All coordinators that live, by id.
    coordinators: Vec<CoordinatorView>,
    /// Brokers that take part.
    active_brokers: usize,
    /// Brokers that are known and take no part.
    fenced_brokers: usize,
    /// Topics, Kafka's internal ones included.
    topics: usize,
    /// Partitions of all topics.
    partitions: usize,
    /// Partitions that nobody leads.
    offline_partitions: usize,
    /// Partitions with fewer replicas in sync than they have.
    under_replicated_partitions: usize,
    /// Finalised features with their levels.
    features: BTreeMap<String, i16>,
    /// The revision of the metadata store that this answer shows.
    revision: i64,
}

/// The active coordinator.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ControllerView {
    /// Its node id.
    node_id: i32,
    /// Grows with every election.
    term: i64,
    /// Where it serves this API.
    http: String,
    /// Where it serves brokers.
    internode: String,
    /// Version of its program.
    version: String,
}

/// A coordinator that lives.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CoordinatorView {
    /// Its node id.
    node_id: i32,
    /// Whether it is the active one; the others wait to take over.
    active: bool,
    /// Where it serves this API.
    http: String,
    /// Where it serves brokers.
    internode: String,
    /// Version of its program.
    version: String,
}

/// Shows the cluster as a whole.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster",
    responses((status = 200, description = "The cluster.", body = ClusterView)))]
pub(super) async fn get(State(rest): State<Rest>) -> Result<Json<ClusterView>, Problem> {
    let image = rest.image()?;
    let fenced = image.brokers().filter(|(_, broker)| broker.fenced).count();
    let (mut partitions, mut offline, mut under_replicated) = (0, 0, 0);
    for (_, _, partition) in image.partitions() {
        partitions += 1;
        offline += usize::from(partition.leader < 0);
        under_replicated += usize::from(partition.isr.len() < partition.replicas.len());
    }
    let controller = image.controller().map(|controller| ControllerView {
        node_id: controller.node_id,
        term: controller.create_revision,
        http: controller.http.to_string(),
        internode: controller.internode.to_string(),
        version: controller.version.clone(),
    });
    let active = image.controller().map(|controller| controller.node_id);
    let coordinators = image.coordinators().map(|(node_id, coordinator)| CoordinatorView {
        node_id,
        active: active == Some(node_id),
        http: coordinator.http.to_string(),
        internode: coordinator.internode.to_string(),
        version: coordinator.version.clone(),
    });
    Ok(Json(ClusterView {
        cluster_id: image.cluster().map(|cluster| cluster.cluster_id.clone()),
        controller,
        coordinators: coordinators.collect(),
        active_brokers: image.brokers().count() - fenced,
        fenced_brokers: fenced,
        topics: image.topic_count(),
        partitions,
        offline_partitions: offline,
        under_replicated_partitions: under_replicated,
        features: image.cluster().map(|cluster| cluster.features.clone()).unwrap_or_default(),
        revision: image.revision(),
    }))
}
