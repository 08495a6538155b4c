//! `ottla-broker`: reads its settings, and runs a broker until it is told to stop.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use ottla_broker::broker::{Broker, Handle};
use ottla_broker::config::{Config, etcd};
use ottla_broker::machine;
use ottla_broker::relay::StreamTransport;
use ottla_client::connection::{Connector, TcpConnector};
use ottla_client::tls::{NodeTls, TlsConnector};
use ottla_metadata::store::etcd::EtcdStore;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An Ottla broker: stores partitions and serves Kafka clients.
///
/// It needs etcd and a running ottla-coordinator, and waits for both.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Settings with Kafka's names; every broker needs at least its own node.id.
    #[arg(long, value_name = "server.properties")]
    config: PathBuf,
    /// A setting that wins over the file; may be repeated.
    #[arg(long = "override", value_name = "NAME=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
    /// How the log is written to standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, also for parts (`info,ottla_broker=debug`).
    #[arg(long, env = "OTTLA_LOG", default_value = "info")]
    log: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  A file that is enough for a first broker (server.properties):
      node.id=1
      listeners=PLAINTEXT://:9092
      log.dirs=/var/lib/ottla/broker-1
      etcd.endpoints=http://127.0.0.1:2379

  ottla-broker --config server.properties
  ottla-broker --config server.properties --override node.id=2 \\
      --override listeners=PLAINTEXT://:9192 --override http.listener=:9744 \\
      --override log.dirs=/var/lib/ottla/broker-2

An empty host means loopback. Health checks and metrics are on http://127.0.0.1:9644.
SIGTERM or SIGINT (Ctrl-C) stops it in order; a second one ends it at once.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may go elsewhere, or may not be set up yet.
            eprintln!("ottla-broker: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    start_log(&arguments)?;
    machine::raise_open_files();
    let (config, warnings) = Config::load(&arguments.config, &arguments.overrides)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start threads")?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut interrupts = Interrupts::new()?;
    let store = Arc::new(EtcdStore::new(etcd(&config.server)?)?);
    let coordinators = Arc::new(StreamTransport::new(streams(&config)?));
    let handle = tokio::select! {
        handle = Broker::start(config, store, coordinators) => handle?,
        () = interrupts.next() => {
            tracing::info!("told to stop before clients were served");
            return Ok(());
        }
    };
    run_until_stopped(handle, interrupts).await
}

/// Reaches coordinators: under TLS where it is set up.
fn streams(config: &Config) -> anyhow::Result<Arc<dyn Connector>> {
    let tcp = TcpConnector::default();
    let Some(files) = &config.internode_tls else { return Ok(Arc::new(tcp)) };
    let tls = NodeTls::load(files).context("internode.ssl")?;
    Ok(Arc::new(TlsConnector::new(tcp, tls, tcp.timeout)))
}

async fn run_until_stopped(handle: Handle, mut interrupts: Interrupts) -> anyhow::Result<()> {
    let failed = tokio::select! {
        () = interrupts.next() => None,
        reason = handle.failed() => Some(reason),
    };
    if let Some(reason) = &failed {
        tracing::error!(%reason, "the broker cannot go on");
    } else {
        tracing::info!("told to stop; finishing what is in flight");
    }
    tokio::select! {
        () = handle.stop() => {}
        () = interrupts.next() => tracing::warn!("told to stop again; ending at once"),
    }
    failed.map_or(Ok(()), |reason| Err(anyhow::anyhow!(reason)))
}

/// SIGTERM and SIGINT.
struct Interrupts {
    terminate: Signal,
    interrupt: Signal,
}

impl Interrupts {
    fn new() -> anyhow::Result<Self> {
        let failed = "cannot wait for signals";
        let terminate = signal(SignalKind::terminate()).context(failed)?;
        let interrupt = signal(SignalKind::interrupt()).context(failed)?;
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The error with its causes, each said once: most of ours name their cause themselves.
fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn start_log(arguments: &Arguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&arguments.log)
        .with_context(|| format!("--log={:?} cannot be read", arguments.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Human => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("give it as NAME=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
