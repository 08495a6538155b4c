//! One coordinator: puts the parts together, and runs one term after another.

use std::sync::Arc;
use std::time::Duration;

use ottla_client::internode::{ClusterSecret, SecretError};
use ottla_client::tls::{NodeTls, TlsError};
use ottla_metadata::config::{ConfigMap, listeners};
use ottla_metadata::features;
use ottla_metadata::image::{FeedConfig, FeedError, ImageFeed, ImageReader};
use ottla_metadata::model::{Controller, Endpoint, Rest};
use ottla_metadata::store::MetaStore;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, Command, Unavailable};
use crate::clock::Clock;
use crate::config::Config;
use crate::controller::driver::{Driver, Parts};
use crate::controller::writer::Writer;
use crate::data_dir::{DataDir, DataDirError, HighestSeen};
use crate::heartbeats::Heartbeats;
use crate::internode::{self, Budgets};
use crate::leadership::campaign::{Candidate, Term};
use crate::leadership::former_claim::FormerClaim;
use crate::leadership::presence::Presence;
use crate::leadership::{ActiveController, Leadership};
use crate::log_ends::LogEnds;
use crate::maintenance;
use crate::metrics::Metrics;
use crate::rest;
use crate::shards::{self, Groups, TermParts};

/// Why a coordinator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Whoever reaches the inter-node listener can act as anybody.
    #[error(
        "the inter-node listener is not opened on {endpoint}, where others could pose as brokers: set \
         internode.ssl.keystore.location and internode.ssl.truststore.location, or cluster.secret.file, or \
         bind internode.listener to loopback (allow.insecure.listeners=true opens it all the same)"
    )]
    Exposed {
        /// Which address.
        endpoint: Endpoint,
    },
    /// The cluster's secret cannot be used.
    #[error("cluster.secret.file: {0}")]
    Secret(#[from] SecretError),
    /// Key, certificate or authorities of the inter-node listener cannot be used.
    #[error("internode.ssl: {0}")]
    Tls(#[from] TlsError),
    /// A port cannot be opened.
    #[error("cannot listen on {endpoint} for {purpose}: {source}")]
    Bind {
        /// Which address.
        endpoint: Endpoint,
        /// What for.
        purpose: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What every face of a coordinator (REST, inter-node listener) works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    /// This node's id.
    pub node_id: i32,
    /// Changes, on the active coordinator.
    pub admin: Admin,
    /// The cluster, on every coordinator.
    pub images: ImageReader,
    /// Who is active.
    pub leadership: watch::Receiver<Leadership>,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when the process stops: finish what is under way and take nothing new.
    pub stop: CancellationToken,
    /// The store, for what the image does not hold.
    pub store: Arc<dyn MetaStore>,
    pub(crate) heartbeats: Arc<Heartbeats>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) clock: Clock,
    pub(crate) budgets: Arc<Budgets>,
    /// What other nodes have to know.
    pub(crate) secret: Option<Arc<ClusterSecret>>,
    /// The hosts of the REST API's addresses.
    pub(crate) http_hosts: Arc<[String]>,
    /// What this node's file says: it holds for topics where nothing else is set.
    pub(crate) file: Arc<ConfigMap>,
    /// The groups, on the active coordinator.
    pub(crate) groups: Groups,
    /// Where the logs of partitions end.
    pub(crate) log_ends: Arc<LogEnds>,
}

/// A running coordinator.
#[derive(Debug)]
pub struct Handle {
    services: Services,
    tasks: TaskTracker,
    http: Option<Endpoint>,
    internode: Option<Endpoint>,
    failed: watch::Receiver<Option<String>>,
}

/// The ports that a coordinator opened.
struct Ports {
    http: Option<(TcpListener, Endpoint)>,
    internode: Option<(TcpListener, Endpoint)>,
    internode_tls: Option<NodeTls>,
}

/// A coordinator, to be started.
#[derive(Debug)]
pub struct Coordinator;

impl Coordinator {
    /// Starts a coordinator on `store` and returns at once; it waits for a store that is away, and says so.
    pub async fn start(config: Config, store: Arc<dyn MetaStore>) -> Result<Handle, StartError> {
        Self::start_with_stores(config, store, None).await
    }

    /// Starts a coordinator that keeps groups in a store of their own, if there is one.
    pub async fn start_with_stores(
        config: Config,
        store: Arc<dyn MetaStore>,
        offsets_store: Option<Arc<dyn MetaStore>>,
    ) -> Result<Handle, StartError> {
        let data_dir = config.data_dir.as_deref().map(DataDir::open).transpose()?;
        let seen = data_dir.as_ref().map(DataDir::highest_seen).transpose()?.unwrap_or_default();
        let secret = config.cluster_secret.as_deref().map(ClusterSecret::read).transpose()?;
        let ports = Ports::open(&config).await?;
        let http = ports.http.as_ref().map(|(_, endpoint)| endpoint.clone());
        let internode = ports.internode.as_ref().map(|(_, endpoint)| endpoint.clone());

        let (feed, images) = ImageFeed::new(store.clone(), feed_config(&config, seen));
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (leadership, leaderships) = watch::channel(Leadership::default());
        let (failure, failed) = watch::channel(None);
        let metrics = Metrics::new();
        let services = Services {
            node_id: config.node_id,
            admin: Admin::new(commands.clone(), leaderships.clone()),
            images: images.clone(),
            leadership: leaderships,
            groups: Groups::new(&metrics),
            log_ends: Arc::new(LogEnds::new(Clock::system())),
            metrics,
            stop: CancellationToken::new(),
            store: store.clone(),
            heartbeats: Arc::default(),
            commands,
            clock: Clock::system(),
            budgets: Arc::default(),
            secret: secret.map(Arc::new),
            http_hosts: [&config.http, &config.http_advertised]
                .into_iter()
                .flatten()
                .map(|endpoint| endpoint.host.clone())
                .collect(),
            file: Arc::new(config.admin.file.clone()),
        };
        let tasks = TaskTracker::new();
        let stop = services.stop.clone();
        tasks.spawn(fail_when_too_old(images.clone(), stop.clone(), failure.clone()));
        tasks.spawn(run_feed(feed, stop.clone(), failure));
        tasks.spawn(follow_active(images.clone(), leadership.clone(), stop.clone()));
        let announcement = announcement(&config, http.clone(), internode.clone());
        let former_claim = data_dir
            .as_ref()
            .map_or_else(FormerClaim::default, |dir| FormerClaim::in_folder(dir.path()));
        let presence = Presence {
            store: store.clone(),
            keys: config.keys.clone(),
            images: images.clone(),
            announcement: announcement.clone(),
            session_timeout: config.session_timeout,
        };
        tasks.spawn(presence.run(stop));
        let mut terms = Terms::new(&config, &services, announcement, leadership, former_claim);
        terms.offsets_store = offsets_store;
        tasks.spawn(terms.run(queue));
        if let Some(dir) = data_dir {
            tasks.spawn(remember(dir, seen, services.clone()));
        }
        // Faces are served by whoever owns their protocol.
        ports.serve(&services, &tasks);
        tasks.close();
        Ok(Handle { services, tasks, http, internode, failed })
    }
}

impl Handle {
    /// What its faces work with.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Changes of topics and configs.
    pub fn admin(&self) -> &Admin {
        &self.services.admin
    }

    /// Serves a node that connects through memory: the same protocol as on the inter-node listener.
    pub fn serve_connection<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let served = internode::serve_connection(stream, self.services.clone(), None);
        self.tasks.spawn(served);
    }

    /// Where the REST API is served, with the port that the system chose.
    pub fn http_endpoint(&self) -> Option<&Endpoint> {
        self.http.as_ref()
    }

    /// Where other nodes are served, with the port that the system chose.
    pub fn internode_endpoint(&self) -> Option<&Endpoint> {
        self.internode.as_ref()
    }

    /// Waits until this node is the active coordinator and its writer runs; false if that takes longer
    /// than `timeout`.
    pub async fn until_active(&self, timeout: Duration) -> bool {
        let mut leadership = self.services.leadership.clone();
        let active = leadership.wait_for(|leadership| leadership.is_me);
        matches!(tokio::time::timeout(timeout, active).await, Ok(Ok(_)))
    }

    /// Waits until the coordinator cannot go on by itself, and says why. A process then ends.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops: gives up its activity, so that another takes over at once, and waits for what is under way, up
    /// to `timeout`.
    pub async fn stop(self, timeout: Duration) {
        self.services.stop.cancel();
        if tokio::time::timeout(timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!("stopped before everything under way was done");
        }
    }
}

