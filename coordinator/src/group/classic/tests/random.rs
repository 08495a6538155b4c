//! Random members against a group whose coordinator may go at any moment: they join, leave, crash, pause, hang up
//! and change their minds, while the journal lags behind.
//!
//! What must hold is checked after every step:
//! - every request has one answer, or waits;
//! - within a generation there is one assignment, and each member gets its own part of it;
//! - whoever speaks in time stays a member;
//! - a generation that anybody was given is there after any failover, and none comes before it;
//! - every prefix of what was written is a valid group, and all of it is the group as it was;
//! - when nothing fails any more, those who live are the members, and all are assigned.

mod client;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::image::Image;
use ottla_metadata::journal::Record;
use ottla_metadata::keys::{GroupKey, ShardKey};
use ottla_protocol::time::Now;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use self::client::{Client, Request};
use crate::group::classic::members::Parked;
use crate::group::{
    After, Answer, ClassicGroup, ClassicState, Context, Effects, GroupSettings, Ticket,
};

#[derive(Debug, Clone)]
enum Step {
    Start(usize),
    Kill(usize),
    Leave(usize),
    Pause(usize),
    Resume(usize),
    Change(usize),
    HangUp(usize),
    Seconds(u8),
    /// The journal takes this many seconds from now on.
    Lag(u8),
    /// Of what is not durable, so many writes still become it.
    FailOver(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..CLIENTS;
    prop_oneof![
        6 => who().prop_map(Step::Start),
        2 => who().prop_map(Step::Kill),
        2 => who().prop_map(Step::Leave),
        1 => who().prop_map(Step::Pause),
        2 => who().prop_map(Step::Resume),
        2 => who().prop_map(Step::Change),
        2 => who().prop_map(Step::HangUp),
        12 => (1..9u8).prop_map(Step::Seconds),
        3 => (0..3u8).prop_map(Step::Lag),
        3 => (0..12usize).prop_map(Step::FailOver),
    ]
}

/// What the journal is still to make durable, and the answers that wait for it, in their order.
#[derive(Debug)]
struct Batch {
    due: u64,
    writes: Vec<Record>,
    answers: Vec<Answer>,
}

struct Run {
    second: u64,
    settings: GroupSettings,
    random: StdRng,
    image: Image,
    group: ClassicGroup,
    journal: BTreeMap<GroupKey, Bytes>,
    queue: VecDeque<Batch>,
    lag: u64,
    clients: Vec<Client>,
    /// Requests without an answer, and whose they are.
    open: BTreeMap<Ticket, usize>,
    next_ticket: u64,
    assignments: u64,
    /// Which assignment each generation had that anybody was given.
    given: BTreeMap<i32, String>,
}

impl Run {
    fn new() -> Self {
        let settings = GroupSettings {
            initial_rebalance_delay: Duration::from_secs(3),
            ..GroupSettings::default()
        };
        Self {
            second: 1,
            settings,
            random: StdRng::seed_from_u64(1),
            image: Image::default(),
            group: ClassicGroup::new("g"),
            journal: BTreeMap::new(),
            queue: VecDeque::new(),
            lag: 0,
            clients: (0..CLIENTS).map(Client::new).collect(),
            open: BTreeMap::new(),
            next_ticket: 0,
            assignments: 0,
            given: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Start(who) => self.clients[who].start(),
            Step::Kill(who) => {
                self.clients[who].kill();
                self.hang_up(who);
            }
            Step::Leave(who) => {
                if let Some(request) = self.clients[who].leave() {
                    self.hang_up(who);
                    self.send(who, request);
                }
            }
            Step::Pause(who) => self.clients[who].pause(),
            Step::Resume(who) => self.clients[who].resume(),
            Step::Change(who) => self.clients[who].change(),
            Step::HangUp(who) => {
                if self.hang_up(who) {
                    self.clients[who].lose_connection();
                }
            }
            Step::Seconds(seconds) => (0..seconds).for_each(|_| self.second()),
            Step::Lag(seconds) => self.lag = seconds.into(),
            Step::FailOver(keep) => self.fail_over(keep),
        }
        self.settle();
        self.check();
    }

