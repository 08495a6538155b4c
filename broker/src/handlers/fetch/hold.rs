//! `leader.replication.throttled.rate`: a replica that is out of sync and is to be throttled gets no records
//! while more was sent than the rate allows. Whatever else is asked for in the same request is sent. What is sent to those in
//! sync counts as well: the rate is for all throttled replicas together.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_protocol::types::BrokerId;

use super::read::{Candidate, Found, PartitionRead, Reading};
use super::{Poll, Reader};
use crate::partition::View;
use crate::replication::Throttle;

/// The limit for one reading of a replica.
pub(super) struct Hold<'a> {
    throttle: &'a Throttle,
    image: Arc<Image>,
    /// Who fetches.
    broker: BrokerId,
    /// Bytes per second.
    rate: i64,
    now: Duration,
}

impl<'a> Hold<'a> {
    /// `None` for consumers, and if there is no limit.
    pub fn of(poll: &'a Poll) -> Option<Self> {
        let Reader::Replica { broker, .. } = poll.terms.reader else { return None };
        let (throttle, image) = (&poll.data.leader_throttle, poll.data.image.load());
        let rate = throttle.rate(&image)?;
        Some(Self { throttle, image, broker, rate, now: poll.now() })
    }

    /// Whether records that are there are not sent now.
    pub fn holds_back(&self, found: &Found, view: &View) -> bool {
        let holds = !self.is_in_sync(view)
            && self.is_throttled(found)
            && self.throttle.is_exceeded(self.rate, self.now);
        if holds {
            self.throttle.note_wait(self.rate, self.now);
        }
        holds
    }

    /// Counts what is about to be sent.
    pub fn record(&self, candidates: &[Candidate], reading: &Reading) {
        let (mut in_sync, mut catching_up) = (0, 0);
        for (candidate, result) in candidates.iter().zip(&reading.results) {
            let (Ok(found), PartitionRead::Read(_, Some(located))) = (&candidate.found, result)
            else {
                continue;
            };
            if !self.is_throttled(found) {
                continue;
            }
            let sum = if self.is_in_sync(&found.view) { &mut in_sync } else { &mut catching_up };
            *sum += u64::from(located.len);
        }
        if 0 < in_sync {
            self.throttle.count(self.rate, in_sync, self.now);
        }
        if 0 < catching_up {
            self.throttle.spend(self.rate, catching_up, self.now);
        }
    }

    fn is_in_sync(&self, view: &View) -> bool {
        view.followers.iter().any(|known| known.broker == self.broker && known.is_in_sync)
    }

    fn is_throttled(&self, found: &Found) -> bool {
        self.throttle.is_throttled(&self.image, (found.handle.topic_id, found.handle.index))
    }
}