impl Ports {
    async fn open(config: &Config) -> Result<Self, StartError> {
        let internode_tls = config.internode_tls.as_ref().map(NodeTls::load).transpose()?;
        let http = match &config.http {
            Some(endpoint) => Some(bind(endpoint, "the REST API").await?),
            None => None,
        };
        let internode = match &config.internode {
            Some(endpoint) => {
                check_exposure(config, endpoint)?;
                Some(bind(endpoint, "other nodes").await?)
            }
            None => None,
        };
        Ok(Self { http, internode, internode_tls })
    }

    fn serve(self, services: &Services, tasks: &TaskTracker) {
        if let Some((listener, endpoint)) = self.internode {
            tracing::info!(%endpoint, "serving other nodes");
            let tls = self.internode_tls;
            tasks.spawn(internode::listen(listener, tls, services.clone(), tasks.clone()));
        }
        if let Some((listener, endpoint)) = self.http {
            tracing::info!(%endpoint, "serving the REST API");
            tasks.spawn(rest::serve(listener, services.clone()));
        }
    }
}

/// Who reaches the inter-node listener can act as anybody, so off loopback nodes have to prove who they are.
fn check_exposure(config: &Config, endpoint: &Endpoint) -> Result<(), StartError> {
    if listeners::is_loopback(&endpoint.host) || config.internode_tls.is_some() {
        return Ok(());
    }
    if config.cluster_secret.is_some() {
        tracing::warn!(
            %endpoint,
            "the inter-node listener asks for the cluster's secret, but what nodes say to each other is neither \
             encrypted nor protected: use TLS (internode.ssl.*) on networks you do not trust"
        );
        return Ok(());
    }
    if !config.allow_insecure_listeners {
        return Err(StartError::Exposed { endpoint: endpoint.clone() });
    }
    tracing::warn!(
        %endpoint,
        "whoever reaches the inter-node listener can act as any node and any user: set cluster.secret.file or \
         internode.ssl.*"
    );
    Ok(())
}

