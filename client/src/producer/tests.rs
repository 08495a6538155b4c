//! A producer against brokers that fail in every way, and check sequence numbers as Kafka does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_protocol::record_batch::{
    Batch, Limits, ValidateOptions, add_sequence, single_batch, validate,
};
use ottla_protocol::types::Offset;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::testing::{FakeCluster, Reaction, TOPIC, decode};

/// A partition's log, and what it knows of its one producer.
#[derive(Default)]
struct Log {
    values: Vec<String>,
    epoch: i16,
    next_sequence: Option<i32>,
    /// Sequence and offset of the last five batches.
    late: Vec<(i32, i64)>,
}

impl Log {
    fn knows(&self, batch: &Batch) -> bool {
        let header = &batch.header;
        let same = |&(sequence, _): &(i32, i64)| sequence == header.base_sequence;
        header.producer_epoch.0 == self.epoch && self.late.iter().any(same)
    }

    fn append(&mut self, batch: &Batch) -> Result<i64, ErrorCode> {
        validate(batch, &ValidateOptions::default(), &mut Vec::new()).unwrap();
        let header = &batch.header;
        if header.has_producer_id() {
            if let Some(&(_, offset)) = self.late.iter().find(|(known, _)| {
                header.producer_epoch.0 == self.epoch && *known == header.base_sequence
            }) {
                return Ok(offset);
            }
            if header.producer_epoch.0 < self.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if self.epoch < header.producer_epoch.0 {
                self.next_sequence = self.next_sequence.and(Some(0));
                self.late.clear();
                self.epoch = header.producer_epoch.0;
            }
            // As Kafka: somebody unknown may begin anywhere, since what was known of it may have expired.
            if self.next_sequence.is_some_and(|next| next != header.base_sequence) {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            self.next_sequence = Some(add_sequence(header.base_sequence, header.records_count));
        }
        let offset = self.values.len() as i64;
        self.late.push((header.base_sequence, offset));
        if 5 < self.late.len() {
            self.late.remove(0);
        }
        let mut scratch = Vec::new();
        for record in batch.records(&mut scratch, Limits::default()).unwrap() {
            let value = record.unwrap().value.unwrap();
            self.values.push(String::from_utf8_lossy(value).into_owned());
        }
        Ok(offset)
    }
}

type Logs = Arc<Mutex<HashMap<i32, Log>>>;

/// What goes wrong with a request or with one of its batches.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The connection is lost before anything is written.
    LostBefore,
    /// The connection is lost after everything is written.
    LostAfter,
    /// Nothing is written, and this is the answer for one batch.
    Refused(ErrorCode),
    /// As `Refused`, and the broker takes its time to say so: what it is sent meanwhile it reads after that.
    RefusedLate(ErrorCode),
    /// Written, but this is the answer for one batch.
    WrittenBut(ErrorCode),
    /// The leader moves away.
    Moved,
    /// Everything is written, and the broker stands still before it says so.
    WrittenThenPaused,
}

