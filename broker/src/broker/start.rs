//! The way from settings to a broker that serves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::connection::TcpConnector;
use ottla_client::internode::{ClusterSecret, SecretError};
use ottla_metadata::highest_seen::{HighestSeen, HighestSeenError, WentBackwards};
use ottla_metadata::image::{FeedConfig, Image, ImageFeed, ImageReader};
use ottla_metadata::keys::KeySpace;
use ottla_metadata::model::{
    BrokerClaim, Endpoint, Listener as AdvertisedListener, PreviousLife, Rest, SecurityProtocol,
};
use ottla_protocol::{Str, Uuid};
use ottla_storage::{LogIo, OpenDirError, PreviousLife as DirLife};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{Environment, Handle, ready, router};
use crate::auto_create::AutoCreate;
use crate::claim::{ClaimError, Claimant, FormerLease, Keeper};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ListenerConfig};
use crate::data::{self, DataConfig, DataPlane, LogDirs};
use crate::http::{self, Face, HttpError, Stage};
use crate::identity::{Identity, NO_BROKER_EPOCH};
use crate::isr::Proposer;
use crate::listener::{
    AcceptError, AddressLimits, FrameMemory, Listener, Network, SecurityProtocol as Protocol,
};
use crate::metrics::Metrics;
use crate::placement::Reporter;
use crate::producer_ids::ProducerIds;
use crate::relay::{
    Bounds, BrokerState, Connector, CoordinatorTransport, Heartbeat, NodeIdentity, Relay, Standing,
};
use crate::replication::{Fetchers, ReplicationFigures};
use crate::services::Services;
use crate::{figures, machine, replication, seen};

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Listener(#[from] AcceptError),
    /// The port for health checks and metrics cannot be opened.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A log directory cannot be used.
    #[error(transparent)]
    LogDir(#[from] OpenDirError),
    /// The logs cannot be served.
    #[error(transparent)]
    Data(#[from] data::StartError),
    /// What was remembered of the store cannot be read.
    #[error(transparent)]
    Seen(#[from] HighestSeenError),
    /// The store is not the one that this broker belongs to, or was set back.
    #[error(transparent)]
    WentBackwards(#[from] WentBackwards),
    /// The broker id cannot be claimed.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The cluster's secret cannot be used.
    #[error("cluster.secret.file: {0}")]
    Secret(#[from] SecretError),
    /// A thread cannot be started, or ended badly.
    #[error("{0}")]
    Thread(#[from] std::io::Error),
    /// The image of the cluster cannot be followed.
    #[error("{0}")]
    Image(String),
}

/// How often the log repeats what is waited for.
const REMIND: Duration = Duration::from_secs(5);

/// What is built up on the way.
struct Start<I: LogIo> {
    config: Arc<Config>,
    secret: Option<Arc<ClusterSecret>>,
    environment: Environment<I>,
    image: ImageReader,
    stage: watch::Sender<Stage>,
    failure: watch::Sender<Option<String>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the tasks if the start is given up.
    guard: DropGuard,
}

/// Everything up to the broker's place in the cluster.
struct Joined<I: LogIo> {
    dirs: LogDirs<I>,
    identity: Arc<Identity>,
    epochs: watch::Receiver<i64>,
    claim_stop: CancellationToken,
    claim_tasks: TaskTracker,
}

/// The link to the coordinator.
struct Linked {
    relay: Relay,
    state: watch::Sender<BrokerState>,
    standing: watch::Receiver<Standing>,
}

pub(super) async fn start<I: LogIo>(
    config: Config,
    environment: Environment<I>,
) -> Result<Handle, StartError> {
    let listeners = bind(&config)?;
    let (http_listener, http_address) = http::bind(&config.http).await?;
    let bound: Vec<_> = listeners.iter().map(|l| (l.name().clone(), l.address())).collect();
    let metrics = Arc::new(Metrics::new(router().served().map(|api| api.key)));
    let start = Start::follow(config, environment)?;
    let (ready, is_ready) = watch::channel(false);
    let face = Face {
        broker_id: start.config.broker_id.0,
        stage: start.stage.subscribe(),
        is_ready,
        image: start.image.clone(),
        metrics: Arc::clone(&metrics),
    };
    start.tasks.spawn(http::serve(http_listener, face, start.stop.clone()));

    let joined = start.join(&bound, http_address).await?;
    let linked = start.link(&joined.identity);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (feed, changes) = replication::channel();
    let (image, epochs) = (start.image.clone(), joined.epochs);
    let data = DataPlane::start_following(joined.dirs, image, epochs, &clock, Some(feed))?;
    let fetchers = start.fetchers(&joined.identity, (&clock, &metrics), changes);
    start.report_failed_dirs(data.offline_dirs.clone(), linked.state.clone());
    start.wait_until_let_in(&joined.identity).await?;

    let services = start.services(&joined.identity, &linked.relay, &data, (clock, metrics));
    figures::register(&services);
    let network = start.network(&services);
    for listener in listeners {
        network.start(listener);
    }
    start.stage.send_replace(Stage::Serving);
    start.tell_when_ready(&data, ready);
    tracing::info!(broker = services.identity.broker_id.0, "broker serves clients");
    Ok(Handle {
        services,
        network,
        data,
        fetchers,
        listeners: bound,
        http: http_address,
        stage: start.stage,
        state: linked.state,
        standing: linked.standing,
        failed: start.failure.subscribe(),
        claim_stop: joined.claim_stop,
        claim_tasks: joined.claim_tasks,
        stop: start.stop,
        tasks: start.tasks,
        guard: start.guard,
    })
}

/// Waits until something cannot go on, and says what.
pub(super) async fn failure(mut failed: watch::Receiver<Option<String>>) -> String {
    match failed.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

fn bind(config: &Config) -> Result<Vec<Listener>, AcceptError> {
    let backlog = config.network.backlog;
    config.listeners.iter().map(|listener| Listener::bind(&listener.endpoint(), backlog)).collect()
}

impl<I: LogIo> Start<I> {
    /// Begins to follow the image.
    fn follow(config: Config, environment: Environment<I>) -> Result<Self, StartError> {
        let mut feed = FeedConfig::new(keys(&config));
        if let Some(seen) = HighestSeen::read(&first_dir(&config))? {
            feed.store_id = Some(seen.store_id);
            feed.highest_revision = seen.revision;
            feed.recovery = seen.recovery;
        }
        let (feed, image) = ImageFeed::new(Arc::clone(&environment.store), feed);
        let stop = CancellationToken::new();
        let secret = config.cluster_secret_file.as_deref().map(ClusterSecret::read).transpose()?;
        let start = Self {
            config: Arc::new(config),
            secret: secret.map(Arc::new),
            environment,
            image,
            stage: watch::channel(Stage::WaitingForStore).0,
            failure: watch::channel(None).0,
            tasks: TaskTracker::new(),
            guard: stop.clone().drop_guard(),
            stop,
        };
        let (failure, stop) = (start.failure.clone(), start.stop.clone());
        start.tasks.spawn(async move {
            if let Err(error) = feed.run(stop).await {
                failure.send_replace(Some(error.to_string()));
            }
        });
        Ok(start)
    }

    /// Finds the cluster, opens the log directories and claims the broker id.
    async fn join(
        &self,
        bound: &[(Str, SocketAddr)],
        http: SocketAddr,
    ) -> Result<Joined<I>, StartError> {
        let image = self.wait_for(|image| image.is_complete(), "the metadata store").await?;
        let first_dir = first_dir(&self.config);
        if let Some(seen) = HighestSeen::read(&first_dir)? {
            let found = (image.store_id(), image.revision());
            seen.check(found, seen::term(&image), seen::recovery(&image))?;
        }
        self.stage.send_replace(Stage::WaitingForCluster);
        let found = |image: &Image| image.cluster().is_some();
        let image = self.wait_for(found, "a coordinator that founds the cluster").await?;
        let cluster_id = image.cluster().map(|cluster| cluster.cluster_id.clone());
        let cluster_id = Str::from(cluster_id.unwrap_or_default());

        self.stage.send_replace(Stage::OpeningLogs);
        let dirs = self.open_dirs(&cluster_id, image).await?;
        let keeping = seen::of(&self.image.load());
        let image = self.image.clone();
        self.tasks.spawn(seen::keep(keeping, first_dir.clone(), image, self.stop.clone()));

        let claimant = Claimant {
            store: Arc::clone(&self.environment.store),
            keys: keys(&self.config),
            broker_id: self.config.broker_id,
            session_timeout: self.config.session_timeout,
            claim: self.claim(&dirs, bound, http),
        };
        let lease = FormerLease::in_dir(&first_dir);
        let claimed = claimant.claim(lease.read()).await?;
        let broker_epoch = claimed.broker_epoch;
        tracing::info!(broker = self.config.broker_id.0, broker_epoch, "claimed the broker id");
        let identity = Identity::new(cluster_id, self.config.broker_id, broker_epoch);
        let (epochs, told) = watch::channel(NO_BROKER_EPOCH);
        let keeper = Keeper::new(claimant, claimed, lease, self.image.clone(), epochs);
        let joined = Joined {
            dirs,
            identity: Arc::new(identity),
            epochs: told,
            claim_stop: CancellationToken::new(),
            claim_tasks: TaskTracker::new(),
        };
        self.keep_claim(keeper, &joined);
        // Heartbeats count from the moment that this broker's image shows its claim.
        self.wait_for(|image| broker_epoch <= image.revision(), "its own claim").await?;
        Ok(joined)
    }

    fn keep_claim(&self, keeper: Keeper, joined: &Joined<I>) {
        let failure = self.failure.clone();
        let (claim_stop, stop) = (joined.claim_stop.clone(), self.stop.clone());
        joined.claim_tasks.spawn(async move {
            let kept = tokio::select! {
                // A start that is given up leaves the claim to its lease.
                () = stop.cancelled() => return,
                kept = keeper.run(claim_stop) => kept,
            };
            if let Err(error) = kept {
                failure.send_replace(Some(error.to_string()));
            }
        });
        let (identity, mut epochs) = (Arc::clone(&joined.identity), joined.epochs.clone());
        joined.claim_tasks.spawn(async move {
            while epochs.changed().await.is_ok() {
                identity.set_broker_epoch(*epochs.borrow_and_update());
            }
        });
    }

    async fn open_dirs(
        &self,
        cluster_id: &Str,
        image: Arc<Image>,
    ) -> Result<LogDirs<I>, StartError> {
        let config = DataConfig::new(
            Arc::clone(&self.config.server),
            self.config.broker_id,
            cluster_id.clone(),
            self.environment.boot_id.clone(),
            self.config.log_dirs.clone(),
        );
        let io = self.environment.io.clone();
        let open = move || {
            let mut dirs = LogDirs::open(&io, config)?;
            dirs.recover(&image)?;
            Ok::<_, OpenDirError>(dirs)
        };
        Ok(machine::on_thread("log-recovery", open).await??)
    }

    fn claim(
        &self,
        dirs: &LogDirs<I>,
        bound: &[(Str, SocketAddr)],
        http: SocketAddr,
    ) -> BrokerClaim {
        let listeners = self.config.listeners.iter().zip(bound);
        BrokerClaim {
            listeners: listeners.map(|(listener, (_, at))| advertised(listener, *at)).collect(),
            inter_broker_listener: self.config.inter_broker_listener.clone(),
            rack: self.config.rack.clone(),
            log_dirs: dirs.ids(),
            boot_id: self.environment.boot_id.clone(),
            incarnation_id: Uuid::from_bytes(rand::random()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            previous: previous_life(dirs.previous_life()),
            features: ottla_metadata::features::supported(),
            http: Some(Endpoint { host: http.ip().to_string(), port: http.port() }),
            rest: Rest::new(),
        }
    }

    /// Connects to the coordinator and sends heartbeats.
    fn link(&self, identity: &Arc<Identity>) -> Linked {
        let node = NodeIdentity {
            identity: Arc::clone(identity),
            boot_id: self.environment.boot_id.clone(),
            secret: self.secret.clone(),
        };
        let transport: Arc<dyn CoordinatorTransport> = Arc::clone(&self.environment.coordinators);
        let connector = Connector::new(transport, self.image.clone(), node);
        let (bounds, image) = (Bounds::default(), self.image.clone());
        let relay = Relay::new(&connector, bounds, Arc::clone(identity), image.clone());
        self.tasks.spawn(connector.run(self.stop.clone()));
        let (state, states) = watch::channel(BrokerState::default());
        let states = (states, self.config.heartbeat_interval);
        let (heartbeat, standing) =
            Heartbeat::new(relay.clone(), Arc::clone(identity), image, states);
        self.tasks.spawn(heartbeat.run(self.stop.clone()));
        Linked { relay, state, standing }
    }

    /// Tells the coordinator of log directories that fail.
    fn report_failed_dirs(
        &self,
        mut offline: watch::Receiver<Vec<Uuid>>,
        state: watch::Sender<BrokerState>,
    ) {
        self.tasks.spawn(async move {
            while offline.changed().await.is_ok() {
                let dirs = offline.borrow_and_update().clone();
                state.send_modify(|state| state.offline_log_dirs = dirs);
            }
        });
    }

    async fn wait_until_let_in(&self, identity: &Identity) -> Result<(), StartError> {
        self.stage.send_replace(Stage::WaitingForCoordinator);
        let is_in = |image: &Image| {
            let record = image.broker(identity.broker_id.0);
            record.is_some_and(|r| r.broker_epoch == identity.broker_epoch() && !r.fenced)
        };
        self.wait_for(is_in, "the active coordinator, which has to let this broker in").await?;
        Ok(())
    }

    fn services(
        &self,
        identity: &Arc<Identity>,
        relay: &Relay,
        data: &DataPlane,
        (clock, metrics): (Arc<dyn Clock>, Arc<Metrics>),
    ) -> Arc<Services> {
        let proposer = Proposer::new(
            Arc::clone(&data.path.proposals),
            relay.clone(),
            Arc::clone(identity),
            data.path.figures.isr.clone(),
        );
        self.tasks.spawn(proposer.run(self.stop.clone()));
        let (placements, image) = (Arc::clone(&data.path.placements), self.image.clone());
        let reporter = Reporter::new(placements, relay.clone(), Arc::clone(identity), image);
        self.tasks.spawn(reporter.run(self.stop.clone()));
        let (producer_ids, task) = ProducerIds::new(relay.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task.run() => {}
            }
        });
        Arc::new(Services {
            clock,
            config: Arc::clone(&self.config),
            identity: Arc::clone(identity),
            image: self.image.clone(),
            relay: relay.clone(),
            producer_ids,
            auto_create: AutoCreate::default(),
            data: Arc::clone(&data.path),
            metrics,
            apis: router().served().cloned().collect(),
        })
    }

    /// Follows the leaders of what this broker does not lead.
    fn fetchers(
        &self,
        identity: &Arc<Identity>,
        (clock, metrics): (&Arc<dyn Clock>, &Arc<Metrics>),
        changes: replication::Changes,
    ) -> Fetchers {
        let server = &self.config.server;
        let transport = replication::Transport {
            connector: Arc::new(TcpConnector::default()),
            image: self.image.clone(),
            identity: Arc::clone(identity),
            timeout: server.millis("replica.socket.timeout.ms"),
        };
        let figures = ReplicationFigures::register(metrics);
        Fetchers::start(transport, server, (Arc::clone(clock), figures), changes)
    }

    fn network(&self, services: &Arc<Services>) -> Network {
        let network = &self.config.network;
        let addresses =
            AddressLimits::new(network.per_address_max, network.per_address_overrides.clone());
        let memory = FrameMemory::of_machine(machine::memory_bytes());
        let limits = (network.connections_max, addresses);
        Network::new(Arc::clone(services), router(), network.limits.clone(), memory, limits)
    }

    fn tell_when_ready(&self, data: &DataPlane, ready: watch::Sender<bool>) {
        if ready::waiting(&data.path) == 0 {
            ready.send_replace(true);
            return;
        }
        let (path, stop) = (Arc::clone(&data.path), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = ready::tell(&path, &ready) => {}
            }
        });
    }

    /// Waits until the image shows something, and says what is missing as long as it does not.
    async fn wait_for(
        &self,
        is_there: impl Fn(&Image) -> bool,
        what: &str,
    ) -> Result<Arc<Image>, StartError> {
        let mut image = self.image.clone();
        let reached = async {
            loop {
                let current = image.load();
                if is_there(&current) {
                    return current;
                }
                if image.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::pin!(reached);
        let mut reminder =
            tokio::time::interval_at(tokio::time::Instant::now() + FIRST_REMINDER, REMIND);
        loop {
            tokio::select! {
                image = &mut reached => return Ok(image),
                reason = failure(self.failure.subscribe()) => return Err(StartError::Image(reason)),
                _ = reminder.tick() => {
                    match self.image.status().trouble {
                        Some(trouble) => tracing::warn!(trouble, "waiting for {what}"),
                        None => tracing::warn!("waiting for {what}"),
                    }
                }
            }
        }
    }
}

/// When the log first says what is waited for.
const FIRST_REMINDER: Duration = Duration::from_secs(2);

fn keys(config: &Config) -> KeySpace {
    let prefix = config.server.text("etcd.prefix");
    prefix.map_or_else(KeySpace::default, |prefix| KeySpace::new(&prefix))
}

/// Where the broker keeps what is not a log.
fn first_dir(config: &Config) -> PathBuf {
    config.log_dirs.first().cloned().unwrap_or_default()
}

fn advertised(listener: &ListenerConfig, bound: SocketAddr) -> AdvertisedListener {
    let port = match listener.advertised_port {
        0 => bound.port(),
        port => port,
    };
    AdvertisedListener {
        name: listener.name.clone(),
        host: listener.advertised_host.clone(),
        port,
        security_protocol: match listener.protocol {
            Protocol::Plaintext => SecurityProtocol::Plaintext,
            Protocol::Ssl => SecurityProtocol::Ssl,
            Protocol::SaslPlaintext => SecurityProtocol::SaslPlaintext,
            Protocol::SaslSsl => SecurityProtocol::SaslSsl,
        },
    }
}

/// An end whose broker epoch is not on record proves nothing: the controller compares epochs.
pub(crate) fn previous_life(life: DirLife) -> PreviousLife {
    let machine_crash = |epoch: Option<i64>| PreviousLife::MachineCrash {
        broker_epoch: epoch.unwrap_or(NO_BROKER_EPOCH),
    };
    match life {
        DirLife::New => PreviousLife::None,
        DirLife::Clean { broker_epoch: Some(broker_epoch) } => PreviousLife::Clean { broker_epoch },
        DirLife::ProcessCrash { broker_epoch: Some(broker_epoch) } => {
            PreviousLife::ProcessCrash { broker_epoch }
        }
        DirLife::Clean { broker_epoch: None } | DirLife::ProcessCrash { broker_epoch: None } => {
            machine_crash(None)
        }
        DirLife::MachineCrash { broker_epoch } => machine_crash(broker_epoch),
    }
}
