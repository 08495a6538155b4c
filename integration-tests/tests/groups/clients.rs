//! Clients in five languages, and Kafka's own programs that read in groups.

use std::collections::BTreeMap;

use ottla_integration_tests::harness::{
    Cluster, KafkaTools, Shape, WireClient, apache_kafka_tool, eventually, interop, produce_one,
};
use serde_json::Value;

use crate::{notes::WITHIN, single};

const TOPIC: &str = "shared";
const PARTITIONS: i32 = 3;

/// A topic with this many records in each of its partitions.
fn fill(cluster: &Cluster, topic: &str, records: usize) {
    cluster.create_topic(topic, PARTITIONS, 1, &[]);
    produce(cluster, topic, records);
}

fn produce(cluster: &Cluster, topic: &str, records: usize) {
    let mut client = WireClient::connect(cluster.broker_address(1));
    for partition in 0..PARTITIONS {
        for record in 0..records {
            let request = produce_one((topic, partition), &format!("value-{record}"), -1, 10_000);
            // The broker may not have heard yet that it leads.
            eventually("a record is written", WITHIN, || {
                let response = client.call(9, &request);
                (response.responses[0].partition_responses[0].error_code == 0).then_some(())
            });
        }
    }
}

#[test]
fn every_client_goes_on_where_the_one_before_has_stopped() {
    let cluster = single();
    fill(&cluster, TOPIC, 30);
    let turns: [(&str, &[&str]); 8] = [
        ("java", &["classic"]),
        ("python", &["classic"]),
        ("go", &[]),
        ("node", &[]),
        ("kcat", &[]),
        ("java", &["consumer"]),
        ("python", &["consumer"]),
        ("go", &[]),
    ];
    let mut next: BTreeMap<i64, i64> = BTreeMap::new();
    for (client, protocol) in turns {
        let bootstrap = cluster.bootstrap();
        let arguments = [&["group", &bootstrap, TOPIC, "turns", "10"], protocol].concat();
        let Ok(output) = interop(client, &arguments) else { continue };
        assert_eq!(output.lines().count(), 10, "{client} {protocol:?}: {output}");
        for line in output.lines() {
            let json: Value = serde_json::from_str(line).expect("a line of JSON");
            let integer = |name: &str| json[name].as_i64().expect("an integer");
            let expected = next.entry(integer("partition")).or_insert(0);
            assert_eq!(integer("offset"), *expected, "{client} {protocol:?}: {output}");
            *expected += 1;
        }
    }
}

#[test]
fn javas_members_share_with_every_assignor_and_both_protocols() {
    // Heartbeats of consumer groups come as often as the coordinator says.
    let often = [
        "group.consumer.min.heartbeat.interval.ms=200",
        "group.consumer.heartbeat.interval.ms=200",
    ];
    let settings = ["group.initial.rebalance.delay.ms=0"].iter().chain(&often);
    let coordinator_settings = settings.map(|line| (*line).to_owned()).collect();
    let cluster = Cluster::start(&Shape { coordinator_settings, ..Shape::default() });
    fill(&cluster, TOPIC, 3);
    let Ok(output) = interop("java", &["groups", &cluster.bootstrap(), TOPIC]) else { return };
    let expected = [
        "Range shares",
        "RoundRobin shares",
        "Sticky shares",
        "CooperativeSticky shares",
        "consumer-uniform shares",
        "consumer-range shares",
        "static comes back",
        "consumer-static comes back",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn console_and_verifiable_consumers_read_in_groups() {
    let cluster = single();
    fill(&cluster, TOPIC, 4);
    let Ok(mut tools) = KafkaTools::start() else { return };
    let bootstrap = cluster.bootstrap();
    let mut read = |arguments: &[&str], count: usize| {
        let count = count.to_string();
        let mut all = vec!["--bootstrap-server", &bootstrap, "--topic", TOPIC];
        all.extend(["--timeout-ms", "20000", "--max-messages", &count]);
        all.extend(arguments);
        let run = tools.run("kafka-console-consumer", &all);
        assert_eq!(run.status, 0, "{}", run.text);
        run.text.lines().filter(|line| line.starts_with("value-")).count()
    };
    assert_eq!(read(&["--from-beginning"], 12), 12);
    assert_eq!(read(&["--from-beginning", "--group", "console"], 12), 12);
    produce(&cluster, TOPIC, 1);
    assert_eq!(read(&["--group", "console"], 3), 3, "only what is new");
    let protocol = ["--consumer-property", "group.protocol=consumer"];
    assert_eq!(read(&[&["--from-beginning", "--group", "new"], &protocol[..]].concat(), 15), 15);
    for protocol in ["classic", "consumer"] {
        let group = format!("verifiable-{protocol}");
        let mut all =
            vec!["--bootstrap-server", &bootstrap, "--topic", TOPIC, "--group-id", &group];
        all.extend(["--group-protocol", protocol, "--max-messages", "15"]);
        all.extend(["--reset-policy", "earliest"]);
        let text = apache_kafka_tool("kafka-verifiable-consumer", &all).expect("Java");
        assert!(text.contains("\"name\":\"partitions_assigned\""), "{text}");
        let committed: Vec<&str> =
            text.lines().filter(|line| line.contains("offsets_committed")).collect();
        assert!(committed.iter().any(|line| line.contains("\"success\":true")), "{text}");
        let count: i64 = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["name"] == "records_consumed")
            .filter_map(|event| event["count"].as_i64())
            .sum();
        assert_eq!(count, 15, "{text}");
    }
}
