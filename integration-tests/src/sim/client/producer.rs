//! An idempotent producer, most often with acks=all: up to five batches in flight for each partition, sent again with
//! the same sequence until they are acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::partition::Acks;
use ottla_protocol::record_batch::{Batch, Builder, BuilderOptions, NewRecord};
use ottla_protocol::types::{ProducerEpoch, ProducerId};
use ottla_protocol::{ErrorCode, Uuid};
use rand::Rng;

use super::super::env::{Env, Node};
use super::super::message::{ClientAnswer, ClientRequest, Message, Timer};
use super::Session;

/// What a producer is to do.
#[derive(Debug, Clone)]
pub struct Goal {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Records for each of them.
    pub records: u64,
    /// When its records are acknowledged. With acks=1 they may be lost.
    pub acks: Acks,
}

/// A producer.
#[derive(Debug)]
pub struct Producer {
    session: Session,
    goal: Goal,
    /// A producer id that no partition uses yet: each has its own.
    spare_id: Option<i64>,
    asked_for_id: Option<u64>,
    lanes: Vec<Lane>,
}

/// The way to one partition.
#[derive(Debug)]
struct Lane {
    partition: i32,
    producer_id: Option<i64>,
    /// Number of the next record.
    next: u64,
    /// Number of the record that has sequence 0.
    first: u64,
    acknowledged: u64,
    in_flight: VecDeque<InFlight>,
    /// How many of `in_flight` were sent on the connection.
    sent: usize,
    connection: Option<Connection>,
    /// Until then nothing is sent after a failure.
    quiet_until: Duration,
    /// Sent for the last time, before an answer.
    waiting_since: Duration,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    broker: Node,
    topic: Uuid,
    lane: Duration,
    is_new: bool,
    is_broken: bool,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    count: u64,
    batch: Batch,
}

impl Producer {
    /// A producer that has done nothing yet.
    pub fn new(index: u8, brokers: u8, goal: Goal) -> Self {
        let lane = |partition| Lane {
            partition,
            producer_id: None,
            next: 0,
            first: 0,
            acknowledged: 0,
            in_flight: VecDeque::new(),
            sent: 0,
            connection: None,
            quiet_until: Duration::ZERO,
            waiting_since: Duration::ZERO,
        };
        let lanes = (0..goal.partitions).map(lane).collect();
        let session = Session::new(index, brokers);
        Self { session, goal, spare_id: None, asked_for_id: None, lanes }
    }

    /// Begins.
    pub fn start(&self, env: &mut Env) {
        env.timer(self.session.me, Duration::from_millis(200), Timer::Act);
    }

    /// Its client's number, which is in each of its records.
    pub fn index(&self) -> u8 {
        index_of(self.session.me.node)
    }

    /// What it is to do.
    pub fn goal(&self) -> &Goal {
        &self.goal
    }

    /// Records that it was told of, by partition.
    pub fn acknowledged(&self) -> impl Iterator<Item = (i32, u64)> {
        self.lanes.iter().map(|lane| (lane.partition, lane.acknowledged))
    }

    /// Whether everything is acknowledged.
    pub fn is_done(&self) -> bool {
        self.lanes.iter().all(|lane| lane.acknowledged == self.goal.records)
    }

    /// A message arrives.
    pub fn handle_message(&mut self, env: &mut Env, message: Message) {
        let Message::Answer { connection, id, answer } = message else { return };
        match answer {
            ClientAnswer::Metadata(topics) => self.session.learn(env, topics),
            ClientAnswer::ProducerId(result) if self.asked_for_id == Some(id) => {
                self.asked_for_id = None;
                self.spare_id = result.ok();
            }
            ClientAnswer::Produced(result) => self.handle_produced(env, connection, result),
            _ => {}
        }
    }

    /// Does what is to be done next.
    pub fn handle_timer(&mut self, env: &mut Env, timer: Timer) {
        match timer {
            Timer::RequestTimeout(id) if self.asked_for_id == Some(id) => self.asked_for_id = None,
            Timer::Act if !self.is_done() => {
                let pause = env.between(Duration::from_millis(5), Duration::from_millis(60));
                env.timer(self.session.me, pause, Timer::Act);
                self.act(env);
            }
            _ => {}
        }
    }

