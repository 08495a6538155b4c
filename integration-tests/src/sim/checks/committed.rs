//! What is below a high watermark is the same for everybody, for good.

use std::collections::{BTreeMap, BTreeSet};

use super::{LogEntry, PartitionKey};

/// Batches that were seen below the high watermark of some replica.
#[derive(Debug, Default)]
pub struct Committed {
    entries: BTreeMap<(PartitionKey, i64), LogEntry>,
    contents: BTreeSet<(PartitionKey, u32)>,
}

impl Committed {
    /// A replica has this batch below its high watermark.
    pub fn seen(&mut self, key: PartitionKey, entry: LogEntry) -> Result<(), String> {
        self.contents.insert((key, entry.content));
        let known = *self.entries.entry((key, entry.base)).or_insert(entry);
        if known != entry {
            return Err(format!("{key:?}: committed was {known:x?} and is {entry:x?}"));
        }
        Ok(())
    }

    /// Whether a batch with this content is committed.
    pub fn holds(&self, key: PartitionKey, content: u32) -> bool {
        self.contents.contains(&(key, content))
    }

    /// The log of a leader at the end.
    pub fn final_log(&self, key: PartitionKey, log: &[LogEntry]) -> Result<(), String> {
        let found: BTreeMap<i64, LogEntry> = log.iter().map(|entry| (entry.base, *entry)).collect();
        for ((_, base), entry) in self.entries.range((key, i64::MIN)..=(key, i64::MAX)) {
            if found.get(base) != Some(entry) {
                let now = found.get(base);
                return Err(format!(
                    "{key:?}: committed was {entry:x?} and in the end is {now:x?}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::Uuid;

    const KEY: PartitionKey = (Uuid::ONE, 0);

    fn entry(base: i64, epoch: i32, content: u32) -> LogEntry {
        LogEntry { base, last: base, epoch, content }
    }

    #[test]
    fn objects_to_two_committed_contents_of_an_offset_also_of_different_epochs() {
        let mut checker = Committed::default();
        checker.seen(KEY, entry(0, 1, 7)).unwrap();
        checker.seen(KEY, entry(0, 1, 7)).unwrap();
        assert!(checker.seen(KEY, entry(0, 2, 8)).is_err());
        assert!(checker.seen(KEY, entry(0, 2, 7)).is_err());
    }

    #[test]
    fn objects_to_a_committed_batch_that_is_gone_in_the_end() {
        let mut checker = Committed::default();
        checker.seen(KEY, entry(0, 1, 7)).unwrap();
        assert!(checker.final_log(KEY, &[entry(0, 1, 7), entry(1, 1, 9)]).is_ok());
        assert!(checker.final_log(KEY, &[]).is_err());
        assert!(checker.final_log(KEY, &[entry(0, 2, 9)]).is_err());
    }
}
