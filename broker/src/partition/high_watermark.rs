//! The offset below which every record is on all replicas that count.

use ottla_protocol::types::Offset;

use super::isr::Isr;

/// A replica's high watermark.
///
/// Never falls while this leader leads. Stands still while fewer replicas are in sync than
/// `min.insync.replicas` asks for, so that what is visible is as safe as what is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HighWatermark {
    value: Offset,
}

impl HighWatermark {
    /// Starts at what is known.
    pub const fn new(value: Offset) -> Self {
        Self { value }
    }

    /// The watermark.
    pub const fn value(&self) -> Offset {
        self.value
    }

    /// A follower hears of the leader's watermark and has `own_end`: true if its own moves.
    pub fn follow(&mut self, leaders: Offset, own_end: Offset) -> bool {
        let reached = leaders.min(own_end);
        let has_moved = self.value < reached;
        self.value = self.value.max(reached);
        has_moved
    }

    /// The log was cut, and holds `start` to `end`: what is not there any more is not visible.
    pub fn cut(&mut self, start: Offset, end: Offset) {
        self.value = self.value.max(start).min(end);
    }

    /// Moves the watermark as far as everybody has come who may be in sync; `own_end` is how far the
    /// leader's own log counts (written, or flushed). Returns true if it moved.
    pub fn maybe_advance(&mut self, own_end: Offset, isr: &Isr, in_sync_min: usize) -> bool {
        if isr.is_under_min(in_sync_min) {
            return false;
        }
        let reached = isr.reached(own_end);
        let has_moved = self.value < reached;
        self.value = self.value.max(reached);
        has_moved
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_protocol::types::{BrokerId, LeaderEpoch};

    use super::super::isr::FollowerProgress;
    use super::super::replica::Assignment;
    use super::*;

    /// Broker 1 leads; 2 and 3 have a replica as well.
    fn isr(in_sync: &[i32]) -> Isr {
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
        let assignment = Assignment {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: 1,
            leads: true,
            replicas: ids(&[1, 2, 3]),
            in_sync: ids(in_sync),
            eligible: Vec::new(),
            is_recovering: false,
        };
        Isr::begin(BrokerId(1), &assignment, Duration::ZERO)
    }

    fn fetch(isr: &mut Isr, broker: i32, end: i64) {
        let progress = FollowerProgress {
            broker: BrokerId(broker),
            broker_epoch: 10,
            end: Offset(end),
            log_start: Offset(0),
        };
        isr.observe(progress, Offset(100), Duration::ZERO);
    }

    #[test]
    fn alone_it_is_the_own_end() {
        let mut watermark = HighWatermark::new(Offset(0));
        assert!(watermark.maybe_advance(Offset(7), &isr(&[1]), 1));
        assert_eq!(watermark.value(), Offset(7));
        assert!(!watermark.maybe_advance(Offset(7), &isr(&[1]), 1));
    }

    #[test]
    fn slowest_of_those_in_sync_decides() {
        let mut isr = isr(&[1, 2, 3]);
        let mut watermark = HighWatermark::new(Offset(5));
        fetch(&mut isr, 2, 90);
        assert!(!watermark.maybe_advance(Offset(100), &isr, 1), "3 has not fetched yet");
        fetch(&mut isr, 3, 80);
        assert!(watermark.maybe_advance(Offset(100), &isr, 1));
        assert_eq!(watermark.value(), Offset(80));
    }

    #[test]
    fn never_falls() {
        let mut isr = isr(&[1, 2]);
        let mut watermark = HighWatermark::new(Offset(5));
        fetch(&mut isr, 2, 1);
        assert!(!watermark.maybe_advance(Offset(50), &isr, 1));
        assert_eq!(watermark.value(), Offset(5));
    }

    #[test]
    fn stands_still_below_the_minimum() {
        let mut watermark = HighWatermark::new(Offset(5));
        assert!(!watermark.maybe_advance(Offset(50), &isr(&[1]), 2));
        let mut enough = isr(&[1, 2]);
        fetch(&mut enough, 2, 50);
        assert!(watermark.maybe_advance(Offset(50), &enough, 2));
        assert_eq!(watermark.value(), Offset(50));
    }
}