fn brokers(
    partitions: usize,
    mut fault: impl FnMut() -> Fault + Send + 'static,
) -> (FakeCluster, Logs) {
    let logs = Logs::default();
    let cell: Arc<Mutex<Option<FakeCluster>>> = Arc::default();
    let (script_logs, script_cell) = (logs.clone(), cell.clone());
    let cluster = FakeCluster::new(
        partitions,
        Box::new(move |broker, header, body| {
            assert_eq!(header.api_key, ApiKey::Produce.code());
            let cluster = script_cell.lock().unwrap().clone().unwrap();
            let request: ProduceRequest = decode(header, body);
            let fault = fault();
            if fault == Fault::LostBefore {
                return Reaction::Close;
            }
            let mut logs = script_logs.lock().unwrap();
            let mut answer = TopicProduceResponse { name: TOPIC.into(), ..Default::default() };
            for (at, data) in request.topic_data[0].partition_data.iter().enumerate() {
                answer.topic_id = request.topic_data[0].topic_id;
                let fault = if at == 0 { fault } else { Fault::None };
                if fault == Fault::Moved {
                    cluster.move_leader(data.index as usize);
                }
                let log = logs.entry(data.index).or_default();
                let bytes = data.records.as_ref().unwrap().as_memory().unwrap();
                let result = match fault {
                    _ if cluster.leader(data.index as usize) != broker => {
                        Err(ErrorCode::NotLeaderOrFollower)
                    }
                    // What is invalid was so the first time, and so never written.
                    Fault::Refused(ErrorCode::InvalidRecord)
                        if !log.knows(&single_batch(bytes).unwrap()) =>
                    {
                        Err(ErrorCode::InvalidRecord)
                    }
                    Fault::Refused(code) | Fault::RefusedLate(code) if code.is_retriable() => {
                        Err(code)
                    }
                    Fault::WrittenBut(code) => {
                        log.append(&single_batch(bytes).unwrap()).and(Err(code))
                    }
                    _ => log.append(&single_batch(bytes).unwrap()),
                };
                let is_elsewhere = result == Err(ErrorCode::NotLeaderOrFollower);
                let (leader_id, leader_epoch) = cluster.leader_and_epoch(data.index as usize);
                let hint = LeaderIdAndEpoch { leader_id, leader_epoch, ..Default::default() };
                answer.partition_responses.push(PartitionProduceResponse {
                    current_leader: if is_elsewhere { hint } else { Default::default() },
                    index: data.index,
                    error_code: result.err().unwrap_or(ErrorCode::None).code(),
                    base_offset: result.unwrap_or(-1),
                    ..Default::default()
                });
            }
            if fault == Fault::WrittenThenPaused {
                cluster.pause(broker);
            }
            if fault == Fault::LostAfter || request.acks == 0 {
                return if fault == Fault::LostAfter { Reaction::Close } else { Reaction::Silence };
            }
            let response = ProduceResponse { responses: vec![answer], ..Default::default() };
            match (Reaction::answer(header, &response), fault) {
                (Reaction::Answer(frame), Fault::RefusedLate(_)) => {
                    Reaction::AnswerAfter(Duration::from_millis(50), frame)
                }
                (answer, _) => answer,
            }
        }),
    );
    *cell.lock().unwrap() = Some(cluster.clone());
    (cluster, logs)
}

fn record(value: impl ToString, partition: i32) -> ProducerRecord {
    ProducerRecord {
        topic: Str::from(TOPIC),
        partition: Some(PartitionId(partition)),
        value: Some(Bytes::from(value.to_string())),
        timestamp: Some(1),
        ..ProducerRecord::default()
    }
}

fn producer(cluster: &FakeCluster, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig { batch_size: 150, ..ProducerConfig::default() };
    change(&mut config);
    Producer::new(Client::new(cluster.config()), config).unwrap()
}