async fn bind(
    endpoint: &Endpoint,
    purpose: &'static str,
) -> Result<(TcpListener, Endpoint), StartError> {
    let failed = |source| StartError::Bind { endpoint: endpoint.clone(), purpose, source };
    let listener =
        TcpListener::bind((endpoint.host.as_str(), endpoint.port)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, Endpoint { host: endpoint.host.clone(), port }))
}

fn feed_config(config: &Config, seen: HighestSeen) -> FeedConfig {
    let mut feed = FeedConfig::new(config.keys.clone());
    feed.store_id = (seen.store_id != 0).then_some(seen.store_id);
    feed.highest_revision = seen.revision;
    feed.recovery = seen.recovery;
    feed
}

fn announcement(
    config: &Config,
    http: Option<Endpoint>,
    internode: Option<Endpoint>,
) -> Controller {
    // A face that is not served is announced with port 0, to which nobody connects.
    let nowhere = || Endpoint { host: String::new(), port: 0 };
    Controller {
        node_id: config.node_id,
        boot_id: String::new(),
        http: config.http_advertised.clone().or(http).unwrap_or_else(nowhere),
        internode: config.internode_advertised.clone().or(internode).unwrap_or_else(nowhere),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rest: Rest::new(),
    }
}

async fn run_feed(
    feed: ImageFeed,
    stop: CancellationToken,
    failure: watch::Sender<Option<String>>,
) {
    let result: Result<(), FeedError> = feed.run(stop).await;
    if let Err(error) = result {
        failure.send_replace(Some(error.to_string()));
    }
}

