//! `ottla brokers`: who is there, what they hold, and taking one out of service.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use ottla_client::{
    Admin,
    admin::{BrokerListing, LogDir, TopicPartitions},
    protocol::{ErrorCode, types::BrokerId},
};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{
    connect,
    names::{CoordinatorUrl, joined},
    output::{Output, number, table, words},
    rest::Rest,
};

/// What to do with brokers.
#[derive(Debug, Subcommand)]
pub enum Brokers {
    /// List the brokers with their state and what they lead and hold.
    List,
    /// Show one broker: its log directories, what it leads, and where it is behind.
    Describe(One),
    /// Let a broker lead nothing and be in no ISR, or undo that.
    Drain(Drain),
    /// Forget a broker that is gone for good.
    Unregister(One),
}

/// A broker.
#[derive(Debug, Args)]
pub struct One {
    /// Its id.
    id: i32,
}

/// A broker to drain.
#[derive(Debug, Args)]
#[command(
    after_help = "Leaders move to other brokers; the drained one stays up and goes on copying. It lasts \
until --undo or until the broker starts anew. It is refused while partitions need the broker.

Kafka's protocol has no request for this, so it goes to a coordinator.

To take a broker out for good:
  ottla reassign plan --empty-broker 3 --out plan.json
  ottla reassign run plan.json --watch
  ottla brokers drain 3
  (stop it)
  ottla brokers unregister 3"
)]
pub struct Drain {
    /// Its id.
    id: i32,
    /// Put it back to work.
    #[arg(long)]
    undo: bool,
    /// Even if partitions then have no leader, or too few replicas in sync.
    #[arg(long, conflicts_with = "undo")]
    force: bool,
    #[command(flatten)]
    coordinator: CoordinatorUrl,
}

#[derive(Debug, Serialize)]
struct BrokerLine {
    id: i32,
    address: String,
    rack: Option<String>,
    state: &'static str,
    leads: usize,
    prefers_to_lead: usize,
    in_sync: usize,
    replicas: usize,
}

#[derive(Debug, Serialize)]
struct BrokerInfo {
    #[serde(flatten)]
    line: BrokerLine,
    log_dirs: Vec<DirLine>,
    out_of_sync: Vec<String>,
}

#[derive(Debug, Serialize)]
struct DirLine {
    path: String,
    error: Option<&'static str>,
    replicas: usize,
    bytes: i64,
    usable_bytes: i64,
    total_bytes: i64,
    behind: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Drained {
    id: i32,
    state: String,
    leaders: usize,
    replicas: usize,
    in_sync: usize,
}

impl Brokers {
    /// Runs the command.
    ///
    /// # Errors
    /// When the cluster does not answer, or refuses.
    pub async fn run(&self, bootstrap: &str, output: Output) -> Result<()> {
        match self {
            Self::List => list(&connect::admin(bootstrap)?, output).await,
            Self::Describe(one) => describe(&connect::admin(bootstrap)?, one.id, output).await,
            Self::Drain(drain) => drain.run(output).await,
            Self::Unregister(one) => {
                connect::admin(bootstrap)?.unregister_broker(BrokerId(one.id)).await?;
                println!("broker {} is forgotten", one.id);
                Ok(())
            }
        }
    }
}

impl Drain {
    async fn run(&self, output: Output) -> Result<()> {
        let rest = Rest::new(&self.coordinator)?;
        let (method, query) = match (self.undo, self.force) {
            (true, _) => (Method::DELETE, ""),
            (false, true) => (Method::POST, "?force=true"),
            (false, false) => (Method::POST, ""),
        };
        let path = format!("/v1/brokers/{}/drain{query}", self.id);
        let drained: Drained = rest.ask(method, &path).await?;
        output.print_one(&drained, |drained| {
            let what = if self.undo { "takes part again" } else { "is drained" };
            format!("broker {} {what}; it holds {} replicas", drained.id, drained.replicas)
        })
    }
}

async fn list(admin: &Admin, output: Output) -> Result<()> {
    let brokers = admin.list_brokers().await?;
    let topics = admin.describe_partitions(None).await?;
    let mut lines = lines(&brokers, &topics);
    lines.sort_by_key(|line| line.id);
    let columns = [
        number("BROKER"),
        words("ADDRESS"),
        words("RACK"),
        words("STATE"),
        number("LEADS"),
        number("PREFERS TO LEAD"),
        number("IN SYNC"),
        number("REPLICAS"),
    ];
    output.print(&columns, &lines, |line| {
        vec![
            line.id.to_string(),
            line.address.clone(),
            line.rack.clone().unwrap_or_else(|| "–".to_owned()),
            line.state.to_owned(),
            line.leads.to_string(),
            line.prefers_to_lead.to_string(),
            line.in_sync.to_string(),
            line.replicas.to_string(),
        ]
    })
}

/// The brokers that the cluster lists, and those that it does not list but that have replicas.
fn lines(brokers: &[BrokerListing], topics: &[TopicPartitions]) -> Vec<BrokerLine> {
    let mut lines: BTreeMap<BrokerId, BrokerLine> = BTreeMap::new();
    for BrokerListing { broker, is_fenced } in brokers {
        let state = if *is_fenced { "fenced" } else { "active" };
        let line = BrokerLine {
            address: broker.address.to_string(),
            rack: broker.rack.as_ref().map(ToString::to_string),
            ..absent(broker.id, state)
        };
        lines.insert(broker.id, line);
    }
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        let mut of = |id: BrokerId, count: fn(&mut BrokerLine)| {
            count(lines.entry(id).or_insert_with(|| absent(id, "absent")));
        };
        if 0 <= partition.leader.0 {
            of(partition.leader, |line| line.leads += 1);
        }
        if let Some(first) = partition.replicas.first() {
            of(*first, |line| line.prefers_to_lead += 1);
        }
        partition.isr.iter().for_each(|id| of(*id, |line| line.in_sync += 1));
        partition.replicas.iter().for_each(|id| of(*id, |line| line.replicas += 1));
    }
    lines.into_values().collect()
}

