//! What the API counts of itself.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::state::Rest;

/// Requests by route and outcome, and how long they took. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct RestMetrics {
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: Arc<str>,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Arc<str>,
}

impl Default for RestMetrics {
    fn default() -> Self {
        Self { requests: Family::default(), latency: Family::new_with_constructor(histogram) }
    }
}

impl RestMetrics {
    /// Shows them in a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "rest_requests",
            "Requests to the REST API by route and outcome",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "rest_request_latency",
            "From a REST request's head to its answer",
            Unit::Seconds,
            self.latency.clone(),
        );
    }
}

/// 1 ms to 32 s.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// Counts a request under its route's pattern, so that names in paths make no new series.
pub(super) async fn count(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let route: Arc<str> = matched.map_or("none", MatchedPath::as_str).into();
    let method = known_method(request.method().as_str()).to_owned();
    let begun = tokio::time::Instant::now();
    let response = next.run(request).await;
    let metrics = rest.metrics();
    metrics
        .latency
        .get_or_create(&RouteLabels { route: route.clone() })
        .observe(begun.elapsed().as_secs_f64());
    let labels = RequestLabels { method, route, status: response.status().as_u16() };
    metrics.requests.get_or_create(&labels).inc();
    response
}

/// Methods are free text, and each new one would make a new series.
fn known_method(method: &str) -> &str {
    if ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].contains(&method) {
        method
    } else {
        "other"
    }
}
