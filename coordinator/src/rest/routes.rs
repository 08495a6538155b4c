//! Which path leads where, and the document that says so.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::Rest;
use super::{
    brokers, cluster, configs, elections, groups, health, limits, metrics, origin, partitions,
    probes, problem, proxy, reassignments, topics,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ottla's admin API",
        description = "Cluster, brokers, topics, partitions, groups and configs. Any coordinator answers; \
                       writes are passed on to the active one. Errors are problem documents of RFC \
                       9457. Lists come in pages: `limit` items, those `after` the `next` of the page \
                       before.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "cluster", description = "The cluster as a whole"),
        (name = "brokers", description = "Brokers and what is set on them"),
        (name = "topics", description = "Topics, their partitions and configs"),
        (name = "groups", description = "Groups of consumers, what they committed and their lag"),
        (name = "reassignments", description = "Leaders and replicas that move"),
        (name = "process", description = "This coordinator itself"),
    )
)]
struct Document;

/// The document that describes the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    v1().merge(process()).into_openapi()
}

/// The whole API.
pub(super) fn router(rest: Rest) -> Router {
    let document = openapi().to_json().expect("the document is plain data");
    let describe = move || async move { ([(CONTENT_TYPE, "application/json")], document) };
    let (v1, _) = v1().split_for_parts();
    let (process, _) = process().split_for_parts();
    let v1 = v1
        .route("/v1/openapi.json", get(describe))
        .layer(from_fn_with_state(rest.clone(), proxy::to_active))
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES_MAX))
        .layer(from_fn_with_state(rest.clone(), limits::bound));
    v1.merge(process)
        .fallback(problem::nothing_here)
        .layer(from_fn_with_state(rest.clone(), origin::refuse_pages))
        .layer(from_fn(problem::finish))
        .layer(from_fn_with_state(rest.clone(), metrics::count))
        .with_state(rest)
}

fn v1() -> OpenApiRouter<Rest> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(cluster::get))
        .routes(routes!(configs::get_of_cluster, configs::patch_of_cluster))
        .routes(routes!(brokers::list))
        .routes(routes!(brokers::get, brokers::unregister))
        .routes(routes!(brokers::drain, brokers::undrain))
        .routes(routes!(configs::get_of_broker, configs::patch_of_broker))
        .routes(routes!(topics::list, topics::create))
        .routes(routes!(topics::get, topics::patch, topics::delete))
        .routes(routes!(configs::get_of_topic, configs::patch_of_topic))
        .routes(routes!(partitions::list))
        .routes(routes!(partitions::get))
        .routes(routes!(partitions::list_all))
        .routes(routes!(elections::elect))
        .routes(routes!(reassignments::list, reassignments::run, reassignments::cancel))
        .routes(routes!(reassignments::plan))
        .routes(routes!(groups::list))
        .routes(routes!(groups::get, groups::delete))
        .routes(routes!(groups::reset))
        .routes(routes!(health::get))
}

fn process() -> OpenApiRouter<Rest> {
    OpenApiRouter::new()
        .routes(routes!(probes::health))
        .routes(routes!(probes::ready))
        .routes(routes!(probes::metrics))
}
