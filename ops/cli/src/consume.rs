//! `ottla consume`: prints records of a topic's partitions, from wherever one wants to begin.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use ottla_client::{
    Client, GroupConfig, GroupConsumer,
    consumer::{
        Consumer, ConsumerConfig, ConsumerRecord, OffsetReset, Start,
        group::{Assignor, GroupProtocol},
    },
    protocol::{
        Str,
        types::{Offset, PartitionId},
    },
};
use serde_json::{Value, json};

use crate::{
    connect,
    format::{Format, Printable},
    output::Output,
};

const POLL_FOR: Duration = Duration::from_millis(500);
/// Records that a member takes at once.
const POLL_MAX: usize = 500;

/// What to consume.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla consume orders                                    new records, for ever
  ottla consume orders --offset earliest --exit-at-end    everything that is there
  ottla consume orders -p 0 --offset 4711 --count 10
  ottla consume orders --offset @1517363399650            from a point in time, Unix milliseconds
  ottla consume orders --offset earliest --format '%p %o %k: %s\\n'
  ottla consume orders --group billing                    its share of the records, from where the group was
  ottla -o json consume orders | jq .                     one JSON object a line

Fields of --format: %t topic, %p partition, %o offset, %T timestamp, %k key, %K its length, %s value, %S its length,
%h headers, %% a percent sign; a null has length -1.")]
pub struct Consume {
    /// The topic.
    topic: String,
    /// Only this partition; repeat for more. All by default.
    #[arg(long, short)]
    partition: Vec<i32>,
    /// Read as a member of this group: members share the partitions, and go on where the group was.
    #[arg(long, short, conflicts_with = "partition")]
    group: Option<String>,
    /// Which side assigns the partitions of the group: the members, or (KIP-848) the coordinator.
    #[arg(long, value_enum, default_value_t, requires = "group")]
    group_protocol: Protocol,
    /// Where to begin: earliest, latest, an offset, or @ and Unix milliseconds. With --group earliest or latest, for
    /// partitions that the group has not read.
    #[arg(long, default_value = "latest", value_parser = start, value_name = "WHERE")]
    offset: Start,
    /// Stop after so many records.
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// Stop at the end of every partition, rather than wait for more.
    #[arg(long, short = 'e')]
    exit_at_end: bool,
    /// How to print a record.
    #[arg(long, short, default_value = r"%s\n", value_parser = Format::parse)]
    format: Format,
}

/// How the partitions of a group are assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Protocol {
    /// By one of the members.
    #[default]
    Classic,
    /// By the coordinator.
    Consumer,
}

