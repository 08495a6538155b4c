//! Keeps a link to the active coordinator.

use std::sync::Arc;
use std::time::Duration;

use ottla_client::internode::ClusterSecret;
use ottla_metadata::image::ImageReader;
use ottla_metadata::model::Endpoint;
use ottla_protocol::Str;
use ottla_protocol::messages::node_hello_request::NodeHelloRequest;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::greeting::greet;
use super::link::{CoordinatorLink, CoordinatorTransport};
use crate::identity::Identity;

/// What a broker says of itself when it connects.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// Its names; the broker epoch is read anew for each connection.
    pub identity: Arc<Identity>,
    /// Boot id of the machine.
    pub boot_id: String,
    /// What it and the coordinator have to know, if nodes prove themselves so.
    pub secret: Option<Arc<ClusterSecret>>,
}

/// The task that connects.
#[derive(Debug)]
pub struct Connector {
    transport: Arc<dyn CoordinatorTransport>,
    image: ImageReader,
    node: NodeIdentity,
    links: watch::Sender<Option<Arc<dyn CoordinatorLink>>>,
    /// Told that nothing comes back any more over the link in use.
    given_up: Arc<Notify>,
}

/// The active coordinator as the image knows it: a new term means a new link, also to the same address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Active {
    term: i64,
    endpoint: Endpoint,
}

/// Pause after the first failure; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The longest before a coordinator is asked again that is elected and has yet to take over.
const SOON_MAX: Duration = Duration::from_millis(200);
/// Time to connect and be greeted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A failure is logged when it comes a second time: one is normal when coordinators change places.
const QUIET_FAILURES: u32 = 1;
/// So many repetitions are logged as one.
const REPETITIONS: u32 = 30;

/// Why a coordinator cannot be used.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it is not, or not yet, the active one")]
    NotActive,
    #[error("{0}")]
    Other(String),
}

impl Failure {
    fn pause_max(&self) -> Duration {
        match self {
            Self::NotActive => SOON_MAX,
            Self::Other(_) => PAUSE_MAX,
        }
    }
}

/// What was logged about a coordinator that cannot be used: attempts come once a second, and often fail alike.
#[derive(Debug, Default)]
struct Complaints {
    reason: String,
    times: u32,
}

impl Complaints {
    /// Whether the log should say it.
    fn is_news(&mut self, reason: &str) -> bool {
        if self.reason != reason {
            reason.clone_into(&mut self.reason);
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.times % REPETITIONS == QUIET_FAILURES + 1
    }
}

impl Connector {
    /// Not connected yet; [`Connector::run`] does it.
    pub fn new(
        transport: Arc<dyn CoordinatorTransport>,
        image: ImageReader,
        node: NodeIdentity,
    ) -> Self {
        let given_up = Arc::default();
        Self { transport, image, node, links: watch::channel(None).0, given_up }
    }

    pub(super) fn given_up(&self) -> Arc<Notify> {
        Arc::clone(&self.given_up)
    }

    pub(super) fn links(&self) -> watch::Receiver<Option<Arc<dyn CoordinatorLink>>> {
        self.links.subscribe()
    }

    /// Connects, and connects again, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let stopped = stop.clone();
        tokio::select! {
            () = stopped.cancelled() => {}
            () = self.keep_connected() => {}
        }
        self.links.send_replace(None);
    }

    async fn keep_connected(&mut self) {
        let mut failures: u32 = 0;
        let mut complaints = Complaints::default();
        loop {
            let Some(active) = self.active() else {
                self.image_changed().await;
                continue;
            };
            let connected = timeout(CONNECT_TIMEOUT, self.connect(&active)).await;
            match connected
                .unwrap_or_else(|_| Err(Failure::Other("no greeting in time".to_owned())))
            {
                Ok(link) => {
                    failures = 0;
                    complaints = Complaints::default();
                    tracing::info!(coordinator = %active.endpoint, term = active.term, "connected to the coordinator");
                    self.use_link(link, &active).await;
                    tracing::info!(coordinator = %active.endpoint, "disconnected from the coordinator");
                }
                Err(failure) => {
                    let reason = failure.to_string();
                    if complaints.is_news(&reason) {
                        tracing::warn!(
                            coordinator = %active.endpoint, reason,
                            "cannot reach the active coordinator; topics cannot be created or changed until it answers"
                        );
                    }
                    let pause =
                        PAUSE_MIN.saturating_mul(1 << failures.min(8)).min(failure.pause_max());
                    failures = failures.saturating_add(1);
                    // A new coordinator is worth an attempt at once, and has failed at nothing yet.
                    if timeout(pause, self.wait_for_other(&active)).await.is_ok() {
                        failures = 0;
                    }
                }
            }
        }
    }

    fn active(&self) -> Option<Active> {
        let image = self.image.load();
        let controller = image.controller()?;
        let endpoint = controller.internode.clone();
        Some(Active { term: controller.create_revision, endpoint })
    }

    async fn connect(&self, active: &Active) -> Result<Arc<dyn CoordinatorLink>, Failure> {
        let endpoint = active.endpoint.clone();
        let other = |error: &dyn std::error::Error| Failure::Other(error.to_string());
        let link = self.transport.connect(endpoint).await.map_err(|error| other(&error))?;
        let identity = &self.node.identity;
        let hello = NodeHelloRequest {
            node_id: identity.broker_id.0,
            role: Str::from_static("broker"),
            cluster_id: Some(identity.cluster_id.clone()),
            boot_id: Str::from(self.node.boot_id.as_str()),
            broker_epoch: identity.broker_epoch(),
            version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..NodeHelloRequest::default()
        };
        let secret = self.node.secret.as_deref().map(|secret| (secret, rand::random()));
        let greeting = greet(&*link, hello, secret, CONNECT_TIMEOUT).await;
        let greeting = greeting.map_err(|error| other(&error))?;
        if greeting.cluster_id != identity.cluster_id {
            let reason = format!("it belongs to another cluster, {}", greeting.cluster_id);
            return Err(Failure::Other(reason));
        }
        if !greeting.is_active {
            return Err(Failure::NotActive);
        }
        Ok(link)
    }

    /// Offers the link to callers until it breaks, is given up, or another coordinator is active.
    async fn use_link(&mut self, link: Arc<dyn CoordinatorLink>, active: &Active) {
        let given_up = Arc::clone(&self.given_up);
        let given_up = given_up.notified();
        tokio::pin!(given_up);
        given_up.as_mut().enable();
        self.links.send_replace(Some(Arc::clone(&link)));
        tokio::select! {
            () = link.closed() => {}
            () = given_up => {}
            () = self.wait_for_other(active) => {}
        }
        self.links.send_replace(None);
    }

    /// Waits until the image names another coordinator, or none.
    async fn wait_for_other(&mut self, active: &Active) {
        while self.active().as_ref() == Some(active) {
            self.image_changed().await;
        }
    }

    /// Waits for a newer image; for ever if the feed has ended, since what it said last still holds.
    async fn image_changed(&mut self) {
        if self.image.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_failing_alike_is_said_now_and_then() {
        let mut complaints = Complaints::default();
        let said = (0..60).filter(|_| complaints.is_news("refused")).count();
        assert_eq!(said, 2);
        assert!(!complaints.is_news("another"), "once may be chance");
        assert!(complaints.is_news("another"));
    }
}