fn absent(id: BrokerId, state: &'static str) -> BrokerLine {
    BrokerLine {
        id: id.0,
        address: "–".to_owned(),
        rack: None,
        state,
        leads: 0,
        prefers_to_lead: 0,
        in_sync: 0,
        replicas: 0,
    }
}

async fn describe(admin: &Admin, id: i32, output: Output) -> Result<()> {
    let brokers = admin.list_brokers().await?;
    let topics = admin.describe_partitions(None).await?;
    let line = lines(&brokers, &topics).into_iter().find(|line| line.id == id);
    let line = line.ok_or_else(|| anyhow!("the cluster knows no broker {id}"))?;
    let log_dirs = if line.state == "active" {
        let mut dirs = admin.describe_log_dirs(&[BrokerId(id)]).await;
        match dirs.pop() {
            Some(dirs) => dirs?.iter().map(dir_line).collect(),
            None => bail!("broker {id} did not answer"),
        }
    } else {
        Vec::new()
    };
    let info = BrokerInfo { log_dirs, out_of_sync: out_of_sync(BrokerId(id), &topics), line };
    output.print_one(&info, text)
}

fn dir_line(dir: &LogDir) -> DirLine {
    DirLine {
        path: dir.path.to_string(),
        error: (dir.error != ErrorCode::None).then(|| dir.error.name()),
        replicas: dir.replicas.len(),
        bytes: dir.replicas.iter().map(|replica| replica.size).sum(),
        usable_bytes: dir.usable_bytes,
        total_bytes: dir.total_bytes,
        behind: dir.replicas.iter().map(|replica| replica.offset_lag.max(0)).sum(),
    }
}

fn out_of_sync(id: BrokerId, topics: &[TopicPartitions]) -> Vec<String> {
    let partitions = topics.iter().flat_map(|topic| {
        let behind = topic
            .partitions
            .iter()
            .filter(|partition| partition.replicas.contains(&id) && !partition.isr.contains(&id));
        behind.map(|partition| format!("{}:{}", topic.name, partition.id))
    });
    partitions.collect()
}

fn text(info: &BrokerInfo) -> String {
    let line = &info.line;
    let columns = [
        words("LOG DIRECTORY"),
        words("STATE"),
        number("REPLICAS"),
        number("BYTES"),
        number("FREE BYTES"),
        number("RECORDS BEHIND"),
    ];
    let rows = info.log_dirs.iter().map(|dir| {
        vec![
            dir.path.clone(),
            dir.error.unwrap_or("online").to_owned(),
            dir.replicas.to_string(),
            dir.bytes.to_string(),
            if dir.usable_bytes < 0 { "–".to_owned() } else { dir.usable_bytes.to_string() },
            dir.behind.to_string(),
        ]
    });
    let behind = match info.out_of_sync.len() {
        0 => "in sync everywhere".to_owned(),
        count => {
            let shown = joined(info.out_of_sync.iter().take(SHOWN_MAX));
            let more = if SHOWN_MAX < count { ",…" } else { "" };
            format!("out of sync in {count} partitions: {shown}{more}")
        }
    };
    format!(
        "broker {} at {}  rack {}  {}\nleads {} of the {} partitions that it prefers to lead; {} replicas, \
         {behind}\n\n{}",
        line.id,
        line.address,
        line.rack.as_deref().unwrap_or("–"),
        line.state,
        line.leads,
        line.prefers_to_lead,
        line.replicas,
        table(&columns, rows)
    )
}

/// Partitions that are named before they are only counted.
const SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use ottla_client::{
        Broker,
        admin::PartitionDescription,
        connection::Address,
        protocol::types::{LeaderEpoch, PartitionId, TopicId},
    };

    use super::*;

    #[test]
    fn broker_that_only_replicas_name_is_shown_as_absent() {
        let address = Address { host: "host".into(), port: 9092 };
        let broker = Broker { id: BrokerId(1), address, rack: None };
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
        let partition = PartitionDescription {
            id: PartitionId(0),
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(0),
            replicas: ids(&[2, 1]),
            isr: ids(&[1]),
            eligible: None,
            last_known_eligible: None,
            offline: ids(&[2]),
        };
        let topic = TopicPartitions {
            name: "t".into(),
            id: TopicId::ZERO,
            is_internal: false,
            partitions: vec![partition],
        };
        let listing = BrokerListing { broker, is_fenced: false };
        let lines = lines(&[listing], std::slice::from_ref(&topic));
        let told: Vec<_> = lines.iter().map(|it| (it.id, it.state, it.leads)).collect();
        assert_eq!(told, [(1, "active", 1), (2, "absent", 0)]);
        assert_eq!(lines[1].prefers_to_lead, 1);
        assert_eq!(out_of_sync(BrokerId(2), &[topic]), ["t:0"]);
    }
}
