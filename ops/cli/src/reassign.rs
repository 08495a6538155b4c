//! `ottla reassign`: planning, running, watching and cancelling moves of replicas.

mod file;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use ottla_client::{
    Admin,
    admin::{Reassign, Reassignment, TopicPartitions},
    protocol::{Str, types::BrokerId, types::PartitionId},
};
use ottla_coordinator::controller::reassignment::proposal::{self, Move, Placement, Target};
use serde::Serialize;

use crate::{
    connect,
    names::{Named, joined},
    output::{Output, number, table, words},
    partitions::topics,
};

/// What to do with reassignments.
#[derive(Debug, Subcommand)]
pub enum Reassignments {
    /// Propose where replicas should go; changes nothing.
    Plan(Plan),
    /// Start what a plan says.
    Run(Run),
    /// Show what is under way.
    Status(Status),
    /// Stop what is under way: replicas that are being added go, all others stay.
    Cancel(Cancel),
}

/// What to plan.
#[derive(Debug, Args)]
#[command(
    after_help = "Either brokers are emptied, or topics are spread evenly. Both move as little as \
possible and give each replica of a partition a rack of its own where there are enough racks.

Examples:
  ottla reassign plan --empty-broker 3 --out plan.json       before broker 3 is taken away
  ottla reassign plan --topic orders --topic clicks          after brokers were added
  ottla reassign plan --topic orders --broker 4,5,6          onto these brokers
  ottla reassign plan --topic orders --rack east --out -     as JSON on standard output

The file is the one that kafka-reassign-partitions.sh reads and writes."
)]
pub struct Plan {
    /// A broker that shall have no replica any more; repeat for more, or put commas between them.
    #[arg(long, value_name = "BROKER", value_delimiter = ',', required_unless_present = "topic")]
    empty_broker: Vec<i32>,
    /// A topic to spread evenly, or with --empty-broker the only topics to move; repeat for more.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Only these brokers may get replicas; all that are up by default.
    #[arg(long, value_name = "BROKER,…", value_delimiter = ',')]
    broker: Vec<i32>,
    /// Only brokers in these racks may get replicas.
    #[arg(long, value_name = "RACK,…", value_delimiter = ',')]
    rack: Vec<String>,
    /// Write the plan to this file, - for standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What to start.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla reassign run plan.json --watch
  ottla reassign plan --empty-broker 3 --out - | ottla reassign run -")]
pub struct Run {
    /// The plan; - for standard input.
    file: PathBuf,
    /// Allow that partitions then have more or fewer replicas.
    #[arg(long)]
    allow_replication_factor_change: bool,
    /// Show the progress until all is done.
    #[arg(long)]
    watch: bool,
}

/// How to show what is under way.
#[derive(Debug, Args)]
pub struct Status {
    /// Show the progress until all is done.
    #[arg(long)]
    watch: bool,
}

/// What to cancel.
#[derive(Debug, Args)]
pub struct Cancel {
    /// Of these: TOPIC or TOPIC:PARTITION.
    #[arg(value_name = "TOPIC[:PARTITION]", required_unless_present = "all")]
    names: Vec<Named>,
    /// Everything that is under way.
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

#[derive(Debug, Serialize)]
struct MoveLine {
    topic: String,
    partition: i32,
    before: Vec<i32>,
    after: Vec<i32>,
}

#[derive(Debug, Serialize)]
struct StatusLine {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
}

impl Reassignments {
    /// Runs the command.
    ///
    /// # Errors
    /// When the cluster does not answer, or refuses.
    pub async fn run(&self, bootstrap: &str, output: Output) -> Result<()> {
        let admin = connect::admin(bootstrap)?;
        match self {
            Self::Plan(plan) => plan.run(&admin, output).await,
            Self::Run(run) => run.run(&admin).await,
            Self::Status(status) => status.run(&admin, output).await,
            Self::Cancel(cancel) => cancel.run(&admin).await,
        }
    }
}

impl Plan {
    async fn run(&self, admin: &Admin, output: Output) -> Result<()> {
        let all = admin.describe_partitions(None).await?;
        let ongoing = admin.list_reassignments().await?;
        let targets = self.targets(admin, &all).await?;
        let placements = self.placements(&all, &ongoing)?;
        let leaving: BTreeSet<i32> = self.empty_broker.iter().copied().collect();
        let moves = if leaving.is_empty() {
            proposal::spread(&targets, &placements)?
        } else {
            proposal::empty(&targets, &placements, &leaving)?
        };
        if let Some(out) = &self.out {
            let after: Vec<Placement> = moves.iter().map(|it| it.after.clone()).collect();
            file::write(out, &after)?;
            if out != Path::new("-") {
                println!("{}; `ottla reassign run {}` starts it", summary(&moves), out.display());
            }
            return Ok(());
        }
        print(&moves, output)
    }

