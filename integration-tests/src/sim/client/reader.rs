//! A consumer that follows every partition of a topic from its start.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::record_batch::{Batch, batches};
use ottla_protocol::{ErrorCode, Uuid};
use rand::Rng;

use super::super::broker::entry_of;
use super::super::env::Env;
use super::super::message::{ClientAnswer, ClientRequest, Message, Timer};
use super::Session;

/// A reader.
#[derive(Debug)]
pub struct Reader {
    session: Session,
    topic: String,
    /// Offsets to read next, by partition.
    offsets: Vec<i64>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    connection: u64,
    id: u64,
    topic: Uuid,
    partition: usize,
    from_any: bool,
}

impl Reader {
    /// A reader of `partitions` partitions.
    pub fn new(index: u8, brokers: u8, (topic, partitions): (&str, i32)) -> Self {
        Self {
            session: Session::new(index, brokers),
            topic: topic.to_owned(),
            offsets: vec![0; usize::try_from(partitions).unwrap_or(0)],
            waiting: None,
        }
    }

    /// Begins.
    pub fn start(&self, env: &mut Env) {
        env.timer(self.session.me, Duration::from_millis(300), Timer::Act);
    }

    /// A message arrives.
    pub fn handle_message(&mut self, env: &mut Env, message: Message) {
        let Message::Answer { connection, id, answer } = message else { return };
        match answer {
            ClientAnswer::Metadata(topics) => self.session.learn(env, topics),
            ClientAnswer::Fetched(result) => {
                let is_mine =
                    |waiting: &Waiting| (waiting.connection, waiting.id) == (connection, id);
                if self.waiting.as_ref().is_some_and(is_mine)
                    && let Some(waiting) = self.waiting.take()
                {
                    self.handle_fetched(env, &waiting, result);
                }
            }
            _ => {}
        }
    }

    /// A timer fires.
    pub fn handle_timer(&mut self, env: &mut Env, timer: Timer) {
        match timer {
            Timer::Act => {
                let pause = env.between(Duration::from_millis(20), Duration::from_millis(150));
                env.timer(self.session.me, pause, Timer::Act);
                self.act(env);
            }
            Timer::RequestTimeout(id)
                if self.waiting.as_ref().is_some_and(|waiting| waiting.id == id) =>
            {
                self.waiting = None;
                self.session.ask(env, ClientRequest::Metadata);
            }
            _ => {}
        }
    }

    fn act(&mut self, env: &mut Env) {
        if self.waiting.is_some() {
            return;
        }
        let partition = env.rng.random_range(0..self.offsets.len());
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let Some((topic, broker)) = self.session.leader(&self.topic, number) else {
            self.session.ask(env, ClientRequest::Metadata);
            return;
        };
        let (connection, id) = (self.session.connection(), self.session.id());
        // Now and then any replica is asked, as a consumer in its rack may do.
        let from_any = env.rng.random_bool(0.3);
        let broker = if from_any { self.session.any_broker(env) } else { broker };
        let offset = self.offsets[partition];
        let request = ClientRequest::Fetch {
            topic,
            partition: number,
            offset,
            from_any,
            leader_epoch: self.session.leader_epoch(&self.topic, number),
        };
        self.waiting = Some(Waiting { connection, id, topic, partition, from_any });
        let message = Message::Request { connection, opens: true, id, request };
        env.send(self.session.me, (broker, None), message);
        env.timer(self.session.me, TIMEOUT, Timer::RequestTimeout(id));
    }

    fn handle_fetched(
        &mut self,
        env: &mut Env,
        waiting: &Waiting,
        result: Result<Bytes, ErrorCode>,
    ) {
        let number = i32::try_from(waiting.partition).unwrap_or(i32::MAX);
        let key = (waiting.topic, number);
        match result {
            Ok(bytes) => {
                for batch in batches(bytes).flatten() {
                    self.handle_batch(env, key, waiting.partition, &batch);
                }
            }
            // A follower may be behind.
            Err(ErrorCode::OffsetOutOfRange) if !waiting.from_any => {
                let offset = self.offsets[waiting.partition];
                if !env.history.may_lose(key) {
                    env.history.object(format!("{key:?}: offset {offset} was there and is not"));
                }
                self.offsets[waiting.partition] = 0;
            }
            Err(_) => {
                self.session.ask(env, ClientRequest::Metadata);
            }
        }
    }

    fn handle_batch(&mut self, env: &mut Env, key: (Uuid, i32), partition: usize, batch: &Batch) {
        let entry = entry_of(batch);
        let expected = self.offsets[partition];
        let may_lose = env.history.may_lose(key);
        if entry.base != expected && !may_lose {
            env.history
                .object(format!("{key:?}: offset {} follows {expected} less one", entry.base));
        }
        if let Err(error) = batch.verify_crc() {
            env.history.object(format!("{key:?} offset {}: {error}", entry.base));
        }
        self.offsets[partition] = entry.last + 1;
        let outcome = env.history.contents.seen(key, entry);
        env.history.check(outcome);
        if !may_lose {
            let content = (entry.base, entry.content);
            let outcome = env.history.durability.promised(key, content, "read");
            env.history.check(outcome);
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(1);
