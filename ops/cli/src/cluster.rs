//! `ottla cluster`: the brokers and what they hold.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Subcommand;
use ottla_client::protocol::types::BrokerId;
use ottla_client::{Admin, Partition, Topic};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{
    cluster_recover::Recover,
    connect,
    names::CoordinatorUrl,
    output::{Output, number, table, words},
    rest::Rest,
};

/// What to do with a cluster.
#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Its id, its brokers with the partitions they lead and hold, and the topics that lack something.
    Describe,
    /// Whether all is well, and if not, why. Fails if something is not served.
    #[command(after_help = "green   all is well
yellow  everything is served, with less safety than is wanted
red     something is not served; the command fails

Kafka's protocol has no request for this, so a coordinator is asked.")]
    Health(CoordinatorUrl),
    /// The coordinators that live, and which of them is active.
    #[command(after_help = "Kafka's protocol has no request for this, so a coordinator is asked.")]
    Coordinators(CoordinatorUrl),
    /// Put etcd right from the brokers' disks, after it was restored from a snapshot or lost.
    #[command(subcommand)]
    Recover(Recover),
}

#[derive(Debug, Serialize, Deserialize)]
struct Health {
    status: String,
    causes: Vec<Cause>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cause {
    status: String,
    kind: String,
    detail: String,
    count: usize,
}

/// What a coordinator says of the cluster, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Known {
    coordinators: Vec<Coordinator>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Coordinator {
    node_id: i32,
    active: bool,
    http: String,
    internode: String,
    version: String,
}

#[derive(Debug, Serialize)]
struct ClusterInfo {
    cluster_id: String,
    topics: usize,
    partitions: usize,
    without_leader: usize,
    under_replicated: usize,
    brokers: Vec<BrokerLine>,
    /// Only topics with partitions that lack a leader or a replica in sync.
    lacking: Vec<TopicLine>,
}

#[derive(Debug, Serialize)]
struct BrokerLine {
    id: i32,
    /// `up`, or `fenced`: known, and takes no part.
    state: &'static str,
    address: String,
    rack: Option<String>,
    leads: usize,
    in_sync: usize,
    replicas: usize,
}

#[derive(Debug, Serialize)]
struct TopicLine {
    topic: String,
    partitions: usize,
    without_leader: usize,
    under_replicated: usize,
}

#[derive(Debug, Default)]
struct Counts {
    leads: usize,
    in_sync: usize,
    replicas: usize,
}

impl Cluster {
    /// Runs the command.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn run(&self, bootstrap: &str, output: Output) -> Result<()> {
        match self {
            Self::Describe => {
                let info = describe(&connect::admin(bootstrap)?).await?;
                output.print_one(&info, text)
            }
            Self::Coordinators(coordinator) => {
                let known: Known = Rest::new(coordinator)?.ask(Method::GET, "/v1/cluster").await?;
                let columns = [
                    number("COORDINATOR"),
                    words("STATE"),
                    words("REST API"),
                    words("INTER-NODE"),
                    words("VERSION"),
                ];
                output.print(&columns, &known.coordinators, |coordinator| {
                    let state = if coordinator.active { "active" } else { "standby" };
                    vec![
                        coordinator.node_id.to_string(),
                        state.to_owned(),
                        coordinator.http.clone(),
                        coordinator.internode.clone(),
                        coordinator.version.clone(),
                    ]
                })
            }
            Self::Recover(recover) => recover.run(output).await,
            Self::Health(coordinator) => {
                let health: Health = Rest::new(coordinator)?.ask(Method::GET, "/v1/health").await?;
                output.print_one(&health, health_text)?;
                if health.status == "red" {
                    bail!("the cluster does not serve everything");
                }
                Ok(())
            }
        }
    }
}

fn health_text(health: &Health) -> String {
    let causes = health.causes.iter().map(|cause| format!("{:<6}  {}", cause.status, cause.detail));
    let first = match health.causes.len() {
        0 => format!("{}: all is well", health.status),
        _ => health.status.clone(),
    };
    std::iter::once(first).chain(causes).collect::<Vec<_>>().join("\n")
}

