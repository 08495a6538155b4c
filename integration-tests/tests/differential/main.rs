//! One script, two servers: the same requests go to Apache Kafka 4.3.1 and to Ottla, and what can be observed is compared.
//!
//! A script notes what it saw, line by line, without what must differ (ids, times, addresses). The differences that remain
//! are listed in [`KNOWN`], each with its reason.

mod batches;
mod configs;
mod fetch;
mod produce;
mod session;
mod topics;

use std::{fs, net::SocketAddr, path::Path};

use ottla_integration_tests::harness::{Cluster, PortBlock, apache_kafka};
use session::Session;

/// A step whose outcome differs on purpose.
struct Known {
    /// The line's start, up to the arrow.
    step: &'static str,
    /// What Ottla answers instead.
    ottla: &'static str,
    /// Why that is better.
    reason: &'static str,
}

const KNOWN: &[Known] = &[Known {
    step: "configs: describe min.insync.replicas",
    ottla: "NONE min.insync.replicas=1 source 5 type 3 readonly false sensitive false \
                [5:min.insync.replicas=1]",
    reason: "the kit that starts Kafka sets it",
}];

type Script = fn(&mut Session);

const SCRIPTS: &[(&str, Script)] = &[
    ("topics", topics::script),
    ("produce", produce::script),
    ("fetch", fetch::script),
    ("configs", configs::script),
];

/// Genuine Apache Kafka, one broker with id 1; stopped when dropped.
struct ApacheKafka {
    folder: tempfile::TempDir,
    ports: PortBlock,
}

impl ApacheKafka {
    /// None where there is no JVM.
    fn start() -> Option<Self> {
        let ports = PortBlock::claim();
        let folder = tempfile::tempdir().expect("a folder");
        let kafka = Self { folder, ports };
        let port = kafka.ports.port(0).to_string();
        let arguments =
            ["up", "--brokers", "1", "--dir", kafka.dir(), "--port", &port, "--heap", "512m"];
        apache_kafka(&arguments).ok()?;
        Some(kafka)
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().expect("a path in UTF-8")
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.port(0)))
    }
}

impl Drop for ApacheKafka {
    fn drop(&mut self) {
        let _ = apache_kafka(&["down", "--dir", self.dir()]);
    }
}

fn transcript(address: SocketAddr) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, script) in SCRIPTS {
        let mut session = Session::new(address);
        script(&mut session);
        lines.extend(session.into_lines().into_iter().map(|line| format!("{name}: {line}")));
    }
    lines
}

#[test]
fn ottla_answers_as_apache_kafka_does() {
    let Some(kafka) = ApacheKafka::start() else { return };
    let expected = transcript(kafka.address());
    drop(kafka);
    let cluster = Cluster::single();
    let actual = transcript(cluster.broker_address(1));
    keep(&cluster, "kafka.txt", &expected);
    keep(&cluster, "ottla.txt", &actual);

    let mut differences = Vec::new();
    for (expected, actual) in expected.iter().zip(&actual) {
        if expected != actual && !is_known(actual) {
            differences.push(format!("  Kafka  {expected}\n  Ottla  {actual}"));
        }
    }
    assert_eq!(expected.len(), actual.len(), "both take the same number of steps");
    assert!(20 < expected.len(), "the scripts ran");
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

fn is_known(actual: &str) -> bool {
    let (step, outcome) = actual.split_once(" -> ").expect("a step and its outcome");
    let known = KNOWN.iter().find(|known| known.step == step && known.ottla == outcome);
    if let Some(known) = known {
        println!("{step}: {}", known.reason);
    }
    known.is_some()
}

fn keep(cluster: &Cluster, name: &str, lines: &[String]) {
    let path = Path::new(cluster.folder()).join(name);
    fs::write(path, lines.join("\n")).expect("a transcript");
}
