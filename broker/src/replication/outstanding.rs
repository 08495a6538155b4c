//! How many bytes of answers are still being written: their buffers live until the last record of each is.

use std::collections::BTreeMap;

/// Answers of which appends are under way.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    next: u64,
    /// Bytes of each answer, and the partitions that it is still held for.
    answers: BTreeMap<u64, (u64, usize)>,
    bytes: u64,
}

impl Outstanding {
    /// A new answer of `bytes` bytes; what is appended of it is to be [held](Self::hold).
    pub fn begin(&mut self, bytes: u64) -> u64 {
        self.next += 1;
        self.answers.insert(self.next, (bytes, 0));
        self.bytes += bytes;
        self.next
    }

    /// One more append of this answer is under way.
    pub fn hold(&mut self, answer: u64) {
        if let Some((_, holders)) = self.answers.get_mut(&answer) {
            *holders += 1;
        }
    }

    /// An append of this answer has ended.
    pub fn release(&mut self, answer: u64) {
        if let Some((_, holders)) = self.answers.get_mut(&answer) {
            *holders = holders.saturating_sub(1);
        }
        self.end(answer);
    }

    /// Forgets an answer that nobody holds.
    pub fn end(&mut self, answer: u64) {
        if let Some((bytes, 0)) = self.answers.get(&answer) {
            self.bytes -= bytes;
            self.answers.remove(&answer);
        }
    }

    /// Bytes of all of them.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_counts_until_its_last_append_has_ended() {
        let mut outstanding = Outstanding::default();
        let (first, second) = (outstanding.begin(10), outstanding.begin(5));
        outstanding.hold(first);
        outstanding.hold(first);
        outstanding.end(first);
        outstanding.end(second);
        assert_eq!(outstanding.bytes(), 10);
        outstanding.release(first);
        assert_eq!(outstanding.bytes(), 10);
        outstanding.release(first);
        assert_eq!(outstanding.bytes(), 0);
        outstanding.release(first);
        assert_eq!(outstanding.bytes(), 0);
    }
}