impl Consume {
    /// Runs the command.
    ///
    /// # Errors
    /// When the topic cannot be read or the output is closed.
    pub async fn run(&self, bootstrap: &str, output: Output) -> Result<()> {
        let client = connect::client(bootstrap)?;
        if let Some(group) = &self.group {
            return self.run_as_member(client, group, output).await;
        }
        let partitions = self.partitions(&client).await?;
        let topic = Str::from(self.topic.as_str());
        // An offset that was asked for and is not there is an error, not another place to begin.
        let config =
            ConsumerConfig { auto_offset_reset: OffsetReset::None, ..ConsumerConfig::default() };
        let mut consumer = Consumer::new(client, config);
        for partition in &partitions {
            consumer.assign(topic.clone(), *partition, self.offset);
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut left = self.count.unwrap_or(u64::MAX);
        while 0 < left {
            let records = consumer.poll(POLL_FOR).await?;
            self.print_some(&records, &mut left, output, &mut out)?;
            if self.exit_at_end && records.is_empty() && at_end(&consumer, &topic, &partitions)? {
                break;
            }
        }
        Ok(())
    }

    /// Prints the share of one member. What was printed is committed, and no more.
    async fn run_as_member(&self, client: Client, group: &str, output: Output) -> Result<()> {
        let reset = match self.offset {
            Start::Earliest => OffsetReset::Earliest,
            Start::Latest => OffsetReset::Latest,
            _ => bail!("with --group, --offset is earliest or latest; see: ottla groups reset"),
        };
        let config = GroupConfig {
            protocol: match self.group_protocol {
                Protocol::Classic => {
                    GroupProtocol::Classic { assignors: vec![Assignor::CooperativeSticky] }
                }
                Protocol::Consumer => GroupProtocol::Consumer { assignor: None },
            },
            consumer: ConsumerConfig { auto_offset_reset: reset, ..ConsumerConfig::default() },
            ..GroupConfig::new(group, vec![self.topic.as_str().into()])
        };
        let mut member = GroupConsumer::new(client, config);
        let printed = tokio::select! {
            printed = self.print_share(&mut member, output) => printed,
            // The group is not to wait for a member that is gone.
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
        member.close().await;
        printed
    }

    async fn print_share(&self, member: &mut GroupConsumer, output: Output) -> Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut left = self.count.unwrap_or(u64::MAX);
        while 0 < left {
            // Whatever poll returns counts as done.
            member.set_max_poll_records(usize::try_from(left).unwrap_or(usize::MAX).min(POLL_MAX));
            let records = member.poll(POLL_FOR).await?;
            self.print_some(&records, &mut left, output, &mut out)?;
            if self.exit_at_end && records.is_empty() && member.is_at_end() {
                break;
            }
        }
        Ok(())
    }

    fn print_some(
        &self,
        records: &[ConsumerRecord],
        left: &mut u64,
        output: Output,
        out: &mut impl Write,
    ) -> Result<()> {
        for record in records {
            if *left == 0 {
                break;
            }
            self.print(record, output, out)?;
            *left -= 1;
        }
        out.flush()?;
        Ok(())
    }

    async fn partitions(&self, client: &Client) -> Result<Vec<PartitionId>> {
        let metadata = client.all_topics().await?;
        let topic = metadata
            .topic(&self.topic)
            .ok_or_else(|| anyhow!("there is no topic {}; see: ottla topics list", self.topic))?;
        let all: Vec<_> = topic.partitions.iter().map(|partition| partition.id).collect();
        if self.partition.is_empty() {
            return Ok(all);
        }
        let asked: Vec<_> = self.partition.iter().copied().map(PartitionId).collect();
        if let Some(missing) = asked.iter().find(|partition| !all.contains(partition)) {
            bail!("topic {} has partitions 0 to {}, no {missing}", self.topic, all.len() - 1);
        }
        Ok(asked)
    }

    fn print(&self, record: &ConsumerRecord, output: Output, out: &mut impl Write) -> Result<()> {
        if output == Output::Json {
            writeln!(out, "{}", as_json(record))?;
            return Ok(());
        }
        let headers: Vec<_> =
            record.headers.iter().map(|header| (&*header.name, header.value.as_deref())).collect();
        let printable = Printable {
            topic: &record.topic,
            partition: record.partition.0,
            offset: record.offset.0,
            timestamp_ms: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        self.format.write(&printable, out).context("printing")
    }
}

fn as_json(record: &ConsumerRecord) -> Value {
    let text =
        |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|header| json!([header.name.as_ref() as &str, text(header.value.as_deref())]))
        .collect();
    json!({
        "topic": &*record.topic,
        "partition": record.partition.0,
        "offset": record.offset.0,
        "timestamp": record.timestamp,
        "key": text(record.key.as_deref()),
        "value": text(record.value.as_deref()),
        "headers": headers,
    })
}

fn at_end(consumer: &Consumer, topic: &Str, partitions: &[PartitionId]) -> Result<bool> {
    for partition in partitions {
        if !consumer.is_at_end(topic, *partition)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Parses where to begin.
fn start(text: &str) -> Result<Start, String> {
    let wrong = || "expected earliest, latest, an offset, or @ and Unix milliseconds".to_owned();
    match text {
        "earliest" | "beginning" => Ok(Start::Earliest),
        "latest" | "end" => Ok(Start::Latest),
        _ => match text.strip_prefix('@') {
            Some(time) => time.parse().map(Start::Timestamp).map_err(|_| wrong()),
            None => text.parse().map(|offset| Start::Offset(Offset(offset))).map_err(|_| wrong()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_begin() {
        assert_eq!(start("earliest"), Ok(Start::Earliest));
        assert_eq!(start("@5"), Ok(Start::Timestamp(5)));
        assert_eq!(start("7"), Ok(Start::Offset(Offset(7))));
        assert!(start("yesterday").is_err());
    }
}
