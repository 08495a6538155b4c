//! `ottla dev`: a broker and a coordinator in one process, on the embedded metadata store.
//!
//! The same claims, fences and relay as in a cluster of many processes; only the link between the two goes through memory.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use futures_util::{FutureExt, future::BoxFuture};
use ottla_broker::{broker::Broker, config::Config, relay::StreamTransport};
use ottla_client::connection::{Address, BoxedStream, ConnectError, Connector};
use ottla_coordinator::Coordinator;
use ottla_metadata::{model::Endpoint, store::MetaStore, store::embedded::EmbeddedStore};
use tempfile::TempDir;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// The coordinator's id; the broker's is 1.
const COORDINATOR_ID: i32 = 1000;
/// Bytes that may be on their way between broker and coordinator.
const LINK_BYTES: usize = 256 << 10;
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How to run it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla dev                         on 127.0.0.1:9092, data kept in ./ottla-data
  ottla dev --temporary             data gone when it ends
  ottla dev --port 19092 --set num.partitions=6")]
pub struct Dev {
    /// Where clients connect; on loopback only.
    #[arg(long, default_value_t = 9092)]
    port: u16,
    /// Where the data is kept.
    #[arg(long, default_value = "ottla-data", conflicts_with = "temporary")]
    data_dir: PathBuf,
    /// Keep the data in a temporary folder, and remove it at the end.
    #[arg(long)]
    temporary: bool,
    /// Port of the REST admin API; 0 lets the system choose.
    #[arg(long, default_value_t = 9080)]
    rest_port: u16,
    /// Port of the broker's health and metrics; 0 lets the system choose.
    #[arg(long, default_value_t = 9644)]
    http_port: u16,
    /// A broker setting by Kafka's name; repeat for more.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Connects to the coordinator of this process, whatever the address.
struct InProcess(Arc<ottla_coordinator::Handle>);

impl Connector for InProcess {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, Result<BoxedStream, ConnectError>> {
        let (mine, theirs) = tokio::io::duplex(LINK_BYTES);
        self.0.serve_connection(theirs);
        async move { Ok(Box::new(mine) as BoxedStream) }.boxed()
    }
}

impl Dev {
    /// Runs until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// When it cannot start, or cannot go on.
    pub fn run(&self) -> Result<()> {
        ottla_broker::machine::raise_open_files();
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(&self) -> Result<()> {
        let (folder, _temporary) = self.folder()?;
        let store = open_store(&folder.join("metadata"))?;
        let stop = CancellationToken::new();
        let leases = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move { store.run(stop).await }
        });
        let store: Arc<dyn MetaStore> = Arc::new(store);
        let coordinator = Coordinator::start(self.coordinator_config(), Arc::clone(&store)).await?;
        let coordinator = Arc::new(coordinator);
        let link = StreamTransport::new(Arc::new(InProcess(Arc::clone(&coordinator))));
        let broker = Broker::start(self.broker_config(&folder)?, store, Arc::new(link)).await?;
        let (_, address) = &broker.listeners()[0];
        self.greet(address, &folder);

        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let failed = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            reason = broker.failed() => Some(reason),
            reason = coordinator.failed() => Some(reason),
        };
        let stopped = tokio::time::timeout(STOP_WITHIN, broker.stop()).await;
        if let Some(coordinator) = Arc::into_inner(coordinator) {
            coordinator.stop(STOP_WITHIN).await;
        }
        stop.cancel();
        leases.await?;
        match failed {
            Some(reason) => bail!("{reason}"),
            None => stopped.context("the broker did not stop in time"),
        }
    }

    /// The data's folder, and the guard that removes a temporary one.
    fn folder(&self) -> Result<(PathBuf, Option<TempDir>)> {
        if self.temporary {
            let folder = tempfile::Builder::new().prefix("ottla-dev-").tempdir()?;
            return Ok((folder.path().to_owned(), Some(folder)));
        }
        fs::create_dir_all(&self.data_dir).with_context(|| self.data_dir.display().to_string())?;
        Ok((self.data_dir.canonicalize()?, None))
    }

    fn coordinator_config(&self) -> ottla_coordinator::Config {
        let http = Endpoint { host: "127.0.0.1".to_owned(), port: self.rest_port };
        ottla_coordinator::Config {
            http: Some(http),
            internode: None,
            ..ottla_coordinator::Config::new(COORDINATOR_ID)
        }
    }

    fn broker_config(&self, folder: &Path) -> Result<Config> {
        let text = format!(
            "node.id=1\nlisteners=PLAINTEXT://127.0.0.1:{}\nhttp.listener=127.0.0.1:{}\nlog.dirs={}\n",
            self.port,
            self.http_port,
            folder.join("logs").display()
        );
        let mut overrides = Vec::new();
        for setting in &self.set {
            let (name, value) = setting
                .split_once('=')
                .with_context(|| format!("--set {setting:?} is not NAME=VALUE"))?;
            overrides.push((name.to_owned(), value.to_owned()));
        }
        let (config, warnings) = Config::parse("ottla dev", text.as_bytes(), &overrides)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }

    fn greet(&self, address: &SocketAddr, folder: &Path) {
        let fate = if self.temporary { "removed at the end" } else { "kept" };
        println!("ready: bootstrap {address}, REST http://127.0.0.1:{}/v1", self.rest_port);
        println!("data in {} ({fate}); ctrl-c stops", folder.display());
    }
}

/// The store, with an id of its own when it is new.
fn open_store(folder: &Path) -> Result<EmbeddedStore> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let id = u64::from(std::process::id()) << 32 | u64::from(rand_word());
    EmbeddedStore::open(folder, id).with_context(|| folder.display().to_string())
}

/// Thirty-two bits that differ from process to process.
fn rand_word() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 32) as u32
}
