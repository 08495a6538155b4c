//! `ottla`: topics, records, clusters and logs from the command line, and a whole server in one process.

mod brokers;
mod cluster;
mod cluster_recover;
mod connect;
mod consume;
mod dev;
mod format;
mod groups;
mod input;
mod log_dump;
mod names;
mod output;
mod partitions;
mod produce;
mod reassign;
mod rest;
mod topics;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

use brokers::Brokers;
use cluster::Cluster;
use consume::Consume;
use dev::Dev;
use groups::Groups;
use log_dump::LogDump;
use output::Output;
use partitions::Partitions;
use produce::Produce;
use reassign::Reassignments;
use topics::Topics;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
#[command(name = "ottla", version, about = "Event streaming that speaks Kafka's protocol")]
struct Cli {
    /// Where to connect first: host:port, several apart by commas.
    #[arg(
        short = 'b',
        long,
        global = true,
        value_name = "HOST:PORT,…",
        env = "OTTLA_BOOTSTRAP_SERVER",
        default_value = "127.0.0.1:9092"
    )]
    bootstrap_server: String,
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker and a coordinator in one process, for development.
    Dev(Dev),
    /// Create, list, describe, alter and delete topics.
    #[command(subcommand)]
    Topics(Topics),
    /// Write records: lines of a file or of standard input.
    Produce(Box<Produce>),
    /// Print the records of a topic.
    Consume(Consume),
    /// List, describe, reset and delete groups of consumers.
    #[command(subcommand)]
    Groups(Groups),
    /// The cluster as a whole: what is in it, and how it is.
    #[command(subcommand)]
    Cluster(Cluster),
    /// List and describe brokers, drain one, forget one that is gone.
    #[command(subcommand)]
    Brokers(Brokers),
    /// List partitions, elect leaders, move replicas.
    #[command(subcommand)]
    Partitions(Partitions),
    /// Plan, run, watch and cancel moves of many replicas.
    #[command(subcommand)]
    Reassign(Reassignments),
    /// Look into segment files.
    #[command(subcommand)]
    Log(Log),
}

#[derive(Debug, Subcommand)]
enum Log {
    /// Print the batches of a segment, or of all segments of a partition.
    Dump(LogDump),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, as `head` does.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    start_logging();
    match &cli.command {
        Command::Dev(dev) => dev.run(),
        _ => Builder::new_current_thread().enable_all().build()?.block_on(call(cli)),
    }
}

/// Logs go to standard error, as much as RUST_LOG asks for; by default only what went wrong.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    log.init();
}

/// A command that ends when it has its answer.
async fn call(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Dev(_) => unreachable!("it has a runtime of its own"),
        Command::Topics(topics) => topics.run(&cli.bootstrap_server, cli.output).await,
        Command::Produce(produce) => produce.run(&cli.bootstrap_server).await,
        Command::Consume(consume) => consume.run(&cli.bootstrap_server, cli.output).await,
        Command::Groups(groups) => groups.run(&cli.bootstrap_server, cli.output).await,
        Command::Cluster(cluster) => cluster.run(&cli.bootstrap_server, cli.output).await,
        Command::Brokers(brokers) => brokers.run(&cli.bootstrap_server, cli.output).await,
        Command::Partitions(partitions) => partitions.run(&cli.bootstrap_server, cli.output).await,
        Command::Reassign(reassign) => reassign.run(&cli.bootstrap_server, cli.output).await,
        Command::Log(Log::Dump(dump)) => dump.run(cli.output),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
