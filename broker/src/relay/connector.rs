//! Keeps a link to the active coordinator.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::image::ImageReader;
use ottla_metadata::model::Endpoint;
use ottla_protocol::messages::node_hello_request::NodeHelloRequest;
use ottla_protocol::{ErrorCode, Str};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::link::{CoordinatorLink, CoordinatorTransport};
use crate::identity::Identity;

/// What a broker says of itself when it connects.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// Its names; the broker epoch is read anew for each connection.
    pub identity: Arc<Identity>,
    /// Boot id of the machine.
    pub boot_id: String,
    /// Proves that it knows the cluster's secret, if there is one.
    pub secret_proof: Option<Bytes>,
}

/// The task that connects.
#[derive(Debug)]
pub struct Connector {
    transport: Arc<dyn CoordinatorTransport>,
    image: ImageReader,
    node: NodeIdentity,
    links: watch::Sender<Option<Arc<dyn CoordinatorLink>>>,
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
/// Time to connect and be greeted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Failures are logged as such from the second on: one is normal when coordinators change places.
const QUIET_FAILURES: u32 = 1;

impl Connector {
    /// Not connected yet; [`Connector::run`] does it.
    pub fn new(
        transport: Arc<dyn CoordinatorTransport>,
        image: ImageReader,
        node: NodeIdentity,
    ) -> Self {
        Self { transport, image, node, links: watch::channel(None).0 }
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
        let mut failures = 0;
        loop {
            let Some(active) = self.active() else {
                self.image_changed().await;
                continue;
            };
            let connected = timeout(CONNECT_TIMEOUT, self.connect(&active)).await;
            match connected.unwrap_or_else(|_| Err("no greeting in time".to_owned())) {
                Ok(link) => {
                    failures = 0;
                    tracing::info!(coordinator = %active.endpoint, term = active.term, "connected to the coordinator");
                    self.use_link(link, &active).await;
                    tracing::info!(coordinator = %active.endpoint, "disconnected from the coordinator");
                }
                Err(reason) => {
                    if QUIET_FAILURES <= failures {
                        tracing::warn!(
                            coordinator = %active.endpoint, reason,
                            "cannot reach the active coordinator; topics cannot be created or changed until it answers"
                        );
                    }
                    let pause = PAUSE_MIN.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
                    failures = failures.saturating_add(1);
                    // A new coordinator is worth an attempt at once.
                    let _ = timeout(pause, self.wait_for_other(&active)).await;
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

    async fn connect(&self, active: &Active) -> Result<Arc<dyn CoordinatorLink>, String> {
        let endpoint = active.endpoint.clone();
        let link = self.transport.connect(endpoint).await.map_err(|error| error.to_string())?;
        let identity = &self.node.identity;
        let hello = NodeHelloRequest {
            node_id: identity.broker_id.0,
            role: Str::from_static("broker"),
            cluster_id: Some(identity.cluster_id.clone()),
            boot_id: Str::from(self.node.boot_id.as_str()),
            broker_epoch: identity.broker_epoch(),
            version: Str::from_static(env!("CARGO_PKG_VERSION")),
            secret_proof: self.node.secret_proof.clone(),
            ..NodeHelloRequest::default()
        };
        let greeting =
            link.hello(hello, CONNECT_TIMEOUT).await.map_err(|error| error.to_string())?;
        let code = ErrorCode::from_code(greeting.error_code);
        if code != ErrorCode::None {
            let message = greeting.error_message.unwrap_or_default();
            return Err(format!("it refuses this broker: {}: {message}", code.name()));
        }
        if greeting.cluster_id != identity.cluster_id {
            return Err(format!("it belongs to another cluster, {}", greeting.cluster_id));
        }
        if !greeting.is_active {
            return Err("it is not, or not yet, the active one".to_owned());
        }
        Ok(link)
    }

    /// Offers the link to callers until it breaks or another coordinator is active.
    async fn use_link(&mut self, link: Arc<dyn CoordinatorLink>, active: &Active) {
        self.links.send_replace(Some(Arc::clone(&link)));
        tokio::select! {
            () = link.closed() => {}
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