/// Says that this node cannot go on once the cluster has finalised what its version does not support.
async fn fail_when_too_old(
    mut images: ImageReader,
    stop: CancellationToken,
    failure: watch::Sender<Option<String>>,
) {
    loop {
        let unsupported = features::unsupported(&images.load());
        if !unsupported.is_empty() {
            let features = unsupported.join(", ");
            let version = env!("CARGO_PKG_VERSION");
            failure.send_replace(Some(format!(
                "the cluster has finalised {features}, which version {version} does not support: upgrade this \
                 coordinator"
            )));
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = images.changed() => if changed.is_err() { return },
        }
    }
}

/// Keeps what this node knows of the active coordinator up to date.
async fn follow_active(
    mut images: ImageReader,
    leadership: watch::Sender<Leadership>,
    stop: CancellationToken,
) {
    loop {
        let image = images.load();
        let active = image.controller().map(|controller| ActiveController {
            node_id: controller.node_id,
            term: controller.create_revision,
            internode_endpoint: controller.internode.to_string(),
            http_endpoint: controller.http.to_string(),
        });
        leadership.send_if_modified(|known| {
            let differs = known.active != active;
            known.active = active;
            differs
        });
        tokio::select! {
            () = stop.cancelled() => return,
            changed = images.changed() => if changed.is_err() { return },
        }
    }
}

/// Runs one term after another, and answers requests that come to a node that is not active.
struct Terms {
    candidate: Candidate,
    parts: Parts,
    services: Services,
    leadership: watch::Sender<Leadership>,
    /// Where groups are, if that is not where the coordinator is elected.
    offsets_store: Option<Arc<dyn MetaStore>>,
}

impl Terms {
    fn new(
        config: &Config,
        services: &Services,
        announcement: Controller,
        leadership: watch::Sender<Leadership>,
        former_claim: FormerClaim,
    ) -> Self {
        let health = watch::channel(true).0;
        let parts = Parts {
            images: services.images.clone(),
            heartbeats: services.heartbeats.clone(),
            health: health.subscribe(),
            clock: services.clock.clone(),
            metrics: services.metrics.clone(),
            admin: config.admin.clone(),
            liveness: config.liveness,
        };
        let candidate = Candidate {
            store: services.store.clone(),
            keys: config.keys.clone(),
            images: services.images.clone(),
            session_timeout: config.session_timeout,
            announcement,
            former_claim,
            health,
        };
        let (services, offsets_store) = (services.clone(), None);
        Self { candidate, parts, services, leadership, offsets_store }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let stop = self.services.stop.clone();
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.candidate.end_former_term() => {}
        }
        while !stop.is_cancelled() {
            let term = tokio::select! {
                () = stop.cancelled() => return,
                () = reject_all(&mut queue, &self.leadership) => return,
                term = self.candidate.win() => term,
            };
            tracing::info!(term = term.number, "this coordinator is elected");
            tokio::select! {
                () = term.over.cancelled() => {}
                () = stop.cancelled() => {}
                () = reject_all(&mut queue, &self.leadership) => {}
                writer = self.begin(&term) => if let Some(writer) = writer {
                    self.run_term(writer, &term, &mut queue).await;
                },
            }
            tracing::info!(term = term.number, "this coordinator is no longer the active one");
            term.resign().await;
        }
    }

    /// Takes over: fences the former term out, and waits until everything that it wrote is in the image.
    async fn begin(&self, term: &Term) -> Option<Writer> {
        let candidate = &self.candidate;
        let (store, keys) = (candidate.store.clone(), candidate.keys.clone());
        let writer = Writer::begin(store, keys, term, candidate.health.clone()).await?;
        while self.parts.images.wait_for(writer.revision(), CATCH_UP_WARN).await.is_err() {
            tracing::warn!(revision = writer.revision(), "waiting for the image of the cluster");
            tokio::time::sleep(PAUSE).await;
        }
        Some(writer)
    }

    async fn run_term(&mut self, writer: Writer, term: &Term, queue: &mut mpsc::Receiver<Command>) {
        let stop = self.services.stop.clone();
        let driver = Driver::new(self.parts.clone(), writer, term.over.clone());
        let shards = shards::run(self.shard_parts(term));
        self.parts.metrics.active.set(1);
        self.leadership.send_modify(|leadership| leadership.is_me = true);
        tracing::info!("this coordinator is the active one");
        let services = &self.services;
        let (store, images) = (services.store.clone(), services.images.clone());
        let upkeep = maintenance::run(store, images, services.metrics.store.clone());
        tokio::select! {
            () = driver.run(queue, &stop) => {}
            () = upkeep => {}
            () = shards => {}
        }
        self.leadership.send_modify(|leadership| leadership.is_me = false);
        self.parts.metrics.active.set(0);
    }
}

