//! A consumer against brokers that fail, cut and damage what they send.

use std::sync::{LazyLock, Mutex};

use bytes::Bytes;
use ottla_protocol::compression::Codec;
use ottla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
};
use ottla_protocol::record_batch::{Builder, BuilderOptions, NewRecord};
use ottla_protocol::wire::Records;
use ottla_protocol::{ApiKey, RequestHeader};

use super::*;
use crate::testing::{FakeCluster, Reaction, TOPIC, decode};

const COUNT: i64 = 90;

/// Last offsets and bytes of the batches.
static LOG: LazyLock<Vec<(Offset, Bytes)>> = LazyLock::new(log);

/// Ninety records in batches of ten, every third batch a marker of one offset instead.
fn log() -> Vec<(Offset, Bytes)> {
    let mut batches = Vec::new();
    let mut next = 0i64;
    while next < COUNT {
        let control = batches.len() % 3 == 2;
        let mut builder = Builder::new(BuilderOptions {
            base_offset: Offset(next),
            compression: Codec::ALL[batches.len() % 5].into(),
            control,
            ..BuilderOptions::default()
        });
        for offset in next..if control { next + 1 } else { (next + 10).min(COUNT) } {
            let value = offset.to_string();
            let value = Some(value.as_bytes());
            builder.push(&NewRecord { timestamp: offset, value, ..NewRecord::default() }).unwrap();
        }
        let batch = builder.build().unwrap();
        next = batch.header.next_offset().0;
        batches.push((batch.header.last_offset(), batch.bytes));
    }
    batches
}

/// Offsets that are not those of markers.
fn readable(from: i64) -> Vec<i64> {
    let markers: Vec<_> = LOG
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 3 == 2)
        .map(|(_, (last, _))| last.0)
        .collect();
    (from..COUNT).filter(|offset| !markers.contains(offset)).collect()
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Lost,
    Moved,
    Error(ErrorCode),
    /// The last byte is missing.
    Cut,
    /// A byte is another.
    Damaged,
}

/// The answer about the first or the last offset.
fn ends(header: &RequestHeader, body: Bytes, log_start: i64) -> Reaction {
    let request: ListOffsetsRequest = decode(header, body);
    let asked = request.topics[0].partitions[0].timestamp;
    let found = ListOffsetsPartitionResponse {
        offset: if asked == -2 { log_start } else { COUNT },
        ..Default::default()
    };
    let partitions = vec![found];
    let topic = ListOffsetsTopicResponse { name: TOPIC.into(), partitions, ..Default::default() };
    let response = ListOffsetsResponse { topics: vec![topic], ..Default::default() };
    Reaction::answer(header, &response)
}

/// Two batches for each fetch, with the faults in turn.
fn brokers(faults: Vec<Fault>, log_start: i64) -> FakeCluster {
    let cell: Arc<Mutex<Option<FakeCluster>>> = Arc::default();
    let script_cell = cell.clone();
    let mut faults = faults.into_iter();
    let cluster = FakeCluster::new(
        1,
        Box::new(move |broker, header, body| {
            let cluster = script_cell.lock().unwrap().clone().unwrap();
            if header.api_key == ApiKey::ListOffsets.code() {
                return ends(header, body, log_start);
            }
            let request: FetchRequest = decode(header, body);
            let fault = faults.next().unwrap_or(Fault::None);
            if fault == Fault::Lost {
                return Reaction::Close;
            }
            if fault == Fault::Moved {
                cluster.move_leader(0);
            }
            let topic = &request.topics[0];
            let offset = topic.partitions[0].fetch_offset;
            let error = match fault {
                _ if cluster.leader(0) != broker => ErrorCode::NotLeaderOrFollower,
                Fault::Error(code) => code,
                _ if !(log_start..=COUNT).contains(&offset) => ErrorCode::OffsetOutOfRange,
                _ => ErrorCode::None,
            };
            let wanted = LOG.iter().filter(|(last, _)| Offset(offset) <= *last);
            let mut bytes: Vec<u8> = wanted.take(2).flat_map(|(_, bytes)| bytes.to_vec()).collect();
            match (fault, bytes.last_mut()) {
                (Fault::Cut, Some(_)) => drop(bytes.pop()),
                (Fault::Damaged, Some(last)) => *last ^= 1,
                _ => {}
            }
            let wait = bytes.is_empty() && error == ErrorCode::None;
            let records = (error == ErrorCode::None).then(|| Records::from(Bytes::from(bytes)));
            let partition = PartitionData {
                error_code: error.code(),
                high_watermark: COUNT,
                records,
                ..Default::default()
            };
            let answer = FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: vec![partition],
                ..Default::default()
            };
            let response = FetchResponse { responses: vec![answer], ..Default::default() };
            match Reaction::answer(header, &response) {
                Reaction::Answer(frame) if wait => {
                    Reaction::AnswerAfter(Duration::from_millis(500), frame)
                }
                other => other,
            }
        }),
    );
    *cell.lock().unwrap() = Some(cluster.clone());
    cluster
}