    fn act(&mut self, env: &mut Env) {
        let at = env.rng.random_range(0..self.lanes.len());
        if self.lanes[at].producer_id.is_none() {
            self.lanes[at].producer_id = self.spare_id.take();
        }
        let Some(producer) = self.lanes[at].producer_id else {
            if self.asked_for_id.is_none() {
                let id = self.session.ask(env, ClientRequest::InitProducerId);
                self.asked_for_id = Some(id);
                env.timer(self.session.me, TIMEOUT, Timer::RequestTimeout(id));
            }
            return;
        };
        self.maybe_time_out(env, at);
        self.fill(env, at, producer);
        self.send(env, at);
    }

    /// Makes another batch, if there is room for it.
    fn fill(&mut self, env: &mut Env, at: usize, producer: i64) {
        let lane = &mut self.lanes[at];
        // Like Kafka, a broker takes the first batch of a producer that it does not know with any sequence: one
        // that overtakes an earlier one, which was refused, would be the first.
        let is_known = lane.first < lane.acknowledged;
        let in_flight_max = if is_known { IN_FLIGHT_MAX } else { 1 };
        if in_flight_max <= lane.in_flight.len() || lane.next == self.goal.records {
            return;
        }
        let count = env.rng.random_range(1..=3).min(self.goal.records - lane.next);
        let client = index_of(self.session.me.node);
        let batch = make_batch(env, (client, producer), lane.next..lane.next + count, lane.first);
        lane.in_flight.push_back(InFlight { number: lane.next, count, batch });
        lane.next += count;
    }

    /// Sends what the connection to the leader has not yet carried.
    fn send(&mut self, env: &mut Env, at: usize) {
        let lane = &mut self.lanes[at];
        if env.now < lane.quiet_until || lane.sent == lane.in_flight.len() {
            return;
        }
        if lane.connection.is_none() {
            let Some((topic, broker)) = self.session.leader(&self.goal.topic, lane.partition)
            else {
                lane.quiet_until = env.now + BACKOFF;
                self.session.ask(env, ClientRequest::Metadata);
                return;
            };
            let number = self.session.connection();
            lane.connection = Some(Connection {
                number,
                broker,
                topic,
                lane: Duration::ZERO,
                is_new: true,
                is_broken: false,
            });
            lane.sent = 0;
        }
        let Some(connection) = &mut lane.connection else { return };
        if lane.sent == 0 {
            lane.waiting_since = env.now;
        }
        while let Some(next) = lane.in_flight.get(lane.sent) {
            let request = ClientRequest::Produce {
                acks: self.goal.acks,
                topic: connection.topic,
                partition: lane.partition,
                batch: next.batch.bytes.clone(),
            };
            self.session.next_id += 1;
            let id = self.session.next_id;
            let opens = std::mem::take(&mut connection.is_new);
            let number = connection.number;
            let message = Message::Request { connection: number, opens, id, request };
            let to = (connection.broker, None);
            lane.sent += 1;
            // What follows on a broken connection is lost too, which the silence shows.
            if !connection.is_broken {
                let lane = &mut connection.lane;
                connection.is_broken = !env.send_in_order(self.session.me, to, lane, message);
            }
        }
    }

    fn maybe_time_out(&mut self, env: &mut Env, at: usize) {
        let lane = &self.lanes[at];
        let is_waiting = lane.connection.is_some() && 0 < lane.sent;
        if is_waiting && lane.waiting_since + TIMEOUT <= env.now {
            self.reconnect(env, at);
        }
    }

    /// Gives the connection up: what it carried may still arrive. Everything is sent again on another.
    fn reconnect(&mut self, env: &mut Env, at: usize) {
        let pause = env.between(Duration::from_millis(20), 2 * BACKOFF);
        let lane = &mut self.lanes[at];
        lane.connection = None;
        lane.sent = 0;
        lane.quiet_until = env.now + pause;
        self.session.ask(env, ClientRequest::Metadata);
    }

