//! `ottla cluster`: the brokers and what they hold.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Subcommand;
use ottla_client::Admin;
use ottla_client::protocol::types::BrokerId;
use serde::Serialize;

use crate::{
    connect,
    output::{Output, number, table, words},
};

/// What to do with a cluster.
#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Its id and its brokers, with the partitions they lead and hold.
    Describe,
}

#[derive(Debug, Serialize)]
struct ClusterInfo {
    cluster_id: String,
    topics: usize,
    partitions: usize,
    without_leader: usize,
    under_replicated: usize,
    brokers: Vec<BrokerLine>,
}

#[derive(Debug, Serialize)]
struct BrokerLine {
    id: i32,
    address: String,
    rack: Option<String>,
    leads: usize,
    in_sync: usize,
    replicas: usize,
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
        let Self::Describe = self;
        let info = describe(&connect::admin(bootstrap)?).await?;
        output.print_one(&info, text)
    }
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
    };
    for topic in metadata.topics() {
        info.topics += 1;
        for partition in &topic.partitions {
            info.partitions += 1;
            info.without_leader += usize::from(partition.leader.0 < 0);
            info.under_replicated += usize::from(partition.isr.len() < partition.replicas.len());
            counts.entry(partition.leader).or_default().leads += 1;
            for replica in &partition.replicas {
                counts.entry(*replica).or_default().replicas += 1;
            }
            for replica in &partition.isr {
                counts.entry(*replica).or_default().in_sync += 1;
            }
        }
    }
    for broker in &cluster.brokers {
        let count = counts.remove(&broker.id).unwrap_or_default();
        info.brokers.push(BrokerLine {
            id: broker.id.0,
            address: broker.address.to_string(),
            rack: broker.rack.as_ref().map(ToString::to_string),
            leads: count.leads,
            in_sync: count.in_sync,
            replicas: count.replicas,
        });
    }
    Ok(info)
}

fn text(info: &ClusterInfo) -> String {
    let columns = [
        number("BROKER"),
        words("ADDRESS"),
        words("RACK"),
        number("LEADS"),
        number("IN SYNC"),
        number("REPLICAS"),
    ];
    let rows = info.brokers.iter().map(|broker| {
        vec![
            broker.id.to_string(),
            broker.address.clone(),
            broker.rack.clone().unwrap_or_else(|| "–".to_owned()),
            broker.leads.to_string(),
            broker.in_sync.to_string(),
            broker.replicas.to_string(),
        ]
    });
    format!(
        "cluster {}: {} topics, {} partitions, {} without a leader, {} under-replicated\n\n{}",
        info.cluster_id,
        info.topics,
        info.partitions,
        info.without_leader,
        info.under_replicated,
        table(&columns, rows)
    )
}
