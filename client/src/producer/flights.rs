//! Requests under way, and which of their batches are better sent elsewhere.
//!
//! A leader that stands still, or whose machine fell silent, answers nothing and closes nothing. Once metadata names a
//! later leader, the old one cannot acknowledge anything any more: its batches are taken back and sent to the new one as
//! they are, sequence numbers included, so that what it has already it knows.

use std::collections::BTreeMap;

use futures_util::future::AbortHandle;
use ottla_protocol::Str;
use ottla_protocol::types::{BrokerId, PartitionId};
use tokio::time::Instant;

use crate::metadata_cache::Metadata;
use crate::node::{Link, PATIENCE};
use crate::producer::accumulator::Parcel;
use crate::producer::batch::SentBatch;

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) parcel: Parcel,
    pub(super) link: Link,
    pub(super) sent_at: Instant,
    /// Stops waiting for the answer.
    pub(super) abort: AbortHandle,
}

/// The requests under way, at most `max.in.flight.requests.per.connection` for each broker.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: BTreeMap<u64, Flight>,
    next_id: u64,
}

/// What [`Flights::take_back`] took.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) batches: Vec<(Str, PartitionId, SentBatch)>,
    /// The broker of each request of which nothing is left.
    pub(super) emptied: Vec<BrokerId>,
}

impl Flight {
    fn is_late(&self, now: Instant) -> bool {
        self.sent_at + PATIENCE <= now || self.link.is_silent()
    }
}

impl Flights {
    /// The id of the next request.
    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A request has left.
    pub(super) fn insert(&mut self, id: u64, flight: Flight) {
        self.flights.insert(id, flight);
    }

    /// A request was answered or has failed; none if all of it was taken back.
    pub(super) fn remove(&mut self, id: u64) -> Option<Parcel> {
        Some(self.flights.remove(&id)?.parcel)
    }

    /// Whether any request is unanswered for longer than it should be.
    pub(super) fn any_late(&self, now: Instant) -> bool {
        self.flights.values().any(|flight| flight.is_late(now))
    }

    /// When, after `now`, the next request will be late.
    pub(super) fn next_late(&self, now: Instant) -> Option<Instant> {
        let late = self.flights.values().map(|flight| flight.sent_at + PATIENCE);
        late.filter(|&at| now < at).min()
    }

    /// Takes the batches out of late requests that `may_repeat` and whose partitions have a later leader by `metadata`.
    pub(super) fn take_back(
        &mut self,
        now: Instant,
        metadata: &Metadata,
        may_repeat: impl Fn(&SentBatch) -> bool,
    ) -> Taken {
        let mut taken = Taken::default();
        self.flights.retain(|_, flight| {
            if !flight.is_late(now) {
                return true;
            }
            let parcel = &mut flight.parcel;
            let sent_by = parcel.metadata.clone();
            let moved = parcel.batches.extract_if(.., |(topic, partition, batch)| {
                may_repeat(batch) && metadata.has_moved_since(&sent_by, topic, *partition)
            });
            taken.batches.extend(moved);
            if parcel.batches.is_empty() {
                flight.abort.abort();
                taken.emptied.push(parcel.broker);
            }
            !parcel.batches.is_empty()
        });
        taken
    }
}
