//! The steps.

use ottla_integration_tests::harness::{apache_kafka_tool, apache_kafka_tool_until};

use crate::{notes::Notes, wire};

/// Fills the topic that a throttle is to hold up.
const RECORDS: &str =
    "kafka-producer-perf-test --topic big --num-records 8000 --record-size 1000 --throughput -1";

pub fn run(notes: &mut Notes<'_>) {
    topics(notes);
    records(notes);
    replica_verification(notes);
    configs(notes);
    cluster(notes);
    reassignments(notes);
    throttled(notes);
    directories(notes);
    refusals(notes);
    notes.servers.kill(3);
    without_a_broker(notes);
    unregistered(notes);
    notes.servers.start(3);
    back_again(notes);
}

fn create(notes: &mut Notes<'_>, topic: &str, replicas: &str, min_isr: u8) {
    notes.tool(&format!(
        "kafka-topics --create --topic {topic} --replica-assignment {replicas} \
         --config min.insync.replicas={min_isr}"
    ));
}

fn topics(notes: &mut Notes<'_>) {
    create(notes, "safe", "3:1:2,1:2:3,2:3:1", 2);
    create(notes, "strict", "1:3", 2);
    create(notes, "alone", "3", 1);
    create(notes, "small", "1:2,2:3,3:1", 1);
    create(notes, "big", "1:2", 1);
    notes.await_isr("safe", &[1, 2, 3]);
    notes.await_isr("big", &[1, 2]);
    for topic in ["safe", "strict", "alone", "small"] {
        notes.tool(&format!("kafka-topics --describe --topic {topic}"));
    }
    for filter in ["under-replicated", "under-min-isr", "at-min-isr", "unavailable"] {
        notes.tool(&format!("kafka-topics --describe --topic safe --{filter}-partitions"));
    }
    notes.tool("kafka-topics --describe --topics-with-overrides");
    notes.tool("kafka-topics --create --topic safe");
    notes.tool("kafka-topics --create --topic safe --if-not-exists");
    notes.tool("kafka-topics --describe --topic nothing");
}

fn records(notes: &mut Notes<'_>) {
    // It prints on while its JVM ends, so it has one of its own.
    let bootstrap = notes.bootstrap();
    let arguments = ["--bootstrap-server", &bootstrap, "--topic", "alone"];
    let arguments = [&arguments[..], &["--max-messages", "100", "--acks", "-1"]].concat();
    let text = apache_kafka_tool("kafka-verifiable-producer", &arguments).expect("Java");
    let sent = text.matches("producer_send_success").count();
    notes.note("kafka-verifiable-producer", &format!("{sent} sent"));
    for time in ["latest", "earliest", "max-timestamp", "-4", "-5"] {
        // The record with the highest timestamp is another one in each run.
        let is_wanted = |_: &str| time != "max-timestamp";
        notes.tool_lines(&format!("kafka-get-offsets --topic alone --time {time}"), is_wanted);
    }
    notes.tool("kafka-get-offsets --topic-partitions safe:0,small:1");
    notes.tool("kafka-get-offsets --topic nothing");
    let delete = |offset| {
        format!(
            r#"{{"version":1,"partitions":[{{"topic":"alone","partition":0,"offset":{offset}}}]}}"#
        )
    };
    notes.write("delete.json", &delete(40));
    notes.write("delete-too-much.json", &delete(400));
    notes.tool("kafka-delete-records --offset-json-file delete.json");
    notes.tool("kafka-delete-records --offset-json-file delete-too-much.json");
    notes.tool("kafka-get-offsets --topic alone --time earliest");
    notes.tool("kafka-log-dirs --describe --topic-list safe,small");
    notes.tool("kafka-log-dirs --describe --broker-list 1,2 --topic-list small");
    notes.tool("kafka-log-dirs --describe --broker-list 1,9");
    for (leader, acks) in [(3, -1), (3, 1), (1, -1)] {
        wire::produce(notes, "safe", (leader, acks));
    }
}

