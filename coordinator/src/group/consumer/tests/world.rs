//! A group with its journal, of which only a prefix may be durable, and a cluster with topics.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::journal::Record;
use ottla_metadata::keys::{GroupKey, Key, ShardKey};
use ottla_metadata::model::group::decode_value;
use ottla_protocol::time::Now;
use rand::rngs::StdRng;

use crate::controller::testing;
use crate::group::consumer::{ConsumerGroup, StoredConsumerGroup};
use crate::group::{After, Answer, Context, Effects, GroupSettings, Response, Ticket};

pub type Journal = BTreeMap<GroupKey, Bytes>;

pub struct World {
    pub now: Now,
    pub settings: GroupSettings,
    pub cluster: testing::World,
    pub group: ConsumerGroup,
    /// What is durable.
    pub journal: Journal,
    /// What is written and not durable yet.
    pub pending: VecDeque<Record>,
    written: usize,
    durable: usize,
    /// Answers that wait for writes, with how many.
    waiting: Vec<(usize, Answer)>,
    random: StdRng,
    next_ticket: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Now { monotonic: Duration::from_secs(1000), wall_ms: 1_700_000_000_000 },
            settings: GroupSettings::default(),
            cluster: testing::World::new(),
            group: ConsumerGroup::new("g"),
            journal: Journal::new(),
            pending: VecDeque::new(),
            written: 0,
            durable: 0,
            waiting: Vec::new(),
            random: testing::random(seed),
            next_ticket: 0,
        }
    }

    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// One step of the group; returns answers that may leave at once.
    pub fn step(
        &mut self,
        step: impl FnOnce(&mut ConsumerGroup, &mut Context<'_>),
    ) -> Vec<(Ticket, Response)> {
        let mut out = Effects::default();
        let mut cx = Context {
            now: self.now,
            image: self.cluster.image(),
            settings: &self.settings,
            random: &mut self.random,
            out: &mut out,
        };
        step(&mut self.group, &mut cx);
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
            apply(&mut self.journal, &record);
            self.durable += 1;
        }
        let durable = self.durable;
        let ready = self.waiting.extract_if(.., |(needs, _)| *needs <= durable);
        ready.map(|(_, answer)| (answer.ticket, answer.response)).collect()
    }

    /// The coordinator goes, and with it what is not durable. Another reads the group back.
    pub fn crash(&mut self) {
        self.pending.clear();
        self.waiting.clear();
        self.written = self.durable;
        if !self.journal.contains_key(&GroupKey::Meta) {
            // As the shard does with what is left of a group that does not exist.
            self.journal.clear();
        }
        self.group = restore(&self.journal, self.now);
    }

    pub fn topic(&mut self, name: &str, partitions: i32) -> ottla_protocol::Uuid {
        let id = self.cluster.topic(name, &[]);
        self.grow(name, partitions);
        id
    }

    pub fn grow(&mut self, name: &str, partitions: i32) {
        let mut topic = self.cluster.image().topic(name).expect("a topic").value.clone();
        topic.partitions = partitions;
        self.cluster.put(Key::Topic(name.to_owned()), &topic);
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall_ms += time.as_millis() as i64;
    }
}

pub fn apply(journal: &mut Journal, record: &Record) {
    let ShardKey::Group(group, key) = &record.key else { panic!("{record:?}") };
    assert_eq!(group, "g");
    match &record.value {
        Some(value) => journal.insert(key.clone(), value.clone()),
        None => journal.remove(key),
    };
}

/// The group that a journal holds; a new one if it holds none.
pub fn restore(journal: &Journal, now: Now) -> ConsumerGroup {
    let Some(meta) = journal.get(&GroupKey::Meta) else { return ConsumerGroup::new("g") };
    let mut stored = StoredConsumerGroup {
        meta: decode_value("meta", meta).unwrap(),
        members: Vec::new(),
        assignments: Vec::new(),
    };
    for (key, value) in journal {
        match key {
            GroupKey::ConsumerMember(id) => {
                stored.members.push((id.clone(), decode_value("member", value).unwrap()));
            }
            GroupKey::ConsumerAssignment(id) => {
                stored.assignments.push((id.clone(), decode_value("current", value).unwrap()));
            }
            _ => {}
        }
    }
    ConsumerGroup::restore("g", stored, now)
}
