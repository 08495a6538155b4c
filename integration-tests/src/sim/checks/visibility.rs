//! A topic is there with all of its partitions, or not at all.

use std::collections::BTreeSet;

use ottla_protocol::Uuid;

/// How many partitions each topic may be shown with.
#[derive(Debug, Default)]
pub struct Visibility {
    counts: BTreeSet<i32>,
}

impl Visibility {
    /// Somebody asks for a topic of `count` partitions, or to grow one to it.
    pub fn asked(&mut self, count: i32) {
        self.counts.insert(count);
    }

    /// A topic is shown with these partitions.
    pub fn shown(&mut self, topic: Uuid, partitions: &[i32]) -> Result<(), String> {
        let is_whole = partitions.iter().zip(0..).all(|(number, index)| *number == index);
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        if !is_whole || !self.counts.contains(&count) {
            return Err(format!("topic {topic} is shown with partitions {partitions:?} only"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_to_a_topic_that_is_half_there() {
        let mut checker = Visibility::default();
        checker.asked(3);
        checker.asked(5);
        checker.shown(Uuid::ONE, &[0, 1, 2]).unwrap();
        checker.shown(Uuid::ONE, &[0, 1, 2, 3, 4]).unwrap();
        assert!(checker.shown(Uuid::ONE, &[]).is_err());
        assert!(checker.shown(Uuid::ONE, &[0, 1]).is_err());
        assert!(checker.shown(Uuid::ONE, &[0, 2, 3]).is_err());
        assert!(checker.shown(Uuid::ONE, &[0, 1, 2, 3]).is_err());
    }
}
