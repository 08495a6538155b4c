//! What was acknowledged, or shown to a reader, is still there at the end, unchanged.

use std::collections::BTreeMap;

use super::PartitionKey;

/// A batch in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    /// Offset of its first record.
    pub base: i64,
    /// Offset of its last record.
    pub last: i64,
    /// Leader epoch that it was appended in.
    pub epoch: i32,
    /// Checksum of its content.
    pub content: u32,
}

/// What must last.
#[derive(Debug, Default)]
pub struct Durability {
    promised: BTreeMap<(PartitionKey, i64), (u32, &'static str)>,
}

impl Durability {
    /// A producer was told that its batch is at `base`, or a reader was given it there.
    pub fn promised(
        &mut self,
        key: PartitionKey,
        (base, content): (i64, u32),
        how: &'static str,
    ) -> Result<(), String> {
        match self.promised.insert((key, base), (content, how)) {
            Some((before, was)) if before != content => Err(format!(
                "{key:?} offset {base} was {was} with content {before:x} and is {how} with {content:x}"
            )),
            _ => Ok(()),
        }
    }

    /// How much was promised.
    pub fn count(&self) -> usize {
        self.promised.len()
    }

    /// The log at the end.
    pub fn final_log(&self, key: PartitionKey, log: &[LogEntry]) -> Result<(), String> {
        let found: BTreeMap<i64, u32> =
            log.iter().map(|entry| (entry.base, entry.content)).collect();
        for ((_, base), (content, how)) in self.promised.range((key, i64::MIN)..=(key, i64::MAX)) {
            match found.get(base) {
                Some(now) if now == content => {}
                Some(now) => {
                    return Err(format!(
                        "{key:?} offset {base} was {how} with content {content:x} and now has {now:x}"
                    ));
                }
                None => {
                    return Err(format!("{key:?} offset {base} was {how} and is lost"));
                }
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

    fn entry(base: i64, content: u32) -> LogEntry {
        LogEntry { base, last: base, epoch: 1, content }
    }

    #[test]
    fn objects_to_a_lost_acknowledged_batch() {
        let mut checker = Durability::default();
        checker.promised(KEY, (0, 7), "acknowledged").unwrap();
        checker.promised(KEY, (1, 8), "acknowledged").unwrap();
        assert!(checker.final_log(KEY, &[entry(0, 7), entry(1, 8)]).is_ok());
        assert!(checker.final_log(KEY, &[entry(0, 7)]).is_err());
    }

    #[test]
    fn objects_to_a_changed_batch() {
        let mut checker = Durability::default();
        checker.promised(KEY, (0, 7), "acknowledged").unwrap();
        assert!(checker.final_log(KEY, &[entry(0, 9)]).is_err());
        assert!(checker.promised(KEY, (0, 9), "read").is_err());
    }
}
