//! The checker: compares what was promised with what was seen, and knows nothing else.

use std::{collections::BTreeMap, fmt};

use super::{Content, Contents, History, Mark, Outcome, ProducerLog, ReaderLog};

/// Something that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// An acknowledged record is nowhere.
    Lost {
        /// Which one.
        mark: Mark,
        /// Where it was said to be.
        partition: i32,
        /// Where it was said to be, if that was said.
        offset: Option<i64>,
    },
    /// Another record is where an acknowledged one was said to be.
    Changed {
        /// Which one.
        mark: Mark,
        /// Where it was said to be.
        partition: i32,
        /// Where it was said to be.
        offset: i64,
        /// What is there; nothing if the offset is not in the log.
        found: Option<Content>,
    },
    /// An idempotent producer's record is there twice.
    Duplicate {
        /// Which one.
        mark: Mark,
        /// Where.
        offsets: Vec<i64>,
    },
    /// An idempotent producer's record is missing, though nobody said that it failed and a later one is there.
    Gap {
        /// The missing one.
        mark: Mark,
        /// The later one.
        later: Mark,
    },
    /// A record stands before one that was sent earlier by the same idempotent producer, or that was acknowledged before it
    /// was sent.
    Reordered {
        /// What should come first.
        earlier: Mark,
        /// What does.
        later: Mark,
    },
    /// Somebody read what is not there at the end, or is another record.
    Vanished {
        /// What was seen.
        content: Content,
        /// Where.
        partition: i32,
        /// Where.
        offset: i64,
        /// What is there at the end.
        found: Option<Content>,
    },
    /// A reader went on past a record.
    Skipped {
        /// Of this partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// An offset between the first and the last of a partition has no record.
    Hole {
        /// Of this partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// A record that nobody sent to this partition.
    Invented {
        /// What it says.
        content: Content,
        /// Where.
        partition: i32,
        /// Where.
        offset: i64,
    },
    /// A reader was told what no reader should hear.
    Complaint(String),
}

/// Everything that is wrong with a history.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut places: BTreeMap<Mark, Vec<(i32, i64)>> = BTreeMap::new();
    for (partition, contents) in &history.last {
        whole(history, *partition, contents, &mut violations);
        for (offset, content) in contents {
            if let Content::Of(mark) = content {
                places.entry(*mark).or_default().push((*partition, *offset));
            }
        }
    }
    for (number, log) in &history.producers {
        acknowledged(*number, log, history, &places, &mut violations);
        if log.idempotent {
            once_and_in_order(*number, log, history, &places, &mut violations);
        }
    }
    for partition in history.last.keys() {
        acknowledged_before_sent(history, *partition, &mut violations);
    }
    for reader in &history.readers {
        seen(reader, history, &mut violations);
    }
    violations
}

/// Every record is one that was sent there, and no offset is missing.
fn whole(history: &History, partition: i32, contents: &Contents, found: &mut Vec<Violation>) {
    let mut next = contents.keys().next().copied().unwrap_or(0);
    for (&offset, content) in contents {
        found.extend((next..offset).map(|offset| Violation::Hole { partition, offset }));
        next = offset + 1;
        let sent = match content {
            Content::Damaged(_) => false,
            Content::Of(mark) => history.producers.get(&mark.producer).is_some_and(|log| {
                log.partition == partition && log.records.contains_key(&mark.sequence)
            }),
        };
        if !sent {
            found.push(Violation::Invented { content: content.clone(), partition, offset });
        }
    }
}

/// Every acknowledged record is there, and where it was said to be.
fn acknowledged(
    producer: u32,
    log: &ProducerLog,
    history: &History,
    places: &BTreeMap<Mark, Vec<(i32, i64)>>,
    found: &mut Vec<Violation>,
) {
    let partition = log.partition;
    let contents = history.last.get(&partition);
    for (&sequence, record) in &log.records {
        let Outcome::Acknowledged { offset, .. } = record.outcome else { continue };
        let mark = Mark { producer, sequence };
        if !places.contains_key(&mark) {
            found.push(Violation::Lost { mark, partition, offset });
        } else if let Some(offset) = offset {
            let there = contents.and_then(|contents| contents.get(&offset));
            if there != Some(&Content::Of(mark)) {
                let there = there.cloned();
                found.push(Violation::Changed { mark, partition, offset, found: there });
            }
        }
    }
}

