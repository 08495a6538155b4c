//! Who waits for which offset to be reached.

use std::collections::VecDeque;

use ottla_protocol::types::Offset;

/// Entries that a queue of an idle partition may keep room for: few enough to cost next to nothing in
/// 10,000 partitions, enough that a steady producer allocates nothing.
pub const IDLE_CAPACITY: usize = 16;

/// Waiters in the order of the log, so that reaching an offset costs only what it completes.
///
/// Invariant: the ends never fall from front to back.
#[derive(Debug)]
pub struct AckQueue<W> {
    waiting: VecDeque<(Offset, W)>,
}

impl<W> AckQueue<W> {
    /// Nobody waits; takes no memory.
    pub const fn new() -> Self {
        Self { waiting: VecDeque::new() }
    }

    /// `waiter` waits until everything below `end` has been reached. One that comes with a lower end
    /// than the last (a repeated batch) waits with the last.
    pub fn push(&mut self, end: Offset, waiter: W) {
        let last = self.waiting.back().map_or(end, |(last, _)| *last);
        self.waiting.push_back((end.max(last), waiter));
    }

    /// The first waiter that `reached` completes, if there is one.
    pub fn pop_reached(&mut self, reached: Offset) -> Option<W> {
        let (end, _) = self.waiting.front()?;
        if reached < *end {
            return None;
        }
        let (_, waiter) = self.waiting.pop_front()?;
        if self.waiting.is_empty() && IDLE_CAPACITY < self.waiting.capacity() {
            self.waiting = VecDeque::new();
        }
        Some(waiter)
    }

    /// Everybody, in order; nobody waits afterwards.
    pub fn drain(&mut self) -> impl Iterator<Item = W> + use<W> {
        std::mem::take(&mut self.waiting).into_iter().map(|(_, waiter)| waiter)
    }

    /// True if nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl<W> Default for AckQueue<W> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_batch_waits_with_the_last() {
        let mut queue = AckQueue::new();
        queue.push(Offset(20), 'a');
        queue.push(Offset(10), 'b');
        assert_eq!(queue.pop_reached(Offset(10)), None);
        assert_eq!(queue.pop_reached(Offset(20)), Some('a'));
        assert_eq!(queue.pop_reached(Offset(20)), Some('b'));
    }

    #[test]
    fn waiters_complete_in_log_order_and_only_when_their_end_is_reached() {
        let mut queue = AckQueue::new();
        for (end, name) in [(10, 'a'), (20, 'b'), (20, 'c'), (30, 'd')] {
            queue.push(Offset(end), name);
        }
        assert_eq!(queue.pop_reached(Offset(9)), None);
        let reached: Vec<_> = std::iter::from_fn(|| queue.pop_reached(Offset(29))).collect();
        assert_eq!(reached, ['a', 'b', 'c']);
        assert_eq!(queue.drain().collect::<Vec<_>>(), ['d']);
        assert!(queue.is_empty());
    }
}
