//! The batches of one partition, and their order.
//!
//! Batches leave in the order in which they were filled. When one comes back to be sent again, so do those behind it,
//! since a broker takes an idempotent producer's batches only in sequence; from then on they are sent one at a time
//! until none is left to be repeated.
//!
//! | a batch comes back with | what happens |
//! |---|---|
//! | success | done |
//! | an error that may pass | it is sent again, with the same sequence number |
//! | out of order, while an earlier one is under way | the same |
//! | out of order, and it is the earliest | what the broker expects was lost: new epoch, sequences from 0 |
//! | another error | its records fail; those behind it come back out of order |

use std::collections::VecDeque;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::record_batch::{BuildError, add_sequence, restamp_producer};
use ottla_protocol::types::{ProducerEpoch, ProducerId};
use tokio::time::Instant;

use crate::producer::batch::{Fate, FillingBatch, SentBatch};
use crate::producer::delivery::BatchDone;

/// Who an idempotent producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}

#[derive(Debug, Default)]
pub(super) struct PartitionQueue {
    pub(super) filling: Option<FillingBatch>,
    /// Full, never sent.
    pub(super) full: VecDeque<FillingBatch>,
    /// Sent in vain, by order.
    retries: VecDeque<SentBatch>,
    /// Orders of the batches under way, and what becomes of them.
    in_flight: Vec<(u64, BatchDone)>,
    next_order: u64,
    /// Not before this are the retries sent.
    retry_at: Option<Instant>,
    /// What the batches are stamped with; follows the producer's when nothing is under way.
    identity: Option<Identity>,
    next_sequence: i32,
    /// Whether the partition's leader has acknowledged a batch of this identity. Before that it takes whatever sequence
    /// number comes first, so that a batch must not overtake one that was refused.
    is_known: bool,
    /// The sequence is broken: once nothing is under way, begin a new epoch.
    broken: bool,
}

/// What may be sent next.
#[derive(Debug)]
pub(super) enum Next {
    /// A batch that was sent before.
    Again(SentBatch),
    /// A batch that was not.
    First(FillingBatch),
}

impl PartitionQueue {
    /// Whether a batch may be sent now; one that still fills counts if `eager` says so of it.
    pub(super) fn is_sendable(
        &self,
        now: Instant,
        max_in_flight: usize,
        eager: impl FnOnce(&FillingBatch) -> bool,
    ) -> bool {
        if !self.retries.is_empty() {
            return self.in_flight.is_empty() && self.retry_at.is_none_or(|at| at <= now);
        }
        if self.identity.is_some() && !self.is_known && !self.in_flight.is_empty() {
            return false;
        }
        // Counted from the oldest batch that is not done, since a broker knows a repeated batch among the last five only.
        let oldest = self.in_flight.iter().map(|(order, _)| *order).min();
        let span = oldest.map_or(0, |oldest| self.next_order - oldest);
        if self.broken || max_in_flight as u64 <= span {
            return false;
        }
        !self.full.is_empty() || self.filling.as_ref().is_some_and(eager)
    }

    /// Takes the batch that [`is_sendable`](Self::is_sendable) spoke of.
    pub(super) fn take(&mut self) -> Option<Next> {
        if let Some(again) = self.retries.pop_front() {
            self.in_flight.push((again.order, again.fate.watch.clone()));
            return Some(Next::Again(again));
        }
        self.full.pop_front().or_else(|| self.filling.take()).map(Next::First)
    }

    /// Makes a batch out of what was filled, with the next sequence number.
    pub(super) fn stamp(
        &mut self,
        filled: FillingBatch,
        producer: Option<Identity>,
    ) -> Result<SentBatch, (Fate, BuildError)> {
        let FillingBatch { mut builder, fate } = filled;
        if self.in_flight.is_empty() && self.identity != producer {
            self.identity = producer;
            self.next_sequence = 0;
            self.is_known = false;
        }
        if let Some(identity) = self.identity {
            builder.set_producer(identity.id, identity.epoch, self.next_sequence);
        }
        let batch = match builder.build() {
            Ok(batch) => batch,
            Err(error) => return Err((fate, error)),
        };
        self.next_sequence = add_sequence(self.next_sequence, batch.header.records_count);
        let order = self.next_order;
        self.next_order += 1;
        self.in_flight.push((order, fate.watch.clone()));
        Ok(SentBatch { batch, fate, order, failures: 0 })
    }