/// Each record of an idempotent producer is there once, in the order of sending, without a hole.
fn once_and_in_order(
    producer: u32,
    log: &ProducerLog,
    history: &History,
    places: &BTreeMap<Mark, Vec<(i32, i64)>>,
    found: &mut Vec<Violation>,
) {
    let mark = |sequence| Mark { producer, sequence };
    for &sequence in log.records.keys() {
        let offsets = places.get(&mark(sequence)).filter(|places| 1 < places.len());
        if let Some(places) = offsets {
            let offsets = places.iter().map(|(_, offset)| *offset).collect();
            found.push(Violation::Duplicate { mark: mark(sequence), offsets });
        }
    }
    let contents = history.last.get(&log.partition).into_iter().flatten();
    let mut last: Option<Mark> = None;
    for (_, content) in contents {
        let Content::Of(here) = content else { continue };
        if here.producer != producer {
            continue;
        }
        match last {
            Some(before) if here.sequence < before.sequence => {
                found.push(Violation::Reordered { earlier: *here, later: before });
            }
            Some(before) if here.sequence == before.sequence => {} // said already
            _ => {
                let from = last.map_or(0, |before| before.sequence + 1);
                gaps(log, producer, (from, *here), places, found);
                last = Some(*here);
            }
        }
    }
}

/// What is missing between two records that follow each other in a log.
fn gaps(
    log: &ProducerLog,
    producer: u32,
    (from, later): (u64, Mark),
    places: &BTreeMap<Mark, Vec<(i32, i64)>>,
    found: &mut Vec<Violation>,
) {
    for (&sequence, record) in log.records.range(from..later.sequence) {
        let mark = Mark { producer, sequence };
        if !matches!(record.outcome, Outcome::Failed(_)) && !places.contains_key(&mark) {
            found.push(Violation::Gap { mark, later });
        }
    }
}

/// What was acknowledged before another record was even sent stands before it.
fn acknowledged_before_sent(history: &History, partition: i32, found: &mut Vec<Violation>) {
    // By time: what was acknowledged, with its offset, and what was sent, with the offset that it got.
    let mut acknowledged = Vec::new();
    let mut sent = Vec::new();
    for (&producer, log) in history.producers.iter().filter(|(_, log)| log.partition == partition) {
        for (&sequence, record) in &log.records {
            let Outcome::Acknowledged { offset: Some(offset), at } = record.outcome else {
                continue;
            };
            let mark = Mark { producer, sequence };
            acknowledged.push((at, offset, mark));
            sent.push((record.at, offset, mark));
        }
    }
    acknowledged.sort_unstable();
    sent.sort_unstable();
    let mut before = acknowledged.into_iter().peekable();
    let mut highest: Option<(i64, Mark)> = None;
    for (at, offset, mark) in sent {
        while let Some((_, offset, mark)) = before.next_if(|(heard, ..)| *heard < at) {
            highest = highest.max(Some((offset, mark)));
        }
        if let Some((_, earlier)) = highest.filter(|(highest, _)| offset < *highest) {
            found.push(Violation::Reordered { earlier, later: mark });
        }
    }
}

/// What a reader saw is there at the end, and it passed over nothing.
fn seen(reader: &ReaderLog, history: &History, found: &mut Vec<Violation>) {
    let partition = reader.partition;
    let empty = Contents::new();
    let contents = history.last.get(&partition).unwrap_or(&empty);
    let mut next = None;
    for (offset, content) in &reader.seen {
        let there = contents.get(offset);
        if there != Some(content) {
            let (content, there) = (content.clone(), there.cloned());
            found.push(Violation::Vanished { content, partition, offset: *offset, found: there });
        }
        let from = next.unwrap_or(*offset);
        if from < *offset {
            let passed = contents.range(from..*offset);
            found.extend(passed.map(|(&offset, _)| Violation::Skipped { partition, offset }));
        }
        next = Some(offset + 1);
    }
    found.extend(reader.complaints.iter().cloned().map(Violation::Complaint));
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = |found: &Option<Content>| {
            found.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        match self {
            Self::Lost { mark, partition, offset } => {
                write!(f, "{mark} was acknowledged (partition {partition}, {offset:?}) and is lost")
            }
            Self::Changed { mark, partition, offset, found } => {
                write!(
                    f,
                    "{mark} was acknowledged at {partition}@{offset}; there is {}",
                    there(found)
                )
            }
            Self::Duplicate { mark, offsets } => write!(f, "{mark} is there at {offsets:?}"),
            Self::Gap { mark, later } => write!(f, "{mark} is missing, but {later} is there"),
            Self::Reordered { earlier, later } => write!(f, "{later} stands before {earlier}"),
            Self::Vanished { content, partition, offset, found } => {
                write!(f, "{content} was read at {partition}@{offset}; there is {}", there(found))
            }
            Self::Skipped { partition, offset } => {
                write!(f, "a reader passed over {partition}@{offset}")
            }
            Self::Hole { partition, offset } => write!(f, "nothing is at {partition}@{offset}"),
            Self::Invented { content, partition, offset } => {
                write!(f, "{content} is at {partition}@{offset}, and nobody sent it there")
            }
            Self::Complaint(text) => write!(f, "a reader was told: {text}"),
        }
    }
}

#[cfg(test)]
mod tests;
