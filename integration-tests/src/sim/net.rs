//! The network: delays, losses, and cuts that may be one-way.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::env::Node;

/// How messages travel. Calm at the start.
#[derive(Debug, Default)]
pub struct Net {
    /// Until when nothing gets from one node to the other.
    cuts: BTreeMap<(Node, Node), Duration>,
    /// The part of messages outside connections that is lost.
    pub loss: f64,
    /// The part of messages that is very late.
    pub slow: f64,
}

impl Net {
    /// Cuts one direction.
    pub fn cut(&mut self, from: Node, to: Node, until: Duration) {
        let cut = self.cuts.entry((from, to)).or_default();
        *cut = until.max(*cut);
    }

    /// Everything is well again.
    pub fn heal(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing gets through now.
    pub fn is_cut(&self, from: Node, to: Node, now: Duration) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|until| now < *until)
    }

    /// Whether a message is lost.
    pub fn loses(&self, from: Node, to: Node, now: Duration, rng: &mut StdRng) -> bool {
        let by_chance = 0.0 < self.loss && rng.random_bool(self.loss);
        by_chance || self.is_cut(from, to, now)
    }

    /// How long a message takes.
    pub fn delay(&self, rng: &mut StdRng) -> Duration {
        let micros = if 0.0 < self.slow && rng.random_bool(self.slow) {
            rng.random_range(100_000..8_000_000)
        } else if rng.random_bool(0.05) {
            rng.random_range(2_000..60_000)
        } else {
            rng.random_range(100..2_000)
        };
        Duration::from_micros(micros)
    }
}