impl Terms {
    fn shard_parts(&self, term: &Term) -> TermParts {
        let services = &self.services;
        TermParts {
            groups: services.groups.clone(),
            store: services.store.clone(),
            offsets_store: self.offsets_store.clone(),
            keys: self.candidate.keys.clone(),
            node_id: services.node_id,
            term: term.number,
            images: services.images.clone(),
            health: self.parts.health.clone(),
            clock: services.clock.clone(),
            metrics: services.metrics.clone(),
            file: services.file.clone(),
            log_ends: services.log_ends.clone(),
            over: term.over.clone(),
        }
    }
}

/// Remembers how far the store was, so that an older one is refused after a restart: now and then, and at
/// the end.
async fn remember(dir: DataDir, mut seen: HighestSeen, services: Services) {
    loop {
        tokio::select! {
            () = services.stop.cancelled() => {}
            () = tokio::time::sleep(REMEMBER_INTERVAL) => {}
        }
        let image = services.images.load();
        let term = services.leadership.borrow().active.as_ref().map_or(0, |active| active.term);
        let recovery = image.cluster().and_then(|cluster| cluster.recovery);
        if recovery != seen.recovery {
            // Revisions and terms began anew.
            seen = HighestSeen { recovery, ..HighestSeen::default() };
        }
        let now = HighestSeen {
            store_id: image.store_id(),
            revision: image.revision().max(seen.revision),
            term: term.max(seen.term),
            recovery,
        };
        if image.is_complete() && now != seen {
            match dir.keep_highest_seen(now) {
                Ok(()) => seen = now,
                Err(error) => tracing::error!(%error, "cannot remember the newest state seen"),
            }
        }
        if services.stop.is_cancelled() {
            return;
        }
    }
}

/// Answers every request with who is active, until nobody can ask any more.
async fn reject_all(queue: &mut mpsc::Receiver<Command>, leadership: &watch::Sender<Leadership>) {
    while let Some(command) = queue.recv().await {
        let active = leadership.borrow().active.clone();
        command.reject(Unavailable::NotActive(active));
    }
}

/// Requests that wait for the writer.
const COMMANDS_MAX: usize = 1024;
/// After this time the log says that the image does not come.
const CATCH_UP_WARN: Duration = Duration::from_secs(5);
/// How often the newest state seen is remembered.
const REMEMBER_INTERVAL: Duration = Duration::from_secs(10);
/// Between attempts.
const PAUSE: Duration = Duration::from_millis(250);
