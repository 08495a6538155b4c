//! A shard with its journal, of which only a prefix may be durable.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::journal::Record;
use ottla_metadata::keys::{Key, ShardKey};
use ottla_protocol::time::Now;
use rand::rngs::StdRng;

use super::{Response, TOPICS, Ticket};
use crate::controller::testing;
use crate::group::{
    After, Answer, Call, Client, Effects, GroupSettings, Request, SettingsTable, Shard, World,
};

pub struct Coordinator {
    pub shard: Shard,
    pub cluster: testing::World,
    /// What is written and not durable yet.
    pub pending: VecDeque<Record>,
    journal: BTreeMap<ShardKey, Bytes>,
    settings: SettingsTable,
    /// Store-healthy time.
    now: Now,
    written: usize,
    durable: usize,
    /// Answers that wait for writes, with how many.
    waiting: Vec<(usize, Answer)>,
    random: StdRng,
    tickets: u64,
}

impl Coordinator {
    pub fn new(seed: u64, initial_rebalance_delay: Duration) -> Self {
        let mut cluster = testing::World::new();
        for (name, partitions) in TOPICS {
            cluster.topic(name, &[]);
            let mut topic = cluster.image().topic(name).expect("a topic").value.clone();
            topic.partitions = partitions;
            cluster.put(Key::Topic(name.to_owned()), &topic);
        }
        let settings = GroupSettings {
            initial_rebalance_delay,
            session_timeout_min: Duration::from_secs(1),
            consumer_session_timeout: Duration::from_secs(6),
            consumer_heartbeat_interval: Duration::from_secs(1),
            ..GroupSettings::default()
        };
        Self {
            shard: Shard::default(),
            cluster,
            pending: VecDeque::new(),
            journal: BTreeMap::new(),
            settings: SettingsTable::fixed(settings),
            now: Now { monotonic: Duration::from_secs(1000), wall_ms: 1_700_000_000_000 },
            written: 0,
            durable: 0,
            waiting: Vec::new(),
            random: testing::random(seed),
            tickets: 0,
        }
    }

    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall_ms += time.as_millis() as i64;
    }

    /// Sends a request; returns what can be answered at once.
    pub fn ask(
        &mut self,
        ticket: Ticket,
        client: &Client,
        request: Request,
    ) -> Vec<(Ticket, Response)> {
        let call = Call { ticket, client, group: "g", request };
        self.step(|shard, world| shard.handle(call, world))
    }

    /// The answer to a question that changes nothing.
    pub fn described(&mut self, ticket: Ticket, client: &Client, request: Request) -> Response {
        let mut out = Effects::default();
        let mut world = World {
            now: self.now,
            image: self.cluster.image(),
            settings: &self.settings,
            random: &mut testing::random(0),
            out: &mut out,
        };
        self.shard.handle(Call { ticket, client, group: "g", request }, &mut world);
        assert!(out.writes.is_empty(), "a description writes {:?}", out.writes);
        out.answers.pop().expect("an answer").response
    }

    pub fn on_timer(&mut self) -> Vec<(Ticket, Response)> {
        if self.shard.next_deadline().is_none_or(|at| self.now.monotonic < at) {
            return Vec::new();
        }
        self.step(|shard, world| shard.on_timer(world))
    }

    fn step(&mut self, act: impl FnOnce(&mut Shard, &mut World<'_>)) -> Vec<(Ticket, Response)> {
        let mut out = Effects::default();
        let mut world = World {
            now: self.now,
            image: self.cluster.image(),
            settings: &self.settings,
            random: &mut self.random,
            out: &mut out,
        };
        act(&mut self.shard, &mut world);
        self.written += out.writes.len();
        self.pending.extend(out.writes);
        let mut now = Vec::new();
        for answer in out.answers {
            match answer.after {
                After::Nothing => now.push((answer.ticket, answer.response)),
                After::Writes => self.waiting.push((self.written, answer)),
            }
        }
        now
    }

    /// Makes the next `count` writes durable; returns the answers that waited for them.
    pub fn flush(&mut self, count: usize) -> Vec<(Ticket, Response)> {
        for record in self.pending.drain(..count.min(self.pending.len())) {
            match record.value {
                Some(value) => self.journal.insert(record.key, value),
                None => self.journal.remove(&record.key),
            };
            self.durable += 1;
        }
        let durable = self.durable;
        let ready = self.waiting.extract_if(.., |(needs, _)| *needs <= durable);
        ready.map(|(_, answer)| (answer.ticket, answer.response)).collect()
    }

    /// The coordinator goes, and with it what is not durable; another reads the shard back. Says whether anybody
    /// may have been waiting.
    pub fn fail_over(&mut self) -> bool {
        let waits = 0 < self.shard.parked() || !self.waiting.is_empty();
        self.pending.clear();
        self.waiting.clear();
        self.written = self.durable;
        let records = self
            .journal
            .iter()
            .map(|(key, value)| Record { key: key.clone(), value: Some(value.clone()) });
        self.shard = Shard::restore(records.collect(), self.now).expect("readable values");
        self.step(|shard, world| shard.begin(world.out));
        waits
    }

    pub fn journal(&self) -> &BTreeMap<ShardKey, Bytes> {
        &self.journal
    }
}
