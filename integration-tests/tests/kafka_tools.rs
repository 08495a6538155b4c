//! Apache Kafka's own command-line tools, unmodified, against Ottla.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use ottla_integration_tests::harness::{Cluster, apache_kafka_tool, assert_dump_log_accepts};

/// Runs a tool against the cluster; returns its output, or None where there is no JVM.
fn tool(cluster: &Cluster, name: &str, arguments: &[&str]) -> Option<String> {
    let bootstrap = cluster.bootstrap();
    let mut all = vec!["--bootstrap-server", bootstrap.as_str()];
    all.extend_from_slice(arguments);
    apache_kafka_tool(name, &all).ok()
}

#[test]
fn kafka_topics_creates_lists_describes_alters_and_deletes() {
    let cluster = Cluster::single();
    let topics = |arguments: &[&str]| tool(&cluster, "kafka-topics", arguments);
    let create =
        ["--create", "--topic", "orders", "--partitions", "3", "--config", "retention.ms=60000"];
    let Some(created) = topics(&create) else { return };
    assert!(created.contains("Created topic orders."), "{created}");

    assert_eq!(topics(&["--list"]).unwrap().trim(), "orders");

    let described = topics(&["--describe", "--topic", "orders"]).unwrap();
    assert!(described.contains("PartitionCount: 3"), "{described}");
    assert!(described.contains("ReplicationFactor: 1"), "{described}");
    assert!(described.contains("retention.ms=60000"), "{described}");
    assert_eq!(described.matches("Leader: 1").count(), 3, "{described}");
    assert_eq!(described.matches("Isr: 1").count(), 3, "{described}");

    topics(&["--alter", "--topic", "orders", "--partitions", "5"]).unwrap();
    let described = topics(&["--describe", "--topic", "orders"]).unwrap();
    assert!(described.contains("PartitionCount: 5"), "{described}");

    topics(&["--delete", "--topic", "orders"]).unwrap();
    assert_eq!(topics(&["--list"]).unwrap().trim(), "");
}

#[test]
fn console_producer_and_consumer_pass_records_on() {
    let cluster = Cluster::single();
    if tool(&cluster, "kafka-topics", &["--create", "--topic", "lines"]).is_none() {
        return;
    }
    console_produce(&cluster, "lines", "k1:one\nk2:two\nk3:three\n");
    let consumed = tool(
        &cluster,
        "kafka-console-consumer",
        &[
            "--topic",
            "lines",
            "--partition",
            "0",
            "--offset",
            "earliest",
            "--max-messages",
            "3",
            "--timeout-ms",
            "20000",
            "--formatter-property",
            "print.key=true",
        ],
    )
    .unwrap();
    assert_eq!(consumed.trim_end(), "k1\tone\nk2\ttwo\nk3\tthree");

    let offsets = tool(&cluster, "kafka-get-offsets", &["--topic", "lines"]).unwrap();
    assert_eq!(offsets.trim(), "lines:0:3");
}

#[test]
fn delete_records_moves_the_start_of_the_log() {
    let cluster = Cluster::single();
    if tool(&cluster, "kafka-topics", &["--create", "--topic", "old"]).is_none() {
        return;
    }
    console_produce(&cluster, "old", "k:1\nk:2\nk:3\n");
    let file = cluster.folder().join("delete.json");
    let json = r#"{"partitions": [{"topic": "old", "partition": 0, "offset": 2}], "version": 1}"#;
    fs::write(&file, json).unwrap();
    let file = file.to_str().unwrap();
    let deleted = tool(&cluster, "kafka-delete-records", &["--offset-json-file", file]).unwrap();
    assert!(deleted.contains("low_watermark: 2"), "{deleted}");
    let earliest =
        tool(&cluster, "kafka-get-offsets", &["--topic", "old", "--time", "earliest"]).unwrap();
    assert_eq!(earliest.trim(), "old:0:2");
}

