//! The laboratory that every introduction to Kafka ends with, with Kafka's own tools.

use ottla_integration_tests::harness::{Cluster, Shape, apache_kafka_tool, console_produce};

const TOPIC: &str = "my-failsafe-topic";

/// The one line of `kafka-topics --describe` about the partition, without what is not of interest.
fn describe(cluster: &Cluster) -> String {
    let bootstrap = cluster.bootstrap();
    let arguments = ["--bootstrap-server", &bootstrap, "--describe", "--topic", TOPIC];
    let text = apache_kafka_tool("kafka-topics", &arguments).expect("it ran before");
    let line = text.lines().find(|line| line.contains("Partition: 0")).expect("a partition");
    line.to_owned()
}

/// The values of the topic, from its beginning, as the only member of a group of the tool's own.
fn consume(cluster: &Cluster, count: usize) -> Vec<String> {
    let (bootstrap, count) = (cluster.bootstrap(), count.to_string());
    let mut arguments = vec!["--bootstrap-server", &bootstrap, "--topic", TOPIC];
    arguments.extend(["--from-beginning", "--timeout-ms", "20000"]);
    arguments.extend(["--max-messages", &count]);
    let text = apache_kafka_tool("kafka-console-consumer", &arguments).expect("it ran before");
    text.lines().map(str::to_owned).collect()
}

/// The ids after `name: `.
fn ids(line: &str, name: &str) -> Vec<u16> {
    let (_, rest) = line.split_once(&format!("{name}: ")).expect("that column");
    let ids = rest.split_whitespace().next().expect("ids");
    let mut ids: Vec<u16> = ids.split(',').map(|id| id.parse().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn killed_leader_is_replaced_and_comes_back_into_the_isr() {
    // Groups begin at once: none has a second member here.
    let coordinator_settings = vec!["group.initial.rebalance.delay.ms=0".to_owned()];
    let mut cluster = Cluster::start(&Shape { coordinator_settings, ..Shape::of(3) });
    let bootstrap = cluster.bootstrap();
    let create = ["--bootstrap-server", &bootstrap, "--create", "--topic", TOPIC];
    let create = [&create[..], &["--partitions", "1", "--replication-factor", "3"]].concat();
    let Ok(created) = apache_kafka_tool("kafka-topics", &create) else { return };
    assert!(created.contains("Created topic my-failsafe-topic."), "{created}");
    cluster.await_in_sync();
    let before = describe(&cluster);
    assert_eq!(ids(&before, "Isr"), [1, 2, 3], "{before}");

    console_produce(&bootstrap, TOPIC, "my message 1\nmy message 2\n").unwrap();
    assert_eq!(consume(&cluster, 2), ["my message 1", "my message 2"]);

    let leader = ids(&before, "Leader")[0];
    cluster.broker(leader).kill();
    let left: Vec<u16> = (1..=3).filter(|id| *id != leader).collect();
    cluster.await_isr(TOPIC, 0, &left);
    let after = describe(&cluster);
    assert!(left.contains(&ids(&after, "Leader")[0]), "{after}");
    assert_eq!(ids(&after, "Isr"), left, "{after}");
    assert_eq!(ids(&after, "Replicas"), [1, 2, 3], "{after}");

    console_produce(&bootstrap, TOPIC, "my message 3\n").unwrap();
    assert_eq!(consume(&cluster, 3), ["my message 1", "my message 2", "my message 3"]);

    cluster.restart_broker(leader);
    cluster.await_isr(TOPIC, 0, &[1, 2, 3]);
    assert_eq!(ids(&describe(&cluster), "Isr"), [1, 2, 3]);
}
