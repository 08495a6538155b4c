//! `ottla produce`: lines of a file or of standard input become records.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ottla_client::{
    producer::{Acks, Delivery, Producer, ProducerConfig, ProducerRecord},
    protocol::{
        Str,
        compression::{Codec, Compression},
        types::PartitionId,
    },
};

use crate::{connect, input::LineReader};

/// How long the last records may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);
/// Deliveries that may be outstanding before the oldest is looked at.
const OUTSTANDING_MAX: usize = 10_000;

/// What to produce.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  echo hello | ottla produce greetings
  ottla produce orders --key-separator : < orders.txt
  ottla produce quakes --file quakes.jsonl --json-key network --compression lz4 --progress")]
pub struct Produce {
    /// The topic.
    topic: String,
    /// Read lines of this file rather than standard input.
    #[arg(long, short)]
    file: Option<PathBuf>,
    /// The key stands before this in each line, the value behind it.
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// Lines are JSON objects, and the key is this field.
    #[arg(long, value_name = "FIELD", conflicts_with = "key_separator")]
    json_key: Option<String>,
    /// Lines are JSON objects, and this field is the timestamp in Unix milliseconds.
    #[arg(long, value_name = "FIELD")]
    json_timestamp: Option<String>,
    /// An empty value is a null: on a compacted topic it deletes the key.
    #[arg(long, short = 'Z')]
    empty_is_null: bool,
    /// A header for every record; repeat for more.
    #[arg(long, short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Write to this partition rather than to the key's.
    #[arg(long, short)]
    partition: Option<i32>,
    /// How batches are compressed.
    #[arg(long, short = 'z', value_enum, default_value_t)]
    compression: CompressionName,
    /// What must have a record before it counts as written.
    #[arg(long, value_enum, default_value_t)]
    acks: AcksName,
    /// Show a progress bar even if the output is no terminal.
    #[arg(long)]
    progress: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum CompressionName {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum AcksName {
    /// Every replica in sync; duplicates that retries make are dropped.
    #[default]
    All,
    /// The leader.
    One,
    /// Nobody: errors are not seen.
    None,
}

/// Records on their way.
struct Outstanding {
    deliveries: VecDeque<Delivery>,
    delivered: u64,
    bar: ProgressBar,
}

impl Produce {
    /// Runs the command.
    ///
    /// # Errors
    /// On a line that is no record, or a record that is not delivered.
    pub async fn run(&self, bootstrap: &str) -> Result<()> {
        let (mut lines, size) = self.open()?;
        let producer = Producer::new(connect::client(bootstrap)?, self.config())?;
        let mut outstanding =
            Outstanding { deliveries: VecDeque::new(), delivered: 0, bar: self.bar(size) };
        let reader = LineReader {
            key_separator: self.key_separator.clone(),
            json_key: self.json_key.clone(),
            json_timestamp: self.json_timestamp.clone(),
            empty_is_null: self.empty_is_null,
        };
        let mut line = String::new();
        let mut number = 0_u64;
        while lines.read_line(&mut line).context("lines must be UTF-8")? != 0 {
            number += 1;
            let record = self.record(&reader, line.trim_end_matches(['\n', '\r']));
            let record = record.with_context(|| format!("line {number}"))?;
            let sent = producer.send(record).await.with_context(|| format!("line {number}"))?;
            outstanding.push(sent, line.len() as u64).await?;
            line.clear();
        }
        producer.flush().await;
        outstanding.finish().await?;
        if !producer.close(CLOSE_WITHIN).await {
            bail!("not everything was sent within {CLOSE_WITHIN:?}");
        }
        eprintln!("wrote {number} records to {}", self.topic);
        Ok(())
    }

    fn open(&self) -> Result<(Box<dyn BufRead>, Option<u64>)> {
        let Some(path) = &self.file else {
            return Ok((Box::new(BufReader::new(io::stdin())), None));
        };
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let size = file.metadata()?.len();
        Ok((Box::new(BufReader::new(file)), Some(size)))
    }

    fn config(&self) -> ProducerConfig {
        let codec = match self.compression {
            CompressionName::None => Codec::None,
            CompressionName::Gzip => Codec::Gzip,
            CompressionName::Snappy => Codec::Snappy,
            CompressionName::Lz4 => Codec::Lz4,
            CompressionName::Zstd => Codec::Zstd,
        };
        let acks = match self.acks {
            AcksName::All => Acks::All,
            AcksName::One => Acks::Leader,
            AcksName::None => Acks::None,
        };
        let idempotence = acks == Acks::All;
        let compression = Compression::new(codec);
        ProducerConfig { acks, idempotence, compression, ..ProducerConfig::default() }
    }

    /// A bar of bytes for a file, a spinner for a stream.
    fn bar(&self, size: Option<u64>) -> ProgressBar {
        if !self.progress && !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match size {
            Some(size) => (
                ProgressBar::new(size),
                "{bar:40} {percent:>3} %  {bytes}  {bytes_per_sec}  {msg} records",
            ),
            None => {
                (ProgressBar::new_spinner(), "{spinner} {bytes}  {bytes_per_sec}  {msg} records")
            }
        };
        let style = ProgressStyle::with_template(template);
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    fn record(&self, reader: &LineReader, line: &str) -> Result<ProducerRecord> {
        let input = reader.read(line)?;
        let headers = self
            .header
            .iter()
            .map(|(name, value)| (name.as_str().into(), Some(value.clone().into_bytes().into())));
        Ok(ProducerRecord {
            topic: Str::from(self.topic.as_str()),
            partition: self.partition.map(PartitionId),
            key: input.key.map(Into::into),
            value: input.value.map(Into::into),
            headers: headers.collect(),
            timestamp: input.timestamp_ms,
        })
    }
}

impl Outstanding {
    async fn push(&mut self, delivery: Delivery, bytes: u64) -> Result<()> {
        self.deliveries.push_back(delivery);
        self.bar.inc(bytes);
        while OUTSTANDING_MAX < self.deliveries.len() {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        while !self.deliveries.is_empty() {
            self.settle_one().await?;
        }
        self.bar.set_message(self.delivered.to_string());
        self.bar.finish();
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<()> {
        if let Some(delivery) = self.deliveries.pop_front() {
            let partition = delivery.partition();
            delivery.await.with_context(|| format!("a record to partition {partition}"))?;
            self.delivered += 1;
            if self.delivered.is_multiple_of(256) {
                self.bar.set_message(self.delivered.to_string());
            }
        }
        Ok(())
    }
}

/// Parses `name=value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
