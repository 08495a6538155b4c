//! `ottla topics`: create, list, describe, alter and delete.

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use ottla_client::{
    Admin, ClientError,
    admin::{
        AlterConfig, ConfigChange, ConfigResource, ConfigSource, NewPartitions, NewTopic,
        TopicPartitions,
    },
    protocol::{Str, types::BrokerId},
};
use serde::Serialize;

use crate::{
    connect,
    names::joined,
    output::{Output, number, table, words},
};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub enum Topics {
    /// Create a topic.
    Create(Create),
    /// List the topics.
    List,
    /// Show partitions, leaders, replicas, who is in sync or eligible, and the configs that were set.
    Describe(Names),
    /// Add partitions, set configs or put them back to their defaults.
    Alter(Alter),
    /// Delete topics and everything in them.
    Delete(Names),
}

/// Topics by name.
#[derive(Debug, Args)]
pub struct Names {
    /// The topics.
    #[arg(required = true)]
    names: Vec<String>,
}

/// A topic to create.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla topics create orders --partitions 12
  ottla topics create latest --config cleanup.policy=compact --config segment.ms=600000")]
pub struct Create {
    /// Its name.
    name: String,
    /// How many partitions; the brokers' num.partitions by default.
    #[arg(long)]
    partitions: Option<i32>,
    /// Replicas of each; the brokers' default.replication.factor by default.
    #[arg(long)]
    replication_factor: Option<i16>,
    /// A config of the topic; repeat for more.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// Succeed if the topic exists already.
    #[arg(long)]
    if_not_exists: bool,
}

/// Changes to a topic.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla topics alter orders --partitions 24
  ottla topics alter orders --config retention.ms=3600000 --delete-config segment.bytes")]
pub struct Alter {
    /// Its name.
    name: String,
    /// How many partitions it shall have; more than now.
    #[arg(long)]
    partitions: Option<i32>,
    /// A config to set; repeat for more.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// A config to put back to its default; repeat for more.
    #[arg(long, value_name = "NAME")]
    delete_config: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TopicInfo {
    name: String,
    id: String,
    configs: Vec<(String, String)>,
    partitions: Vec<PartitionLine>,
}

#[derive(Debug, Serialize)]
struct PartitionLine {
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    /// Null where the cluster does not tell.
    eligible: Option<Vec<i32>>,
    last_known_eligible: Option<Vec<i32>>,
}

#[derive(Debug, Serialize)]
struct ListLine {
    name: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

impl Topics {
    /// Runs the command.
    ///
    /// # Errors
    /// When the cluster does not answer, or refuses.
    pub async fn run(&self, bootstrap: &str, output: Output) -> Result<()> {
        let admin = connect::admin(bootstrap)?;
        match self {
            Self::Create(create) => create.run(&admin).await,
            Self::List => list(&admin, output).await,
            Self::Describe(names) => describe(&admin, &names.names, output).await,
            Self::Alter(alter) => alter.run(&admin).await,
            Self::Delete(names) => delete(&admin, &names.names).await,
        }
    }
}

impl Create {
    async fn run(&self, admin: &Admin) -> Result<()> {
        let topic = NewTopic {
            name: Str::from(self.name.as_str()),
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            configs: self
                .config
                .iter()
                .map(|(n, v)| (n.as_str().into(), v.as_str().into()))
                .collect(),
            ..NewTopic::default()
        };
        let result = admin.create_topics(&[topic], false).await?.pop();
        match result.ok_or_else(|| anyhow!("the cluster did not answer"))? {
            Ok(created) => println!(
                "created topic {} with {} partitions, replication factor {}",
                self.name, created.partitions, created.replication_factor
            ),
            Err(error) if self.if_not_exists && exists(&error) => {
                println!("topic {} exists", self.name);
            }
            Err(error) => bail!("topic {} was not created: {error}", self.name),
        }
        Ok(())
    }
}

impl Alter {
    async fn run(&self, admin: &Admin) -> Result<()> {
        if self.partitions.is_none() && self.config.is_empty() && self.delete_config.is_empty() {
            bail!("nothing to alter: give --partitions, --config or --delete-config");
        }
        if let Some(total) = self.partitions {
            let topic = Str::from(self.name.as_str());
            let growth = NewPartitions { topic, total, ..NewPartitions::default() };
            all(admin.create_partitions(&[growth], false).await?)?;
            println!("topic {} has {total} partitions", self.name);
        }
        let set = self.config.iter().map(|(name, value)| AlterConfig {
            name: name.as_str().into(),
            change: ConfigChange::Set(value.as_str().into()),
        });
        let delete = self
            .delete_config
            .iter()
            .map(|name| AlterConfig { name: name.as_str().into(), change: ConfigChange::Delete });
        let changes: Vec<_> = set.chain(delete).collect();
        if !changes.is_empty() {
            let resource = ConfigResource::topic(self.name.as_str());
            all(admin.alter_configs(&[(resource, changes)], false).await)?;
            println!("altered the configs of topic {}", self.name);
        }
        Ok(())
    }
}

async fn list(admin: &Admin, output: Output) -> Result<()> {
    let metadata = admin.client().all_topics().await?;
    let mut rows: Vec<_> = metadata
        .topics()
        .map(|topic| ListLine {
            name: topic.name.to_string(),
            partitions: topic.partitions.len(),
            replication_factor: topic.partitions.first().map_or(0, |p| p.replicas.len()),
            internal: topic.is_internal,
        })
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let columns = [words("TOPIC"), number("PARTITIONS"), number("REPLICATION FACTOR")];
    output.print(&columns, &rows, |row| {
        vec![row.name.clone(), row.partitions.to_string(), row.replication_factor.to_string()]
    })
}

async fn describe(admin: &Admin, names: &[String], output: Output) -> Result<()> {
    let names: Vec<Str> = names.iter().map(|name| name.as_str().into()).collect();
    let resources: Vec<_> = names.iter().map(|name| ConfigResource::topic(name.clone())).collect();
    let configs = admin.describe_configs(&resources, false).await;
    let mut infos = Vec::new();
    for (name, configs) in names.iter().zip(configs) {
        // One by one, so that an error says which topic it means.
        let topics = admin.describe_partitions(Some(std::slice::from_ref(name))).await;
        let topics = topics.map_err(|error| anyhow!("topic {name}: {error}"))?;
        let topic = topics.first().ok_or_else(|| anyhow!("there is no topic {name}"))?;
        let mut set = Vec::new();
        for config in configs? {
            if config.source == ConfigSource::DynamicTopic {
                set.push((config.name.to_string(), config.value.unwrap_or_default().to_string()));
            }
        }
        infos.push(info(topic, set));
    }
    output.print_one(&infos, |infos| infos.iter().map(text).collect::<Vec<_>>().join("\n\n"))
}

fn info(topic: &TopicPartitions, configs: Vec<(String, String)>) -> TopicInfo {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.0).collect::<Vec<_>>();
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| PartitionLine {
            partition: partition.id.0,
            leader: partition.leader.0,
            leader_epoch: partition.leader_epoch.0,
            replicas: ids(&partition.replicas),
            in_sync: ids(&partition.isr),
            eligible: partition.eligible.as_deref().map(ids),
            last_known_eligible: partition.last_known_eligible.as_deref().map(ids),
        })
        .collect();
    TopicInfo { name: topic.name.to_string(), id: topic.id.to_string(), configs, partitions }
}

