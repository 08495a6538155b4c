//! Producing: what is accepted, what is refused, and with which error.

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Uuid,
    compression::Codec,
    messages::{
        InitProducerIdRequest, ListOffsetsRequest, ProduceRequest,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    wire::Records,
};

use crate::{
    batches,
    session::{Session, code},
};

const VERSION: i16 = 9;

pub fn script(session: &mut Session) {
    acknowledgements(session);
    malformed(session);
    codecs(session);
    limits(session);
    timestamps(session);
    compacted(session);
    idempotence(session);
    ids(session);
    producer_ids(session);
}

fn request(topic: &str, acks: i16, records: Option<Bytes>) -> ProduceRequest {
    let partition = PartitionProduceData {
        index: 0,
        records: records.map(Records::Memory),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}

/// Produces with acks=all and notes everything that the answer says about the batch.
fn produce(session: &mut Session, step: &str, topic: &str, records: Bytes) {
    let response = session.call(VERSION, &request(topic, -1, Some(records)));
    let answer = &response.responses[0].partition_responses[0];
    let stamped = if answer.log_append_time_ms == -1 { "" } else { " stamped" };
    let errors: Vec<_> = answer.record_errors.iter().map(|e| e.batch_index).collect();
    session.note(
        step,
        format!(
            "{} base {} start {}{stamped} {errors:?}",
            code(answer.error_code),
            answer.base_offset,
            answer.log_start_offset
        ),
    );
}

fn end_offset(session: &mut Session, topic: &str) -> i64 {
    let partition =
        ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
    let topic =
        ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    session.call(7, &request).topics[0].partitions[0].offset
}

fn acknowledgements(session: &mut Session) {
    session.create_topic("acked", 1, &[]);
    for acks in [-1, 1, 2, -2] {
        let response =
            session.call(VERSION, &request("acked", acks, Some(batches::batch(&["a", "b"]))));
        let answer = &response.responses[0].partition_responses[0];
        session.note(
            &format!("acks {acks}"),
            format!("{} {}", code(answer.error_code), answer.base_offset),
        );
    }
    session.send(VERSION, &request("acked", 0, Some(batches::batch(&["c"]))));
    // The next request on the connection is handled after it.
    let end = end_offset(session, "acked");
    session.note("acks 0 is appended and not answered", end);
    let outcome =
        session.call_that_closes(VERSION, &request("missing", 0, Some(batches::batch(&["c"]))));
    session.note("acks 0 to an unknown topic", outcome);
    produce(session, "unknown topic", "missing", batches::batch(&["a"]));
    let mut elsewhere = request("acked", -1, Some(batches::batch(&["a"])));
    elsewhere.topic_data[0].partition_data[0].index = 7;
    let response = session.call(VERSION, &elsewhere);
    session
        .note("unknown partition", code(response.responses[0].partition_responses[0].error_code));
}

fn malformed(session: &mut Session) {
    session.create_topic("malformed", 1, &[]);
    let good = batches::batch(&["one", "two", "three"]);
    let cases: Vec<(&str, Bytes)> = vec![
        ("good", good.clone()),
        ("wrong checksum", batches::flipped(&good, 70, false)),
        ("damaged record under a right checksum", batches::flipped(&good, 61, true)),
        ("base offset is not zero", batches::altered(&good, |h| h.base_offset.0 = 100)),
        ("count is too large", batches::altered(&good, |h| h.records_count = 4)),
        ("count is zero", batches::altered(&good, |h| h.records_count = 0)),
        (
            "last offset does not fit the count",
            batches::altered(&good, |h| h.last_offset_delta = 7),
        ),
        ("control batch from a client", batches::flipped_attribute(&good, 5)),
        ("marked as stamped by the broker", batches::flipped_attribute(&good, 3)),
        ("two batches", batches::joined(&good, &good)),
        ("cut short", good.slice(..good.len() - 3)),
        ("only a header", good.slice(..61)),
        ("less than a header", good.slice(..20)),
        ("magic 1", batches::flipped_magic(&good, 1)),
        ("magic 0", batches::flipped_magic(&good, 0)),
        ("magic 9", batches::flipped_magic(&good, 9)),
        ("empty", Bytes::new()),
    ];
    for (step, records) in cases {
        produce(session, step, "malformed", records);
    }
    // Null records are left out: Apache Kafka 4.3.1 never answers them.
    let end = end_offset(session, "malformed");
    session.note("only the good ones are in the log", end);
}

fn codecs(session: &mut Session) {
    session.create_topic("codecs", 1, &[]);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let records = batches::with_codec(&["squeezed", "squeezed", "squeezed"], codec);
        produce(session, codec.name(), "codecs", records.clone());
        let broken = batches::flipped(&records, 68, true);
        produce(session, &format!("broken {}", codec.name()), "codecs", broken);
    }
    let zstd = batches::with_codec(&["x"], Codec::Zstd);
    let response = session.call(6, &request("codecs", -1, Some(zstd)));
    session
        .note("zstd in version 6", code(response.responses[0].partition_responses[0].error_code));
    for (step, attributes) in [("codec 5", 5), ("codec 7", 7)] {
        let records = batches::flipped_codec(&batches::batch(&["x"]), attributes);
        produce(session, step, "codecs", records);
    }
}

