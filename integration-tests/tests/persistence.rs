//! What was acknowledged is still there after a crash, whatever lies about in the log dir.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::PathBuf,
};

use bytes::Bytes;
use ottla_integration_tests::harness::{Cluster, WireClient};
use ottla_protocol::{
    messages::{
        CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest,
        create_topics_request::CreatableTopic,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    record_batch::{Builder, BuilderOptions, Limits, NewRecord, batches},
    types::{ProducerEpoch, ProducerId},
    wire::Records,
};

const TOPIC: &str = "kept";
const NOT_LEADER: i16 = 6;
const DUPLICATE_BASE: i64 = 0;

fn client(cluster: &Cluster) -> WireClient {
    WireClient::connect(cluster.broker_address(1))
}

fn create(client: &mut WireClient) {
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(client.call(7, &request).topics[0].error_code, 0);
}

/// One record of an idempotent producer; returns the error code and the offset.
fn produce(client: &mut WireClient, sequence: i32) -> (i16, i64) {
    let mut builder = Builder::new(BuilderOptions::default());
    let value = format!("value {sequence}");
    let record = NewRecord {
        timestamp: 1_700_000_000_000,
        key: Some(b"k"),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    builder.push(&record).expect("a small record");
    builder.set_producer(ProducerId(41), ProducerEpoch(0), sequence);
    let records = builder.build().expect("a batch").bytes;
    let partition = PartitionProduceData {
        index: 0,
        records: Some(Records::Memory(records)),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let response = client.call(9, &request);
    let answer = &response.responses[0].partition_responses[0];
    (answer.error_code, answer.base_offset)
}

/// As [`produce`], again while the leader is not there yet.
fn produce_surely(client: &mut WireClient, sequence: i32) -> i64 {
    loop {
        match produce(client, sequence) {
            (0, offset) => return offset,
            (NOT_LEADER, _) => {}
            (code, _) => panic!("error {code}"),
        }
    }
}

/// Every value, in order of offsets from 0.
fn read_all(client: &mut WireClient) -> Vec<String> {
    let mut values = Vec::new();
    loop {
        let bytes = fetch(client, values.len());
        let before = values.len();
        let mut scratch = Vec::new();
        for batch in batches(bytes) {
            let batch = batch.expect("a whole batch");
            batch.verify_crc().expect("a right checksum");
            for record in batch.records(&mut scratch, Limits::default()).expect("records") {
                let value = record.expect("a record").value.expect("a value");
                values.push(String::from_utf8(value.to_vec()).expect("text"));
            }
        }
        if values.len() == before {
            return values;
        }
    }
}

fn fetch(client: &mut WireClient, offset: usize) -> Bytes {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: i64::try_from(offset).expect("a small offset"),
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 10,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let partition = loop {
        let mut response = client.call(12, &request);
        let partition = response.responses.remove(0).partitions.remove(0);
        match partition.error_code {
            0 => break partition,
            NOT_LEADER => {} // not yet, after a restart
            code => panic!("error {code}"),
        }
    };
    match partition.records {
        Some(Records::Memory(bytes)) => bytes,
        _ => Bytes::new(),
    }
}

fn end_offset(client: &mut WireClient) -> i64 {
    let partition =
        ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
    let topic =
        ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    client.call(7, &request).topics[0].partitions[0].offset
}

fn expected(count: i32) -> Vec<String> {
    (0..count).map(|sequence| format!("value {sequence}")).collect()
}

fn segment(cluster: &Cluster, extension: &str) -> PathBuf {
    cluster.broker_log_dir(1).join(format!("{TOPIC}-0/00000000000000000000.{extension}"))
}

/// A topic with `count` records in it.
fn filled(count: i32) -> Cluster {
    let cluster = Cluster::single();
    let mut client = client(&cluster);
    create(&mut client);
    for sequence in 0..count {
        assert_eq!(produce_surely(&mut client, sequence), i64::from(sequence));
    }
    cluster
}

#[test]
fn acknowledged_records_survive_a_process_crash() {
    let mut cluster = filled(200);
    cluster.crash_and_restart_broker(1);
    let mut client = client(&cluster);
    assert_eq!(read_all(&mut client), expected(200));
    assert_eq!(produce_surely(&mut client, 200), 200);
}

#[test]
fn producer_state_survives_a_crash_and_a_clean_stop() {
    let mut cluster = filled(10);
    cluster.crash_and_restart_broker(1);
    assert_eq!(produce_surely(&mut client(&cluster), 9), 9, "a retry is a duplicate");
    cluster.brokers[0].stop();
    cluster.restart_broker(1);
    let mut client = client(&cluster);
    assert_eq!(produce_surely(&mut client, 9), 9, "a retry is a duplicate");
    assert_eq!(end_offset(&mut client), 10);
    assert_eq!(read_all(&mut client), expected(10));
}

#[test]
fn records_survive_a_crash_of_everything() {
    let mut cluster = filled(50);
    cluster.brokers[0].kill();
    cluster.coordinator(1).kill();
    cluster.brokers[0] = cluster.spawn_broker(1);
    cluster.restart_coordinator(1);
    assert_eq!(read_all(&mut client(&cluster)), expected(50));
}

#[test]
fn torn_tail_is_cut_after_a_crash() {
    let mut cluster = filled(20);
    cluster.brokers[0].kill();
    let path = segment(&cluster, "log");
    let whole = fs::metadata(&path).expect("the segment").len();
    let half = fs::read(&path).expect("the segment")[..40].to_vec();
    OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("the segment")
        .write_all(&half)
        .expect("a tail");
    cluster.restart_broker(1);
    assert_eq!(read_all(&mut client(&cluster)), expected(20));
    assert_eq!(fs::metadata(&path).expect("the segment").len(), whole);
}

#[test]
fn garbage_behind_the_last_batch_is_cut_after_a_crash() {
    let mut cluster = filled(20);
    cluster.brokers[0].kill();
    let file = OpenOptions::new().append(true).open(segment(&cluster, "log")).expect("the segment");
    (&file).write_all(&[0xa5; 5000]).expect("garbage");
    cluster.restart_broker(1);
    let mut client = client(&cluster);
    assert_eq!(read_all(&mut client), expected(20));
    assert_eq!(produce_surely(&mut client, 20), 20);
}

#[test]
fn damaged_and_missing_indexes_are_rebuilt() {
    let mut cluster = filled(20);
    cluster.brokers[0].kill();
    fs::write(segment(&cluster, "index"), [1; 13]).expect("an index of no right size");
    fs::remove_file(segment(&cluster, "timeindex")).expect("no time index");
    cluster.restart_broker(1);
    assert_eq!(read_all(&mut client(&cluster)), expected(20));
}

#[test]
fn damage_in_the_middle_is_never_served_as_a_record() {
    let mut cluster = filled(20);
    cluster.brokers[0].kill();
    let path = segment(&cluster, "log");
    let length = fs::metadata(&path).expect("the segment").len();
    let file = OpenOptions::new().write(true).open(&path).expect("the segment");
    file.write_all_at(&[0xff; 8], length / 2).expect("damage");
    cluster.restart_broker(1);
    let read = read_all(&mut client(&cluster));
    assert!(read.len() < 20, "the damaged batch and what follows is cut");
    assert_eq!(read, expected(i32::try_from(read.len()).expect("few")));
}

#[test]
fn duplicate_is_answered_with_the_first_offset() {
    let cluster = filled(3);
    assert_eq!(produce(&mut client(&cluster), 0), (0, DUPLICATE_BASE));
}
