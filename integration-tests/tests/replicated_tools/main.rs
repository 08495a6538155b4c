//! What administrators do to three brokers, with Apache Kafka's own tools and with bare requests: the same script against
//! Apache Kafka 4.3.1 and against Ottla.
//!
//! Three JVMs of Kafka's are too much for every run, so what Kafka answered is kept in a file, and Ottla is compared with
//! that. With `OTTLA_RECORD_KAFKA` set, the script runs against genuine Kafka first, and writes the file anew. The differences
//! that remain are listed in [`known`], each with its reason.

mod known;
mod notes;
mod script;
mod servers;
mod wire;

use std::{env, fs, path::Path};

use notes::Notes;
use ottla_integration_tests::harness::{
    ApacheKafka, Cluster, KafkaTools, Shape, assert_same_answers,
};
use servers::Servers;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/replicated-tools-4.3.1.txt");

fn transcript(servers: &mut dyn Servers, tools: KafkaTools, folder: &Path) -> Vec<String> {
    let mut notes = Notes::new(servers, tools, folder);
    script::run(&mut notes);
    notes.into_lines()
}

#[test]
fn tools_say_of_ottla_what_they_say_of_apache_kafka() {
    if env::var_os("OTTLA_RECORD_KAFKA").is_some() {
        record();
    }
    let Ok(tools) = KafkaTools::start() else { return };
    let recorded = fs::read_to_string(RECORDED).expect("what Apache Kafka answered");
    let expected: Vec<&str> = recorded.lines().collect();
    let mut cluster = Cluster::start(&Shape::of(3));
    let folder = cluster.folder().to_owned();
    let actual = transcript(&mut cluster, tools, &folder);
    fs::write(folder.join("ottla.txt"), actual.join("\n") + "\n").expect("a transcript");

    assert_same_answers(&expected, &actual, known::is_known);
    assert!(50 < expected.len(), "the script ran");
}

/// Runs the script against genuine Kafka and writes the file anew.
fn record() {
    let tools = KafkaTools::start().expect("Java");
    // With the defaults of a broker whose file says nothing.
    let settings = ["min.insync.replicas=1", "default.replication.factor=1"];
    let mut kafka = ApacheKafka::start(3, "400m", &settings).expect("Java");
    let folder = kafka.folder().to_owned();
    let lines = transcript(&mut kafka, tools, &folder);
    fs::write(RECORDED, lines.join("\n") + "\n").expect("the repository can be written");
}
