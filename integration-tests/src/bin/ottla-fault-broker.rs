//! The broker as it ships, on disks that a test can break and on a machine whose power it can cut.
//!
//! Only the disk ([`FaultIo`]) and the boot id are not the machine's own. Orders come as lines over a Unix socket and are
//! answered with `ok` or with what is wrong; a power cut is answered by the end of the connection.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use ottla_broker::broker::{Broker, Environment};
use ottla_broker::config::{Config, etcd};
use ottla_broker::machine;
use ottla_broker::relay::StreamTransport;
use ottla_client::connection::TcpConnector;
use ottla_integration_tests::disk_order::{DiskOrder, POWER_OFF_STATUS};
use ottla_metadata::store::etcd::EtcdStore;
use ottla_storage::io::FaultIo;
use tokio::signal::unix::{SignalKind, signal};

/// A broker for tests: its disks can be broken and its power cut.
#[derive(Debug, Parser)]
struct Arguments {
    /// As for `ottla-broker`.
    #[arg(long)]
    config: PathBuf,
    /// As for `ottla-broker`.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
    /// What the machine calls its present life.
    #[arg(long)]
    boot_id: String,
    /// Where orders are taken.
    #[arg(long)]
    orders: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_ansi(false).with_writer(io::stderr).init();
    machine::raise_open_files();
    let overrides: Vec<_> = (arguments.overrides.iter())
        .map(|text| {
            let (name, value) = text.split_once('=').context("give it as NAME=VALUE")?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect::<anyhow::Result<_>>()?;
    let (config, _) = Config::load(&arguments.config, &overrides)?;
    let disk = FaultIo::default();
    take_orders(&arguments.orders, disk.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, disk, arguments.boot_id))
}

async fn serve(config: Config, disk: FaultIo, boot_id: String) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let environment = Environment {
        io: disk,
        boot_id,
        store: Arc::new(EtcdStore::new(etcd(&config.server)?)?),
        coordinators: Arc::new(StreamTransport::new(Arc::new(TcpConnector::default()))),
    };
    let handle = tokio::select! {
        handle = Broker::start_in(config, environment) => handle?,
        _ = terminate.recv() => return Ok(()),
    };
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        reason = handle.failed() => Some(reason),
    };
    handle.stop().await;
    failed.map_or(Ok(()), |reason| Err(anyhow::anyhow!(reason)))
}

fn take_orders(path: &Path, disk: FaultIo) -> anyhow::Result<()> {
    // A former life may have left its own.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).context("the socket for orders")?;
    std::thread::Builder::new().name("orders".to_owned()).spawn(move || {
        for connection in listener.incoming() {
            if let Err(error) = connection.and_then(|stream| follow(&stream, &disk)) {
                tracing::warn!(%error, "whoever gives orders is gone");
            }
        }
    })?;
    Ok(())
}

fn follow(mut stream: &UnixStream, disk: &FaultIo) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        match line?.parse() {
            Ok(DiskOrder::CutPower) => disk.cut_power_then(|undone| {
                // Nothing else has run since: nobody saw the disk fail.
                let status = undone.map_or_else(|_| 1, |()| POWER_OFF_STATUS);
                std::process::exit(status)
            }),
            Ok(DiskOrder::Break(fault, dir)) => disk.inject(&dir, fault),
            Ok(DiskOrder::Heal(dir)) => disk.heal(&dir),
            Err(no_order) => {
                writeln!(stream, "{no_order}")?;
                continue;
            }
        }
        writeln!(stream, "ok")?;
    }
    Ok(())
}
