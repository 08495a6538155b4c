//! A leader that stood still gives its followers time before it puts them out of the ISR.

use std::time::Duration;

use ottla_broker::partition::Proposal;

/// Looks at proposals.
#[derive(Debug, Default)]
pub struct Pauses;

impl Pauses {
    /// A leader proposes at `now`; `woke` is when it went on after standing still, and for how long it had.
    /// Followers may lag for `lag_max`.
    pub fn proposed(
        &self,
        now: Duration,
        woke: Option<(Duration, Duration)>,
        (lag_max, proposal): (Duration, &Proposal),
    ) -> Result<(), String> {
        let Some((woke_at, slept)) = woke else { return Ok(()) };
        // A shorter one is made up for by the limit itself; a longer one begins a little before it is noticed.
        let is_long = lag_max * 2 / 3 < slept;
        if is_long && now < woke_at + lag_max && 0 < proposal.leaving {
            return Err(format!(
                "stood still for {slept:?} until {woke_at:?}, and at {now:?}: {proposal:?}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::types::LeaderEpoch;

    #[test]
    fn objects_to_a_leader_that_shrinks_as_soon_as_it_wakes() {
        let seconds = Duration::from_secs;
        let check = |now, slept, leaving| {
            let proposal = Proposal {
                id: 1,
                leader_epoch: LeaderEpoch(1),
                partition_epoch: 7,
                isr: Vec::new(),
                joining: 0,
                leaving,
            };
            let woke = Some((seconds(10), seconds(slept)));
            Pauses.proposed(seconds(now), woke, (seconds(3), &proposal))
        };
        assert!(check(11, 5, 1).is_err());
        assert!(check(11, 1, 1).is_ok(), "it hardly stood still");
        assert!(check(14, 5, 1).is_ok(), "they had time");
        assert!(check(11, 5, 0).is_ok(), "nobody goes");
    }
}
