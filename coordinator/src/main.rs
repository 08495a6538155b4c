//! `ottla-coordinator`: one coordinator of a cluster.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use ottla_coordinator::{Config, Coordinator};
use ottla_metadata::config::{Role, ServerConfig, load_server_properties};
use ottla_metadata::store::MetaStore;
use ottla_metadata::store::etcd::{EtcdConfig, EtcdStore};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
#[command(name = "ottla-coordinator", version, about = ABOUT, after_help = AFTER_HELP)]
struct Cli {
    /// The coordinator's file, in the form of Kafka's server.properties.
    #[arg(short, long, value_name = "FILE", env = "OTTLA_COORDINATOR_CONFIG")]
    config: PathBuf,
    /// A config that wins over the file; may be given several times.
    #[arg(long = "override", value_name = "NAME=VALUE", value_parser = name_and_value)]
    overrides: Vec<(String, String)>,
    /// How the log is written to standard error.
    #[arg(long, value_enum, default_value_t, env = "OTTLA_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_format);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let server = load(&cli.config, &cli.overrides)?;
    let etcd = EtcdConfig::from_file(&server)?;
    let store = EtcdStore::new(etcd).context("etcd.endpoints cannot be used")?;
    let offsets = EtcdConfig::offsets_from_file(&server)?
        .map(|etcd| EtcdStore::new(etcd).context("etcd.offsets.endpoints cannot be used"))
        .transpose()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(serve(Config::from(&server), store, offsets))
}

fn load(file: &Path, overrides: &[(String, String)]) -> Result<ServerConfig> {
    let name = file.display().to_string();
    let text = std::fs::read(file).with_context(|| format!("cannot read {name}"))?;
    let loaded = load_server_properties(Role::Coordinator, &name, &text, overrides)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

async fn serve(config: Config, store: EtcdStore, offsets: Option<EtcdStore>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node_id = config.node_id;
    let offsets = offsets.map(|store| -> Arc<dyn MetaStore> { Arc::new(store) });
    let handle = Coordinator::start_with_stores(config, Arc::new(store), offsets).await?;
    tracing::info!(node_id, version = env!("CARGO_PKG_VERSION"), "coordinator started");
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failure = handle.failed() => Some(failure),
    };
    tracing::info!("stopping");
    handle.stop(STOP_TIMEOUT).await;
    match failure {
        None => Ok(()),
        Some(failure) => Err(anyhow::anyhow!(failure)),
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("OTTLA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Human => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// How long requests under way may take when the process is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const ABOUT: &str = "The coordinator of an Ottla cluster: decides who is alive, who leads and which \
topics exist, and serves the REST API";

const AFTER_HELP: &str = "\
A file with these lines is enough on one machine:
  node.id=1
  data.dir=/var/lib/ottla/coordinator
  etcd.endpoints=http://127.0.0.1:2379

Run one, three or more of them, each with its own node.id and data.dir. One is elected
through etcd and active; the others take over when it goes.

  internode.listener  127.0.0.1:9081  where brokers connect
  http.listener       127.0.0.1:9080  people and tools: /v1/openapi.json, /ready, /metrics

OTTLA_LOG sets what is logged: info, debug, ottla_coordinator=debug.";
