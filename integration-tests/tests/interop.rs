//! Every foreign client writes the same real data with every codec, and reads what the others wrote.
//!
//! What is expected comes from the data set itself (`interop/README.md` says how a line becomes a record), so that a fault
//! which all clients share would still be seen.

use std::{collections::BTreeMap, fs, path::Path};

use ottla_integration_tests::harness::{Cluster, apache_kafka_tool, interop};
use serde_json::Value;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PRODUCERS: [&str; 5] = ["java", "python", "go", "node", "kcat"];
/// kafkajs reads only in groups.
const CONSUMERS: [&str; 4] = ["java", "python", "go", "kcat"];
const PARTITIONS: usize = 3;

/// One record, without where it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    /// None where the client could not set it (kcat).
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
}

/// A record and where it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    partition: i64,
    offset: i64,
    timestamp: i64,
    record: Record,
}

#[test]
fn every_client_reads_what_every_client_wrote() {
    let cluster = Cluster::single();
    let bootstrap = cluster.bootstrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/earthquakes.jsonl");
    let lines = fs::read_to_string(&data).expect("the data set");
    for producer in PRODUCERS {
        let topic = format!("interop-{producer}");
        create_topic(&bootstrap, &topic);
        let mut written = 0;
        for codec in CODECS {
            let file = data.to_str().expect("a path in UTF-8");
            if interop(producer, &["produce", &bootstrap, &topic, codec, file]).is_ok() {
                written += 1;
            }
        }
        if written == 0 {
            continue; // its toolchain is missing; the harness has said so
        }
        let expected = expected_records(producer, &lines, written);
        for consumer in CONSUMERS {
            check_consumer(consumer, &bootstrap, &topic, &expected);
        }
    }
}

#[test]
fn program_of_the_introduction_runs_unchanged() {
    let cluster = Cluster::single();
    create_topic(&cluster.bootstrap(), "my-example-topic");
    let arguments = ["introduction", &cluster.bootstrap(), "my-example-topic", "5"];
    let Ok(output) = interop("java", &arguments) else { return };
    for index in 0..5 {
        assert!(output.contains(&format!("sent record(key={index})")), "{output}");
    }
    for index in 0..10 {
        assert!(
            output.contains(&format!("Consumer Record:({index}, Hello Mom {index},")),
            "{output}"
        );
    }
}

/// Auto-creation would make one partition; the tests want several. Kafka's own tool where there is a JVM.
fn create_topic(bootstrap: &str, topic: &str) {
    let partitions = PARTITIONS.to_string();
    let arguments = [
        "--bootstrap-server",
        bootstrap,
        "--create",
        "--topic",
        topic,
        "--partitions",
        &partitions,
    ];
    let _skipped = apache_kafka_tool("kafka-topics", &arguments);
}

fn expected_records(producer: &str, lines: &str, times: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let mut last_time = 0;
    let mut push = |time: i64, key: Option<&str>, value: Option<&str>| {
        let line = records.len();
        let mut headers = vec![("client".to_owned(), producer.to_owned())];
        if producer != "kcat" {
            headers.push(("line".to_owned(), line.to_string()));
        }
        let timestamp = (producer != "kcat").then_some(time);
        let own = |text: Option<&str>| text.map(str::to_owned);
        records.push(Record { timestamp, key: own(key), value: own(value), headers });
    };
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).expect("the data set is JSON");
        last_time = event["time"].as_i64().expect("a time");
        push(last_time, event["network"].as_str(), Some(line));
    }
    push(last_time, Some("special-empty"), Some(""));
    push(last_time, Some("special-null"), None);
    push(last_time, None, Some("keyless"));
    let mut all: Vec<_> = std::iter::repeat_n(records, times).flatten().collect();
    all.sort();
    all
}

fn check_consumer(consumer: &str, bootstrap: &str, topic: &str, expected: &[Record]) {
    let count = expected.len().to_string();
    let Ok(output) = interop(consumer, &["consume", bootstrap, topic, &count]) else { return };
    let stored: Vec<Stored> = output.lines().map(parse).collect();
    assert_contiguous(consumer, topic, &stored);
    let without_time = expected.iter().any(|record| record.timestamp.is_none());
    let mut read: Vec<Record> = stored.into_iter().map(|stored| stored.record).collect();
    if without_time {
        read.iter_mut().for_each(|record| record.timestamp = None);
    }
    read.sort();
    assert_eq!(read.len(), expected.len(), "{consumer} on {topic}");
    for (read, expected) in read.iter().zip(expected) {
        assert_eq!(read, expected, "{consumer} on {topic}");
    }
}

/// Offsets count from 0 in every partition, without gap or repetition, in the order in which they were read.
fn assert_contiguous(consumer: &str, topic: &str, stored: &[Stored]) {
    let mut next = BTreeMap::new();
    for record in stored {
        let expected = next.entry(record.partition).or_insert(0);
        assert_eq!(
            record.offset, *expected,
            "{consumer} on {topic}, partition {}",
            record.partition
        );
        assert!(0 < record.timestamp, "{consumer} on {topic}: a record without a timestamp");
        *expected += 1;
    }
    assert_eq!(next.len(), PARTITIONS, "{consumer} on {topic}: partitions that hold records");
}

/// One line of a consumer's output; kcat names its fields in its own way.
fn parse(line: &str) -> Stored {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let integer = |name: &str| json[name].as_i64().unwrap_or_else(|| panic!("{name}: {line}"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kcat = json.get("ts").is_some();
    let timestamp = integer(if kcat { "ts" } else { "timestamp" });
    let value = text(&json[if kcat { "payload" } else { "value" }]);
    let record = Record {
        timestamp: Some(timestamp),
        key: text(&json["key"]),
        value,
        headers: headers(&json),
    };
    Stored { partition: integer("partition"), offset: integer("offset"), timestamp, record }
}

/// Pairs, or kcat's flat list of names and values.
fn headers(json: &Value) -> Vec<(String, String)> {
    let list = json["headers"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if list.first().is_some_and(Value::is_array) {
        list.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    } else {
        list.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    }
}
