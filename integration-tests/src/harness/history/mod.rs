//! What producers were told and what consumers saw, and whether the two can be true together.
//!
//! A [`Load`] (or a [`JavaProducer`]) writes records that say who wrote them and which one they are, and notes how each send
//! ended. Readers note every record that they see. At the end everything is read once more, and [`check()`] compares: it
//! knows nothing of how the cluster works.

mod check;
mod foreign;
mod load;
mod mark;
mod pinned;

use std::{collections::BTreeMap, time::Duration};

pub use check::{Violation, check};
pub use foreign::{JavaProducer, read_with_kcat};
pub use load::{Load, LoadOptions, read_all};
pub use mark::{Content, Mark};
pub use pinned::{PinnedProducer, PinnedReader};

/// The time of an acknowledgement that was not heard by the clock of the history.
const UNTIMED: Duration = Duration::MAX;

/// A partition's records by offset.
pub type Contents = BTreeMap<i64, Content>;

/// One topic's history. Times count from the start of the load.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// By the number that their records carry.
    pub producers: BTreeMap<u32, ProducerLog>,
    /// One for each pass over a partition.
    pub readers: Vec<ReaderLog>,
    /// Each partition as it was read at the end, from its first record on.
    pub last: BTreeMap<i32, Contents>,
}

/// What one producer sent, and what it was told. All of it to one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerLog {
    /// Where it writes to.
    pub partition: i32,
    /// Whether it is promised that each record is written once, and in the order in which it was sent.
    pub idempotent: bool,
    /// By the number that each record carries.
    pub records: BTreeMap<u64, Sent>,
}

/// A record that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// When it was handed to the client.
    pub at: Duration,
    /// How that ended.
    pub outcome: Outcome,
}

/// How a send ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody knows (yet).
    Unknown,
    /// With acks=all: it is there for good.
    Acknowledged {
        /// Where; none if the client does not say.
        offset: Option<i64>,
        /// When that was heard.
        at: Duration,
    },
    /// With an error. It may have been written all the same.
    Failed(String),
}

/// What one reader saw of one partition, in the order in which it saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReaderLog {
    /// Of this partition.
    pub partition: i32,
    /// Offsets and records.
    pub seen: Vec<(i64, Content)>,
    /// Complaints that no reader should have: its position is gone, or a batch is damaged.
    pub complaints: Vec<String>,
}

impl History {
    /// Fails, with the first violations, if there are any.
    ///
    /// # Panics
    /// When what happened cannot be.
    pub fn assert_sound(&self) {
        let violations = check(self);
        let first: Vec<_> = violations.iter().take(10).map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), first.join("\n"));
    }

    /// Reads the topic once more, as it is now, for [`Self::assert_sound`] to compare with what was told.
    pub fn read_again(&mut self, bootstrap: &str, topic: &str) {
        let partitions = i32::try_from(self.last.len()).expect("a count");
        self.last = read_all(bootstrap, topic, &load::ends(self, partitions));
    }

    /// How many records were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let records = self.producers.values().flat_map(|producer| producer.records.values());
        records.filter(|record| matches!(record.outcome, Outcome::Acknowledged { .. })).count()
    }

    /// The longest time between two acknowledgements of a partition that follow each other, of those heard from `from` on.
    #[must_use]
    pub fn longest_gap(&self, partition: i32, from: Duration) -> Option<Duration> {
        self.longest_gap_within(partition, from, Duration::MAX)
    }

    /// As [`Self::longest_gap`], of the gaps that end before `to`.
    #[must_use]
    pub fn longest_gap_within(
        &self,
        partition: i32,
        from: Duration,
        to: Duration,
    ) -> Option<Duration> {
        let mut times = self.acknowledgements(partition);
        times.retain(|at| *at < to);
        // The last one before `from` opens the gap that begins there.
        let first = times.iter().rposition(|at| *at < from).unwrap_or(0);
        times[first..].windows(2).map(|pair| pair[1] - pair[0]).max()
    }

    /// When acknowledgements of a partition came, in order.
    fn acknowledgements(&self, partition: i32) -> Vec<Duration> {
        let producers = self.producers.values().filter(|log| log.partition == partition);
        let records = producers.flat_map(|producer| producer.records.values());
        let mut times: Vec<_> = records
            .filter_map(|record| match record.outcome {
                Outcome::Acknowledged { at, .. } => Some(at).filter(|at| *at != UNTIMED),
                Outcome::Unknown | Outcome::Failed(_) => None,
            })
            .collect();
        times.sort_unstable();
        times
    }
}
