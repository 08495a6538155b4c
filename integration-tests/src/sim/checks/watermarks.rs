//! A high watermark never goes back within an epoch.

use std::collections::BTreeMap;

use super::PartitionKey;

/// The highest watermark of each partition, epoch and leading life.
#[derive(Debug, Default)]
pub struct Watermarks {
    highest: BTreeMap<(PartitionKey, i32), i64>,
}

impl Watermarks {
    /// A leader shows this high watermark.
    pub fn observed(
        &mut self,
        key: PartitionKey,
        epoch: i32,
        high_watermark: i64,
    ) -> Result<(), String> {
        let highest = self.highest.entry((key, epoch)).or_insert(high_watermark);
        if high_watermark < *highest {
            return Err(format!(
                "{key:?}: the high watermark went from {highest} to {high_watermark} in epoch {epoch}"
            ));
        }
        *highest = high_watermark;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::Uuid;

    #[test]
    fn objects_to_a_watermark_that_goes_back() {
        let mut checker = Watermarks::default();
        let key = (Uuid::ONE, 0);
        checker.observed(key, 1, 5).unwrap();
        checker.observed(key, 1, 5).unwrap();
        checker.observed(key, 2, 3).unwrap();
        assert!(checker.observed(key, 1, 4).is_err());
    }
}
