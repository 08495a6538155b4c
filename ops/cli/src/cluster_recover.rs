//! `ottla cluster recover`: puts etcd right from the brokers' disks, after it was restored from a snapshot or lost.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use ottla_broker::{machine, recovery::collect};
use ottla_coordinator::{
    recovery::{self, Finding, Gravity, PartitionRow, Plan},
    seen_recovery,
};
use ottla_metadata::{
    config::{Role, ServerConfig, load_server_properties},
    keys::KeySpace,
    model::{Recovery, decode, encode},
    recovery::BrokerFacts,
    store::etcd::{EtcdConfig, EtcdStore},
};
use ottla_protocol::Uuid;
use ottla_storage::RealIo;
use serde::Serialize;

use crate::{
    names::joined,
    output::{Output, number, table, words},
};

/// The steps of a recovery.
#[derive(Debug, Subcommand)]
pub enum Recover {
    /// Print what the disks of this machine's stopped brokers hold, for `apply` on another one.
    Collect(Collect),
    /// Plan, show and write what etcd has to hold, from facts that were collected and from disks of this machine.
    #[command(after_help = "\
With every broker and coordinator stopped, and etcd running on what was restored (or empty):

  on each machine with brokers
    ottla cluster recover collect --config server.properties > broker-1.json
  then on one that reaches etcd
    ottla cluster recover apply broker-*.json --config coordinator.properties --dry-run
    ottla cluster recover apply broker-*.json --config coordinator.properties

  all on one machine
    ottla cluster recover apply --log-dirs data/broker-1,data/broker-2 --etcd http://127.0.0.1:2379

LOST      records or settings that are known to be gone
UNPROVED  it cannot be shown that nothing is
CHANGED   the disks say otherwise than the snapshot, and are followed")]
    Apply(Box<Apply>),
}

/// Which disks.
#[derive(Debug, Clone, Args)]
pub struct Disks {
    /// Log directories, several apart by commas; of one broker or of several.
    #[arg(long, value_name = "DIR,…", value_delimiter = ',')]
    log_dirs: Vec<PathBuf>,
}

/// What to collect.
#[derive(Debug, Args)]
pub struct Collect {
    #[command(flatten)]
    disks: Disks,
    /// A broker's file, whose log.dirs are meant.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What to recover from and into.
#[derive(Debug, Args)]
pub struct Apply {
    /// Facts that were collected.
    #[arg(value_name = "FACTS")]
    facts: Vec<PathBuf>,
    #[command(flatten)]
    disks: Disks,
    /// A coordinator's or broker's file, which says how to reach etcd (TLS and password too).
    #[arg(short, long, value_name = "FILE", conflicts_with = "etcd")]
    config: Option<PathBuf>,
    /// Etcd's endpoints, several apart by commas.
    #[arg(long, value_name = "URL,…", value_delimiter = ',', required_unless_present = "config")]
    etcd: Vec<String>,
    /// Where the cluster is in etcd.
    #[arg(long, value_name = "PREFIX", default_value = KeySpace::DEFAULT_PREFIX)]
    prefix: String,
    /// Folders of coordinators (data.dir), which may know of an earlier recovery.
    #[arg(long, value_name = "DIR,…", value_delimiter = ',')]
    data_dirs: Vec<PathBuf>,
    /// A broker whose disks are gone for good; may be given several times.
    #[arg(long, value_name = "BROKER")]
    without: Vec<i32>,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    cluster_id: &'a str,
    recovery: i64,
    partitions: &'a [PartitionRow],
    findings: &'a [Finding],
    written: bool,
}

impl Recover {
    /// Runs the step.
    ///
    /// # Errors
    /// When disks or etcd cannot be read, are in use, or do not fit together.
    pub async fn run(&self, output: Output) -> Result<()> {
        match self {
            Self::Collect(step) => step.run(),
            Self::Apply(step) => step.run(output).await,
        }
    }
}

impl Collect {
    /// One line of JSON for each broker.
    fn run(&self) -> Result<()> {
        let mut dirs = self.disks.log_dirs.clone();
        if let Some(file) = &self.config {
            dirs.extend(load(Role::Broker, file)?.log_dirs().into_iter().map(PathBuf::from));
        }
        if dirs.is_empty() {
            bail!("say which disks: --config server.properties or --log-dirs DIR,…");
        }
        let mut out = io::stdout().lock();
        for facts in collect(&RealIo, &dirs, &machine::boot_id())? {
            out.write_all(&encode(&facts))?;
            writeln!(out)?;
        }
        Ok(())
    }
}

impl Apply {
    async fn run(&self, output: Output) -> Result<()> {
        let facts = self.facts()?;
        let known = self.known()?;
        let (etcd, keys) = self.etcd()?;
        let store = Arc::new(EtcdStore::new(etcd).context("etcd's endpoints cannot be used")?);
        let snapshot = recovery::read(&*store, &keys, CLAIMS_END_WITHIN).await?;
        let without: BTreeSet<i32> = self.without.iter().copied().collect();
        let plan = recovery::plan(&recovery::Request {
            image: &snapshot.image,
            heads: &snapshot.heads,
            facts: &facts,
            known,
            without: &without,
            id: Uuid::from_bytes(random()?),
        })?;
        if output == Output::Table {
            output.print_one(&shown(&plan, false), |_| text(&plan))?;
        }
        let is_wanted = !self.dry_run && (self.yes || is_confirmed(&plan)?);
        if is_wanted {
            recovery::apply(store, &keys, &plan, SESSION).await?;
        }
        match output {
            Output::Json => output.print_one(&shown(&plan, is_wanted), |_| String::new()),
            Output::Table => {
                println!("\n{}", if is_wanted { WRITTEN } else { "nothing was written" });
                Ok(())
            }
        }
    }