fn consumer(cluster: &FakeCluster, start: Start) -> Consumer {
    let config = ConsumerConfig { max_poll_records: 7, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(Client::new(cluster.config()), config);
    consumer.assign(TOPIC, PartitionId(0), start);
    consumer
}

/// Every offset up to the end, and the errors on the way.
async fn read_all(consumer: &mut Consumer) -> (Vec<i64>, Vec<ConsumeErrorCause>) {
    let mut offsets = Vec::new();
    let mut errors = Vec::new();
    while consumer.is_at_end(&Str::from(TOPIC), PartitionId(0)) != Ok(true) {
        match consumer.poll(Duration::from_secs(1)).await {
            Ok(records) => {
                assert!(records.len() <= 7);
                for record in records {
                    assert_eq!(record.value.unwrap(), record.offset.to_string().as_bytes());
                    offsets.push(record.offset.0);
                }
            }
            Err(error) => errors.push(error.cause),
        }
        assert!(errors.len() < 10, "{errors:?}");
    }
    (offsets, errors)
}

async fn reads(faults: Vec<Fault>, start: Start, from: i64) -> Vec<ConsumeErrorCause> {
    let cluster = brokers(faults.clone(), 0);
    let mut consumer = consumer(&cluster, start);
    let (offsets, errors) = read_all(&mut consumer).await;
    assert_eq!(offsets, readable(from), "{faults:?}");
    errors
}

#[tokio::test(start_paused = true)]
async fn records_come_in_order_and_once_from_wherever() {
    for from in (0..COUNT).step_by(3) {
        assert_eq!(reads(vec![], Start::Offset(Offset(from)), from).await, []);
    }
    assert_eq!(reads(vec![], Start::Earliest, 0).await, []);
    assert_eq!(reads(vec![], Start::Latest, COUNT).await, []);
}

#[tokio::test(start_paused = true)]
async fn what_passes_by_itself_is_not_an_error() {
    let passing = [
        Fault::Lost,
        Fault::Moved,
        Fault::Cut,
        Fault::Error(ErrorCode::NotLeaderOrFollower),
        Fault::Error(ErrorCode::UnknownTopicOrPartition),
        Fault::Error(ErrorCode::FencedLeaderEpoch),
        Fault::Error(ErrorCode::UnknownTopicId),
        Fault::Error(ErrorCode::KafkaStorageError),
        Fault::Error(ErrorCode::OffsetNotAvailable),
    ];
    for fault in passing {
        for before in 0..4 {
            let mut faults = vec![Fault::None; before];
            faults.extend([fault, fault, Fault::None, fault]);
            assert_eq!(reads(faults, Start::Earliest, 0).await, [], "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn damage_is_an_error_and_what_is_before_it_is_returned() {
    let errors = reads(vec![Fault::None, Fault::Damaged], Start::Earliest, 0).await;
    let [ConsumeErrorCause::Batch(BatchError::CrcMismatch { .. })] = &errors[..] else {
        panic!("{errors:?}")
    };
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_error_and_tried_again() {
    let refused = Fault::Error(ErrorCode::TopicAuthorizationFailed);
    let errors = reads(vec![refused, Fault::None, refused], Start::Earliest, 0).await;
    let cause =
        ConsumeErrorCause::Client(ClientError::server(ErrorCode::TopicAuthorizationFailed, None));
    assert_eq!(errors, [cause.clone(), cause]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_out_of_range_is_reset_by_policy() {
    let cluster = brokers(vec![], 40);
    let out_of_range = Start::Offset(Offset(5));
    for (policy, from) in [(OffsetReset::Earliest, 40), (OffsetReset::Latest, COUNT)] {
        let mut consumer = consumer(&cluster, out_of_range);
        consumer.config.auto_offset_reset = policy;
        assert_eq!(read_all(&mut consumer).await, (readable(from), vec![]));
    }
    let mut consumer = consumer(&cluster, out_of_range);
    consumer.config.auto_offset_reset = OffsetReset::None;
    let error = consumer.poll(Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(error.cause, ConsumeErrorCause::OutOfRange(Offset(5)));
}

#[tokio::test(start_paused = true)]
async fn answers_from_before_a_seek_are_dropped() {
    let cluster = brokers(vec![], 0);
    let mut consumer = consumer(&cluster, Start::Earliest);
    let first = consumer.poll(Duration::from_secs(10)).await.unwrap();
    assert_eq!(first[0].offset, Offset(0));
    consumer.seek(&Str::from(TOPIC), PartitionId(0), Start::Offset(Offset(50))).unwrap();
    let (offsets, errors) = read_all(&mut consumer).await;
    assert_eq!((offsets, errors), (readable(50), vec![]));
}

#[tokio::test(start_paused = true)]
async fn records_are_slices_of_what_was_fetched() {
    let cluster = brokers(vec![], 0);
    let mut consumer = consumer(&cluster, Start::Earliest);
    let records = consumer.poll(Duration::from_secs(10)).await.unwrap();
    let values: Vec<_> = records.iter().map(|record| record.value.as_ref().unwrap()).collect();
    let distance = values[1].as_ptr() as usize - values[0].as_ptr() as usize;
    assert!(distance < 20, "the records of a batch are beside each other");
}

#[tokio::test(start_paused = true)]
async fn polling_without_partitions_just_waits() {
    let cluster = brokers(vec![], 0);
    let mut consumer = Consumer::new(Client::new(cluster.config()), ConsumerConfig::default());
    assert_eq!(consumer.poll(Duration::from_secs(3)).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_left_for_the_next() {
    let cluster = brokers(Vec::new(), 0);
    let mut consumer = consumer(&cluster, Start::Earliest);
    while consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty() {}
    cluster.pause(cluster.leader(0));
    cluster.move_leader(0);
    consumer.seek(&Str::from(TOPIC), PartitionId(0), Start::Earliest).unwrap();
    let began = Instant::now();
    let (offsets, errors) = read_all(&mut consumer).await;
    assert_eq!((offsets, errors), (readable(0), Vec::new()));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