    /// A batch was answered for good, well or not.
    pub(super) fn finished(&mut self, order: u64, well: bool) {
        self.is_known |= well;
        self.in_flight.retain(|(under_way, _)| *under_way != order);
        self.retry_at = None;
    }

    /// A batch is to be sent again, at `retry_at` or later.
    pub(super) fn repeat(&mut self, batch: SentBatch, retry_at: Instant) {
        self.in_flight.retain(|(under_way, _)| *under_way != batch.order);
        let at = self.retries.partition_point(|queued| queued.order < batch.order);
        self.retries.insert(at, batch);
        self.retry_at = Some(self.retry_at.map_or(retry_at, |known| known.max(retry_at)));
    }

    /// Judges an error about the sequence: whether the batch is to be sent again, and notes if the sequence is broken.
    pub(super) fn judge_sequence_error(&mut self, order: u64, code: ErrorCode) -> bool {
        if self.identity.is_none() {
            return false;
        }
        let about_sequence = matches!(
            code,
            ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch
        );
        let earlier_under_way = self.in_flight.iter().any(|(other, _)| *other < order)
            || self.retries.front().is_some_and(|queued| queued.order < order);
        if about_sequence && !earlier_under_way {
            self.broken = true;
        }
        about_sequence
    }

    /// Whether the producer has to begin a new epoch for this partition, which can be done now.
    pub(super) fn needs_new_epoch(&self) -> bool {
        self.broken && self.in_flight.is_empty()
    }

    /// The epoch that a broken sequence was in.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Begins a new epoch: what is to be sent again gets sequence numbers from 0.
    pub(super) fn begin_epoch(&mut self, identity: Identity) {
        self.broken = false;
        self.is_known = false;
        self.identity = Some(identity);
        self.next_sequence = 0;
        for queued in &mut self.retries {
            let sequence = self.next_sequence;
            queued.batch = restamp_producer(&queued.batch, identity.id, identity.epoch, sequence);
            self.next_sequence = add_sequence(sequence, queued.batch.header.records_count);
        }
    }

    /// Takes out every batch that is older than `deadline` allows and not under way.
    pub(super) fn expire(&mut self, taken_before: Instant) -> Vec<Fate> {
        let mut expired = Vec::new();
        while self.retries.front().is_some_and(|batch| batch.fate.since <= taken_before) {
            expired.extend(self.retries.pop_front().map(|batch| batch.fate));
        }
        while self.full.front().is_some_and(|batch| batch.fate.since <= taken_before) {
            expired.extend(self.full.pop_front().map(|batch| batch.fate));
        }
        if let Some(batch) = self.filling.take_if(|batch| batch.fate.since <= taken_before) {
            expired.push(batch.fate);
        }
        expired
    }

    /// When something will become sendable or expire by itself, if anything will.
    pub(super) fn next_event(&self, linger: Duration) -> Option<Instant> {
        if !self.retries.is_empty() {
            return if self.in_flight.is_empty() { self.retry_at } else { None };
        }
        self.filling.as_ref().map(|batch| batch.fate.since + linger)
    }

    /// The oldest batch that is not under way.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let retry = self.retries.front().map(|batch| batch.fate.since);
        let full = self.full.front().map(|batch| batch.fate.since);
        retry.or(full).or(self.filling.as_ref().map(|batch| batch.fate.since))
    }

    /// What becomes of every batch that is not done.
    pub(super) fn unfinished(&self) -> Vec<BatchDone> {
        let in_flight = self.in_flight.iter().map(|(_, done)| done.clone());
        let retries = self.retries.iter().map(|batch| batch.fate.watch.clone());
        let full = self.full.iter().chain(&self.filling).map(|batch| batch.fate.watch.clone());
        in_flight.chain(retries).chain(full).collect()
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.oldest().is_none() && self.in_flight.is_empty()
    }
}