    fn handle_produced(&mut self, env: &mut Env, connection: u64, result: Result<i64, ErrorCode>) {
        let is_of =
            |lane: &Lane| lane.connection.as_ref().is_some_and(|mine| mine.number == connection);
        let Some(at) = self.lanes.iter().position(is_of) else { return };
        let is_written = self.is_written(env, at);
        let may_lose = self.may_lose(env, at);
        let lane = &mut self.lanes[at];
        let topic = lane.connection.as_ref().map_or(Uuid::ZERO, |connection| connection.topic);
        match result {
            Ok(base) => {
                let Some(done) = lane.in_flight.pop_front() else { return };
                lane.sent = lane.sent.saturating_sub(1);
                lane.waiting_since = env.now;
                lane.acknowledged = done.number + done.count;
                if !may_lose {
                    let key = (topic, lane.partition);
                    let content = (base, done.batch.header.crc);
                    let outcome = env.history.durability.promised(key, content, "acknowledged");
                    env.history.check(outcome);
                }
            }
            Err(
                ErrorCode::NotLeaderOrFollower
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::KafkaStorageError
                | ErrorCode::NotEnoughReplicas
                | ErrorCode::NotEnoughReplicasAfterAppend,
            ) => self.reconnect(env, at),
            Err(ErrorCode::OutOfOrderSequenceNumber) if is_written => {
                // Only its offset cannot be told any more.
                if let Some(done) = self.lanes[at].in_flight.pop_front() {
                    self.lanes[at].acknowledged = done.number + done.count;
                }
                self.reconnect(env, at);
            }
            Err(ErrorCode::OutOfOrderSequenceNumber) if may_lose => self.begin_anew(env, at),
            // Perhaps it is written, forgotten, and not yet committed.
            Err(ErrorCode::OutOfOrderSequenceNumber) => self.reconnect(env, at),
            Err(code) => {
                let me = self.session.me;
                let partition = lane.partition;
                env.history
                    .object(format!("{me:?} was answered {code:?} for partition {partition}"));
                self.reconnect(env, at);
            }
        }
    }

    /// Whether what was acknowledged to this lane may be lost.
    fn may_lose(&self, env: &Env, at: usize) -> bool {
        let lane = &self.lanes[at];
        let topic = lane.connection.as_ref().map_or(Uuid::ZERO, |connection| connection.topic);
        self.goal.acks != Acks::All || env.history.may_lose((topic, lane.partition))
    }

    /// Whether the oldest batch in flight is committed although the broker does not know it any more: after a
    /// restart it knows of each producer only the last batch before its newest snapshot, as Kafka does.
    fn is_written(&self, env: &Env, at: usize) -> bool {
        let lane = &self.lanes[at];
        let (Some(connection), Some(oldest)) = (&lane.connection, lane.in_flight.front()) else {
            return false;
        };
        let key = (connection.topic, lane.partition);
        env.history.committed.holds(key, oldest.batch.header.crc)
    }

    /// The log lost records: a new producer id, with sequences from 0, for what is not acknowledged.
    fn begin_anew(&mut self, env: &mut Env, at: usize) {
        let lane = &mut self.lanes[at];
        lane.producer_id = None;
        lane.next = lane.acknowledged;
        lane.first = lane.acknowledged;
        lane.in_flight.clear();
        self.reconnect(env, at);
    }
}

fn index_of(node: Node) -> u8 {
    match node {
        Node::Client(index) => index,
        _ => 0,
    }
}

/// A batch of the records with these numbers.
fn make_batch(
    env: &mut Env,
    (client, producer): (u8, i64),
    numbers: std::ops::Range<u64>,
    first: u64,
) -> Batch {
    let mut builder = Builder::new(BuilderOptions {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: i32::try_from(numbers.start - first).unwrap_or(i32::MAX),
        ..BuilderOptions::default()
    });
    let timestamp = env.clocks().wall_ms;
    for number in numbers {
        let mut key = vec![client];
        key.extend_from_slice(&number.to_be_bytes());
        let large = env.rng.random_bool(0.1);
        let len = env.rng.random_range(0..if large { 3_000 } else { 200 });
        let value: Bytes = vec![(number % 251) as u8; len].into();
        let record = NewRecord { timestamp, key: Some(&key), value: Some(&value), headers: &[] };
        builder.push(&record).expect("the batch is small");
    }
    builder.build().expect("a batch without compression can be made")
}

const IN_FLIGHT_MAX: usize = 5;
const TIMEOUT: Duration = Duration::from_secs(2);
const BACKOFF: Duration = Duration::from_millis(100);