    async fn targets(&self, admin: &Admin, all: &[TopicPartitions]) -> Result<Vec<Target>> {
        let brokers = admin.list_brokers().await?;
        let mut loads: BTreeMap<i32, usize> = BTreeMap::new();
        for partition in all.iter().flat_map(|topic| &topic.partitions) {
            for id in &partition.replicas {
                *loads.entry(id.0).or_default() += 1;
            }
        }
        for wanted in &self.broker {
            if !brokers.iter().any(|listing| listing.broker.id.0 == *wanted) {
                bail!("the cluster knows no broker {wanted}");
            }
        }
        let mut targets = Vec::new();
        for listing in brokers {
            let (id, rack) =
                (listing.broker.id.0, listing.broker.rack.map(|rack| rack.to_string()));
            let is_named = self.broker.contains(&id);
            let in_rack = rack.as_ref().is_some_and(|rack| self.rack.contains(rack));
            let may = is_named || self.broker.is_empty() && !listing.is_fenced;
            if may && (self.rack.is_empty() || in_rack) {
                let replicas = loads.get(&id).copied().unwrap_or_default();
                targets.push(Target { id, rack, replicas });
            }
        }
        if targets.is_empty() {
            bail!("no broker may take replicas");
        }
        Ok(targets)
    }

    /// The partitions that are meant, as they will be once what is under way is done.
    fn placements(
        &self,
        all: &[TopicPartitions],
        ongoing: &[Reassignment],
    ) -> Result<Vec<Placement>> {
        for wanted in &self.topic {
            if !all.iter().any(|topic| *topic.name == **wanted) {
                bail!("there is no topic {wanted}");
            }
        }
        let removing: BTreeMap<(&Str, PartitionId), &Vec<BrokerId>> =
            ongoing.iter().map(|it| ((&it.topic, it.partition), &it.removing)).collect();
        let mut placements = Vec::new();
        for topic in all {
            if !self.topic.is_empty() && !self.topic.iter().any(|it| **it == *topic.name) {
                continue;
            }
            for partition in &topic.partitions {
                let going = removing.get(&(&topic.name, partition.id));
                let stays = |id: &&BrokerId| going.is_none_or(|going| !going.contains(id));
                placements.push(Placement {
                    topic: topic.name.to_string(),
                    partition: partition.id.0,
                    replicas: partition.replicas.iter().filter(stays).map(|id| id.0).collect(),
                });
            }
        }
        Ok(placements)
    }
}

impl Run {
    async fn run(&self, admin: &Admin) -> Result<()> {
        let wanted: Vec<Reassign> = file::read(&self.file)?
            .into_iter()
            .map(|it| Reassign {
                topic: it.topic.into(),
                partition: PartitionId(it.partition),
                replicas: Some(it.replicas.into_iter().map(BrokerId).collect()),
            })
            .collect();
        if wanted.is_empty() {
            println!("the plan moves nothing");
            return Ok(());
        }
        start(admin, &wanted, self.allow_replication_factor_change).await?;
        println!("{} partitions are on their way", wanted.len());
        if self.watch { watch::watch(admin).await } else { Ok(()) }
    }
}

impl Status {
    async fn run(&self, admin: &Admin, output: Output) -> Result<()> {
        if self.watch {
            return watch::watch(admin).await;
        }
        let ids = |ids: Vec<BrokerId>| ids.into_iter().map(|id| id.0).collect::<Vec<_>>();
        let lines: Vec<_> = admin
            .list_reassignments()
            .await?
            .into_iter()
            .map(|it| StatusLine {
                topic: it.topic.to_string(),
                partition: it.partition.0,
                replicas: ids(it.replicas),
                adding: ids(it.adding),
                removing: ids(it.removing),
            })
            .collect();
        if lines.is_empty() && output == Output::Table {
            println!("no reassignment is under way");
            return Ok(());
        }
        let columns = [
            words("TOPIC"),
            number("PARTITION"),
            words("REPLICAS"),
            words("ADDING"),
            words("REMOVING"),
        ];
        output.print(&columns, &lines, |line| {
            vec![
                line.topic.clone(),
                line.partition.to_string(),
                joined(&line.replicas),
                joined(&line.adding),
                joined(&line.removing),
            ]
        })
    }
}

impl Cancel {
    async fn run(&self, admin: &Admin) -> Result<()> {
        let is_meant = |it: &Reassignment| {
            self.all || self.names.iter().any(|named| named.means(&it.topic, it.partition))
        };
        let ongoing = admin.list_reassignments().await?.into_iter().filter(is_meant);
        let wanted: Vec<_> = ongoing
            .map(|it| Reassign { topic: it.topic, partition: it.partition, replicas: None })
            .collect();
        if wanted.is_empty() {
            println!("no such reassignment is under way");
            return Ok(());
        }
        submit(admin, &wanted).await?;
        println!("cancelled {} reassignments", wanted.len());
        Ok(())
    }
}

/// Starts reassignments, all of them or, where one is refused, as many as can be.
///
/// # Errors
/// When one is refused; then the message says how many.
pub async fn start(admin: &Admin, wanted: &[Reassign], may_change_factor: bool) -> Result<()> {
    if !may_change_factor {
        check_factors(admin, wanted).await?;
    }
    submit(admin, wanted).await
}

/// The cluster would change the number of replicas without a word, so it is looked at before.
async fn check_factors(admin: &Admin, wanted: &[Reassign]) -> Result<()> {
    let names: Vec<Named> =
        wanted.iter().map(|it| Named { topic: it.topic.clone(), partition: None }).collect();
    let known = topics(admin, &names).await?;
    let ongoing = admin.list_reassignments().await?;
    for it in wanted {
        let topic = known.iter().find(|topic| topic.name == it.topic);
        let partition =
            topic.and_then(|topic| topic.partitions.iter().find(|known| known.id == it.partition));
        let (Some(partition), Some(replicas)) = (partition, &it.replicas) else { continue };
        let under_way =
            |known: &&Reassignment| known.topic == it.topic && known.partition == it.partition;
        let adding = ongoing.iter().find(under_way).map_or(0, |known| known.adding.len());
        let factor = partition.replicas.len().saturating_sub(adding);
        if replicas.len() != factor {
            bail!(
                "{}:{} has {factor} replicas and would have {}; --allow-replication-factor-change allows that",
                it.topic,
                it.partition,
                replicas.len()
            );
        }
    }
    Ok(())
}

async fn submit(admin: &Admin, wanted: &[Reassign]) -> Result<()> {
    let results = admin.alter_reassignments(wanted).await?;
    let mut failed = 0;
    for (it, result) in wanted.iter().zip(results) {
        if let Err(error) = result {
            failed += 1;
            eprintln!("{}:{}: {error}", it.topic, it.partition);
        }
    }
    if failed == 0 { Ok(()) } else { Err(anyhow!("{failed} of {} were refused", wanted.len())) }
}

fn print(moves: &[Move], output: Output) -> Result<()> {
    let lines: Vec<_> = moves
        .iter()
        .map(|it| MoveLine {
            topic: it.after.topic.clone(),
            partition: it.after.partition,
            before: it.before.replicas.clone(),
            after: it.after.replicas.clone(),
        })
        .collect();
    output.print_one(&lines, |lines| {
        if lines.is_empty() {
            return summary(moves);
        }
        let columns = [words("TOPIC"), number("PARTITION"), words("REPLICAS"), words("PLANNED")];
        let rows = lines.iter().map(|line| {
            let partition = line.partition.to_string();
            vec![line.topic.clone(), partition, joined(&line.before), joined(&line.after)]
        });
        format!("{}\n\n{}", table(&columns, rows), summary(moves))
    })
}

fn summary(moves: &[Move]) -> String {
    if moves.is_empty() {
        return "nothing has to move".to_owned();
    }
    let copies: usize = moves.iter().map(|it| it.adding().count()).sum();
    format!("{} partitions change, {copies} replicas are copied", moves.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_counts_copies_and_not_changes_of_order() {
        assert_eq!(summary(&[]), "nothing has to move");
        let placement = |replicas: &[i32]| Placement {
            topic: "t".to_owned(),
            partition: 0,
            replicas: replicas.to_vec(),
        };
        let order = Move { before: placement(&[1, 2]), after: placement(&[2, 1]) };
        let copy = Move { before: placement(&[1, 2]), after: placement(&[3, 2]) };
        assert_eq!(summary(&[order, copy]), "2 partitions change, 1 replicas are copied");
    }
}
