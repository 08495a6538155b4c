//! `ottla`: topics, records, clusters and logs from the command line, and a whole server in one process.

mod cluster;
mod connect;
mod consume;
mod format;
mod input;
mod log_dump;
mod output;
mod produce;
mod topics;

use std::{io, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use cluster::Cluster;
use consume::Consume;
use log_dump::LogDump;
use output::Output;
use produce::Produce;
use topics::Topics;

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
    /// Create, list, describe, alter and delete topics.
    #[command(subcommand)]
    Topics(Topics),
    /// Write records: lines of a file or of standard input.
    Produce(Box<Produce>),
    /// Print the records of a topic.
    Consume(Consume),
    /// The brokers and what they hold.
    #[command(subcommand)]
    Cluster(Cluster),
    /// Look into segment files.
    #[command(subcommand)]
    Log(Log),
}

#[derive(Debug, Subcommand)]
enum Log {
    /// Print the batches of a segment, or of all segments of a partition.
    Dump(LogDump),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, as `head` does.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Topics(topics) => topics.run(&cli.bootstrap_server, cli.output).await,
        Command::Produce(produce) => produce.run(&cli.bootstrap_server).await,
        Command::Consume(consume) => consume.run(&cli.bootstrap_server, cli.output).await,
        Command::Cluster(cluster) => cluster.run(&cli.bootstrap_server, cli.output).await,
        Command::Log(Log::Dump(dump)) => dump.run(cli.output),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
