//! Histories of foreign clients: Kafka's own producer, and librdkafka as a reader.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use serde_json::Value;

use super::{Content, Contents, Outcome, ProducerLog, Sent, UNTIMED};
use crate::harness::{Process, Signal, apache_kafka, eventually};

/// How long a JVM may take to start and to be acknowledged its first record, and to end.
const WITHIN: Duration = Duration::from_secs(60);

/// Kafka's own idempotent producer (`kafka-verifiable-producer`), which prints what it was told.
#[derive(Debug)]
pub struct JavaProducer {
    process: Process,
    number: u32,
}

impl JavaProducer {
    /// Starts producer `number` to a topic of one partition, at `throughput` records a second, and waits for its first
    /// acknowledgement. Nothing where there is no Java.
    ///
    /// # Panics
    /// When it does not get that far.
    #[must_use]
    pub fn start(
        folder: &Path,
        bootstrap: &str,
        topic: &str,
        number: u32,
        throughput: u32,
    ) -> Option<Self> {
        // The kit also downloads what it needs at the first use.
        apache_kafka(&["--help"]).ok()?;
        let settings = folder.join(format!("java-producer-{number}.properties"));
        // The tool turns retries off; an application would not.
        let text = "retries=2147483647\nenable.idempotence=true\ndelivery.timeout.ms=60000\n\
                    request.timeout.ms=10000\nlinger.ms=2\n";
        fs::write(&settings, text).expect("a settings file");
        let kit = concat!(env!("CARGO_MANIFEST_DIR"), "/apache-kafka/apache-kafka");
        let mut command = Command::new(kit);
        command.args(["tool", "kafka-verifiable-producer", "--bootstrap-server", bootstrap]);
        command.args(["--topic", topic, "--acks", "-1", "--command-config"]).arg(&settings);
        command.args(["--value-prefix", &number.to_string()]);
        command.args(["--throughput", &throughput.to_string()]);
        let log = folder.join(format!("java-producer-{number}.log"));
        let mut process = Process::spawn("Kafka's producer", &log, command);
        eventually("Kafka's producer is acknowledged a record", WITHIN, || {
            assert!(process.is_running(), "it ended:\n{}", process.log_text());
            process.log_text().contains("producer_send_success").then_some(())
        });
        Some(Self { process, number })
    }

    /// How many records it was acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.process.log_text().matches("producer_send_success").count()
    }

    /// Waits until it was acknowledged that many more records than now.
    ///
    /// # Panics
    /// When it is not, for a minute.
    pub fn await_more(&self, count: usize) {
        let goal = self.acknowledged() + count;
        eventually("Kafka's producer goes on", WITHIN, || {
            (goal <= self.acknowledged()).then_some(())
        });
    }

    /// Ends it, and returns its number and what it was told.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn finish(mut self) -> (u32, ProducerLog) {
        self.process.signal(Signal::TERM);
        self.process.wait();
        (self.number, parse(&self.process.log_text()))
    }
}

/// The tool's output: a JSON object a line.
fn parse(output: &str) -> ProducerLog {
    let mut log = ProducerLog { idempotent: true, ..ProducerLog::default() };
    let mut sent = 0;
    for line in output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let sequence =
            line["value"].as_str().and_then(|value| value.rsplit('.').next()?.parse().ok());
        let outcome = match line["name"].as_str() {
            Some("producer_send_success") => {
                // Its clock is not that of the load: times are left out.
                Outcome::Acknowledged { offset: line["offset"].as_i64(), at: UNTIMED }
            }
            Some("producer_send_error") => Outcome::Failed(line["message"].to_string()),
            Some("tool_data") => {
                sent = line["sent"].as_u64().unwrap_or(0);
                continue;
            }
            _ => continue,
        };
        if let Some(sequence) = sequence {
            log.records.insert(sequence, Sent { at: Duration::ZERO, outcome });
        }
    }
    for sequence in 0..sent {
        let unknown = Sent { at: Duration::ZERO, outcome: Outcome::Unknown };
        log.records.entry(sequence).or_insert(unknown);
    }
    log
}

/// Every record of a topic as librdkafka reads it; nothing where there is no kcat.
///
/// # Panics
/// When kcat fails.
#[must_use]
pub fn read_with_kcat(bootstrap: &str, topic: &str) -> Option<BTreeMap<i32, Contents>> {
    let mut command = Command::new("timeout");
    command.args(["60", "kcat", "-C", "-q", "-e", "-b", bootstrap, "-t", topic, "-o", "beginning"]);
    let output = command.args(["-f", r"%p %o %s\n"]).output().expect("timeout runs");
    if output.status.code() == Some(127) {
        eprintln!("there is no kcat");
        return None;
    }
    assert!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
    let mut all: BTreeMap<i32, Contents> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(Ok(partition)), Some(Ok(offset)), Some(value)) =
            (words.next().map(str::parse), words.next().map(str::parse), words.next())
        else {
            panic!("kcat says {line:?}");
        };
        all.entry(partition).or_default().insert(offset, Content::of(value.as_bytes()));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_kafkas_producer_is_understood() {
        let log = parse(
            r#"{"timestamp":1,"name":"startup_complete"}
{"timestamp":2,"name":"producer_send_success","key":null,"value":"7.0","partition":0,"offset":5,"topic":"t"}
{"timestamp":3,"name":"producer_send_error","key":null,"value":"7.1","exception":"x","message":"late","topic":"t"}
{"timestamp":4,"name":"tool_data","sent":3,"acked":1,"target_throughput":-1,"avg_throughput":1.0}"#,
        );
        let at = |sequence: u64| log.records[&sequence].outcome.clone();
        assert_eq!(at(0), Outcome::Acknowledged { offset: Some(5), at: UNTIMED });
        assert_eq!(at(1), Outcome::Failed("\"late\"".to_owned()));
        assert_eq!(at(2), Outcome::Unknown);
    }
}
