//! Where records without key go.

use ottla_protocol::types::PartitionId;

/// Where a topic's records without key go: to one partition for about a batch, then to another (KIP-480, KIP-794).
#[derive(Clone, Debug, Default)]
pub(super) struct Sticky {
    current: Option<PartitionId>,
    bytes: usize,
}

impl Sticky {
    /// The partition for the next record, unless it is time for another.
    pub(super) fn current(&self) -> Option<PartitionId> {
        self.current
    }

    /// From now on another partition.
    pub(super) fn switch_to(&mut self, partition: PartitionId) {
        self.current = Some(partition);
        self.bytes = 0;
    }

    /// Notes bytes given to the current partition; after a batch's worth it is time for another.
    pub(super) fn added(&mut self, bytes: usize, batch_size: usize) {
        self.bytes += bytes;
        if batch_size <= self.bytes {
            self.current = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_keyless_records_stays_together() {
        let mut sticky = Sticky::default();
        assert_eq!(sticky.current(), None);
        sticky.switch_to(PartitionId(2));
        sticky.added(60, 100);
        assert_eq!(sticky.current(), Some(PartitionId(2)));
        sticky.added(60, 100);
        assert_eq!(sticky.current(), None);
        sticky.switch_to(PartitionId(0));
        sticky.added(60, 100);
        assert_eq!(sticky.current(), Some(PartitionId(0)), "counted anew");
    }
}