    fn facts(&self) -> Result<Vec<BrokerFacts>> {
        let mut out = Vec::new();
        for file in &self.facts {
            let name = file.display().to_string();
            let text = fs::read(file).with_context(|| format!("cannot read {name}"))?;
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                out.push(decode(&name, line).map_err(|error| anyhow!("{error}"))?);
            }
        }
        if !self.disks.log_dirs.is_empty() {
            out.extend(collect(&RealIo, &self.disks.log_dirs, &machine::boot_id())?);
        }
        Ok(out)
    }

    fn known(&self) -> Result<Option<Recovery>> {
        let mut known = None;
        for dir in &self.data_dirs {
            known = Recovery::later(known, seen_recovery(dir)?);
        }
        Ok(known)
    }

    fn etcd(&self) -> Result<(EtcdConfig, KeySpace)> {
        let Some(file) = &self.config else {
            return Ok((EtcdConfig::new(self.etcd.clone()), KeySpace::new(&self.prefix)));
        };
        // What etcd needs has the same names in both kinds of file.
        let config = load(Role::Coordinator, file).or_else(|_| load(Role::Broker, file))?;
        let prefix = config.text("etcd.prefix").unwrap_or_else(|| self.prefix.clone());
        Ok((EtcdConfig::from_file(&config)?, KeySpace::new(&prefix)))
    }
}

fn load(role: Role, file: &Path) -> Result<ServerConfig> {
    let name = file.display().to_string();
    let text = fs::read(file).with_context(|| format!("cannot read {name}"))?;
    Ok(load_server_properties(role, &name, &text, &[])?.config)
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}

fn shown(plan: &Plan, written: bool) -> Shown<'_> {
    Shown {
        cluster_id: &plan.cluster_id,
        recovery: plan.recovery.number,
        partitions: &plan.partitions,
        findings: &plan.findings,
        written,
    }
}

fn is_confirmed(plan: &Plan) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nobody can be asked: --yes writes it, --dry-run only shows it");
    }
    print!("\nwrite this to etcd? type the cluster's id, {}: ", plan.cluster_id);
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == plan.cluster_id)
}

fn text(plan: &Plan) -> String {
    let columns = [
        words("TOPIC"),
        number("PARTITION"),
        words("REPLICAS"),
        words("IN SYNC"),
        number("LOG END"),
        number("EPOCH IN ETCD"),
        number("IN LOGS"),
        number("FROM NOW ON"),
    ];
    let dash = || "–".to_owned();
    let rows = plan.partitions.iter().map(|row| {
        vec![
            row.topic.clone(),
            row.partition.to_string(),
            joined(&row.replicas),
            joined(&row.in_sync),
            row.log_end.map_or_else(dash, |end| end.to_string()),
            row.epoch_before.map_or_else(dash, |epoch| epoch.to_string()),
            if row.epoch_in_logs < 0 { dash() } else { row.epoch_in_logs.to_string() },
            row.epoch.to_string(),
        ]
    });
    let head = format!("cluster {}, recovery {}", plan.cluster_id, plan.recovery.number);
    format!("{head}\n\n{}\n\n{}", table(&columns, rows), findings(&plan.findings))
}

fn findings(findings: &[Finding]) -> String {
    let columns = [words("FINDING"), words("ABOUT"), words("WHAT")];
    let rows = findings.iter().map(|finding| {
        let gravity = match finding.gravity {
            Gravity::Lost => "LOST",
            Gravity::Unproved => "UNPROVED",
            Gravity::Changed => "CHANGED",
        };
        vec![gravity.to_owned(), finding.subject.clone(), finding.detail.clone()]
    });
    table(&columns, rows)
}

/// How long claims that a snapshot shows may take to go away.
const CLAIMS_END_WITHIN: Duration = Duration::from_secs(15);
/// How long coordinators wait if this process dies while it writes.
const SESSION: Duration = Duration::from_secs(10);
const WRITTEN: &str =
    "written: start the coordinators and brokers again, then look at `ottla cluster health`";
