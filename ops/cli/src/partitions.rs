//! `ottla partitions`: how partitions are, electing their leaders, moving their replicas.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use ottla_client::{
    Admin,
    admin::{
        ConfigResource, ElectionType, PartitionDescription, Reassign, TopicPartitions,
        was_not_needed,
    },
    protocol::{
        Str,
        types::{BrokerId, PartitionId},
    },
};
use serde::Serialize;

use crate::{
    connect,
    names::{Named, joined},
    output::{Output, number, words},
};

/// What to do with partitions.
#[derive(Debug, Subcommand)]
pub enum Partitions {
    /// List partitions with their leader and replicas, or only those in trouble.
    List(List),
    /// Elect leaders.
    Elect(Elect),
    /// Move one partition to other brokers.
    Move(Move),
}

/// Which partitions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla partitions list                        all of them
  ottla partitions list orders --lag           how far the replicas of a topic are behind
  ottla partitions list --offline              nobody leads: nothing can be written or read
  ottla partitions list --under-min-isr        acks=all is refused
  ottla partitions list --under-replicated     a replica is not in sync

With several of the three, partitions of any of these kinds.")]
pub struct List {
    /// Only these: TOPIC or TOPIC:PARTITION.
    #[arg(value_name = "TOPIC[:PARTITION]")]
    names: Vec<Named>,
    /// Only those of which a replica is not in sync.
    #[arg(long)]
    under_replicated: bool,
    /// Only those that nobody leads.
    #[arg(long)]
    offline: bool,
    /// Only those with fewer replicas in sync than min.insync.replicas.
    #[arg(long)]
    under_min_isr: bool,
    /// Show how many records the replica farthest behind lacks.
    #[arg(long)]
    lag: bool,
}

/// Which leaders to elect.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla partitions elect --all                 give leadership back to preferred replicas
  ottla partitions elect orders                only of one topic
  ottla partitions elect orders:3 --unclean    let anybody lead who lives, whatever is lost")]
pub struct Elect {
    /// Of these: TOPIC or TOPIC:PARTITION.
    #[arg(value_name = "TOPIC[:PARTITION]", required_unless_present = "all")]
    names: Vec<Named>,
    /// Of all that need it.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Not the preferred replica, but any that lives, where nobody leads: acknowledged records may be lost.
    #[arg(long, conflicts_with = "all")]
    unclean: bool,
}

/// A partition to move.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  ottla partitions move orders:3 --to 2,4,5    broker 2 is the preferred leader

It is answered when the move is under way; `ottla reassign status --watch` shows how far it is.")]
pub struct Move {
    /// The partition.
    #[arg(value_name = "TOPIC:PARTITION")]
    name: Named,
    /// The brokers that shall have it, the preferred leader first.
    #[arg(long, value_name = "BROKER,…", value_delimiter = ',', required = true)]
    to: Vec<i32>,
    /// Allow that it then has more or fewer replicas.
    #[arg(long)]
    allow_replication_factor_change: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    topic: String,
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    eligible: Option<Vec<i32>>,
    last_known_eligible: Option<Vec<i32>>,
    offline: Vec<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<i64>,
}

#[derive(Debug, Serialize)]
struct ElectedLine {
    topic: String,
    partition: i32,
    result: String,
}

impl Partitions {
    /// Runs the command.
    ///
    /// # Errors
    /// When the cluster does not answer, or refuses.
    pub async fn run(&self, bootstrap: &str, output: Output) -> Result<()> {
        let admin = connect::admin(bootstrap)?;
        match self {
            Self::List(list) => list.run(&admin, output).await,
            Self::Elect(elect) => elect.run(&admin, output).await,
            Self::Move(order) => order.run(&admin).await,
        }
    }
}