    fn second(&mut self) {
        self.second += 1;
        let group = &self.group;
        if group.next_deadline().is_some_and(|at| at <= Duration::from_secs(self.second)) {
            self.with(|group, cx| group.on_timer(cx));
        }
        self.settle();
        for who in 0..CLIENTS {
            if let Some(request) = self.clients[who].tick(self.second) {
                self.send(who, request);
            }
            self.settle();
        }
        self.check();
    }

    /// Lets clients act on their answers until all wait.
    fn settle(&mut self) {
        loop {
            self.flush();
            let mut is_quiet = true;
            for who in 0..CLIENTS {
                if let Some(request) = self.clients[who].react(&mut self.assignments) {
                    self.send(who, request);
                    is_quiet = false;
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn with<T>(&mut self, step: impl FnOnce(&mut ClassicGroup, &mut Context<'_>) -> T) -> T {
        let mut out = Effects::default();
        let mut cx = Context {
            now: now(self.second),
            image: &self.image,
            settings: &self.settings,
            random: &mut self.random,
            out: &mut out,
        };
        let before = self.group.generation();
        let result = step(&mut self.group, &mut cx);
        assert!(before <= self.group.generation(), "the generation went back");
        let (at_once, later) =
            out.answers.into_iter().partition(|answer| answer.after == After::Nothing);
        let at_once: Vec<Answer> = at_once;
        for answer in at_once {
            self.deliver(answer);
        }
        self.queue.push_back(Batch {
            due: self.second + self.lag,
            writes: out.writes,
            answers: later,
        });
        result
    }

    fn flush(&mut self) {
        while self.queue.front().is_some_and(|batch| batch.due <= self.second) {
            let Some(batch) = self.queue.pop_front() else { return };
            for write in batch.writes {
                self.apply(&write);
                restore(&self.journal, self.second);
            }
            for answer in batch.answers {
                self.deliver(answer);
            }
        }
    }

    fn apply(&mut self, write: &Record) {
        let ShardKey::Group(_, key) = &write.key else { panic!("{write:?} is no group's") };
        match &write.value {
            Some(value) => self.journal.insert(key.clone(), value.clone()),
            None => self.journal.remove(key),
        };
    }

    fn send(&mut self, who: usize, request: Request) {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.open.insert(ticket, who);
        self.clients[who].sent(ticket, self.second);
        let client = self.clients[who].as_client();
        self.with(|group, cx| match &request {
            Request::Join(request) => group.join(ticket, &client, request, cx),
            Request::Sync(request) => group.sync(ticket, &client, request, cx),
            Request::Heartbeat(request) => group.heartbeat(ticket, &client, request, cx),
            Request::Leave(request) => group.leave(ticket, &client, request, cx),
        });
    }

    fn deliver(&mut self, answer: Answer) {
        // Who hung up hears nothing, but nobody hears twice.
        let Some(who) = self.open.remove(&answer.ticket) else {
            assert!(self.next_ticket >= answer.ticket.0, "{answer:?} answers nothing");
            return;
        };
        if let Some(given) = self.clients[who].receive(answer, self.second) {
            let (generation, assignment) = given;
            let first = self.given.entry(generation).or_insert_with(|| assignment.clone());
            assert_eq!(*first, assignment, "generation {generation} was assigned twice");
        }
    }

    /// The client's connection breaks.
    fn hang_up(&mut self, who: usize) -> bool {
        let its: Vec<Ticket> =
            self.open.iter().filter(|(_, its)| **its == who).map(|(ticket, _)| *ticket).collect();
        for ticket in &its {
            self.open.remove(ticket);
            self.with(|group, cx| group.abandon(*ticket, cx));
        }
        !its.is_empty()
    }

    fn fail_over(&mut self, keep: usize) {
        let queue = std::mem::take(&mut self.queue);
        let writes = queue.into_iter().flat_map(|batch| batch.writes);
        for write in writes.take(keep).collect::<Vec<_>>() {
            self.apply(&write);
        }
        for who in 0..CLIENTS {
            self.open.retain(|_, its| *its != who);
        }
        self.group = restore(&self.journal, self.second);
        let last_given = self.given.keys().last().copied().unwrap_or(0);
        assert!(last_given <= self.group.generation(), "generation {last_given} is lost");
        for client in &mut self.clients {
            client.lose_connection();
            client.excused |= !self.group.members.contains(&client.member_id);
        }
    }

    fn check(&mut self) {
        let held = self.queue.iter().flat_map(|batch| &batch.answers).map(|answer| answer.ticket);
        let parked = self.group.members.iter().flat_map(|member| [member.join, member.sync]);
        let parked = parked.flatten().filter_map(|parked: Parked| parked.ticket);
        let waiting: BTreeSet<Ticket> = held.chain(parked).collect();
        let open: BTreeSet<Ticket> = self.open.keys().copied().collect();
        let lost: Vec<_> = open.difference(&waiting).collect();
        assert!(lost.is_empty(), "{lost:?} will never be answered");
        if self.queue.iter().all(|batch| batch.writes.is_empty())
            && self.group.state() == ClassicState::Stable
        {
            let restored = restore(&self.journal, self.second);
            assert_eq!(picture(&restored), picture(&self.group));
        }
    }

    /// Nothing fails any more: everybody who lives must be in the group in the end.
    fn heal(&mut self) {
        self.lag = 0;
        for client in &mut self.clients {
            client.resume();
        }
        (0..120).for_each(|_| self.second());
        let living: BTreeSet<String> = self.clients.iter().filter_map(Client::living).collect();
        let members: BTreeSet<String> =
            self.group.members.iter().map(|member| member.id.as_str().to_owned()).collect();
        assert_eq!(members, living);
        let state = if living.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
        assert_eq!(self.group.state(), state);
        for client in self.clients.iter().filter(|client| client.living().is_some()) {
            assert_eq!(client.assigned, Some(self.group.generation()), "{client:?}");
        }
    }
}

fn now(second: u64) -> Now {
    Now { monotonic: Duration::from_secs(second), wall_ms: 1_000 * second as i64 }
}

/// The group that the journal holds. Whatever prefix it is, it must be one that can go on.
fn restore(journal: &BTreeMap<GroupKey, Bytes>, second: u64) -> ClassicGroup {
    let meta = journal.get(&GroupKey::Meta);
    let (mut members, mut assignments) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in journal {
        match key {
            GroupKey::Member(key) => members.insert(key.clone(), value.clone()),
            GroupKey::Assignment(key) => assignments.insert(key.clone(), value.clone()),
            _ => None,
        };
    }
    let group = ClassicGroup::restore("g", meta, &members, &assignments, now(second)).unwrap();
    if !group.is_empty() {
        assert!(group.members.leader().is_some_and(|id| group.members.contains(id)));
        assert!(group.members.choose_protocol().is_some());
    }
    if group.state() == ClassicState::Stable {
        assert!(group.members.iter().all(|member| !member.assignment.is_empty()));
    }
    group
}

/// What must be the same after a restore.
fn picture(group: &ClassicGroup) -> impl PartialEq + std::fmt::Debug {
    let members = group.members.iter().map(|member| {
        (
            member.id.clone(),
            member.instance_id.clone(),
            member.protocols.clone(),
            member.assignment.clone(),
        )
    });
    let members: Vec<_> = members.collect();
    let protocol = (group.protocol_type.clone(), group.protocol.clone());
    let leader = group.members.leader().cloned();
    (group.state(), group.generation(), protocol, leader, members, group.subscribed.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn group_holds_under_random_members_and_failovers(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
        run.heal();
    }
}

const CLIENTS: usize = 6;
