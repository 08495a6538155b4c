//! `leader.replication.throttled.rate`: a replica that is out of sync and is to be throttled gets no records
//! while more was sent than the rate allows. Whatever else is asked for in the same request is sent.

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
        let holds = self.concerns(found, view) && self.throttle.is_exceeded(self.rate, self.now);
        if holds {
            self.throttle.note_wait(self.rate, self.now);
        }
        holds
    }

    /// Counts what is about to be sent.
    pub fn record(&self, candidates: &[Candidate], reading: &Reading) {
        let sent = candidates.iter().zip(&reading.results).filter_map(|(candidate, result)| {
            let (Ok(found), PartitionRead::Read(_, Some(located))) = (&candidate.found, result)
            else {
                return None;
            };
            self.concerns(found, &found.view).then_some(u64::from(located.len))
        });
        let bytes: u64 = sent.sum();
        if 0 < bytes {
            self.throttle.spend(self.rate, bytes, self.now);
        }
    }

    fn concerns(&self, found: &Found, view: &View) -> bool {
        let mut followers = view.followers.iter();
        let is_in_sync = followers.any(|known| known.broker == self.broker && known.is_in_sync);
        let partition = (found.handle.topic_id, found.handle.index);
        !is_in_sync && self.throttle.is_throttled(&self.image, partition)
    }
}