/// It goes on for ever, so it is ended once it has compared everything from the start on.
fn replica_verification(notes: &mut Notes<'_>) {
    let arguments =
        ["--broker-list", &notes.bootstrap(), "--topics-include", "safe", "--time", "-2"];
    let arguments = [&arguments[..], &["--report-interval-ms", "500"]].concat();
    let found = apache_kafka_tool_until("kafka-replica-verification", &arguments, "max lag is");
    let lag = found.split_once(": ").map_or("", |(_, rest)| rest);
    let (lag, _) = lag.split_once(" for ").unwrap_or_default();
    notes.note("kafka-replica-verification", lag);
}

fn configs(notes: &mut Notes<'_>) {
    let one = "--entity-type brokers --entity-name 1";
    let all = "--entity-type brokers --entity-default";
    let topic = "--entity-type topics --entity-name small";
    for (entity, name, value) in [
        (one, "log.cleaner.threads", "2"),
        (all, "message.max.bytes", "2000000"),
        (topic, "retention.ms", "60000"),
    ] {
        notes.tool(&format!("kafka-configs --alter {entity} --add-config {name}={value}"));
        let describe = format!("kafka-configs --describe {entity}");
        let set = format!("{name}={value}");
        notes.await_tool(&describe, |text| text.contains(&set));
        notes.tool_lines(&describe, |line| line.contains(name));
        notes.tool(&format!("kafka-configs --alter {entity} --delete-config {name}"));
        notes.await_tool(&describe, |text| !text.contains(name));
    }
    notes.tool(&format!("kafka-configs --alter {one} --add-config broker.id=7"));
    notes.tool(&format!("kafka-configs --alter {one} --add-config log.cleaner.threads=none"));
    notes.tool(&format!("kafka-configs --alter {topic} --add-config no.such.config=1"));
}

fn cluster(notes: &mut Notes<'_>) {
    notes.tool("kafka-cluster cluster-id");
    notes.tool("kafka-cluster list-endpoints");
    notes.tool("kafka-cluster list-endpoints --include-fenced-brokers");
    // Features of groups and transactions come with those.
    let is_here = |line: &str| ["metadata.version ", "eligible."].iter().any(|f| line.contains(f));
    notes.tool_cut("kafka-features describe", "Epoch", is_here);
    notes.tool("kafka-features upgrade --feature metadata.version=30 --dry-run");
    notes.tool("kafka-features upgrade --feature metadata.version=99 --dry-run");
    notes.tool("kafka-features upgrade --feature no.such.feature=1 --dry-run");
    for (feature, level, kind) in [
        ("metadata.version", 30, 1),
        ("metadata.version", 99, 1),
        ("metadata.version", 29, 1),
        ("metadata.version", 0, 3),
        ("metadata.version", 30, 2),
        ("no.such.feature", 1, 1),
        ("eligible.leader.replicas.version", 0, 2),
        ("eligible.leader.replicas.version", -1, 2),
    ] {
        wire::feature(notes, feature, level, kind);
    }
    let is_admin = |line: &str| line.contains("(id: ") || APIS.iter().any(|api| line.contains(api));
    notes.tool_lines("kafka-broker-api-versions", is_admin);
    notes.tool_cut("kafka-metadata-quorum describe --status", ":", |_| true);
    notes
        .tool_lines("kafka-metadata-quorum describe --replication", |line| line.contains("NodeId"));
    wire::quorum(notes, "__cluster_metadata");
    wire::quorum(notes, "safe");
    for kind in [1, 2, 3] {
        wire::cluster(notes, kind, true);
    }
}

/// What the tools of this script need.
const APIS: &[&str] = &[
    "CreateTopics(",
    "DeleteTopics(",
    "DeleteRecords(",
    "DescribeConfigs(",
    "AlterReplicaLogDirs(",
    "DescribeLogDirs(",
    "CreatePartitions(",
    "ElectLeaders(",
    "IncrementalAlterConfigs(",
    "AlterPartitionReassignments(",
    "ListPartitionReassignments(",
    "DescribeQuorum(",
    "UpdateFeatures(",
    "DescribeCluster(",
    "UnregisterBroker(",
    "DescribeTopicPartitions(",
];