#[test]
fn kafka_configs_describes_and_alters_topics() {
    let cluster = Cluster::single();
    if tool(&cluster, "kafka-topics", &["--create", "--topic", "tuned"]).is_none() {
        return;
    }
    let configs = |arguments: &[&str]| tool(&cluster, "kafka-configs", arguments).unwrap();
    let entity = ["--entity-type", "topics", "--entity-name", "tuned"];
    let altered =
        configs(&[&entity[..], &["--alter", "--add-config", "segment.bytes=2097152"]].concat());
    assert!(altered.contains("Completed updating config for topic tuned."), "{altered}");
    let described = configs(&[&entity[..], &["--describe"]].concat());
    assert!(described.contains("segment.bytes=2097152"), "{described}");
    assert!(described.contains("DYNAMIC_TOPIC_CONFIG:segment.bytes=2097152"), "{described}");
    let all = configs(&[&entity[..], &["--describe", "--all"]].concat());
    assert!(all.contains("retention.ms=604800000"), "{all}");
    assert!(all.contains("DEFAULT_CONFIG:log.cleanup.policy=delete"), "{all}");
    configs(&[&entity[..], &["--alter", "--delete-config", "segment.bytes"]].concat());
    let described = configs(&[&entity[..], &["--describe"]].concat());
    assert!(!described.contains("segment.bytes=2097152"), "{described}");
}

#[test]
fn cluster_tools_see_the_broker() {
    let cluster = Cluster::single();
    let Some(versions) = tool(&cluster, "kafka-broker-api-versions", &[]) else { return };
    assert!(versions.contains("(id: 1 rack: null"), "{versions}");
    assert!(versions.contains("Produce(0): 0 to 13"), "{versions}");
    assert!(versions.contains("Fetch(1): 4 to 18"), "{versions}");
    let dirs = tool(&cluster, "kafka-log-dirs", &["--describe"]).unwrap();
    assert!(dirs.contains(cluster.broker_log_dir(1).to_str().unwrap()), "{dirs}");
    let bootstrap = cluster.bootstrap();
    let id = apache_kafka_tool("kafka-cluster", &["cluster-id", "--bootstrap-server", &bootstrap])
        .unwrap();
    let id = id.trim().strip_prefix("Cluster ID: ").expect("a cluster id");
    assert_eq!(id.len(), 22, "{id}");
}

#[test]
fn verifiable_and_performance_producers_run() {
    let cluster = Cluster::single();
    if tool(&cluster, "kafka-topics", &["--create", "--topic", "load"]).is_none() {
        return;
    }
    let verified = tool(
        &cluster,
        "kafka-verifiable-producer",
        &["--topic", "load", "--max-messages", "500", "--acks", "-1"],
    )
    .unwrap();
    assert_eq!(verified.matches("producer_send_success").count(), 500);
    let performed = tool(
        &cluster,
        "kafka-producer-perf-test",
        &[
            "--topic",
            "load",
            "--num-records",
            "20000",
            "--record-size",
            "500",
            "--throughput",
            "-1",
        ],
    )
    .unwrap();
    assert!(performed.contains("20000 records sent"), "{performed}");
    let offsets = tool(&cluster, "kafka-get-offsets", &["--topic", "load"]).unwrap();
    assert_eq!(offsets.trim(), "load:0:20500");
}

#[test]
fn dump_log_accepts_every_file_that_a_running_broker_has_written() {
    let cluster = Cluster::single();
    let create = [
        "--create",
        "--topic",
        "files",
        "--config",
        "segment.bytes=1048576",
        "--config",
        "index.interval.bytes=1000",
    ];
    if tool(&cluster, "kafka-topics", &create).is_none() {
        return;
    }
    tool(
        &cluster,
        "kafka-producer-perf-test",
        &[
            "--topic",
            "files",
            "--num-records",
            "6000",
            "--record-size",
            "700",
            "--throughput",
            "-1",
        ],
    )
    .unwrap();
    let folder = cluster.broker_log_dir(1).join("files-0");
    let checked = assert_dump_log_accepts(&[folder]).unwrap();
    assert!(9 <= checked, "at least three segments with their indexes, saw {checked} files");
}

/// The console producer reads its standard input, which the kit passes on.
fn console_produce(cluster: &Cluster, topic: &str, lines: &str) {
    let kit = concat!(env!("CARGO_MANIFEST_DIR"), "/apache-kafka/apache-kafka");
    let mut child = Command::new(kit)
        .args(["tool", "kafka-console-producer", "--bootstrap-server", &cluster.bootstrap()])
        .args(["--topic", topic, "--reader-property", "parse.key=true"])
        .args(["--reader-property", "key.separator=:"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the kit starts");
    let mut input = child.stdin.take().expect("a piped input");
    input.write_all(lines.as_bytes()).expect("the producer reads");
    drop(input);
    assert!(child.wait().expect("its end").success());
}
