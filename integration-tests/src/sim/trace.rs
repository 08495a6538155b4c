//! What happened, in the order in which it happened: two runs of one seed must have the same.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Hashes every line, keeps the last ones for people.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    count: u64,
    tail: VecDeque<String>,
    keep: usize,
}

impl Trace {
    /// Keeps the last `keep` lines.
    pub fn new(keep: usize) -> Self {
        Self { hash: FNV_OFFSET, count: 0, tail: VecDeque::new(), keep }
    }

    /// Adds a line.
    pub fn line(&mut self, now: Duration, text: fmt::Arguments<'_>) {
        let line = format!("{:>10.3} {text}", now.as_secs_f64() * 1000.0);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        self.count += 1;
        if self.keep == 0 {
            return;
        }
        if self.tail.len() == self.keep {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// The hash of all lines so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last lines, oldest first.
    pub fn into_tail(self) -> Vec<String> {
        self.tail.into()
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
