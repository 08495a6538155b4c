//! What surrounds a machine in a script: time, settings, the cluster, the journal.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::journal::Record;
use ottla_metadata::keys::{GroupKey, ShardKey};
use ottla_protocol::time::Now;
use rand::rngs::StdRng;

use super::case::Case;
use super::names::Names;
use super::render;
use crate::controller::testing;
use crate::group::{After, Client, Context, Effects, GroupSettings, Ticket};

/// Everything but the machine.
pub(crate) struct World {
    pub now: Now,
    pub settings: GroupSettings,
    /// What is durable, by key.
    pub journal: BTreeMap<GroupKey, Bytes>,
    /// The journal as it was before the last step, and what that step wrote.
    before: (BTreeMap<GroupKey, Bytes>, Vec<Record>),
    cluster: testing::World,
    random: StdRng,
    out: Effects,
    names: Names,
    /// Names of topics, by their ids.
    topics: BTreeMap<String, String>,
    tickets: BTreeMap<Ticket, String>,
    next_ticket: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Now { monotonic: Duration::from_secs(1000), wall_ms: 1_700_000_000_000 },
            settings: GroupSettings::default(),
            journal: BTreeMap::new(),
            before: (BTreeMap::new(), Vec::new()),
            cluster: testing::World::new(),
            random: testing::random(7),
            out: Effects::default(),
            names: Names::default(),
            topics: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
        }
    }

    /// What a step of the machine reads.
    pub fn with<T>(&mut self, step: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut cx = Context {
            now: self.now,
            image: self.cluster.image(),
            settings: &self.settings,
            random: &mut self.random,
            out: &mut self.out,
        };
        step(&mut cx)
    }

    /// A new request of `who`.
    pub fn ticket(&mut self, who: &str) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.tickets.insert(ticket, who.to_owned());
        ticket
    }

    /// The last request of `who`.
    pub fn ticket_of(&self, who: &str) -> Ticket {
        let its = self.tickets.iter().rev().find(|(_, name)| *name == who);
        *its.unwrap_or_else(|| panic!("{who} sent nothing that waits")).0
    }

    /// A client called `who`.
    pub fn client(&self, who: &str, version: i16) -> Client {
        Client { id: who.to_owned(), host: "/127.0.0.1".to_owned(), version }
    }

    /// The id that a name of a script stands for.
    pub fn id(&self, name: &str) -> String {
        self.names.id(name)
    }

    /// `text` with names instead of ids.
    pub fn named(&mut self, text: &str) -> String {
        let mut text = self.names.replace(text);
        for (id, name) in &self.topics {
            text = text.replace(id, name);
        }
        text
    }

    /// The cluster as everybody sees it.
    pub fn image(&self) -> &ottla_metadata::image::Image {
        self.cluster.image()
    }

    /// The cluster, for directives that change more than `topic` does.
    pub fn cluster(&mut self) -> &mut testing::World {
        &mut self.cluster
    }

    /// The values below one kind of key, by the last part of the key.
    pub fn stored(&self, last: impl Fn(&GroupKey) -> Option<String>) -> BTreeMap<String, Bytes> {
        let entries = self.journal.iter();
        entries.filter_map(|(key, value)| Some((last(key)?, value.clone()))).collect()
    }

    pub(super) fn advance_to(&mut self, at: Duration) {
        let passed = at.saturating_sub(self.now.monotonic);
        self.now.monotonic += passed;
        self.now.wall_ms += passed.as_millis() as i64;
    }

    pub(super) fn settings(&mut self, case: &mut Case) {
        let s = &mut self.settings;
        for (name, time) in [
            ("initial-rebalance-delay", &mut s.initial_rebalance_delay),
            ("session-timeout-min", &mut s.session_timeout_min),
            ("session-timeout-max", &mut s.session_timeout_max),
            ("consumer-session-timeout", &mut s.consumer_session_timeout),
            ("consumer-heartbeat-interval", &mut s.consumer_heartbeat_interval),
            ("consumer-assignment-interval", &mut s.consumer_assignment_interval),
        ] {
            *time = case.time(name).unwrap_or(*time);
        }
        for (name, number) in [
            ("max-size", &mut s.size_max),
            ("consumer-max-size", &mut s.consumer_size_max),
            ("member-value-max", &mut s.member_value_max),
        ] {
            *number = case.number(name).unwrap_or(*number);
        }
        s.consumer_assignors =
            case.list("consumer-assignors").unwrap_or_else(|| s.consumer_assignors.clone());
        s.allows_upgrade = case.number("upgrade").unwrap_or(s.allows_upgrade);
        s.allows_downgrade = case.number("downgrade").unwrap_or(s.allows_downgrade);
    }

    pub(super) fn topic(&mut self, case: &mut Case) {
        let partitions: usize = case.number("partitions").unwrap_or(1);
        let name = case.subject();
        let partitions: Vec<_> = (0..partitions).map(|_| testing::partition(&[1], 1)).collect();
        let id = self.cluster.topic(&name, &partitions);
        self.topics.insert(id.to_string(), name);
    }

    /// Shows what the last step brought about, and makes it durable.
    pub(super) fn take_effects(&mut self) -> String {
        let Effects { writes, answers } = std::mem::take(&mut self.out);
        let mut shown = String::new();
        if !writes.is_empty() {
            self.before = (self.journal.clone(), writes.clone());
        }
        for write in &writes {
            let verb = if write.value.is_some() { "put" } else { "delete" };
            shown.push_str(&format!("{verb} {}\n", render::key(&write.key)));
        }
        self.apply(&writes);
        for answer in answers {
            let who = self.tickets.remove(&answer.ticket);
            let who = who.unwrap_or_else(|| panic!("{answer:?} is a second answer"));
            let arrow = if answer.after == After::Writes { "<=" } else { "<-" };
            shown.push_str(&format!("{who} {arrow} {}\n", render::response(&answer.response)));
        }
        shown
    }

    /// The coordinator goes: nobody is answered any more.
    pub(super) fn lose_writes(&mut self, case: &mut Case) {
        self.tickets.clear();
        self.out = Effects::default();
        if let Some(kept) = case.number::<usize>("keep") {
            let (journal, writes) = std::mem::take(&mut self.before);
            self.journal = journal;
            self.apply(&writes[..kept.min(writes.len())]);
        }
    }

    pub(super) fn show_journal(&mut self, case: &mut Case) -> String {
        let filter = case.try_subject().unwrap_or_default();
        let mut shown = String::new();
        for (key, value) in &self.journal {
            let name = render::key(&ShardKey::Group("g".to_owned(), key.clone()));
            if name.contains(&filter) {
                shown.push_str(&format!("{name} {}\n", String::from_utf8_lossy(value)));
            }
        }
        self.named(&shown)
    }

    fn apply(&mut self, writes: &[Record]) {
        for write in writes {
            let ShardKey::Group(_, key) = &write.key else { panic!("{write:?} is no group's") };
            match &write.value {
                Some(value) => self.journal.insert(key.clone(), value.clone()),
                None => self.journal.remove(key),
            };
        }
    }
}
