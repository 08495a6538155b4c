//! Reading: fetch with and without sessions, offsets by time, epochs, deleting records.

use ottla_protocol::{
    Uuid,
    messages::{
        DeleteRecordsRequest, DescribeProducersRequest, FetchRequest, ListOffsetsRequest,
        OffsetForLeaderEpochRequest, ProduceRequest,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        describe_producers_request::TopicRequest,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::FetchResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    record_batch::batches as parse_batches,
    wire::Records,
};

use crate::{
    batches,
    session::{Session, code},
};

pub fn script(session: &mut Session) {
    session.create_topic("read", 2, &[]);
    for values in [&["a", "b"][..], &["c"], &["d", "e", "f"]] {
        append(session, "read", batches::batch(values));
    }
    append(session, "read", batches::idempotent(&["g"], (812, 0, 0)));
    fetch_positions(session);
    fetch_versions(session);
    fetch_sessions(session);
    list_offsets(session);
    epochs(session);
    producers(session);
    delete_records(session);
}

fn append(session: &mut Session, topic: &str, records: bytes::Bytes) {
    let partition = PartitionProduceData {
        index: 0,
        records: Some(Records::Memory(records)),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let answer = session.call(9, &request);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

fn partition(index: i32, offset: i64) -> FetchPartition {
    FetchPartition {
        partition: index,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

fn request(partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic { topic: "read".into(), partitions, ..Default::default() };
    FetchRequest {
        max_wait_ms: 200,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

fn summary(response: &FetchResponse) -> String {
    let mut parts = vec![code(response.error_code).to_owned()];
    for topic in &response.responses {
        for p in &topic.partitions {
            let records = match &p.records {
                Some(Records::Memory(bytes)) => parse_batches(bytes.clone())
                    .filter_map(Result::ok)
                    .map(|b| (b.header.base_offset.0, b.header.records_count))
                    .collect(),
                _ => Vec::new(),
            };
            parts.push(format!(
                "{} {} watermark {} stable {} start {} {records:?}",
                p.partition_index,
                code(p.error_code),
                p.high_watermark,
                p.last_stable_offset,
                p.log_start_offset,
            ));
        }
    }
    parts.join("; ")
}

fn fetch_positions(session: &mut Session) {
    let small = FetchPartition { partition_max_bytes: 1, ..partition(0, 0) };
    let old_epoch = FetchPartition { current_leader_epoch: -1, ..partition(0, 0) };
    let new_epoch = FetchPartition { current_leader_epoch: 999, ..partition(0, 0) };
    let diverging = FetchPartition { last_fetched_epoch: 0, ..partition(0, 7) };
    let cases = [
        ("from the start", vec![partition(0, 0)]),
        ("from inside a batch", vec![partition(0, 4)]),
        ("at the end", vec![partition(0, 7)]),
        ("past the end", vec![partition(0, 8)]),
        ("negative", vec![partition(0, -3)]),
        ("an empty partition", vec![partition(1, 0)]),
        ("an unknown partition", vec![partition(9, 0)]),
        ("both", vec![partition(0, 3), partition(1, 0)]),
        ("one byte asked, one batch given", vec![small]),
        ("without an epoch", vec![old_epoch]),
        ("an epoch of the future", vec![new_epoch]),
        ("with the last fetched epoch", vec![diverging]),
    ];
    for (step, partitions) in cases {
        let response = session.call(12, &request(partitions));
        session.note(step, summary(&response));
    }
    let mut unknown = request(vec![partition(0, 0)]);
    unknown.topics[0].topic = "missing".into();
    let response = session.call(12, &unknown);
    session.note("an unknown topic", summary(&response));
    let mut bounded = request(vec![partition(0, 0), partition(0, 0)]);
    bounded.max_bytes = 1;
    let response = session.call(12, &bounded);
    session.note("one byte in all", summary(&response));
}

fn fetch_versions(session: &mut Session) {
    for version in 4..=12 {
        let response = session.call(version, &request(vec![partition(0, 0)]));
        session.note(&format!("fetch v{version}"), summary(&response));
    }
    for version in 13..=18 {
        for (step, id) in [("id", session.id("read")), ("unknown id", Uuid::from_bytes([5; 16]))] {
            let mut request = request(vec![partition(0, 0)]);
            request.topics[0].topic_id = id;
            let response = session.call(version, &request);
            session.note(&format!("fetch v{version} by {step}"), summary(&response));
        }
    }
}

fn fetch_sessions(session: &mut Session) {
    let mut open = request(vec![partition(0, 0), partition(1, 0)]);
    open.session_epoch = 0;
    let response = session.call(12, &open);
    session.note("session opened", format!("{} {}", response.session_id != 0, summary(&response)));
    let id = response.session_id;
    let step = |session: &mut Session, name: &str, epoch: i32, topics| {
        let request = FetchRequest {
            max_wait_ms: 50,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_id: id,
            session_epoch: epoch,
            topics,
            ..Default::default()
        };
        let response = session.call(12, &request);
        let same = response.session_id == id;
        session.note(name, format!("same {same} {}", summary(&response)));
    };
    let moved = FetchTopic {
        topic: "read".into(),
        partitions: vec![partition(0, 7)],
        ..Default::default()
    };
    step(session, "incremental: position moved to the end", 1, vec![moved]);
    step(session, "incremental: nothing new", 2, Vec::new());
    append(session, "read", batches::batch(&["h"]));
    step(session, "incremental: one new record", 3, Vec::new());
    step(session, "wrong session epoch", 9, Vec::new());
    step(session, "session closed", -1, Vec::new());
    step(session, "after it was closed", 4, Vec::new());
}

fn list_offsets(session: &mut Session) {
    let times = [
        ("latest", -1),
        ("earliest", -2),
        ("largest timestamp", -3),
        ("earliest local", -4),
        ("nonsense", -77),
        ("the first timestamp", batches::TIME),
        ("between", batches::TIME + 1),
        ("after all", batches::TIME + 1_000_000),
        ("before all", 0),
    ];
    let ask = |index: i32, timestamp: i64| {
        let partition =
            ListOffsetsPartition { partition_index: index, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic {
            name: "read".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
    };
    for (step, timestamp) in times {
        for version in [1, 5, 7, 9, 11] {
            let response = session.call(version, &ask(0, timestamp));
            let p = &response.topics[0].partitions[0];
            session.note(
                &format!("offset of {step} v{version}"),
                format!("{} {} at {}", code(p.error_code), p.offset, p.timestamp),
            );
        }
    }
    for (step, index, timestamp) in [
        ("empty latest", 1, -1),
        ("empty by time", 1, 5),
        ("empty largest", 1, -3),
        ("unknown", 9, -1),
    ] {
        let p = session.call(7, &ask(index, timestamp)).topics.remove(0).partitions.remove(0);
        session.note(step, format!("{} {} at {}", code(p.error_code), p.offset, p.timestamp));
    }
    let mut twice = ask(0, -1);
    let again = twice.topics[0].partitions[0].clone();
    twice.topics[0].partitions.push(again);
    let codes: Vec<_> =
        session.call(7, &twice).topics[0].partitions.iter().map(|p| code(p.error_code)).collect();
    session.note("the same partition twice", codes.join("; "));
}

fn epochs(session: &mut Session) {
    for (step, current, asked) in
        [("epoch 0", -1, 0), ("a later epoch", -1, 50), ("wrong current epoch", 70, 0)]
    {
        let partition = OffsetForLeaderPartition {
            partition: 0,
            current_leader_epoch: current,
            leader_epoch: asked,
            ..Default::default()
        };
        let topic = OffsetForLeaderTopic {
            topic: "read".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let response = session.call(4, &request);
        let end = &response.topics[0].partitions[0];
        session.note(step, format!("{} {}", code(end.error_code), end.end_offset));
    }
}

fn producers(session: &mut Session) {
    for index in [0, 1, 9] {
        let topic = TopicRequest {
            name: "read".into(),
            partition_indexes: vec![index],
            ..Default::default()
        };
        let request = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
        let response = session.call(0, &request);
        let partition = &response.topics[0].partitions[0];
        let active: Vec<_> = partition
            .active_producers
            .iter()
            .map(|p| (p.producer_id, p.producer_epoch, p.last_sequence, p.current_txn_start_offset))
            .collect();
        session.note(
            &format!("producers of {index}"),
            format!("{} {active:?}", code(partition.error_code)),
        );
    }
}

fn delete_records(session: &mut Session) {
    session.create_topic("compact", 1, &[("cleanup.policy", "compact")]);
    let steps = [
        ("delete to inside a batch", "read", 0, 1),
        ("delete backwards", "read", 0, 0),
        ("delete past the end", "read", 0, 100),
        ("delete a negative offset", "read", 0, -5),
        ("delete all", "read", 0, -1),
        ("delete of an unknown partition", "read", 9, 1),
        ("delete of an unknown topic", "missing", 0, 1),
        ("delete of a compacted topic", "compact", 0, 0),
    ];
    for (step, topic, partition_index, offset) in steps {
        let partition = DeleteRecordsPartition { partition_index, offset, ..Default::default() };
        let topic = DeleteRecordsTopic {
            name: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request =
            DeleteRecordsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
        let response = session.call(2, &request);
        let p = &response.topics[0].partitions[0];
        session.note(step, format!("{} {}", code(p.error_code), p.low_watermark));
    }
    for offset in [0, 3, 8] {
        let response = session.call(12, &request(vec![partition(0, offset)]));
        session.note(&format!("fetch {offset} afterwards"), summary(&response));
    }
}
