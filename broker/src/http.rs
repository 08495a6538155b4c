//! Health and metrics over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | 200 as long as the process can go on, with what it is doing as JSON |
//! | `/ready` | 200 while Kafka clients are served and its replicas are taken up, else 503 |
//! | `/metrics` | figures for Prometheus |

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ottla_metadata::config::listeners::host_or_loopback;
use ottla_metadata::image::ImageReader;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Where a broker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waits for the metadata store.
    WaitingForStore,
    /// Waits for a coordinator that makes the cluster.
    WaitingForCluster,
    /// Opens its logs.
    OpeningLogs,
    /// Waits until the coordinator lets it in.
    WaitingForCoordinator,
    /// Serves clients.
    Serving,
    /// Finishes what is in flight.
    Stopping,
}

/// What the HTTP side knows of the broker.
#[derive(Debug, Clone)]
pub struct Face {
    /// `node.id`.
    pub broker_id: i32,
    /// Where it is in its life.
    pub stage: watch::Receiver<Stage>,
    /// Since the start, every replica here was once what the cluster says.
    pub is_ready: watch::Receiver<bool>,
    /// The cluster.
    pub image: ImageReader,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {host}:{port} for health checks and metrics: {source}; change http.listener"
)]
pub struct HttpError {
    host: String,
    port: u16,
    source: std::io::Error,
}

/// What `/health` tells.
#[derive(Debug, Serialize)]
struct Health {
    status: Stage,
    broker_id: i32,
    version: &'static str,
    image_revision: i64,
    /// What keeps the image from moving.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// Opens the port, so that one that is taken is found before anything else starts.
pub async fn bind((host, port): &(String, u16)) -> Result<(TcpListener, SocketAddr), HttpError> {
    let host = host_or_loopback(host);
    let failed = |source| HttpError { host: host.to_owned(), port: *port, source };
    let listener = TcpListener::bind((host, *port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, face: Face, stop: CancellationToken) {
    let routes = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(face);
    let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "health checks and metrics are no longer served");
    }
}

async fn health(State(face): State<Face>) -> Response {
    let status = *face.stage.borrow();
    axum::Json(Health {
        status,
        broker_id: face.broker_id,
        version: env!("CARGO_PKG_VERSION"),
        image_revision: face.image.load().revision(),
        trouble: face.image.status().trouble,
    })
    .into_response()
}

async fn ready(State(face): State<Face>) -> Response {
    let stage = *face.stage.borrow();
    let is_ready = stage == Stage::Serving && *face.is_ready.borrow();
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(stage)).into_response()
}

async fn metrics(State(face): State<Face>) -> Response {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match face.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
