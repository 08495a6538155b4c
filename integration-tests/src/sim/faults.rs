//! What goes wrong, and when: drawn from the seed.

use std::time::Duration;

use ottla_storage::io::SimOp;
use rand::Rng;

use super::env::{Env, Event, Node};
use super::mutation::Mutation;

/// How often a broker is looked at for something that it has not synced.
const UNSYNCED_LOOKS: u16 = 2_000;

/// Something that the world does to the nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// A process dies, and is started again after this time.
    Crash(Node, Duration),
    /// A broker's process dies and is started again, and soon its machine loses power, for this time: what
    /// the first life wrote and did not sync the second has shown.
    CrashThenCut(u8, Duration),
    /// As soon as a broker has written something and not synced it, its process dies and is started again; looked at so many
    /// times more. Then [`Fault::CutInWrite`].
    CrashUnsynced(u8, u16),
    /// As soon as a broker leads, its machine loses power in one of its first writes; looked at so many times more.
    CutInWrite(u8, u16),
    /// A machine loses power for this time.
    PowerCut(u8, Duration),
    /// The same, in one of the next writes to its disk.
    PowerCutSoon(u8, Duration),
    /// One of the next writes or syncs of a broker's disk fails; the broker is started anew after this time.
    DiskFails(u8, SimOp, Duration),
    /// A broker is stopped in an orderly way for this time.
    Stop(u8, Duration),
    /// A process stands still for this time.
    Pause(Node, Duration),
    /// A process goes on, if it is not paused for longer.
    Resume(Node),
    /// A node starts.
    Start(Node),
    /// Nothing gets from one node to the other for this time.
    Cut(Node, Node, Duration),
    /// The store stops answering for this time.
    PauseStore(Duration),
    /// The store goes on.
    ResumeStore,
    /// The store forgets its history.
    Compact,
    /// The store ends every watch.
    BreakWatches,
    /// So many messages in a thousand are lost, and so many are very late, for this time.
    Noise(u16, u16, Duration),
    /// The noise is over.
    Quiet,
    /// No more faults: everything is repaired.
    End,
    /// The world looks whether everything is done.
    Look,
}

/// The cluster of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Brokers.
    pub brokers: u8,
    /// Coordinators.
    pub coordinators: u8,
    /// Whether machines lose power; processes die in any case.
    pub has_power_cuts: bool,
    /// Machines lose power only where nothing is lost by it that was promised: see `History::lose_machine`.
    pub is_careful: bool,
    /// Whether disks fail.
    pub has_disk_faults: bool,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// How long faults go on.
    pub faults: Duration,
}

impl Shape {
    /// The shape of a seed.
    pub fn draw(env: &mut Env) -> Self {
        Self {
            brokers: env.rng.random_range(3..=5),
            coordinators: env.rng.random_range(1..=3),
            // What a rule is there for happens more often where it is looked for.
            has_power_cuts: env.rng.random_bool(0.6) || env.mutation.is_some(),
            is_careful: env.rng.random_bool(0.6),
            has_disk_faults: env.rng.random_bool(0.3) && env.mutation.is_none(),
            lag_max: env.between(Duration::from_millis(1_500), Duration::from_secs(5)),
            faults: env.between(Duration::from_secs(6), Duration::from_secs(14)),
        }
    }

    /// Plans all faults.
    pub fn plan(&self, env: &mut Env) {
        let mut at = env.between(Duration::from_secs(1), Duration::from_secs(3));
        while at < self.faults {
            let fault = self.draw_fault(env);
            env.schedule(at, Event::Fault(fault));
            let longest = if env.mutation.is_some() { 700 } else { 1_500 };
            at += env.between(Duration::from_millis(100), Duration::from_millis(longest));
        }
        env.schedule(self.faults, Event::Fault(Fault::End));
    }

    fn draw_fault(&self, env: &mut Env) -> Fault {
        let broker = env.rng.random_range(0..self.brokers);
        let coordinator = Node::Coordinator(env.rng.random_range(0..self.coordinators));
        // Often within the lease, so that nobody notices by its end.
        let away = env.between(Duration::from_millis(50), Duration::from_secs(5));
        let short = env.between(Duration::from_millis(50), Duration::from_millis(1_500));
        let long = env.between(Duration::from_millis(200), Duration::from_secs(6));
        let crashes_unsynced = env.mutation.is_some_and(Mutation::crashes_unsynced);
        match env.rng.random_range(0..100) {
            0..8 if crashes_unsynced => Fault::CrashUnsynced(broker, UNSYNCED_LOOKS),
            0..8 if self.has_power_cuts => Fault::CrashThenCut(broker, short),
            0..22 if self.has_power_cuts => {
                if env.rng.random_bool(0.6) {
                    Fault::PowerCutSoon(broker, short.max(away / 3))
                } else {
                    Fault::PowerCut(broker, short)
                }
            }
            0..22 => Fault::Crash(Node::Broker(broker), short),
            22..30 => Fault::Crash(Node::Broker(broker), away),
            30..36 if !self.has_power_cuts => Fault::Stop(broker, short),
            30..44 => Fault::Pause(Node::Broker(broker), long),
            44..48 if self.has_disk_faults => {
                let op = if env.rng.random_bool(0.5) { SimOp::Write } else { SimOp::Sync };
                Fault::DiskFails(broker, op, away)
            }
            44..52 => Fault::Crash(coordinator, away),
            52..58 => Fault::Pause(coordinator, long),
            58..76 => {
                let (from, to) = self.draw_pair(env);
                Fault::Cut(from, to, long)
            }
            76..82 => Fault::PauseStore(long / 2),
            82..87 => Fault::Compact,
            87..91 => Fault::BreakWatches,
            _ => Fault::Noise(env.rng.random_range(0..200), env.rng.random_range(0..60), long),
        }
    }

    fn draw_pair(&self, env: &mut Env) -> (Node, Node) {
        let broker = Node::Broker(env.rng.random_range(0..self.brokers));
        let coordinator = Node::Coordinator(env.rng.random_range(0..self.coordinators));
        let client = Node::Client(env.rng.random_range(0..9));
        let other = Node::Broker(env.rng.random_range(0..self.brokers));
        let pairs = [
            (broker, other),
            (broker, other),
            (broker, Node::Store),
            (broker, coordinator),
            (coordinator, Node::Store),
            (client, broker),
        ];
        let (one, other) = pairs[env.rng.random_range(0..pairs.len())];
        if env.rng.random_bool(0.5) { (one, other) } else { (other, one) }
    }
}
