//! Groups of consumers: Kafka's own tools, clients in five languages and bare requests.
//!
//! The steps in [`script`] run against Ottla and against Apache Kafka 4.3.1; what Kafka answered is kept in a file, as a JVM of
//! its own is too much for every run. With `OTTLA_RECORD_KAFKA` set, the steps run against genuine Kafka first, and the file is
//! written anew. The differences that remain are listed in [`known`], each with its reason.

mod clients;
mod known;
mod notes;
mod outages;
mod script;
mod wire;

use std::{env, fs, net::SocketAddr};

use notes::Notes;
use ottla_integration_tests::harness::{
    ApacheKafka, Cluster, KafkaTools, Shape, assert_same_answers,
};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/groups-4.3.1.txt");
/// Groups begin at once, so that a test need not wait for members that never come.
const NO_DELAY: &str = "group.initial.rebalance.delay.ms=0";

fn transcript(address: SocketAddr, tools: KafkaTools) -> Vec<String> {
    let mut notes = Notes::new(address, tools);
    script::run(&mut notes);
    notes.into_lines()
}

/// Clusters of one broker whose groups begin at once.
fn single() -> Cluster {
    let settings = vec![NO_DELAY.to_owned()];
    Cluster::start(&Shape {
        coordinator_settings: settings.clone(),
        broker_settings: settings,
        ..Shape::default()
    })
}

#[test]
fn groups_answer_as_those_of_apache_kafka_do() {
    if env::var_os("OTTLA_RECORD_KAFKA").is_some() {
        record();
    }
    let Ok(tools) = KafkaTools::start() else { return };
    let recorded = fs::read_to_string(RECORDED).expect("what Apache Kafka answered");
    let expected: Vec<&str> = recorded.lines().collect();
    let cluster = single();
    let actual = transcript(cluster.broker_address(1), tools);
    fs::write(cluster.folder().join("ottla.txt"), actual.join("\n") + "\n").expect("a transcript");

    assert_same_answers(&expected, &actual, known::is_known);
    assert!(100 < expected.len(), "the script ran");
}

/// Runs the script against genuine Kafka and writes the file anew.
fn record() {
    let tools = KafkaTools::start().expect("Java");
    let kafka = ApacheKafka::start(1, "400m", &[NO_DELAY]).expect("Java");
    let lines = transcript(kafka.address(1), tools);
    fs::write(RECORDED, lines.join("\n") + "\n").expect("the repository can be written");
}