fn limits(session: &mut Session) {
    session.create_topic("small", 1, &[("max.message.bytes", "1000")]);
    let long = "x".repeat(1000);
    produce(session, "batch above max.message.bytes", "small", batches::batch(&[&long]));
    produce(session, "batch below it", "small", batches::batch(&[&long[..800]]));
    let squeezed = batches::with_codec(&[&long, &long], Codec::Gzip);
    produce(session, "below it when compressed", "small", squeezed);
}

fn timestamps(session: &mut Session) {
    session.create_topic("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    produce(session, "stamped by the broker", "stamped", batches::batch(&["a", "b"]));
    session.create_topic(
        "window",
        1,
        &[("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "1000")],
    );
    produce(session, "too far in the past", "window", batches::batch(&["a", "b"]));
    session.create_topic("future", 1, &[]);
    let future = batches::altered(&batches::batch(&["a"]), |h| {
        h.base_timestamp = 4_000_000_000_000;
        h.max_timestamp = 4_000_000_000_000;
    });
    produce(session, "too far in the future", "future", future);
    let absent = batches::altered(&batches::batch(&["a"]), |h| {
        h.base_timestamp = -1;
        h.max_timestamp = -1;
    });
    produce(session, "no timestamp", "future", absent);
}

fn compacted(session: &mut Session) {
    session.create_topic("compacted", 1, &[("cleanup.policy", "compact")]);
    produce(session, "keys on a compacted topic", "compacted", batches::batch(&["a"]));
    produce(
        session,
        "no keys on a compacted topic",
        "compacted",
        batches::without_keys(&["a", "b"]),
    );
}

fn idempotence(session: &mut Session) {
    session.create_topic("once", 1, &[]);
    let values = ["a", "b"];
    let steps: [(&str, i16, i32); 14] = [
        ("first", 0, 0),
        ("second", 0, 2),
        ("second again", 0, 2),
        ("first again", 0, 0),
        ("gap", 0, 10),
        ("third", 0, 4),
        ("fourth", 0, 6),
        ("fifth", 0, 8),
        ("sixth", 0, 10),
        ("seventh", 0, 12),
        ("first once more, beyond the last five", 0, 0),
        ("new epoch not from zero", 1, 5),
        ("new epoch", 1, 0),
        ("old epoch", 0, 14),
    ];
    for (step, epoch, sequence) in steps {
        produce(session, step, "once", batches::idempotent(&values, (4711, epoch, sequence)));
    }
    produce(
        session,
        "unknown producer in the middle",
        "once",
        batches::idempotent(&values, (99, 3, 7)),
    );
    let negative =
        batches::altered(&batches::idempotent(&values, (55, 0, 0)), |h| h.base_sequence = -5);
    produce(session, "producer id without a sequence", "once", negative);
    produce(session, "wraps", "once", batches::idempotent(&["a", "b", "c"], (77, 0, i32::MAX - 1)));
    produce(session, "after the wrap", "once", batches::idempotent(&["a"], (77, 0, 1)));
    let end = end_offset(session, "once");
    session.note("end", end);
}

fn ids(session: &mut Session) {
    session.create_topic("by-id", 1, &[]);
    for (step, id) in
        [("topic id", session.id("by-id")), ("unknown topic id", Uuid::from_bytes([3; 16]))]
    {
        let mut request = request("", -1, Some(batches::batch(&["a"])));
        request.topic_data[0].topic_id = id;
        let response = session.call(13, &request);
        let answer = &response.responses[0].partition_responses[0];
        session.note(step, format!("{} {}", code(answer.error_code), answer.base_offset));
    }
    for version in 3..=12 {
        let response = session.call(version, &request("by-id", 1, Some(batches::batch(&["a"]))));
        let answer = &response.responses[0].partition_responses[0];
        session.note(
            &format!("produce v{version}"),
            format!("{} {}", code(answer.error_code), answer.base_offset),
        );
    }
}

fn producer_ids(session: &mut Session) {
    let request = |transactional_id: Option<&str>| InitProducerIdRequest {
        transactional_id: transactional_id.map(Into::into),
        transaction_timeout_ms: 10_000,
        ..Default::default()
    };
    // A fresh Kafka fetches its first block of ids in the background.
    let mut one = session.call(4, &request(None));
    while one.error_code == ErrorCode::CoordinatorLoadInProgress.code() {
        one = session.call(4, &request(None));
    }
    let other = session.call(4, &request(None));
    session.note("producer id", format!("{} epoch {}", code(one.error_code), one.producer_epoch));
    session.note("another producer id", one.producer_id != other.producer_id);
    let empty = session.call(4, &request(Some("")));
    session.note("empty transactional id", code(empty.error_code));
}
