//! The offset below which every record is on all replicas that count.

use ottla_protocol::types::{BrokerId, Offset};

/// A leader's high watermark and what it follows from.
///
/// Never falls while this leader leads. Stands still while fewer replicas are in sync than
/// `min.insync.replicas` asks for, so that what is visible is as safe as what is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HighWatermark {
    value: Offset,
    /// End of the leader's own log, as far as it counts (written, or flushed).
    own_end: Offset,
    /// Everybody else who is in the in-sync set or may be by a proposal that is not resolved yet.
    others: Vec<Member>,
    /// Size of the in-sync set that is agreed on, the leader included.
    in_sync: usize,
    in_sync_min: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    broker: BrokerId,
    /// `Offset::NONE` until its first fetch in this epoch.
    end: Offset,
}

impl HighWatermark {
    /// Starts at what was known when leadership began.
    pub const fn new(value: Offset) -> Self {
        Self { value, own_end: value, others: Vec::new(), in_sync: 1, in_sync_min: 1 }
    }

    /// The watermark.
    pub const fn value(&self) -> Offset {
        self.value
    }

    /// True if fewer replicas are in sync than acknowledged writes need.
    pub const fn is_under_min(&self) -> bool {
        self.in_sync < self.in_sync_min
    }

    /// Sets who is in sync besides the leader: `agreed` by everybody, `proposed` perhaps. Progress of
    /// those who stay is kept.
    pub fn set_in_sync(&mut self, agreed: &[BrokerId], proposed: &[BrokerId], in_sync_min: usize) {
        let mut others: Vec<Member> = Vec::with_capacity(agreed.len());
        for &broker in agreed.iter().chain(proposed) {
            if others.iter().any(|member| member.broker == broker) {
                continue;
            }
            let known = self.others.iter().find(|member| member.broker == broker);
            others.push(Member { broker, end: known.map_or(Offset::NONE, |member| member.end) });
        }
        self.others = others;
        self.in_sync = 1 + agreed.len();
        self.in_sync_min = in_sync_min;
    }

    /// The leader's own log counts up to `end`.
    pub fn observe_own(&mut self, end: Offset) {
        self.own_end = self.own_end.max(end);
    }

    /// A follower's log counts up to `end`. Those who are not in sync are not waited for.
    pub fn observe_follower(&mut self, broker: BrokerId, end: Offset) {
        if let Some(member) = self.others.iter_mut().find(|member| member.broker == broker) {
            member.end = end;
        }
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

    /// Moves the watermark as far as everybody has come; returns true if it moved.
    pub fn maybe_advance(&mut self) -> bool {
        if self.is_under_min() {
            return false;
        }
        let reached = self.others.iter().fold(self.own_end, |end, member| end.min(member.end));
        if reached <= self.value {
            return false;
        }
        self.value = reached;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_followers(agreed: &[i32], proposed: &[i32], min: usize) -> HighWatermark {
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
        let mut watermark = HighWatermark::new(Offset(5));
        watermark.set_in_sync(&ids(agreed), &ids(proposed), min);
        watermark
    }

    #[test]
    fn alone_it_is_the_own_end() {
        let mut watermark = HighWatermark::new(Offset(0));
        watermark.observe_own(Offset(7));
        assert!(watermark.maybe_advance());
        assert_eq!(watermark.value(), Offset(7));
        assert!(!watermark.maybe_advance());
    }

    #[test]
    fn slowest_member_of_agreed_and_proposed_sets_decides() {
        let mut watermark = with_followers(&[2], &[3], 1);
        watermark.observe_own(Offset(100));
        watermark.observe_follower(BrokerId(2), Offset(90));
        assert!(!watermark.maybe_advance(), "3 has not fetched yet");
        watermark.observe_follower(BrokerId(3), Offset(80));
        assert!(watermark.maybe_advance());
        assert_eq!(watermark.value(), Offset(80));
        watermark.set_in_sync(&[BrokerId(2)], &[], 1);
        assert!(watermark.maybe_advance());
        assert_eq!(watermark.value(), Offset(90));
    }

    #[test]
    fn never_falls() {
        let mut watermark = with_followers(&[2], &[], 1);
        watermark.observe_own(Offset(50));
        watermark.observe_follower(BrokerId(2), Offset(1));
        assert!(!watermark.maybe_advance());
        assert_eq!(watermark.value(), Offset(5));
    }

    #[test]
    fn stands_still_below_the_minimum() {
        let mut watermark = with_followers(&[], &[], 2);
        watermark.observe_own(Offset(50));
        assert!(!watermark.maybe_advance());
        watermark.set_in_sync(&[BrokerId(2)], &[], 2);
        watermark.observe_follower(BrokerId(2), Offset(50));
        assert!(watermark.maybe_advance());
        assert_eq!(watermark.value(), Offset(50));
    }

    #[test]
    fn a_member_that_left_and_came_back_starts_unknown() {
        let mut watermark = with_followers(&[2], &[], 1);
        watermark.observe_own(Offset(50));
        watermark.observe_follower(BrokerId(2), Offset(40));
        watermark.set_in_sync(&[], &[], 1);
        watermark.set_in_sync(&[BrokerId(2)], &[], 1);
        assert!(!watermark.maybe_advance());
    }
}
