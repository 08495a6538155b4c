//! The world of one seed: all nodes, and the loop that lets one event happen after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_broker::partition::Acks;
use ottla_protocol::Uuid;
use ottla_protocol::record_batch::{Batch, Limits};
use ottla_storage::io::SimOp;
use rand::Rng;

use super::broker::{BrokerNode, entry_of};
use super::checks::LogEntry;
use super::client::{Admin, Goal, Producer, Reader};
use super::coordinator::CoordinatorNode;
use super::env::{Env, Event, Node, Process};
use super::faults::{Fault, Shape};
use super::message::{AdminRequest, Message, Timer};
use super::mutation::Mutation;
use super::store::StoreNode;

/// How a seed is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Lines of the log to keep for people.
    pub keep_lines: usize,
    /// The rule to take away.
    pub mutation: Option<Mutation>,
}

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The hash of the log: equal for two runs of one seed.
    pub trace_hash: u64,
    /// Lines of the log.
    pub trace_lines: u64,
    /// Virtual time.
    pub took: Duration,
    /// Batches acknowledged or read on which somebody relies.
    pub promises: usize,
    /// Batches seen in logs.
    pub batches: usize,
    /// What was objected to.
    pub objections: Vec<String>,
    /// The last lines of the log.
    pub tail: Vec<String>,
}

/// All nodes.
#[derive(Debug)]
struct World {
    env: Env,
    shape: Shape,
    store: StoreNode,
    coordinators: Vec<CoordinatorNode>,
    brokers: Vec<BrokerNode>,
    admin: Admin,
    producers: Vec<Producer>,
    readers: Vec<Reader>,
    paused: BTreeMap<Node, Paused>,
    /// What was scheduled before the present event.
    mark: u64,
}

/// A process that stands still, and what waits for it.
#[derive(Debug)]
struct Paused {
    since: Duration,
    until: Duration,
    waiting: Vec<Event>,
}

