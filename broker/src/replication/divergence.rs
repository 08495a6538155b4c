//! Where two logs part (KIP-101, KIP-279, KIP-595).

use ottla_protocol::types::{LeaderEpoch, Offset};
use ottla_storage::EpochCache;

/// Where a follower's log is to be cut, given the largest epoch that the leader knows at or below the
/// follower's last one, and where that ends in the leader's log.
///
/// If the follower knows that epoch, the logs agree up to the smaller of both its ends. If not, nothing from
/// its own next smaller epoch's end on can be in the leader's log: it is cut there and asks again.
pub(crate) fn truncation_offset(
    epochs: &EpochCache,
    log_end: Offset,
    (epoch, end): (LeaderEpoch, Offset),
) -> Offset {
    let own = epochs.end_of(epoch, log_end);
    if own.end_offset == Offset::NONE {
        // It knows no epochs at all, or only smaller ones: the leader's word is all there is.
        return end.min(log_end);
    }
    if own.epoch == epoch {
        return own.end_offset.min(end).min(log_end);
    }
    own.end_offset.min(log_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(epochs: &[(i32, i64)], log_end: i64, leader: (i32, i64), expected: i64) {
        let epochs: Vec<_> = epochs.iter().map(|&(e, at)| (LeaderEpoch(e), Offset(at))).collect();
        let cache = EpochCache::from_entries(&epochs);
        let leader = (LeaderEpoch(leader.0), Offset(leader.1));
        assert_eq!(truncation_offset(&cache, Offset(log_end), leader), Offset(expected));
    }

    #[test]
    fn cut_to_the_leaders_end_of_a_common_epoch() {
        // The follower led epoch 1 and wrote on after it was cut off; the leader's epoch 1 ends at 20.
        check(&[(0, 0), (1, 10)], 25, (1, 20), 20);
        // KIP-101, scenario 1: the leader has more of the epoch than the follower: nothing is cut.
        check(&[(0, 0), (1, 10)], 15, (1, 20), 15);
        check(&[(0, 0), (1, 10), (3, 15)], 30, (1, 20), 15);
    }

    #[test]
    fn unknown_epoch_of_the_leader_is_gone_around_step_by_step() {
        // KIP-279: fast fail-overs left the logs 1,3 and 1,2,4. The follower's last is 4, the leader's answer 3.
        check(&[(1, 0), (2, 10), (4, 20)], 30, (3, 40), 20);
        // Then it asks with 2; the leader says that 1 ends at 5.
        check(&[(1, 0), (2, 10)], 20, (1, 5), 5);
    }

    #[test]
    fn epoch_before_all_that_the_follower_knows_cuts_everything() {
        check(&[(5, 10)], 30, (2, 8), 8);
        check(&[(5, 10)], 30, (2, 20), 10);
    }

    #[test]
    fn without_epochs_the_leaders_word_counts() {
        check(&[], 30, (2, 20), 20);
        check(&[], 10, (2, 20), 10);
    }
}