fn assignment(entries: &[(&str, i32, &str)]) -> String {
    let entry = |(topic, partition, rest): &(&str, i32, &str)| {
        format!(r#"{{"topic":"{topic}","partition":{partition},"replicas":{rest}}}"#)
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    format!(r#"{{"version":1,"partitions":[{}]}}"#, entries.join(","))
}

fn reassignments(notes: &mut Notes<'_>) {
    notes.write("topics.json", r#"{"version":1,"topics":[{"topic":"small"}]}"#);
    // The proposal is the tool's own, and random.
    notes.tool_lines(
        "kafka-reassign-partitions --generate --topics-to-move-json-file topics.json \
         --broker-list 1,2,3",
        |line| !line.contains("\"any\""),
    );
    let moves = [("small", 0, "[2,3]"), ("small", 1, "[3,1]"), ("small", 2, "[1,2]")];
    notes.write("move.json", &assignment(&moves));
    notes.tool("kafka-reassign-partitions --list");
    notes.tool("kafka-reassign-partitions --execute --reassignment-json-file move.json");
    // A broker that is asked may not have heard of each move yet.
    let verify = "kafka-reassign-partitions --verify --reassignment-json-file move.json";
    notes.await_tool(verify, |text| text.matches("is completed").count() == moves.len());
    notes.tool(verify);
    notes.tool_until("kafka-topics --describe --topic small", "Replicas: 1,2\tIsr: 1,2");
    notes.tool("kafka-reassign-partitions --cancel --reassignment-json-file move.json");
    notes.write("unknown.json", &assignment(&[("small", 0, "[2,9]")]));
    notes.tool("kafka-reassign-partitions --execute --reassignment-json-file unknown.json");
}

/// Eight megabytes, of which a throttle lets one through: time to look at a move that is under way.
fn throttled(notes: &mut Notes<'_>) {
    notes.tool_cut(RECORDS, ",", |line| line.starts_with("8000 records"));
    notes.write("big.json", &assignment(&[("big", 0, "[3,2]")]));
    let tool = "kafka-reassign-partitions";
    let file = "--reassignment-json-file big.json";
    notes.tool(&format!("{tool} --execute {file} --throttle 1000"));
    notes.tool(&format!("{tool} --list"));
    notes.tool(&format!("{tool} --verify {file} --preserve-throttles"));
    notes.tool(&format!("{tool} --execute {file} --throttle 1000"));
    let rates = |line: &str| line.contains("throttled");
    notes.tool_lines("kafka-configs --describe --entity-type brokers", rates);
    notes.tool_lines("kafka-configs --describe --entity-type topics --entity-name big", rates);
    notes.tool(&format!("{tool} --cancel {file}"));
    notes.tool(&format!("{tool} --list"));
    notes.tool_lines("kafka-configs --describe --entity-type brokers", rates);
    notes.tool("kafka-topics --describe --topic big");

    notes.tool(&format!("{tool} --execute {file} --throttle 1000"));
    notes.tool(&format!("{tool} --execute {file} --additional --throttle 100000000"));
    notes.tool_until(&format!("{tool} --verify {file}"), "big-0 is completed");
    notes.tool("kafka-topics --describe --topic big");
    notes.tool_lines("kafka-configs --describe --entity-type topics --entity-name big", rates);
}

fn directories(notes: &mut Notes<'_>) {
    let dir = notes.servers.log_dir(1).display().to_string();
    let to = |dir: &str| assignment(&[("big", 0, &format!(r#"[3,1],"log_dirs":["any","{dir}"]"#))]);
    notes.write("dir.json", &to(&dir));
    notes.write("no-dir.json", &to("/nowhere"));
    let tool = "kafka-reassign-partitions";
    notes.tool(&format!("{tool} --execute --reassignment-json-file dir.json"));
    notes.tool_until(
        &format!("{tool} --verify --reassignment-json-file dir.json"),
        "big-0 is completed",
    );
    notes.tool(&format!("{tool} --execute --reassignment-json-file no-dir.json"));
}

fn refusals(notes: &mut Notes<'_>) {
    let cases: [(&str, i32, Option<&[i32]>); 8] = [
        ("small", 0, Some(&[2, 9])),
        ("small", 0, Some(&[])),
        ("small", 0, Some(&[2, 2])),
        ("small", 0, Some(&[-1])),
        ("small", 9, Some(&[1])),
        ("nothing", 0, Some(&[1])),
        ("small", 0, None),
        ("nothing", 0, None),
    ];
    for (topic, index, replicas) in cases {
        wire::reassign(notes, topic, index, replicas);
    }
    for (kind, topic) in [(0, "safe"), (1, "safe"), (0, "nothing"), (7, "safe")] {
        wire::elect(notes, kind, topic, 0);
    }
    wire::create(notes, "too-many", 4, &[]);
    wire::create(notes, "none", 0, &[]);
    wire::create(notes, "unknown", -1, &[1, 9]);
    wire::create(notes, "twice", -1, &[1, 1]);
    notes.tool("kafka-leader-election --election-type preferred --topic safe --partition 0");
    notes.tool("kafka-leader-election --election-type preferred --topic nothing --partition 0");
}

fn without_a_broker(notes: &mut Notes<'_>) {
    notes.await_isr("safe", &[1, 2]);
    notes.await_isr("strict", &[1]);
    notes.await_isr("alone", &[]);
    for filter in ["under-replicated", "under-min-isr", "at-min-isr", "unavailable"] {
        notes.tool(&format!("kafka-topics --describe --{filter}-partitions"));
    }
    for topic in ["safe", "strict", "alone"] {
        notes.tool(&format!("kafka-topics --describe --topic {topic}"));
    }
    for (topic, acks) in [("strict", -1), ("strict", 1), ("strict", -1), ("safe", -1)] {
        wire::produce(notes, topic, (1, acks));
    }
    wire::elect(notes, 0, "safe", 0);
    wire::elect(notes, 0, "alone", 0);
    wire::elect(notes, 1, "alone", 0);
    notes.tool("kafka-leader-election --election-type preferred --topic safe --partition 0");
    notes.tool("kafka-leader-election --election-type unclean --topic alone --partition 0");
    notes.tool("kafka-cluster list-endpoints");
    notes.tool("kafka-cluster list-endpoints --include-fenced-brokers");
    wire::create(notes, "three", 3, &[]);
    wire::create(notes, "named", -1, &[1, 3]);

    // The tool asks for no broker that is gone, but others do.
    wire::reassign(notes, "strict", 0, Some(&[1, 3, 2]));
    wire::reassign(notes, "small", 2, Some(&[1, 3]));
    notes.write("gone.json", &assignment(&[("small", 2, "[1,3]")]));
    let tool = "kafka-reassign-partitions";
    let file = "--reassignment-json-file gone.json --preserve-throttles";
    notes.tool("kafka-reassign-partitions --execute --reassignment-json-file gone.json");
    notes.await_isr("strict", &[1, 2]);
    notes.tool_until(&format!("{tool} --list"), "small-2");
    notes.tool(&format!("{tool} --verify {file}"));
    notes.tool(&format!("{tool} --cancel {file}"));
    notes.tool("kafka-topics --describe --topic small");
}

fn unregistered(notes: &mut Notes<'_>) {
    notes.tool("kafka-cluster unregister --id 9");
    wire::unregister(notes, 9);
    // While the claim of the broker that was killed lasts, it would be registered anew.
    notes.servers.await_lapse(3);
    notes.tool("kafka-cluster unregister --id 3");
    let endpoints = "kafka-cluster list-endpoints --include-fenced-brokers";
    // Any broker may be asked, and each hears of it in its own time.
    notes.await_tool(endpoints, |text| {
        text.matches("unfenced").count() == text.matches("fenced").count()
    });
    notes.tool("kafka-cluster list-endpoints --include-fenced-brokers");
    wire::reassign(notes, "small", 0, Some(&[2, 3]));
    wire::unregister(notes, 3);
    notes.tool("kafka-log-dirs --describe --broker-list 1,3");
}

fn back_again(notes: &mut Notes<'_>) {
    notes.await_isr("safe", &[1, 2, 3]);
    notes.await_isr("strict", &[1, 2, 3]);
    notes.await_isr("alone", &[3]);
    notes.tool("kafka-cluster list-endpoints --include-fenced-brokers");
    notes.tool("kafka-topics --describe --topic safe --under-replicated-partitions");
    notes.tool("kafka-get-offsets --topic alone");
    notes.tool("kafka-leader-election --election-type preferred --topic safe --partition 0");
    notes.tool("kafka-topics --describe --topic safe");
    notes.tool("kafka-topics --describe --topic strict");
    wire::produce(notes, "strict", (1, -1));
    notes.tool("kafka-topics --delete --topic strict");
    notes.tool("kafka-topics --delete --topic strict");
}