/// Runs one seed.
pub fn run(seed: u64, options: Options) -> Report {
    let mut world = World::new(seed, options);
    world.start();
    world.run();
    let World { env, .. } = world;
    Report {
        seed,
        trace_hash: env.trace.hash(),
        trace_lines: env.trace.count(),
        took: env.now,
        promises: env.history.durability.count(),
        batches: env.history.contents.count(),
        objections: env.history.objections().to_vec(),
        tail: env.trace.into_tail(),
    }
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut env = Env::new(seed, options.keep_lines, options.mutation);
        let shape = Shape::draw(&mut env);
        env.note(format_args!("seed {seed}: {shape:?}"));
        let store = StoreNode::new(&env);
        let coordinators = (0..shape.coordinators).map(CoordinatorNode::new).collect();
        let brokers = (1..=i32::from(shape.brokers))
            .map(|id| BrokerNode::new(&mut env, id, shape.lag_max))
            .collect();
        let goals = draw_goals(&mut env);
        let admin = Admin::new(0, shape.brokers, admin_work(&mut env, &goals));
        let producers = goals.iter().zip(1..);
        let producers: Vec<_> = producers
            .map(|(goal, index)| Producer::new(index, shape.brokers, goal.clone()))
            .collect();
        let readers = goals.iter().zip(PRODUCERS_MAX + 1..).map(|(goal, index)| {
            let topic = (goal.topic.as_str(), goal.partitions);
            Reader::new(index, shape.brokers, topic)
        });
        let readers = readers.collect();
        let paused = BTreeMap::new();
        Self {
            env,
            shape,
            store,
            coordinators,
            brokers,
            admin,
            producers,
            readers,
            paused,
            mark: 0,
        }
    }

    fn start(&mut self) {
        let env = &mut self.env;
        for coordinator in &self.coordinators {
            let at = env.between(Duration::ZERO, Duration::from_millis(100));
            env.schedule(at, Event::Fault(Fault::Start(coordinator.process().node)));
        }
        for broker in &self.brokers {
            let at = env.between(Duration::ZERO, Duration::from_millis(300));
            env.schedule(at, Event::Fault(Fault::Start(broker.process().node)));
        }
        self.admin.start(env);
        for producer in &self.producers {
            producer.start(env);
        }
        for reader in &self.readers {
            reader.start(env);
        }
        self.shape.plan(env);
    }

    fn run(&mut self) {
        while let Some(event) = self.env.next_event() {
            let is_look = matches!(event, Event::Fault(Fault::Look));
            self.handle(event);
            if is_look && !self.env.history.objections().is_empty() {
                return;
            }
            if is_look && self.is_healed() {
                self.check_logs();
                return;
            }
            if self.shape.faults + HEALING_MAX < self.env.now {
                let state = self.describe();
                self.env.history.object(format!("it does not heal: {state}"));
                return;
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.mark = self.env.mark();
        match event {
            Event::Fault(fault) => self.handle_fault(fault),
            // Power does not wait for a process that stands still.
            Event::Timer { process, timer: Timer::PowerOff } => self.fire(process, Timer::PowerOff),
            Event::Deliver { to, .. } if self.paused.contains_key(&to) => self.wait(to, event),
            Event::Timer { process, timer: Timer::Step }
                if self.env.does(Mutation::ClocksRunOnInPause)
                    && self.paused.contains_key(&process.node) =>
            {
                self.step_in_pause(process);
            }
            Event::Timer { process, .. } if self.paused.contains_key(&process.node) => {
                self.wait(process.node, event);
            }
            Event::Deliver { from, to, life, message } => self.deliver(from, (to, life), message),
            Event::Timer { process, timer } => self.fire(process, timer),
        }
    }

    /// What a paused node gets, it gets in this order when it goes on.
    fn wait(&mut self, node: Node, event: Event) {
        if let Some(paused) = self.paused.get_mut(&node) {
            paused.waiting.push(event);
        }
    }

    /// The clock that a worker goes by is not that of its process.
    fn step_in_pause(&mut self, process: Process) {
        if let Node::Broker(index) = process.node
            && process.life == self.life_of(process.node)
        {
            self.brokers[usize::from(index)].step_in_pause(&mut self.env);
        }
    }

    fn resume(&mut self, node: Node) {
        let is_over = self.paused.get(&node).is_some_and(|paused| paused.until <= self.env.now);
        if is_over && let Some(paused) = self.paused.remove(&node) {
            if let Node::Broker(index) = node {
                let slept = self.env.now.saturating_sub(paused.since);
                self.brokers[usize::from(index)].wake(&self.env, slept);
            }
            for event in paused.waiting {
                self.handle(event);
            }
        }
    }

    fn deliver(&mut self, from: Process, (to, life): (Node, Option<u32>), message: Message) {
        let current = self.life_of(to);
        if life.is_some_and(|life| life != current) {
            return;
        }
        let env = &mut self.env;
        env.note(format_args!("{:?} {} to {to:?}: {message}", from.node, from.life));
        match to {
            Node::Store => {
                if let Message::StoreCall { call, request } = message {
                    self.store.handle(env, from, call, request);
                }
            }
            Node::Coordinator(index) => {
                self.coordinators[usize::from(index)].handle_message(env, from, message);
            }
            Node::Broker(index) => {
                self.brokers[usize::from(index)].handle_message(env, from, message);
                self.check_power(index);
            }
            Node::Client(0) => self.admin.handle_message(env, message),
            Node::Client(index) if index <= PRODUCERS_MAX => {
                if let Some(producer) = self.producers.get_mut(usize::from(index) - 1) {
                    producer.handle_message(env, message);
                }
            }
            Node::Client(index) => {
                let at = usize::from(index - PRODUCERS_MAX - 1);
                if let Some(reader) = self.readers.get_mut(at) {
                    reader.handle_message(env, message);
                }
            }
        }
    }

    fn fire(&mut self, process: Process, timer: Timer) {
        if process.life != self.life_of(process.node) {
            return;
        }
        let env = &mut self.env;
        match process.node {
            Node::Store => self.store.tick(env),
            Node::Coordinator(index) => {
                self.coordinators[usize::from(index)].handle_timer(env, timer);
            }
            Node::Broker(index) => {
                let broker = &mut self.brokers[usize::from(index)];
                if matches!(timer, Timer::PowerOff) {
                    broker.power_cut(env);
                    self.bury(process);
                    return;
                }
                broker.handle_timer(env, timer);
                self.check_power(index);
            }
            Node::Client(0) => self.admin.handle_timer(env, timer),
            Node::Client(index) if index <= PRODUCERS_MAX => {
                if let Some(producer) = self.producers.get_mut(usize::from(index) - 1) {
                    producer.handle_timer(env, timer);
                }
            }
            Node::Client(index) => {
                let at = usize::from(index - PRODUCERS_MAX - 1);
                if let Some(reader) = self.readers.get_mut(at) {
                    reader.handle_timer(env, timer);
                }
            }
        }
    }

    /// A machine whose disk failed for want of power is off; what its process was about to send stays unsent.
    fn check_power(&mut self, index: u8) {
        let broker = &mut self.brokers[usize::from(index)];
        if broker.has_lost_power() {
            let process = broker.process();
            self.env.unsend(process, self.mark);
            broker.power_cut(&mut self.env);
            self.bury(process);
        }
    }

    /// A process is gone: its connections with the store, and what waited for it to go on.
    fn bury(&mut self, process: Process) {
        self.paused.remove(&process.node);
        self.store.forget(process);
    }

    fn life_of(&self, node: Node) -> u32 {
        match node {
            Node::Coordinator(index) => self.coordinators[usize::from(index)].process().life,
            Node::Broker(index) => self.brokers[usize::from(index)].process().life,
            Node::Store | Node::Client(_) => 0,
        }
    }

    fn handle_fault(&mut self, fault: Fault) {
        if fault != Fault::Look {
            self.env.note(format_args!("{fault:?}"));
        }
        match fault {
            Fault::Crash(node, away) => {
                self.crash(node);
                self.start_later(node, away);
            }
            Fault::CrashThenCut(broker, away) => {
                self.crash(Node::Broker(broker));
                self.start_later(Node::Broker(broker), Duration::from_millis(50));
                let pause = self.env.between(Duration::from_millis(500), Duration::from_secs(3));
                let at = self.env.now + pause;
                self.env.schedule(at, Event::Fault(Fault::PowerCut(broker, away)));
            }
            Fault::CrashUnsynced(..) | Fault::CutInWrite(..) if !self.env.has_faults => {}
            Fault::CrashUnsynced(broker, looks) => self.crash_unsynced(broker, looks),
            Fault::CutInWrite(broker, looks) => self.cut_in_write(broker, looks),
            Fault::PowerCut(broker, _) | Fault::PowerCutSoon(broker, _)
                if self.shape.is_careful && !self.is_covered(broker) =>
            {
                self.env.note(format_args!("it would cost what is promised"));
            }
            Fault::PowerCut(broker, away) => {
                self.break_power(broker, false);
                self.start_later(Node::Broker(broker), away);
            }
            Fault::PowerCutSoon(broker, away) => {
                self.break_power(broker, true);
                // Not before it has happened.
                self.start_later(Node::Broker(broker), away + POWER_CUT_WITHIN);
            }
            Fault::DiskFails(broker, op, away) => self.fail_disk(broker, op, away),
            Fault::Stop(broker, away) => self.stop(broker, away),
            Fault::Pause(node, time) => {
                let until = self.env.now + time;
                let since = self.env.now;
                let begin = || Paused { since, until, waiting: Vec::new() };
                let paused = self.paused.entry(node).or_insert_with(begin);
                paused.until = until.max(paused.until);
                self.env.schedule(until, Event::Fault(Fault::Resume(node)));
            }
            Fault::Resume(node) => self.resume(node),
            Fault::Start(node) => self.start_node(node),
            Fault::Cut(from, to, time) => {
                let until = self.env.now + time;
                self.env.net.cut(from, to, until);
            }
            Fault::PauseStore(time) => {
                self.store.set_paused(&mut self.env, true);
                let at = self.env.now + time;
                self.env.schedule(at, Event::Fault(Fault::ResumeStore));
            }
            Fault::ResumeStore => self.store.set_paused(&mut self.env, false),
            Fault::Compact => self.store.compact(&mut self.env),
            Fault::BreakWatches => self.store.break_watches(&mut self.env),
            Fault::Noise(loss, slow, time) => {
                self.env.net.loss = f64::from(loss) / 1000.0;
                self.env.net.slow = f64::from(slow) / 1000.0;
                let at = self.env.now + time;
                self.env.schedule(at, Event::Fault(Fault::Quiet));
            }
            Fault::Quiet => (self.env.net.loss, self.env.net.slow) = (0.0, 0.0),
            Fault::End => self.repair(),
            Fault::Look => {
                let at = self.env.now + LOOK_INTERVAL;
                self.env.schedule(at, Event::Fault(Fault::Look));
            }
        }
    }

    /// A disk will fail, and somebody starts the broker anew.
    fn fail_disk(&mut self, broker: u8, op: SimOp, away: Duration) {
        let nth = self.env.rng.random_range(1..40);
        self.brokers[usize::from(broker)].fail_disk(op, nth);
        let again = Fault::Crash(Node::Broker(broker), Duration::from_millis(300));
        self.env.schedule(self.env.now + away, Event::Fault(again));
    }

    fn stop(&mut self, broker: u8, away: Duration) {
        let process = self.brokers[usize::from(broker)].process();
        self.brokers[usize::from(broker)].stop(&mut self.env);
        self.check_power(broker);
        self.bury(process);
        self.start_later(Node::Broker(broker), away);
    }

    fn crash(&mut self, node: Node) {
        let env = &mut self.env;
        match node {
            Node::Coordinator(index) => {
                let coordinator = &mut self.coordinators[usize::from(index)];
                let process = coordinator.process();
                coordinator.crash(env);
                self.bury(process);
            }
            Node::Broker(index) => {
                let broker = &mut self.brokers[usize::from(index)];
                let process = broker.process();
                let was_up = broker.is_up();
                broker.crash(env);
                let id = i32::from(index) + 1;
                // The machine ends the connections of a dead process.
                for coordinator in self.coordinators.iter().filter(|_| was_up) {
                    let to = (coordinator.process().node, None);
                    env.send(process, to, Message::LinkBroken(id));
                }
                self.bury(process);
            }
            Node::Store | Node::Client(_) => {}
        }
    }

    fn crash_unsynced(&mut self, index: u8, looks: u16) {
        let node = Node::Broker(index);
        if self.brokers[usize::from(index)].has_unsynced() {
            self.crash(node);
            self.start_later(node, Duration::from_millis(20));
            self.look_again(Fault::CutInWrite(index, UNSYNCED_LOOKS), Duration::from_millis(40));
        } else if let Some(looks) = looks.checked_sub(1) {
            self.look_again(Fault::CrashUnsynced(index, looks), Duration::from_millis(1));
        }
    }

    fn cut_in_write(&mut self, index: u8, looks: u16) {
        if self.brokers[usize::from(index)].leads_any() {
            self.brokers[usize::from(index)].power_cut_within(&mut self.env, FIRST_WRITES);
            self.start_later(Node::Broker(index), POWER_CUT_WITHIN + Duration::from_millis(100));
        } else if let Some(looks) = looks.checked_sub(1) {
            self.look_again(Fault::CutInWrite(index, looks), Duration::from_millis(1));
        }
    }

    fn look_again(&mut self, fault: Fault, after: Duration) {
        if self.env.has_faults {
            self.env.schedule(self.env.now + after, Event::Fault(fault));
        }
    }

    fn is_covered(&self, index: u8) -> bool {
        self.env.history.is_covered(i32::from(index) + 1)
    }

    fn break_power(&mut self, index: u8, soon: bool) {
        let broker = &mut self.brokers[usize::from(index)];
        let process = broker.process();
        if soon && broker.is_up() {
            broker.power_cut_soon(&mut self.env);
        } else {
            broker.power_cut(&mut self.env);
            self.bury(process);
        }
    }

    fn start_later(&mut self, node: Node, away: Duration) {
        let at = self.env.now + away;
        self.env.schedule(at, Event::Fault(Fault::Start(node)));
    }

    fn start_node(&mut self, node: Node) {
        match node {
            Node::Coordinator(index) => {
                self.coordinators[usize::from(index)].start(&mut self.env);
            }
            Node::Broker(index) => self.brokers[usize::from(index)].start(&mut self.env),
            Node::Store | Node::Client(_) => {}
        }
    }

    /// The faults are over: whatever is broken is whole again.
    fn repair(&mut self) {
        self.env.has_faults = false;
        self.env.net.heal();
        self.store.set_paused(&mut self.env, false);
        let coordinators = self.coordinators.iter().map(|node| node.process().node);
        let brokers = self.brokers.iter().map(|node| node.process().node);
        let nodes: Vec<Node> = coordinators.chain(brokers).collect();
        for node in nodes {
            self.start_later(node, Duration::from_millis(100));
            // And once more, for those that only now lose power.
            self.start_later(node, POWER_CUT_WITHIN + Duration::from_millis(100));
        }
        self.env.schedule(self.env.now + LOOK_INTERVAL, Event::Fault(Fault::Look));
    }

    /// Whether everything is done, and every partition led.
    fn is_healed(&self) -> bool {
        let is_settled = self.shape.faults + SETTLED_AFTER < self.env.now;
        is_settled
            && self.admin.is_done()
            && self.producers.iter().all(Producer::is_done)
            && self.unled().is_empty()
            && self.env.history.under_replicated().is_empty()
            && self.env.history.partitions().into_iter().all(|key| self.is_settled(key))
    }

    fn unled(&self) -> Vec<(Uuid, i32)> {
        let all = self.env.history.partitions();
        let is_led = |key: &(Uuid, i32)| self.read(*key).is_some();
        all.into_iter().filter(|key| !is_led(key)).collect()
    }

    /// Whether all replicas have everything, and know that.
    fn is_settled(&self, key: (Uuid, i32)) -> bool {
        let replicas = self.env.history.replicas_of(key).iter();
        let ends = replicas.map(|id| {
            let node = self.brokers.iter().find(|broker| broker.id() == *id)?;
            node.ends(key)
        });
        let ends: Vec<Option<(i64, i64)>> = ends.collect();
        let is_whole = |ends: &Option<(i64, i64)>| ends.is_some_and(|(end, mark)| end == mark);
        ends.iter().all(is_whole) && ends.windows(2).all(|pair| pair[0] == pair[1])
    }

    fn read(&self, key: (Uuid, i32)) -> Option<Vec<Batch>> {
        // A leader that stood still may not yet know that it is none.
        let led = self.brokers.iter().filter_map(|broker| broker.read_led(key));
        led.max_by_key(|(epoch, _)| *epoch).map(|(_, log)| log)
    }

    fn describe(&self) -> String {
        let producers: Vec<_> = self
            .producers
            .iter()
            .map(|producer| producer.acknowledged().collect::<Vec<_>>())
            .collect();
        let keys = self.env.history.partitions().into_iter();
        let unsettled: Vec<_> = keys.filter(|key| !self.is_settled(*key)).collect();
        let up: Vec<bool> = self.brokers.iter().map(BrokerNode::is_up).collect();
        let terms: Vec<_> = self.coordinators.iter().map(CoordinatorNode::term).collect();
        let running: Vec<bool> = self.coordinators.iter().map(CoordinatorNode::is_up).collect();
        format!(
            "coordinators up {running:?}, acknowledged {producers:?}, admin done {}, brokers up {up:?}, terms {terms:?}, not led {:?}, ISR not full {:?}, not settled {:?}",
            self.admin.is_done(),
            self.unled(),
            self.env.history.under_replicated(),
            unsettled
        )
    }

    /// What everybody was promised, against the logs.
    fn check_logs(&mut self) {
        let keys = self.env.history.partitions();
        let logs: BTreeMap<_, _> =
            keys.into_iter().filter_map(|key| Some((key, self.read(key)?))).collect();
        for (key, log) in &logs {
            let entries: Vec<LogEntry> = log.iter().map(entry_of).collect();
            if !self.env.history.may_lose(*key) {
                let outcome = self.env.history.durability.final_log(*key, &entries);
                self.env.history.check(outcome);
                let outcome = self.env.history.committed.final_log(*key, &entries);
                self.env.history.check(outcome);
            }
            for entry in entries {
                let outcome = self.env.history.contents.seen(*key, entry);
                self.env.history.check(outcome);
            }
        }
        self.check_replicas(logs.keys().copied().collect());
        for at in 0..self.producers.len() {
            self.check_sequences(at, &logs);
        }
        let lines = self.env.trace.count();
        self.env.note(format_args!("over after {lines} lines"));
    }

    fn check_replicas(&mut self, keys: Vec<(Uuid, i32)>) {
        for key in keys {
            let replicas = self.env.history.replicas_of(key).iter();
            let logs = replicas.filter_map(|id| {
                let node = self.brokers.iter().find(|broker| broker.id() == *id)?;
                let (batches, _, _) = node.read_all(key)?;
                Some((*id, batches.iter().flat_map(|batch| batch.bytes.to_vec()).collect()))
            });
            let logs: Vec<(i32, Vec<u8>)> = logs.collect();
            let outcome = self.env.history.replicas.final_logs(key, &logs);
            self.env.history.check(outcome);
        }
    }

    fn check_sequences(&mut self, at: usize, logs: &BTreeMap<(Uuid, i32), Vec<Batch>>) {
        let producer = &self.producers[at];
        let topic = &producer.goal().topic;
        if producer.goal().acks != Acks::All {
            return;
        }
        for (partition, acknowledged) in producer.acknowledged() {
            let Some(id) = self.env.history.topic(topic) else { continue };
            let Some(log) = logs.get(&(id, partition)) else { continue };
            if self.env.history.may_lose((id, partition)) {
                continue;
            }
            let numbers = numbers_of(log, producer.index());
            let name = format!("producer {} of {topic}-{partition}", producer.index());
            let outcome = self.env.history.sequences.final_log(&name, &numbers, acknowledged);
            self.env.history.check(outcome);
        }
    }
}

/// The numbers of a client's records, in the order of their offsets.
fn numbers_of(log: &[Batch], client: u8) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut scratch = Vec::new();
    for batch in log {
        let Ok(records) = batch.records(&mut scratch, Limits::default()) else { continue };
        for record in records.flatten() {
            if let Some((found, number)) = record.key.and_then(<[u8]>::split_first)
                && *found == client
                && let Ok(number) = number.try_into()
            {
                numbers.push(u64::from_be_bytes(number));
            }
        }
    }
    numbers
}

