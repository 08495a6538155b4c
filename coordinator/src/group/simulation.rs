//! A group through the shard that it belongs to, from a seed: members of both protocols that read, commit, come, go,
//! crash and pause, requests and answers that get lost, coordinators that die with part of what they wrote, and a store
//! that is away. The group changes its kind as members come and go.
//!
//! `GROUP_SEEDS=first..last` runs other seeds than the usual ones.

mod checks;
mod classic;
mod client;
mod consumer;
mod coordinator;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::client::{Client, Life};
use self::coordinator::Coordinator;
use super::{Response, Ticket};

/// A partition: which of [`TOPICS`], and its number.
type Place = (usize, i32);

/// Topics with their partitions; everybody reads all of them.
const TOPICS: [(&str, i32); 2] = [("t", 5), ("u", 3)];

struct Sim {
    coordinator: Coordinator,
    random: StdRng,
    clients: Vec<Client>,
    /// Answers under way: when they arrive, and for which request.
    transit: Vec<(Duration, Ticket, Response)>,
    /// The time of the clients, which goes on while the store is away.
    now: Duration,
    /// Until when the store is away.
    away: Duration,
    /// Nothing goes wrong any more.
    calm: bool,
    /// The highest offset of each partition whose commit was acknowledged.
    acknowledged: BTreeMap<Place, i64>,
    log: Vec<String>,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x6702);
        let delay = [0, 0, 700][random.random_range(0..3)];
        Self {
            coordinator: Coordinator::new(seed, Duration::from_millis(delay)),
            random,
            clients: Vec::new(),
            transit: Vec::new(),
            now: Duration::from_secs(1000),
            away: Duration::ZERO,
            calm: false,
            acknowledged: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        !self.calm && self.random.random_bool(probability)
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{:?} {what}", self.now));
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    fn disturb(&mut self) {
        if self.chance(0.02) {
            self.fail_over();
        }
        if self.away <= self.now && self.chance(0.008) {
            self.away = self.now + self.millis(100..15_000);
            self.note("the store is away".to_owned());
        }
        let there = self.clients.iter().filter(|client| client.is_there()).count();
        if there < 5 && self.chance(0.06) {
            let client = Client::new(self.clients.len(), &self.clients, &mut self.random);
            self.note(format!("{client:?}"));
            self.clients.push(client);
        }
        if self.clients.is_empty() || !self.chance(0.06) {
            return;
        }
        let at = self.random.random_range(0..self.clients.len());
        if self.clients[at].life != Life::Alive {
            return;
        }
        let pause = self.now + self.millis(100..12_000);
        let what = self.random.random_range(0..4);
        let client = &mut self.clients[at];
        match what {
            0 => client.life = Life::Crashed,
            1 => client.life = Life::Paused(pause),
            _ => client.leave(),
        }
        let line = format!("{} {:?}", client.name, client.life);
        self.note(line);
    }

    fn fail_over(&mut self) {
        let pending = self.coordinator.pending.len();
        let durable = self.random.random_range(0..=pending);
        let answers = self.coordinator.flush(durable);
        if self.chance(0.5) {
            self.send(answers);
        }
        let waits = self.coordinator.fail_over();
        self.note(format!("the coordinator dies with {durable} of {pending} writes"));
        // The connection breaks, for some at once, for others when they stop waiting.
        for client in &mut self.clients {
            if waits && self.random.random_bool(0.5) {
                client.disconnected(self.now);
            }
        }
    }

    fn send(&mut self, answers: Vec<(Ticket, Response)>) {
        for (ticket, response) in answers {
            if self.chance(0.04) {
                continue;
            }
            let delay = if self.calm { Duration::from_millis(1) } else { self.millis(1..200) };
            self.transit.push((self.now + delay, ticket, response));
        }
    }

    fn run_step(&mut self) {
        self.disturb();
        let time = if self.calm { Duration::from_millis(50) } else { self.millis(1..200) };
        self.now += time;
        let is_away = self.now < self.away;
        if !is_away {
            self.coordinator.pass(time);
        }
        let answers = self.coordinator.on_timer();
        self.send(answers);
        for at in 0..self.clients.len() {
            self.run_client(at);
        }
        if !is_away {
            let pending = self.coordinator.pending.len();
            let count = if self.calm { pending } else { self.random.random_range(0..=pending) };
            let answers = self.coordinator.flush(count);
            self.send(answers);
        }
        self.deliver();
        self.check_owners();
    }

    fn run_client(&mut self, at: usize) {
        let now = self.now;
        let client = &mut self.clients[at];
        if let Life::Paused(until) = client.life
            && (until <= now || self.calm)
        {
            client.life = Life::Alive;
        }
        for request in client.requests(now, &self.acknowledged, &mut self.random) {
            let ticket = self.coordinator.ticket();
            self.clients[at].sent(ticket, &request, now);
            if self.chance(0.03) {
                continue;
            }
            let who = self.clients[at].as_seen(&request);
            let answers = self.coordinator.ask(ticket, &who, request);
            self.send(answers);
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let arrived: Vec<_> = self.transit.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, ticket, response) in arrived {
            let Some(at) = self.clients.iter().position(|client| client.waits_for(ticket)) else {
                continue;
            };
            if self.clients[at].life != Life::Alive {
                continue;
            }
            let before = self.clients[at].line();
            self.clients[at].answered(ticket, &response, now, &mut self.acknowledged);
            let after = self.clients[at].line();
            if before != after {
                self.note(after);
            }
        }
    }
}

fn run(seed: u64) -> Vec<String> {
    let mut sim = Sim::new(seed);
    let steps = sim.random.random_range(50..500);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            sim.run_step();
        }
        sim.check_settles();
    }));
    if let Err(panic) = result {
        let from = sim.log.len().saturating_sub(120);
        eprintln!("seed {seed}:\n{}", sim.log[from..].join("\n"));
        std::panic::resume_unwind(panic);
    }
    sim.log
}

fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("GROUP_SEEDS").unwrap_or_else(|_| "0..40".to_owned());
    let (first, last) = text.split_once("..").expect("GROUP_SEEDS=first..last");
    first.parse().expect("a number")..last.parse().expect("a number")
}

#[test]
fn partitions_have_one_reader_and_commits_stay_whatever_happens() {
    for seed in seeds() {
        run(seed);
    }
}

#[test]
fn same_seed_same_life() {
    for seed in [5, 8] {
        assert_eq!(run(seed), run(seed));
    }
}