async fn describe(admin: &Admin) -> Result<ClusterInfo> {
    let cluster = admin.describe_cluster().await?;
    let metadata = admin.client().all_topics().await?;
    let mut counts: BTreeMap<BrokerId, Counts> = BTreeMap::new();
    let mut info = ClusterInfo {
        cluster_id: cluster.cluster_id.to_string(),
        topics: 0,
        partitions: 0,
        without_leader: 0,
        under_replicated: 0,
        brokers: Vec::new(),
        lacking: Vec::new(),
    };
    for topic in metadata.topics() {
        for partition in &topic.partitions {
            counts.entry(partition.leader).or_default().leads += 1;
            for replica in &partition.replicas {
                counts.entry(*replica).or_default().replicas += 1;
            }
            for replica in &partition.isr {
                counts.entry(*replica).or_default().in_sync += 1;
            }
        }
        info.count(topic);
    }
    info.lacking.sort_by(|a, b| a.topic.cmp(&b.topic));
    let up = cluster.brokers.iter().map(|broker| ("up", broker));
    let fenced = cluster.fenced.iter().map(|broker| ("fenced", broker));
    for (state, broker) in up.chain(fenced) {
        let count = counts.remove(&broker.id).unwrap_or_default();
        info.brokers.push(BrokerLine {
            id: broker.id.0,
            state,
            address: broker.address.to_string(),
            rack: broker.rack.as_ref().map(ToString::to_string),
            leads: count.leads,
            in_sync: count.in_sync,
            replicas: count.replicas,
        });
    }
    info.brokers.sort_by_key(|broker| broker.id);
    Ok(info)
}

impl ClusterInfo {
    fn count(&mut self, topic: &Topic) {
        let count = |lacks: fn(&Partition) -> bool| {
            topic.partitions.iter().filter(|partition| lacks(partition)).count()
        };
        let line = TopicLine {
            topic: topic.name.to_string(),
            partitions: topic.partitions.len(),
            without_leader: count(|partition| partition.leader.0 < 0),
            under_replicated: count(|partition| partition.isr.len() < partition.replicas.len()),
        };
        self.topics += 1;
        self.partitions += line.partitions;
        self.without_leader += line.without_leader;
        self.under_replicated += line.under_replicated;
        if 0 < line.without_leader + line.under_replicated {
            self.lacking.push(line);
        }
    }
}

fn text(info: &ClusterInfo) -> String {
    let columns = [
        number("BROKER"),
        words("STATE"),
        words("ADDRESS"),
        words("RACK"),
        number("LEADS"),
        number("IN SYNC"),
        number("REPLICAS"),
    ];
    let rows = info.brokers.iter().map(|broker| {
        vec![
            broker.id.to_string(),
            broker.state.to_owned(),
            broker.address.clone(),
            broker.rack.clone().unwrap_or_else(|| "–".to_owned()),
            broker.leads.to_string(),
            broker.in_sync.to_string(),
            broker.replicas.to_string(),
        ]
    });
    let head = format!(
        "cluster {}: {} topics, {} partitions, {} without a leader, {} under-replicated",
        info.cluster_id, info.topics, info.partitions, info.without_leader, info.under_replicated,
    );
    let text = format!("{head}\n\n{}", table(&columns, rows));
    if info.lacking.is_empty() { text } else { format!("{text}\n\n{}", lacking(&info.lacking)) }
}

/// The topics that lack something; of very many only the first.
fn lacking(topics: &[TopicLine]) -> String {
    let columns = [
        words("TOPIC"),
        number("UNDER-REPLICATED"),
        number("WITHOUT A LEADER"),
        number("PARTITIONS"),
    ];
    let rows = topics.iter().take(TOPICS_SHOWN).map(|topic| {
        vec![
            topic.topic.clone(),
            topic.under_replicated.to_string(),
            topic.without_leader.to_string(),
            topic.partitions.to_string(),
        ]
    });
    let mut text = table(&columns, rows);
    if let Some(more) = topics.len().checked_sub(TOPICS_SHOWN).filter(|more| 0 < *more) {
        text.push_str(&format!("\n… and {more} more topics"));
    }
    text
}

/// Topics that lack something, as a table for people shows them.
const TOPICS_SHOWN: usize = 20;
