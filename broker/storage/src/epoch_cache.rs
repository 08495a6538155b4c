//! Where each leader epoch begins in the log: the detector of diverging replicas.

use ottla_protocol::types::{LeaderEpoch, Offset};

/// Leader epochs and the offset at which each begins.
///
/// Invariant: epochs strictly increase, start offsets never decrease. An epoch that begins where the next one does has
/// no records; it stays, for it was this log's leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

/// The answer to "where does epoch e end?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch in the log that is not beyond the one asked for; −1 if unknown.
    pub epoch: LeaderEpoch,
    /// The offset after that epoch's last record; −1 if unknown.
    pub end_offset: Offset,
}

impl EpochEnd {
    /// Nothing is known of this epoch.
    pub const UNKNOWN: Self = Self { epoch: LeaderEpoch::NONE, end_offset: Offset::NONE };
}

impl EpochCache {
    /// Takes what a checkpoint holds; entries that contradict an earlier one are dropped.
    pub fn from_entries(entries: &[(LeaderEpoch, Offset)]) -> Self {
        let mut cache = Self::default();
        for &(epoch, start) in entries {
            let fits = cache.entries.last().is_none_or(|&(last, at)| last < epoch && at <= start);
            if fits && LeaderEpoch(0) <= epoch {
                cache.entries.push((epoch, start));
            }
        }
        cache
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch, if there is one.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|&(epoch, _)| epoch)
    }

    /// The epoch of the record at `offset`, as far as it is known.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|&(_, start)| start <= offset);
        after.checked_sub(1).map(|index| self.entries[index].0)
    }

    /// Where the largest epoch that is not beyond `asked` ends, in a log that ends at `log_end`.
    pub fn end_of(&self, asked: LeaderEpoch, log_end: Offset) -> EpochEnd {
        if asked == LeaderEpoch::NONE || self.latest().is_none_or(|latest| latest < asked) {
            return EpochEnd::UNKNOWN;
        }
        let after = self.entries.partition_point(|&(epoch, _)| epoch <= asked);
        let end_offset = self.entries.get(after).map_or(log_end, |&(_, start)| start);
        // Before the first known epoch: everything of `asked` ends where the first begins.
        let epoch = after.checked_sub(1).map_or(asked, |index| self.entries[index].0);
        EpochEnd { epoch, end_offset }
    }

    /// Notes that `epoch` begins at `start`; entries that contradict it are dropped. Returns whether anything changed.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.latest() == Some(epoch) || epoch < LeaderEpoch(0) {
            return false;
        }
        self.entries.retain(|&(known, at)| known < epoch && at <= start);
        self.entries.push((epoch, start));
        true
    }

    /// The log was cut at `end`: epochs that begin at or after it are gone. Returns whether anything changed.
    pub(crate) fn truncate_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|&(_, start)| start < end);
        self.entries.len() != before
    }

    /// The log now begins at `start`: older epochs are forgotten, the one in force begins there.
    pub(crate) fn truncate_start(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|&(_, at)| at <= start);
        let Some(floor) = after.checked_sub(1) else {
            return false;
        };
        let changed = 0 < floor || self.entries[0].1 != start;
        self.entries.drain(..floor);
        self.entries[0].1 = start;
        changed
    }

    /// A batch of `epoch` is in the log at `offset`: entries that say otherwise are dropped. Batches are to be given in the
    /// order of the log.
    pub(crate) fn reconcile(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if epoch < LeaderEpoch(0) || self.epoch_at(offset) == Some(epoch) {
            return;
        }
        self.entries.retain(|&(known, at)| known < epoch && at <= offset);
        self.entries.push((epoch, offset));
    }

    /// Drops epochs that begin beyond the log's end: their records did not survive. One that begins at the end stays.
    pub(crate) fn drop_beyond(&mut self, log_end: Offset) {
        self.entries.retain(|&(_, start)| start <= log_end);
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let entries: Vec<_> = entries.iter().map(|&(e, o)| (LeaderEpoch(e), Offset(o))).collect();
        EpochCache::from_entries(&entries)
    }

    fn end(epoch: i32, end_offset: i64) -> EpochEnd {
        EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(end_offset) }
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let cache = cache(&[(2, 10), (4, 20), (7, 30)]);
        let end_of = |epoch| cache.end_of(LeaderEpoch(epoch), Offset(35));
        assert_eq!(end_of(2), end(2, 20));
        assert_eq!(end_of(3), end(2, 20), "an epoch in a gap: the one before it");
        assert_eq!(end_of(4), end(4, 30));
        assert_eq!(end_of(7), end(7, 35), "the newest ends at the log's end");
        assert_eq!(end_of(1), end(1, 10), "older than all: ends where the first begins");
        assert_eq!(end_of(8), EpochEnd::UNKNOWN);
        assert_eq!(end_of(-1), EpochEnd::UNKNOWN);
        assert_eq!(EpochCache::default().end_of(LeaderEpoch(0), Offset(5)), EpochEnd::UNKNOWN);
    }

    #[test]
    fn a_new_epoch_drops_what_contradicts_it() {
        let mut cache = cache(&[(2, 10), (4, 20), (7, 30)]);
        assert!(!cache.assign(LeaderEpoch(7), Offset(40)), "known already");
        assert!(cache.assign(LeaderEpoch(5), Offset(25)));
        assert_eq!(cache.entries(), self::cache(&[(2, 10), (4, 20), (5, 25)]).entries());
        assert!(cache.assign(LeaderEpoch(6), Offset(15)));
        assert_eq!(cache.entries(), self::cache(&[(2, 10), (6, 15)]).entries());
    }

    #[test]
    fn an_epoch_without_records_stays() {
        let mut cache = cache(&[(1, 0)]);
        assert!(cache.assign(LeaderEpoch(2), Offset(5)));
        assert!(cache.assign(LeaderEpoch(3), Offset(5)));
        assert_eq!(cache.end_of(LeaderEpoch(2), Offset(9)), end(2, 5));
        assert_eq!(cache.epoch_at(Offset(5)), Some(LeaderEpoch(3)));
        assert_eq!(cache.epoch_at(Offset(4)), Some(LeaderEpoch(1)));
    }

    #[test]
    fn cutting_either_end_keeps_the_epoch_in_force() {
        let mut cut = cache(&[(2, 10), (4, 20), (7, 30)]);
        assert!(cut.truncate_end(Offset(30)));
        assert_eq!(cut.entries(), cache(&[(2, 10), (4, 20)]).entries());
        assert!(cut.truncate_start(Offset(25)));
        assert_eq!(cut.entries(), cache(&[(4, 25)]).entries());
        assert!(!cut.truncate_start(Offset(5)));
        assert!(!cut.truncate_start(Offset(25)));
    }

    #[test]
    fn contradictions_in_a_checkpoint_are_dropped() {
        assert_eq!(
            cache(&[(-1, 0), (2, 10), (2, 20), (1, 30), (5, 5), (6, 40)]),
            cache(&[(2, 10), (6, 40)])
        );
    }
}