fn draw_goals(env: &mut Env) -> Vec<Goal> {
    let mut goals = Vec::new();
    for topic in ["durable", "plain"] {
        let partitions = env.rng.random_range(1..=2);
        let records = env.rng.random_range(20..70);
        goals.push(Goal { topic: topic.to_owned(), partitions, records, acks: Acks::All });
    }
    if env.rng.random_bool(0.3) || env.mutation.is_some() {
        let records = env.rng.random_range(20..50);
        let topic = SINGLE.to_owned();
        goals.push(Goal { topic, partitions: 1, records, acks: Acks::All });
    }
    if env.rng.random_bool(0.5) {
        // Beside another producer of the same partitions, perhaps one that waits for less.
        let mut second = goals[env.rng.random_range(0..2)].clone();
        second.acks = if env.rng.random_bool(0.5) { Acks::Leader } else { Acks::All };
        goals.push(second);
    }
    goals
}

/// Topics to make, and some that come, grow and go.
fn admin_work(env: &mut Env, goals: &[Goal]) -> Vec<AdminRequest> {
    let mut work = Vec::new();
    let mut known = BTreeSet::new();
    for goal in goals.iter().filter(|goal| known.insert(goal.topic.as_str())) {
        let durable = goal.topic != "plain";
        let replicas = if goal.topic == SINGLE { 1 } else { REPLICAS };
        env.history.visibility.asked(goal.partitions);
        work.push(AdminRequest::Create {
            name: goal.topic.clone(),
            partitions: goal.partitions,
            replicas,
            durable,
        });
    }
    for round in 0..env.rng.random_range(0..3) {
        let name = "passing".to_owned();
        let (partitions, count) = (4 + round, 7 + round);
        env.history.visibility.asked(partitions);
        env.history.visibility.asked(count);
        let replicas = REPLICAS;
        work.push(AdminRequest::Create {
            name: name.clone(),
            partitions,
            replicas,
            durable: false,
        });
        work.push(AdminRequest::Grow { name: name.clone(), count });
        work.push(AdminRequest::Delete(name));
    }
    work
}

/// A durable topic with one replica, which is all that its records have.
const SINGLE: &str = "single";
/// Of each partition of the others.
const REPLICAS: i16 = 3;
const PRODUCERS_MAX: u8 = 4;
/// After the faults, everything must be done within this time.
const HEALING_MAX: Duration = Duration::from_secs(60);
/// For so long it is looked at at least.
const SETTLED_AFTER: Duration = Duration::from_secs(4);
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often a broker is looked at until it leads.
const UNSYNCED_LOOKS: u16 = 2_000;
/// Operations of a disk that a broker's first writes as a leader take.
const FIRST_WRITES: u64 = 12;
/// A power cut in the next write happens within this time.
const POWER_CUT_WITHIN: Duration = Duration::from_secs(2);
