//! Whoever is in the ISR, as the store has it, holds everything that was ever below a high watermark.

use std::collections::BTreeMap;

use super::PartitionKey;

/// Where logs end, and what is committed.
#[derive(Debug, Default)]
pub struct Holders {
    ends: BTreeMap<(PartitionKey, i32), i64>,
    committed: BTreeMap<PartitionKey, i64>,
}

impl Holders {
    /// The log of a broker ends here; true if that is before its former end.
    pub fn ended(&mut self, key: PartitionKey, broker: i32, end: i64) -> bool {
        let before = self.ends.insert((key, broker), end);
        before.is_some_and(|before| end < before)
    }

    /// A leader has this high watermark; true if none was as high.
    pub fn committed(&mut self, key: PartitionKey, mark: i64) -> bool {
        let committed = self.committed.entry(key).or_insert(0);
        let is_new = *committed < mark;
        *committed = mark.max(*committed);
        is_new
    }

    /// `members` are those of the ISR whose machines did not go down since they were put there.
    pub fn check(
        &self,
        key: PartitionKey,
        members: impl Iterator<Item = i32>,
    ) -> Result<(), String> {
        let committed = self.committed.get(&key).copied().unwrap_or(0);
        for member in members {
            let end = self.ends.get(&(key, member)).copied().unwrap_or(0);
            if end < committed {
                return Err(format!(
                    "{key:?}: {member} is in the ISR, and its log ends at {end} before {committed}"
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

    #[test]
    fn objects_to_a_member_that_lacks_what_is_committed() {
        let key = (Uuid::ONE, 0);
        let mut checker = Holders::default();
        assert!(!checker.ended(key, 1, 7));
        assert!(!checker.ended(key, 2, 5));
        assert!(checker.committed(key, 5));
        assert!(checker.check(key, [1, 2].into_iter()).is_ok());
        assert!(checker.committed(key, 6));
        assert!(checker.check(key, [1, 2].into_iter()).is_err());
        assert!(checker.check(key, [1].into_iter()).is_ok());
        assert!(checker.ended(key, 1, 4));
        assert!(checker.check(key, [1].into_iter()).is_err());
        assert!(checker.check(key, [3].into_iter()).is_err(), "nothing was ever seen of it");
    }
}
