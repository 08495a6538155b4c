//! `/health`, `/ready` and `/metrics`: for machines that look after this process.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;
use super::state::Rest;

/// How the process is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// Always `ok`: a process that is not does not answer.
    #[schema(example = "ok")]
    status: &'static str,
    /// This coordinator's node id.
    node_id: i32,
    /// Whether it is the active one.
    active: bool,
    /// The revision of the metadata store that it has read.
    revision: i64,
}

/// Tells whether the process lives.
#[utoipa::path(get, path = "/health", tag = "process",
    responses((status = 200, description = "It lives.", body = Health)))]
pub(super) async fn health(State(rest): State<Rest>) -> Json<Health> {
    Json(state(&rest))
}

/// Tells whether the process can serve: it has read the metadata, and a coordinator is active.
#[utoipa::path(get, path = "/ready", tag = "process",
    responses((status = 200, description = "It can serve.", body = Health),
        (status = 503, description = "It cannot; the detail says why.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn ready(State(rest): State<Rest>) -> Result<Json<Health>, Problem> {
    let not_ready = |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    if !rest.images().load().is_complete() {
        let trouble = rest.images().status().trouble;
        let why = trouble.unwrap_or_else(|| "the list is under way".to_owned());
        return Err(not_ready(format!("the cluster's metadata is not read yet: {why}")));
    }
    let leadership = rest.admin().leadership();
    if !leadership.is_me && leadership.active.is_none() {
        return Err(not_ready("no coordinator is active at the moment".to_owned()));
    }
    Ok(Json(state(&rest)))
}

/// Every metric, in the text format of OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "process",
    responses((status = 200, description = "Metrics.", body = String,
        content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(rest): State<Rest>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], rest.metrics_text()).into_response()
}

fn state(rest: &Rest) -> Health {
    Health {
        status: "ok",
        node_id: rest.node_id(),
        active: rest.admin().leadership().is_me,
        revision: rest.images().load().revision(),
    }
}
