//! An offset has one content in an epoch, whoever looks.

use std::collections::BTreeMap;

use super::{LogEntry, PartitionKey};

/// What was seen in logs, acknowledged or not.
#[derive(Debug, Default)]
pub struct Contents {
    seen: BTreeMap<(PartitionKey, i64, i32), (i64, u32)>,
}

impl Contents {
    /// A batch was seen in a log.
    pub fn seen(&mut self, key: PartitionKey, entry: LogEntry) -> Result<(), String> {
        let LogEntry { base, last, epoch, content } = entry;
        match self.seen.insert((key, base, epoch), (last, content)) {
            Some(before) if before != (last, content) => Err(format!(
                "{key:?} offset {base} in epoch {epoch} had {before:x?} and has {:x?}",
                (last, content)
            )),
            _ => Ok(()),
        }
    }

    /// How much was seen.
    pub fn count(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::Uuid;

    #[test]
    fn objects_to_two_contents_of_one_offset_in_one_epoch() {
        let mut checker = Contents::default();
        let key = (Uuid::ONE, 0);
        let entry = LogEntry { base: 5, last: 6, epoch: 2, content: 1 };
        checker.seen(key, entry).unwrap();
        checker.seen(key, entry).unwrap();
        checker.seen(key, LogEntry { epoch: 3, content: 2, ..entry }).unwrap();
        assert!(checker.seen(key, LogEntry { content: 2, ..entry }).is_err());
    }
}