impl List {
    async fn run(&self, admin: &Admin, output: Output) -> Result<()> {
        let topics = topics(admin, &self.names).await?;
        let min_isr =
            if self.under_min_isr { min_isr(admin, &topics).await? } else { BTreeMap::new() };
        let lags = if self.lag { lags(admin).await? } else { BTreeMap::new() };
        let mut lines = Vec::new();
        for topic in &topics {
            let min = min_isr.get(&topic.name).copied().unwrap_or(1);
            for partition in &topic.partitions {
                if self.wants(topic, partition, min) {
                    let lag = lags.get(&(topic.name.clone(), partition.id)).copied();
                    lines.push(line(topic, partition, lag.filter(|_| self.lag)));
                }
            }
        }
        let mut columns = vec![
            words("TOPIC"),
            number("PARTITION"),
            number("LEADER"),
            number("EPOCH"),
            words("REPLICAS"),
            words("IN SYNC"),
            words("ELIGIBLE"),
        ];
        if self.lag {
            columns.push(number("LAG"));
        }
        output.print(&columns, &lines, |line| {
            let mut cells = vec![line.topic.clone(), line.partition.to_string()];
            cells.push(if line.leader < 0 { "none".to_owned() } else { line.leader.to_string() });
            cells.push(line.leader_epoch.to_string());
            cells.push(joined(&line.replicas));
            cells.push(joined(&line.in_sync));
            cells.push(line.eligible.as_ref().map_or("–".to_owned(), joined));
            if self.lag {
                cells.push(line.lag.map_or("–".to_owned(), |lag| lag.to_string()));
            }
            cells
        })
    }

    fn wants(&self, topic: &TopicPartitions, partition: &PartitionDescription, min: usize) -> bool {
        let is_named = |named: &Named| named.means(&topic.name, partition.id);
        if !self.names.is_empty() && !self.names.iter().any(is_named) {
            return false;
        }
        let in_sync = partition.isr.len();
        let all = !self.offline && !self.under_replicated && !self.under_min_isr;
        let replicas = partition.replicas.len();
        all || self.offline && partition.leader.0 < 0
            || self.under_replicated && in_sync < replicas
            || self.under_min_isr && in_sync < min.min(replicas).max(1)
    }
}

impl Elect {
    async fn run(&self, admin: &Admin, output: Output) -> Result<()> {
        let kind = if self.unclean { ElectionType::Unclean } else { ElectionType::Preferred };
        let named = if self.all { None } else { Some(named(admin, &self.names).await?) };
        let elected = admin.elect_leaders(kind, named.as_deref()).await?;
        let mut failed = 0;
        let lines: Vec<_> = elected
            .iter()
            .map(|it| ElectedLine {
                topic: it.topic.to_string(),
                partition: it.partition.0,
                result: match &it.result {
                    Ok(()) => "elected".to_owned(),
                    Err(error) if was_not_needed(error) => "leads already".to_owned(),
                    Err(error) => {
                        failed += 1;
                        error.to_string()
                    }
                },
            })
            .collect();
        let columns = [words("TOPIC"), number("PARTITION"), words("RESULT")];
        output.print(&columns, &lines, |line| {
            vec![line.topic.clone(), line.partition.to_string(), line.result.clone()]
        })?;
        if 0 < failed {
            bail!("{failed} of {} elections failed", lines.len());
        }
        Ok(())
    }
}

impl Move {
    async fn run(&self, admin: &Admin) -> Result<()> {
        let Named { topic, partition: Some(partition) } = &self.name else {
            bail!("say which partition: TOPIC:PARTITION");
        };
        let known = named(admin, std::slice::from_ref(&self.name)).await?;
        if known.is_empty() {
            bail!("topic {topic} has no partition {partition}");
        }
        let wanted = Reassign {
            topic: topic.clone(),
            partition: *partition,
            replicas: Some(self.to.iter().copied().map(BrokerId).collect()),
        };
        let allow = self.allow_replication_factor_change;
        crate::reassign::start(admin, &[wanted], allow).await?;
        println!("{topic}:{partition} is on its way to brokers {}", joined(&self.to));
        Ok(())
    }
}

