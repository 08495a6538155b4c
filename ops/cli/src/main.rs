//! `ottla`: topics, records, clusters and logs from the command line, and a whole server in one process.

mod format;
mod input;
mod log_dump;
mod output;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use log_dump::LogDump;
use output::Output;

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
        Err(error) => {
            eprintln!("ottla: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Log(Log::Dump(dump)) => dump.run(cli.output),
    }
}
