//! What every handler of the REST API works with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::response::Response;
use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::{Image, ImageReader};
use ottla_protocol::time::Now;
use tokio::sync::Semaphore;

use super::limits::REQUESTS_MAX;
use super::metrics::RestMetrics;
use super::problem::Problem;
use super::proxy;
use crate::admin::{Admin, Answer};
use crate::coordinator::Services;
use crate::log_ends::LogEnds;
use crate::shards::Groups;

/// The API's state; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    services: Services,
    metrics: RestMetrics,
    http: reqwest::Client,
    permits: Arc<Semaphore>,
}

impl Rest {
    /// The state of an API that serves nothing yet.
    pub fn new(services: Services) -> Self {
        let metrics = RestMetrics::default();
        services.metrics.with_registry(|registry| metrics.register(registry));
        let http = proxy::client();
        let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
        Self { inner: Arc::new(Inner { services, metrics, http, permits }) }
    }

    pub(super) fn node_id(&self) -> i32 {
        self.inner.services.node_id
    }

    pub(super) fn admin(&self) -> &Admin {
        &self.inner.services.admin
    }

    /// The groups, on the active coordinator.
    pub(super) fn groups(&self) -> &Groups {
        &self.inner.services.groups
    }

    /// Where logs end.
    pub(super) fn log_ends(&self) -> &LogEnds {
        &self.inner.services.log_ends
    }

    pub(super) fn images(&self) -> &ImageReader {
        &self.inner.services.images
    }

    /// What this coordinator's file says: it holds for topics where nothing else is set.
    pub(super) fn file(&self) -> &ConfigMap {
        &self.inner.services.file
    }

    /// The hosts by which the API is called, beside localhost and addresses.
    pub(super) fn hosts(&self) -> &[String] {
        &self.inner.services.http_hosts
    }

    /// When each broker was last heard, Unix ms; nothing on a node that is not active.
    pub(super) fn heard_at(&self) -> BTreeMap<i32, i64> {
        let heard = self.inner.services.heartbeats.heard();
        heard.into_iter().map(|heard| (heard.broker, heard.at_ms)).collect()
    }

    /// The time.
    pub(super) fn now(&self) -> Now {
        self.inner.services.clock.now()
    }

    pub(super) fn metrics(&self) -> &RestMetrics {
        &self.inner.metrics
    }

    pub(super) fn metrics_text(&self) -> String {
        self.inner.services.metrics.text()
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.inner.http
    }

    pub(super) fn permits(&self) -> &Arc<Semaphore> {
        &self.inner.permits
    }

    /// The image, once it shows the cluster as a whole: before that nothing can be said to be missing.
    pub(super) fn image(&self) -> Result<Arc<Image>, Problem> {
        let image = self.images().load();
        if image.is_complete() {
            return Ok(image);
        }
        let detail = "this coordinator has not read the cluster's metadata yet; try again";
        Err(Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, detail))
    }

    /// The one result of a request about one thing, once this node's image shows it.
    pub(super) async fn only<T>(&self, answer: Answer<T>) -> Result<Done<T>, Problem> {
        let Answer { mut results, revision } = answer;
        let result = results.pop().ok_or_else(|| {
            let detail = "the controller answered nothing";
            Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, detail)
        })?;
        let value = result?;
        self.catch_up(revision).await;
        Ok(Done { value, revision })
    }

    /// Waits, for a while, until this node's image shows a revision, so that whoever wrote reads it here.
    pub(super) async fn catch_up(&self, revision: i64) {
        if let Err(error) = self.images().wait_for(revision, CATCH_UP_MAX).await {
            tracing::debug!(%error, revision, "answering before the image shows what was written");
        }
    }
}

/// Something that was done, and from which revision on it is visible.
#[derive(Debug)]
pub(super) struct Done<T> {
    pub value: T,
    pub revision: i64,
}

impl<T> Done<T> {
    /// Tells the revision in a header, for the node that passed the request on.
    pub fn mark(&self, mut response: Response) -> Response {
        response.headers_mut().insert(REVISION, HeaderValue::from(self.revision));
        response
    }
}

/// The header that carries the revision at which a write is visible.
pub(super) const REVISION: &str = "ottla-revision";

const CATCH_UP_MAX: Duration = Duration::from_secs(2);
