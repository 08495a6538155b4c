//! Whole lives of groups from a seed: members that come, go, crash, pause and answer late, topics that come, grow and go,
//! requests and answers that get lost, and coordinators that die with part of what they wrote.
//!
//! `GROUP_SEEDS=first..last` runs other seeds than the usual ones.

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_protocol::Uuid;
use ottla_protocol::messages::ConsumerGroupHeartbeatResponse;
use rand::rngs::StdRng;
use rand::{Rng, RngCore};

use self::client::{Life, Member};
use super::world::{Journal, World, restore};
use crate::controller::testing;
use crate::group::consumer::ConsumerGroupState;
use crate::group::{Response, Ticket};

struct Sim {
    world: World,
    random: StdRng,
    members: Vec<Member>,
    /// Answers under way: when they arrive, and for which request.
    transit: Vec<(Duration, Ticket, ConsumerGroupHeartbeatResponse)>,
    topics: Vec<String>,
    changed: BTreeSet<Uuid>,
    /// Nothing goes wrong any more.
    calm: bool,
    /// The highest epoch that anybody was told.
    told: i32,
    log: Vec<String>,
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut sim = Self {
            world: World::new(seed),
            random: testing::random(seed ^ 0x5eed),
            members: Vec::new(),
            transit: Vec::new(),
            topics: Vec::new(),
            changed: BTreeSet::new(),
            calm: false,
            told: 0,
            log: Vec::new(),
        };
        let settings = &mut sim.world.settings;
        if sim.random.random_bool(0.3) {
            settings.consumer_assignors.reverse();
        }
        settings.consumer_session_timeout = ms(6000);
        settings.consumer_heartbeat_interval = ms(1000);
        for _ in 0..sim.random.random_range(1..4) {
            sim.create_topic();
        }
        sim
    }

    fn chance(&mut self, probability: f64) -> bool {
        !self.calm && self.random.random_bool(probability)
    }

    fn note(&mut self, what: String) {
        let at = self.world.now.monotonic;
        self.log.push(format!("{at:?} {what}"));
    }

    fn create_topic(&mut self) {
        let names = ["a", "b", "c", "aa", "d"];
        let name = names[self.random.random_range(0..names.len())];
        if self.topics.iter().any(|topic| topic == name) {
            return;
        }
        let partitions = self.random.random_range(1..7);
        let id = self.world.topic(name, partitions);
        self.note(format!("topic {name} with {partitions}"));
        self.topics.push(name.to_owned());
        self.changed.insert(id);
    }

    fn change_topics(&mut self) {
        let Some(at) = self.random.next_u32().checked_rem(self.topics.len() as u32) else {
            return self.create_topic();
        };
        let name = self.topics[at as usize].clone();
        let topic = self.world.cluster.image().topic(&name).unwrap().value.clone();
        match self.random.random_range(0..4) {
            0 => {
                self.world.cluster.delete(ottla_metadata::keys::Key::Topic(name.clone()));
                self.topics.retain(|topic| *topic != name);
                self.note(format!("topic {name} goes"));
            }
            1 => {
                self.world.grow(&name, topic.partitions + 2);
                self.note(format!("topic {name} grows to {}", topic.partitions + 2));
            }
            _ => return self.create_topic(),
        }
        self.changed.insert(topic.id);
    }

    /// Something that may happen at any moment.
    fn disturb(&mut self) {
        if self.chance(0.02) {
            self.change_topics();
        }
        if self.chance(0.02) {
            self.crash();
        }
        if self.chance(0.06) && self.members.iter().filter(|it| it.is_there()).count() < 6 {
            let number = self.members.len();
            let member = Member::new(number, &mut self.random, &self.members, self.world.now);
            self.note(format!("{} starts: {:?}", member.name, member.wishes));
            self.members.push(member);
        }
        if self.members.is_empty() || !self.chance(0.08) {
            return;
        }
        let at = self.random.random_range(0..self.members.len());
        let now = self.world.now.monotonic;
        if self.members[at].life != Life::Alive {
            return;
        }
        let what = self.random.random_range(0..6);
        let member = &mut self.members[at];
        match what {
            0 => member.life = Life::Crashed,
            1 => member.life = Life::Paused(now + ms(self.random.random_range(100..12_000))),
            2 | 3 => member.leave(),
            4 => member.change_wishes(&mut self.random),
            _ => member.is_slow = !member.is_slow,
        }
        let (name, life) = (member.name.clone(), member.life);
        self.note(format!("{name}: {what} {life:?}"));
    }

    fn crash(&mut self) {
        let durable = self.random.random_range(0..=self.world.pending.len());
        let answers = self.world.flush(durable);
        if self.random.random_bool(0.5) {
            self.send(answers);
        }
        self.world.crash();
        self.note(format!("coordinator dies with {durable} writes"));
        assert!(self.told <= self.world.group.epoch(), "the group's epoch went back");
    }

    fn send(&mut self, answers: Vec<(Ticket, Response)>) {
        for (ticket, response) in answers {
            let Response::ConsumerGroupHeartbeat(response) = response else { panic!() };
            if self.chance(0.05) {
                continue;
            }
            let delay = if self.calm { 1 } else { self.random.random_range(1..300) };
            self.transit.push((self.world.now.monotonic + ms(delay), ticket, response));
        }
    }

    fn run_step(&mut self) {
        self.disturb();
        let time = ms(if self.calm { 50 } else { self.random.random_range(1..250) });
        self.world.pass(time);
        let now = self.world.now;

        if !self.changed.is_empty() && (self.calm || self.random.random_bool(0.7)) {
            let changed = std::mem::take(&mut self.changed);
            let answers = self.world.step(|group, cx| group.image_changed(&changed, cx));
            self.send(answers);
        }
        if self.world.group.next_deadline().is_some_and(|at| at <= now.monotonic) {
            let answers = self.world.step(|group, cx| group.on_timer(cx));
            self.send(answers);
        }
        for at in 0..self.members.len() {
            self.run_member(at);
        }
        let pending = self.world.pending.len();
        let count = if self.calm { pending } else { self.random.random_range(0..=pending) };
        let answers = self.world.flush(count);
        self.send(answers);
        self.deliver();
        self.check();
    }

    fn run_member(&mut self, at: usize) {
        let now = self.world.now;
        if let Life::Paused(until) = self.members[at].life
            && (until <= now.monotonic || self.calm)
        {
            self.members[at].life = Life::Alive;
        }
        let Some(request) = self.members[at].next_request(now.monotonic) else { return };
        let ticket = self.world.ticket();
        let client = self.members[at].client();
        self.members[at].sent(ticket, now.monotonic);
        if self.chance(0.03) {
            return;
        }
        let answers = self.world.step(|group, cx| group.heartbeat(ticket, &client, &request, cx));
        self.send(answers);
    }

    fn deliver(&mut self) {
        let now = self.world.now.monotonic;
        let arrived: Vec<_> = self.transit.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, ticket, response) in arrived {
            let waits = |member: &&mut Member| member.waits_for(ticket);
            let Some(member) = self.members.iter_mut().find(waits) else { continue };
            if !matches!(member.life, Life::Alive | Life::Leaving) {
                continue;
            }
            if response.error_code == 0 {
                self.told = self.told.max(response.member_epoch);
            }
            let name = member.name.clone();
            member.answered(&response, now, &mut self.random);
            self.note(format!("{name} <- {}", shown(&response)));
        }
    }

    /// What has to hold at every moment.
    fn check(&self) {
        let group = &self.world.group;
        assert!(self.told <= group.epoch, "somebody was told of an epoch that there is not");
        assert!(group.assignment_epoch <= group.epoch);
        let mut held = BTreeMap::new();
        for (id, member) in &group.members {
            assert!(member.current.epoch <= group.epoch);
            let current = &member.current;
            for (topic, partition, _) in current.assigned.iter().chain(current.revoking.iter()) {
                let other = held.insert((topic, partition), id.clone());
                assert_eq!(other, None, "{topic}-{partition} belongs to {id} too");
            }
        }
        assert_eq!(held.len(), group.owners.len());
        // Nobody reads what it was not given, as long as it is a member.
        for member in self.members.iter().filter(|member| member.reads()) {
            let Some(known) = group.members.get(member.id.as_str()) else { continue };
            if known.is_away() || member.epoch == 0 || member.life == Life::Leaving {
                continue;
            }
            for place in &member.owned {
                let owner = held.get(place).map(|owner| &**owner);
                assert_eq!(owner, Some(member.id.as_str()), "{} reads {place:?}", member.name);
            }
        }
        self.check_prefix();
    }

    /// Whoever reads the journal back, with any part of what is not durable, finds a group that gives no partition
    /// to two.
    fn check_prefix(&self) {
        let mut journal = self.world.journal.clone();
        for (count, record) in self.world.pending.iter().enumerate() {
            if 3 < count && count % 4 != 0 {
                super::world::apply(&mut journal, record);
                continue;
            }
            let group = restore(&journal, self.world.now);
            assert!(self.told <= group.epoch, "after {count} writes the epoch went back");
            let held: usize = group
                .members
                .values()
                .map(|it| it.current.assigned.len() + it.current.revoking.len())
                .sum();
            assert_eq!(held, group.owners.len(), "after {count} writes a partition has two owners");
            super::world::apply(&mut journal, record);
        }
    }

    /// When nothing goes wrong any more, everybody reads what it should.
    fn check_settled(&mut self) {
        self.calm = true;
        for _ in 0..2000 {
            self.run_step();
            if self.is_settled() {
                return self.check_quiet();
            }
        }
        panic!("the group does not settle: {:?}", self.world.group);
    }

    fn is_settled(&self) -> bool {
        let group = &self.world.group;
        let live: Vec<&Member> = self.members.iter().filter(|it| it.life == Life::Alive).collect();
        let stable = if live.is_empty() {
            group.is_empty()
        } else {
            group.state() == ConsumerGroupState::Stable && group.size() == live.len()
        };
        let told = |it: &&Member| {
            let Some(known) = group.members.get(it.id.as_str()) else { return false };
            let has_all = it.owned.iter().copied().eq(known.target.iter());
            has_all && it.has_its_target() && it.epoch == known.current.epoch
        };
        stable && self.changed.is_empty() && live.iter().all(told)
    }

    fn check_quiet(&mut self) {
        let group = &self.world.group;
        let mut owners = BTreeMap::new();
        for member in self.members.iter().filter(|member| member.life == Life::Alive) {
            for place in &member.owned {
                assert_eq!(owners.insert(*place, &member.name), None, "{place:?} is read twice");
            }
        }
        let image = self.world.cluster.image();
        let wanted = group.subscribed_topics();
        let wanted = wanted.iter().filter_map(|name| image.topic(name));
        let count: i32 = wanted.map(|topic| topic.partitions).sum();
        assert_eq!(owners.len(), count as usize, "a partition is read by nobody");

        // Heartbeats that change nothing write nothing.
        let (epoch, journal) = (group.epoch, self.world.journal.clone());
        for _ in 0..100 {
            self.run_step();
        }
        self.check_unwritten(&journal);
        assert_eq!(self.world.group.epoch, epoch);

        // A coordinator that takes over a settled group leaves it as it is.
        self.world.crash();
        for _ in 0..100 {
            self.run_step();
        }
        assert_eq!(self.world.group.epoch, epoch, "a failover made a rebalance");
        self.check_unwritten(&journal);
        assert!(self.is_settled());
    }

    fn check_unwritten(&self, before: &Journal) {
        for (key, value) in &self.world.journal {
            assert_eq!(before.get(key), Some(value), "{key:?} was written");
        }
        assert_eq!(self.world.journal.len(), before.len());
    }
}

