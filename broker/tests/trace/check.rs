//! What must come before what.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that happened. Offsets are those behind the last record that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A broker's log has everything below `to`, from the first offset of the file on.
    Written { broker: i32, partition: String, from: i64, to: i64 },
    /// The same is on its disk: a sync that began after the write has ended.
    Synced { broker: i32, partition: String, from: i64, to: i64 },
    /// A leader has shown this high watermark.
    Watermark { partition: String, value: i64 },
    /// A producer has the answer for a batch that ends at `to`.
    Answered { partition: String, acks: i16, to: i64 },
}

/// Events in the order in which they happened: the place in it is the one counter of all threads.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    events: Arc<Mutex<Vec<Event>>>,
}

/// A partition that is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Who leads it, all the time.
    pub leader: i32,
    /// Who is in sync, all the time; the leader is, too.
    pub in_sync: Vec<i32>,
    /// `flush.messages=1`.
    pub is_durable: bool,
}

/// An answer or a mark that came too soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooSoon {
    /// Its place in the trace.
    pub at: usize,
    /// What came.
    pub event: Event,
    /// What should have come before.
    pub missing: String,
}

impl Trace {
    /// Notes that `event` has just happened; to be called between it and whatever may follow from it.
    pub fn note(&self, event: Event) {
        self.lock().push(event);
    }

    /// Everything so far.
    pub fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds every answer and mark that precedes what it promises.
pub fn check(events: &[Event], partitions: &BTreeMap<String, Watched>) -> Vec<TooSoon> {
    let mut checker = Checker {
        partitions,
        written: Ends::new(),
        synced: Ends::new(),
        watermarks: BTreeMap::new(),
    };
    let mut found = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if let Some(missing) = checker.take(event) {
            found.push(TooSoon { at, event: event.clone(), missing });
        }
    }
    found
}

type Ends<'a> = BTreeMap<(i32, &'a str), i64>;

struct Checker<'a> {
    partitions: &'a BTreeMap<String, Watched>,
    written: Ends<'a>,
    synced: Ends<'a>,
    watermarks: BTreeMap<&'a str, i64>,
}

impl<'a> Checker<'a> {
    /// What is missing for `event` to be allowed.
    fn take(&mut self, event: &'a Event) -> Option<String> {
        match event {
            Event::Written { broker, partition, from, to } => {
                reach(&mut self.written, (*broker, partition), (*from, *to));
                None
            }
            Event::Synced { broker, partition, from, to } => {
                reach(&mut self.synced, (*broker, partition), (*from, *to));
                None
            }
            Event::Watermark { partition, value } => {
                let mark = self.watermarks.entry(partition).or_default();
                *mark = (*mark).max(*value);
                self.all_have(partition, *value)
            }
            Event::Answered { partition, acks: -1, to } => {
                let mark = self.watermarks.get(partition.as_str()).copied().unwrap_or(0);
                if mark < *to {
                    return Some(format!("a high watermark of {to}; it was {mark}"));
                }
                self.all_have(partition, *to)
            }
            Event::Answered { partition, to, .. } => {
                let leader = self.partitions.get(partition)?.leader;
                self.has(leader, partition, *to)
            }
        }
    }

    fn all_have(&self, partition: &str, to: i64) -> Option<String> {
        let members = &self.partitions.get(partition)?.in_sync;
        members.iter().find_map(|broker| self.has(*broker, partition, to))
    }

    fn has(&self, broker: i32, partition: &str, to: i64) -> Option<String> {
        let is_durable = self.partitions.get(partition)?.is_durable;
        let (ends, what) =
            if is_durable { (&self.synced, "synced") } else { (&self.written, "written") };
        let end = ends.get(&(broker, partition)).copied().unwrap_or(0);
        (end < to).then(|| format!("broker {broker} has {what} up to {end}, not to {to}"))
    }
}

/// A gap is never closed by what lies behind it.
fn reach<'a>(ends: &mut Ends<'a>, of: (i32, &'a str), (from, to): (i64, i64)) {
    let end = ends.entry(of).or_default();
    if from <= *end {
        *end = (*end).max(to);
    }
}

impl fmt::Display for TooSoon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: {:?} before {}", self.at, self.event, self.missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(is_durable: bool) -> BTreeMap<String, Watched> {
        BTreeMap::from([("t-0".into(), Watched { leader: 1, in_sync: vec![1, 2], is_durable })])
    }

    fn written(broker: i32, to: i64) -> Event {
        Event::Written { broker, partition: "t-0".into(), from: 0, to }
    }

    fn synced(broker: i32, to: i64) -> Event {
        Event::Synced { broker, partition: "t-0".into(), from: 0, to }
    }

    fn mark(value: i64) -> Event {
        Event::Watermark { partition: "t-0".into(), value }
    }

    fn answered(acks: i16, to: i64) -> Event {
        Event::Answered { partition: "t-0".into(), acks, to }
    }

    fn places(events: &[Event], is_durable: bool) -> Vec<usize> {
        check(events, &partitions(is_durable)).into_iter().map(|found| found.at).collect()
    }

    #[test]
    fn every_answer_behind_its_promise_is_allowed() {
        let cached = [written(1, 5), answered(1, 5), written(2, 5), mark(5), answered(-1, 5)];
        assert_eq!(places(&cached, false), [0; 0]);
        let durable = [
            written(1, 5),
            synced(1, 5),
            answered(1, 5),
            written(2, 5),
            synced(2, 5),
            mark(5),
            answered(-1, 5),
        ];
        assert_eq!(places(&durable, true), [0; 0]);
    }

    #[test]
    fn answer_before_the_sync_is_found() {
        assert_eq!(places(&[written(1, 5), answered(1, 5), synced(1, 5)], true), [1]);
        // What was written while the sync ran is not on the disk.
        assert_eq!(places(&[written(1, 6), synced(1, 5), answered(1, 6)], true), [2]);
        let follower_later =
            [written(1, 5), synced(1, 5), written(2, 5), mark(5), synced(2, 5), answered(-1, 5)];
        assert_eq!(places(&follower_later, true), [3]);
    }

    #[test]
    fn answer_before_the_high_watermark_is_found() {
        let before_the_mark = [written(1, 5), written(2, 5), answered(-1, 5), mark(5)];
        assert_eq!(places(&before_the_mark, false), [2]);
        let before_the_follower = [written(1, 5), mark(5), answered(-1, 5), written(2, 5)];
        assert_eq!(places(&before_the_follower, false), [1, 2]);
    }

    #[test]
    fn answer_before_anything_is_found_and_a_gap_is_one() {
        assert_eq!(places(&[answered(1, 1)], false), [0]);
        let behind_a_gap = Event::Written { broker: 1, partition: "t-0".into(), from: 3, to: 5 };
        assert_eq!(places(&[behind_a_gap, answered(1, 5)], false), [1]);
    }
}
