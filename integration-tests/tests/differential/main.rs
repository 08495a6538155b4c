//! One script, two servers: the same requests go to Apache Kafka 4.3.1 and to Ottla, and what can be observed is compared.
//!
//! A script notes what it saw, line by line, without what must differ (ids, times, addresses). The differences that remain
//! are listed in [`known`], each with its reason.

mod batches;
mod configs;
mod fetch;
mod known;
mod produce;
mod session;
mod topics;

use std::{fs, net::SocketAddr, path::Path};

use ottla_integration_tests::harness::{ApacheKafka, Cluster, assert_same_answers};
use session::Session;

type Script = fn(&mut Session);

const SCRIPTS: &[(&str, Script)] = &[
    ("topics", topics::script),
    ("produce", produce::script),
    ("fetch", fetch::script),
    ("configs", configs::script),
];

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
    let Ok(kafka) = ApacheKafka::start(1, "512m", &[]) else { return };
    let expected = transcript(kafka.address(1));
    drop(kafka);
    let cluster = Cluster::single();
    let actual = transcript(cluster.broker_address(1));
    keep(&cluster, "kafka.txt", &expected);
    keep(&cluster, "ottla.txt", &actual);

    assert_same_answers(&expected, &actual, |_, actual| known::is_known(actual));
    assert!(20 < expected.len(), "the scripts ran");
}

fn keep(cluster: &Cluster, name: &str, lines: &[String]) {
    let path = Path::new(cluster.folder()).join(name);
    fs::write(path, lines.join("\n")).expect("a transcript");
}