fn shown(response: &ConsumerGroupHeartbeatResponse) -> String {
    let mut text = format!("{} epoch {}", response.error_code, response.member_epoch);
    for topic in response.assignment.iter().flat_map(|it| &it.topic_partitions) {
        text.push_str(&format!(" {}:{:?}", topic.topic_id.as_bytes()[7], topic.partitions));
    }
    text
}

fn run(seed: u64) -> Vec<String> {
    let mut sim = Sim::new(seed);
    let steps = sim.random.random_range(20..300);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            sim.run_step();
        }
        sim.check_settled();
    }));
    if let Err(panic) = result {
        let from = sim.log.len().saturating_sub(150);
        eprintln!("seed {seed}:\n{}", sim.log[from..].join("\n"));
        std::panic::resume_unwind(panic);
    }
    sim.log
}

fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("GROUP_SEEDS").unwrap_or_else(|_| "0..60".to_owned());
    let (first, last) = text.split_once("..").expect("GROUP_SEEDS=first..last");
    first.parse().expect("a number")..last.parse().expect("a number")
}

#[test]
fn members_settle_and_never_share_a_partition_whatever_happens() {
    for seed in seeds() {
        run(seed);
    }
}

#[test]
fn same_seed_same_life() {
    for seed in [3, 77] {
        assert_eq!(run(seed), run(seed));
    }
}