/// The topics that are named, or all.
pub async fn topics(admin: &Admin, names: &[Named]) -> Result<Vec<TopicPartitions>> {
    let mut wanted: Vec<Str> = names.iter().map(|named| named.topic.clone()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let wanted = (!names.is_empty()).then_some(wanted);
    let described = admin.describe_partitions(wanted.as_deref()).await;
    described.map_err(|error| match wanted.as_deref() {
        Some([topic]) => anyhow!("topic {topic}: {error}"),
        _ => error.into(),
    })
}

/// Every partition that is named.
pub async fn named(admin: &Admin, names: &[Named]) -> Result<Vec<(Str, PartitionId)>> {
    let mut found = Vec::new();
    for topic in topics(admin, names).await? {
        for partition in &topic.partitions {
            if names.iter().any(|named| named.means(&topic.name, partition.id)) {
                found.push((topic.name.clone(), partition.id));
            }
        }
    }
    Ok(found)
}

async fn min_isr(admin: &Admin, topics: &[TopicPartitions]) -> Result<BTreeMap<Str, usize>> {
    let resources: Vec<_> =
        topics.iter().map(|topic| ConfigResource::topic(topic.name.clone())).collect();
    let mut found = BTreeMap::new();
    for (topic, configs) in topics.iter().zip(admin.describe_configs(&resources, false).await) {
        let configs = configs.map_err(|error| anyhow!("topic {}: {error}", topic.name))?;
        let config = configs.iter().find(|config| &*config.name == "min.insync.replicas");
        let value = config.and_then(|config| config.value.as_ref()?.parse().ok());
        found.insert(topic.name.clone(), value.unwrap_or(1));
    }
    Ok(found)
}

/// How many records the replica farthest behind lacks, by what the brokers say that answer.
async fn lags(admin: &Admin) -> Result<BTreeMap<(Str, PartitionId), i64>> {
    let brokers = admin.list_brokers().await?;
    let alive = brokers.iter().filter(|listing| !listing.is_fenced);
    let ids: Vec<BrokerId> = alive.map(|listing| listing.broker.id).collect();
    let mut lags: BTreeMap<(Str, PartitionId), i64> = BTreeMap::new();
    for (id, dirs) in ids.iter().zip(admin.describe_log_dirs(&ids).await) {
        match dirs {
            Ok(dirs) => {
                let replicas = dirs.iter().flat_map(|dir| &dir.replicas);
                for replica in replicas.filter(|replica| !replica.is_future) {
                    let lag = lags.entry((replica.topic.clone(), replica.partition)).or_default();
                    *lag = replica.offset_lag.max(*lag);
                }
            }
            Err(error) => eprintln!("broker {id} does not tell its lag: {error}"),
        }
    }
    Ok(lags)
}

fn line(topic: &TopicPartitions, partition: &PartitionDescription, lag: Option<i64>) -> Line {
    let ids = |ids: &Vec<BrokerId>| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    Line {
        topic: topic.name.to_string(),
        partition: partition.id.0,
        leader: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        replicas: ids(&partition.replicas),
        in_sync: ids(&partition.isr),
        eligible: partition.eligible.as_ref().map(ids),
        last_known_eligible: partition.last_known_eligible.as_ref().map(ids),
        offline: ids(&partition.offline),
        lag,
    }
}

#[cfg(test)]
mod tests {
    use ottla_client::protocol::types::{LeaderEpoch, TopicId};

    use super::*;

    fn list(offline: bool, under_replicated: bool, under_min_isr: bool) -> List {
        List { names: Vec::new(), under_replicated, offline, under_min_isr, lag: false }
    }

    #[test]
    fn kinds_of_trouble_are_told_apart() {
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
        let partition = PartitionDescription {
            id: PartitionId(0),
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(0),
            replicas: ids(&[1, 2, 3]),
            isr: ids(&[1, 2]),
            eligible: None,
            last_known_eligible: None,
            offline: Vec::new(),
        };
        let topic = TopicPartitions {
            name: "t".into(),
            id: TopicId::ZERO,
            is_internal: false,
            partitions: Vec::new(),
        };
        let wants = |list: &List, min| list.wants(&topic, &partition, min);
        assert!(wants(&list(false, false, false), 1), "without a filter all are shown");
        assert!(wants(&list(false, true, false), 1));
        assert!(!wants(&list(true, false, false), 1));
        assert!(!wants(&list(false, false, true), 2));
        assert!(wants(&list(false, false, true), 9), "more than the replicas means all of them");
        let other = List { names: vec!["t:1".parse().unwrap()], ..list(false, false, false) };
        assert!(!wants(&other, 1));
    }
}