fn text(topic: &TopicInfo) -> String {
    let configs: Vec<_> =
        topic.configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let configs = if configs.is_empty() { "none set".to_owned() } else { configs.join(" ") };
    let columns = [
        number("PARTITION"),
        number("LEADER"),
        number("EPOCH"),
        words("REPLICAS"),
        words("IN SYNC"),
        words("ELIGIBLE"),
        words("LAST KNOWN"),
    ];
    let ids = |ids: &[i32]| joined(ids);
    let told = |ids: &Option<Vec<i32>>| ids.as_ref().map_or("–".to_owned(), joined);
    let rows = topic.partitions.iter().map(|p| {
        let leader = if p.leader < 0 { "none".to_owned() } else { p.leader.to_string() };
        let epoch = p.leader_epoch.to_string();
        let (eligible, last_known) = (told(&p.eligible), told(&p.last_known_eligible));
        let (replicas, in_sync) = (ids(&p.replicas), ids(&p.in_sync));
        vec![p.partition.to_string(), leader, epoch, replicas, in_sync, eligible, last_known]
    });
    format!("topic {}  id {}  configs: {configs}\n{}", topic.name, topic.id, table(&columns, rows))
}

async fn delete(admin: &Admin, names: &[String]) -> Result<()> {
    let list: Vec<Str> = names.iter().map(|name| name.as_str().into()).collect();
    let mut failed = false;
    for (name, result) in names.iter().zip(admin.delete_topics(&list).await?) {
        match result {
            Ok(()) => println!("deleted topic {name}"),
            Err(error) => {
                failed = true;
                eprintln!("topic {name} was not deleted: {error}");
            }
        }
    }
    if failed { Err(anyhow!("not every topic was deleted")) } else { Ok(()) }
}

fn exists(error: &ClientError) -> bool {
    error.code() == Some(ottla_client::protocol::ErrorCode::TopicAlreadyExists)
}

fn all(results: Vec<Result<(), ClientError>>) -> Result<()> {
    for result in results {
        result?;
    }
    Ok(())
}

/// Parses `name=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