/// Sends numbered records through random faults and compares what was acknowledged with what was written.
async fn survives(seed: u64, faults: &'static [Fault]) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let often = rng.random_range(0.05..0.6);
    let pick = move || {
        let faulty = rng.random_bool(often);
        if faulty { faults[rng.random_range(0..faults.len())] } else { Fault::None }
    };
    let (cluster, logs) = brokers(3, pick);
    let producer = producer(&cluster, |_| {});
    let mut deliveries = Vec::new();
    for number in 0..300i64 {
        let partition = (number % 3) as i32;
        deliveries.push(producer.send(record(number, partition)).await.unwrap());
        if number % 40 == 0 {
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await;
    let mut refused = Vec::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        match delivery.await {
            Ok(written) => {
                let logs = logs.lock().unwrap();
                let at = written.offset.0 as usize;
                assert_eq!(
                    logs[&written.partition.0].values[at],
                    number.to_string(),
                    "seed {seed}"
                );
            }
            Err(DeliveryError::Refused { code: ErrorCode::InvalidRecord, .. }) => {
                refused.push(number)
            }
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    for partition in 0..3 {
        let expected: Vec<_> = (0..300)
            .filter(|number| number % 3 == partition && !refused.contains(number))
            .map(|number| number.to_string())
            .collect();
        assert_eq!(logs.lock().unwrap()[&(partition as i32)].values, expected, "seed {seed}");
    }
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_record_is_written_once_and_in_order_whatever_fails() {
    const FAULTS: &[Fault] = &[
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::Moved,
        Fault::Refused(ErrorCode::NotEnoughReplicas),
        Fault::Refused(ErrorCode::CoordinatorLoadInProgress),
        Fault::RefusedLate(ErrorCode::NotLeaderOrFollower),
        Fault::WrittenBut(ErrorCode::NotEnoughReplicasAfterAppend),
        Fault::WrittenBut(ErrorCode::RequestTimedOut),
    ];
    for seed in 0..60 {
        survives(seed, FAULTS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn second_batch_does_not_overtake_a_first_that_the_leader_was_not_ready_for() {
    let mut requests = 0;
    let (cluster, logs) = brokers(1, move || {
        requests += 1;
        let is_first = requests == 1;
        if is_first { Fault::RefusedLate(ErrorCode::NotLeaderOrFollower) } else { Fault::None }
    });
    let producer = producer(&cluster, |_| {});
    let mut deliveries = Vec::new();
    for number in 0..100 {
        deliveries.push(producer.send(record(number, 0)).await.unwrap());
        tokio::task::yield_now().await;
    }
    for (number, delivery) in (0..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, Offset(number));
    }
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(logs.lock().unwrap()[&0].values, expected);
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_stops_neither_those_behind_it_nor_their_order() {
    const FAULTS: &[Fault] = &[
        Fault::Refused(ErrorCode::InvalidRecord),
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::Moved,
    ];
    for seed in 100..140 {
        survives(seed, FAULTS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_in_time_fails_and_gives_its_memory_back() {
    let (cluster, logs) = brokers(1, || Fault::Refused(ErrorCode::NotEnoughReplicas));
    let producer = producer(&cluster, |config| config.delivery_timeout = Duration::from_secs(3));
    let delivery = producer.send(record("v", 0)).await.unwrap();
    let began = Instant::now();
    let error = delivery.await.unwrap_err();
    assert!(
        matches!(&error, DeliveryError::TimedOut { last, .. } if last.contains("NOT_ENOUGH_REPLICAS")),
        "{error}"
    );
    assert!(Duration::from_secs(3) <= began.elapsed() && began.elapsed() < Duration::from_secs(5));
    assert_eq!(producer.buffered_bytes(), 0);
    assert_eq!(logs.lock().unwrap()[&0].values.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted() {
    let (cluster, _) = brokers(1, || Fault::Refused(ErrorCode::NotEnoughReplicas));
    let producer = producer(&cluster, |config| config.retries = 2);
    let error = producer.send(record("v", 0)).await.unwrap().await.unwrap_err();
    assert!(matches!(error, DeliveryError::Refused { code: ErrorCode::NotEnoughReplicas, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_cannot_be_reached_for_a_while_is_waited_for() {
    let (cluster, _) = brokers(2, || Fault::None);
    cluster.refuse(2, 5);
    let producer = producer(&cluster, |_| {});
    let written = producer.send(record("v", 1)).await.unwrap().await.unwrap();
    assert_eq!(written.offset, Offset(0));
    assert_eq!(cluster.connections(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_blocks_and_then_says_so() {
    let (cluster, _) = brokers(1, || Fault::Refused(ErrorCode::NotEnoughReplicas));
    let producer = producer(&cluster, |config| {
        config.buffer_memory = 1000;
        config.max_block = Duration::from_secs(2);
    });
    let mut sent = Vec::new();
    let error = loop {
        match producer.send(record("x".repeat(100), 0)).await {
            Ok(delivery) => sent.push(delivery),
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::BufferFull(Duration::from_secs(2)));
    assert_eq!(sent.len(), 5);
    assert!(producer.buffered_bytes() <= 1000);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_producer_fails_what_is_not_sent() {
    let (cluster, _) = brokers(1, || Fault::Refused(ErrorCode::NotEnoughReplicas));
    let producer = producer(&cluster, |_| {});
    let delivery = producer.send(record("v", 0)).await.unwrap();
    drop(producer);
    assert_eq!(delivery.await, Err(DeliveryError::Dropped));
}

#[tokio::test(start_paused = true)]
async fn closing_gives_up_after_its_timeout() {
    let (cluster, _) = brokers(1, || Fault::Refused(ErrorCode::NotEnoughReplicas));
    let producer = producer(&cluster, |_| {});
    let _delivery = producer.send(record("v", 0)).await.unwrap();
    assert!(!producer.close(Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_more_records_and_no_longer_than_it_should() {
    let (cluster, _) = brokers(1, || Fault::None);
    let producer = producer(&cluster, |config| config.linger = Duration::from_secs(10));
    // So that metadata, connection and identity are there.
    producer.send(record("v", 0)).await.unwrap().await.unwrap();
    let began = Instant::now();
    let small = producer.send(record("v", 0)).await.unwrap();
    small.await.unwrap();
    assert!(Duration::from_secs(10) <= began.elapsed());
    let began = Instant::now();
    let large = producer.send(record("x".repeat(200), 0)).await.unwrap();
    large.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let config = ProducerConfig { acks: Acks::Leader, ..ProducerConfig::default() };
    assert_eq!(config.check(), Err(ProducerConfigError::IdempotenceNeedsAcks));
    let config = ProducerConfig { max_in_flight: 6, ..ProducerConfig::default() };
    assert_eq!(config.check(), Err(ProducerConfigError::MaxInFlight));
}

/// Sends a record of each number, every 100 ms, to the partition.
async fn send_slowly(producer: &Producer, numbers: std::ops::Range<i32>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in numbers {
        deliveries.push(producer.send(record(number, 0)).await.unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    deliveries
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_leader_was_sent_goes_to_the_next_once_and_in_order() {
    let mut requests = 0;
    let (cluster, logs) = brokers(2, move || {
        requests += 1;
        // Of the four that it gets it has written the first, and cannot say so.
        if requests == 4 { Fault::WrittenThenPaused } else { Fault::None }
    });
    let producer = producer(&cluster, |_| {});
    for number in 0..3 {
        producer.send(record(number, 0)).await.unwrap().await.unwrap();
    }
    let began = Instant::now();
    let deliveries = send_slowly(&producer, 3..38).await;
    // As long as it takes until another broker is elected.
    cluster.move_leader(0);
    for (number, delivery) in (3..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, Offset(number));
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // What it was sent, and answers now, does no harm.
    cluster.resume();
    let last = producer.send(record(38, 0)).await.unwrap().await.unwrap();
    assert_eq!(last.offset, Offset(38));
    let expected: Vec<_> = (0..39).map(|number| number.to_string()).collect();
    assert_eq!(logs.lock().unwrap()[&0].values, expected);
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_as_many_tries_as_allowed_are_taken_back_from_a_silent_leader() {
    for (retries, delivered) in [(1, true), (0, false)] {
        let (cluster, _) = brokers(2, || Fault::None);
        let producer = producer(&cluster, |config| {
            (config.idempotence, config.retries) = (false, retries);
        });
        producer.send(record("first", 0)).await.unwrap().await.unwrap();
        cluster.pause(1);
        let delivery = producer.send(record("second", 0)).await.unwrap();
        cluster.move_leader(0);
        let began = Instant::now();
        assert_eq!(delivery.await.is_ok(), delivered);
        assert_eq!(began.elapsed() < Duration::from_secs(4), delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_lets_itself_be_reached_and_says_nothing_is_left_too() {
    let (cluster, _) = brokers(2, || Fault::None);
    let producer = producer(&cluster, |_| {});
    producer.send(record("v", 0)).await.unwrap().await.unwrap();
    // Never connected to before, it does not say which versions it knows.
    cluster.pause(2);
    let delivery = producer.send(record("v", 1)).await.unwrap();
    cluster.move_leader(1);
    let began = Instant::now();
    delivery.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_leader_that_a_refusal_names_is_believed() {
    let (cluster, _) = brokers(1, || Fault::None);
    let producer = producer(&cluster, |_| {});
    producer.send(record("v", 0)).await.unwrap().await.unwrap();
    cluster.freeze_metadata();
    cluster.move_leader(0);
    let began = Instant::now();
    let written = producer.send(record("v", 0)).await.unwrap().await.unwrap();
    assert_eq!(written.offset, Offset(1));
    assert!(began.elapsed() < Duration::from_millis(80), "before any backoff has passed");
}
