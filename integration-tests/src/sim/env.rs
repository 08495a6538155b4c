//! What every simulated node works with: the clock, chance, the event queue, the network, and the checkers
//! that watch.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ottla_metadata::keys::KeySpace;
use ottla_protocol::time::Now;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::checks::History;
use super::message::{Message, Timer};
use super::mutation::Mutation;
use super::net::Net;
use super::trace::Trace;

/// A place where something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The metadata store.
    Store,
    /// A coordinator.
    Coordinator(u8),
    /// A broker, by its id minus one.
    Broker(u8),
    /// A client.
    Client(u8),
}

/// A process on a node: what is meant for a former one does not reach the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Where.
    pub node: Node,
    /// Which of its processes.
    pub life: u32,
}

/// Something that will happen.
#[derive(Debug)]
pub enum Event {
    /// A message arrives.
    Deliver {
        /// Who sent it.
        from: Process,
        /// Where it goes.
        to: Node,
        /// For this process only, else for whichever runs then.
        life: Option<u32>,
        /// What it says.
        message: Message,
    },
    /// A timer of a process fires.
    Timer {
        /// Whose.
        process: Process,
        /// Which.
        timer: Timer,
    },
    /// The world does something to the nodes.
    Fault(super::faults::Fault),
}

/// The environment of all nodes.
#[derive(Debug)]
pub struct Env {
    /// Virtual time since the start.
    pub now: Duration,
    /// The only source of chance.
    pub rng: StdRng,
    /// The network.
    pub net: Net,
    /// The log.
    pub trace: Trace,
    /// The checkers.
    pub history: History,
    /// The rule that is taken away, if one is.
    pub mutation: Option<Mutation>,
    /// Faults may still happen; the world says when they may not.
    pub has_faults: bool,
    /// Where the cluster is in the store.
    pub keys: KeySpace,
    queue: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
}

impl Env {
    /// The environment of one seed.
    pub fn new(seed: u64, keep: usize, mutation: Option<Mutation>) -> Self {
        Self {
            now: Duration::ZERO,
            rng: StdRng::seed_from_u64(seed),
            net: Net::default(),
            trace: Trace::new(keep),
            history: History::default(),
            mutation,
            has_faults: true,
            keys: KeySpace::default(),
            queue: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Whether this is done wrong.
    pub fn does(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Both clocks.
    pub fn clocks(&self) -> Now {
        let passed = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
        Now { monotonic: self.now, wall_ms: WALL_START_MS + passed }
    }

    /// Both clocks of a node. The wall clocks of nodes are up to two days apart, and of clients in the middle.
    pub fn clocks_of(&self, node: i32) -> Now {
        let true_time = self.clocks();
        let skew = i64::from(node.rem_euclid(3) - 1) * DAY_MS;
        Now { wall_ms: true_time.wall_ms + skew, ..true_time }
    }

    /// A time between the two.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let (low, high) = (low.as_micros() as u64, high.as_micros() as u64);
        Duration::from_micros(self.rng.random_range(low..=high.max(low)))
    }

    /// Lets something happen at `at`, after everything else that happens then.
    pub fn schedule(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    /// The next event; time moves to it.
    pub fn next_event(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = at;
        Some(event)
    }

    /// Wakes a process after `delay`.
    pub fn timer(&mut self, process: Process, delay: Duration, timer: Timer) {
        self.schedule(self.now + delay, Event::Timer { process, timer });
    }

    /// How much was scheduled so far; for [`Env::unsend`].
    pub fn mark(&self) -> u64 {
        self.sequence
    }

    /// Takes back what a process sent since `mark`: it died before it could.
    pub fn unsend(&mut self, process: Process, mark: u64) {
        self.queue.retain(|(_, sequence), event| {
            let is_its = matches!(event, Event::Deliver { from, .. } if *from == process);
            !(is_its && mark < *sequence)
        });
    }

    /// Sends a message that may be lost, late, or overtaken by others.
    pub fn send(&mut self, from: Process, to: (Node, Option<u32>), message: Message) {
        if self.net.loses(from.node, to.0, self.now, &mut self.rng) {
            self.note(format_args!("lost {:?} to {:?}: {message}", from.node, to.0));
            return;
        }
        let delay = self.net.delay(&mut self.rng);
        let (to, life) = to;
        self.schedule(self.now + delay, Event::Deliver { from, to, life, message });
    }

    /// Sends a message on a connection: in order (`lane` is when the last one arrives) or not at all; false
    /// if the connection is broken by it.
    pub fn send_in_order(
        &mut self,
        from: Process,
        to: (Node, Option<u32>),
        lane: &mut Duration,
        message: Message,
    ) -> bool {
        let (to, life) = to;
        if self.net.is_cut(from.node, to, self.now) {
            self.note(format_args!("cut {:?} to {to:?}: {message}", from.node));
            return false;
        }
        let at = (self.now + self.net.delay(&mut self.rng)).max(*lane + Duration::from_micros(1));
        *lane = at;
        self.schedule(at, Event::Deliver { from, to, life, message });
        true
    }

    /// Writes a line of the log.
    pub fn note(&mut self, text: fmt::Arguments<'_>) {
        self.trace.line(self.now, text);
    }
}

const DAY_MS: i64 = 86_400_000;
/// Some moment after the year 2023.
const WALL_START_MS: i64 = 1_700_000_000_000;
