//! What producers append, and when it is on disk.

use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::time::Now;
use ottla_protocol::types::Offset;
use ottla_storage::{AppendError, Appended, LogIo, Synced};

use super::Worker;
use crate::partition::Acks;
use crate::partition::replica::Input;
use crate::worker::{AppendItem, Queued, SlotKey};

/// Time from one search for silent producers to the next, as in Kafka.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(600);

impl<I: LogIo> Worker<I> {
    // === syncs ===

    pub(super) fn run_timers(&mut self, now: Now) -> bool {
        let mut has_run = false;
        while let Some(&(at, index)) = self.timers.first()
            && at <= now.monotonic
        {
            self.timers.pop_first();
            if let Some(slot) = self.slots.get_mut(index as usize).and_then(Option::as_mut) {
                slot.timer = None;
                self.flush_if_due(index as usize, now);
            }
            has_run = true;
        }
        has_run
    }

    pub(super) fn maybe_expire_producers(&mut self, now: Now) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let next = now.monotonic.saturating_add(EXPIRY_INTERVAL);
        if now.monotonic < *self.expiry_at.get_or_insert(next) {
            return false;
        }
        self.expiry_at = Some(next);
        for slot in self.slots.iter_mut().flatten() {
            slot.log.expire_producers(now);
        }
        true
    }

    pub(super) fn on_synced(&mut self, at: usize, synced: Synced, now: Now) {
        let Some(slot) = &mut self.slots[at] else { return };
        match slot.log.on_synced(synced) {
            Ok(()) => {
                let end = slot.log.flushed_end();
                self.handle(at, Input::Flushed { end });
                self.flush_if_due(at, now);
                self.settle_follow(at);
            }
            Err(error) => self.fail_dir(error),
        }
    }

    /// Starts a sync if one is due, else sets the timer for when it will be.
    pub(in crate::worker) fn flush_if_due(&mut self, at: usize, now: Now) {
        let Some(slot) = &mut self.slots[at] else { return };
        match slot.log.poll_flush(now) {
            Ok(Some(ticket)) => (self.start_sync)(slot.key, ticket),
            Ok(None) => {}
            Err(error) => return self.fail_dir(error),
        }
        let next = slot.log.next_flush_at();
        if next != slot.timer {
            if let Some(old) = slot.timer {
                self.timers.remove(&(old, at as u32));
            }
            slot.timer = next;
            self.timers.extend(next.map(|next| (next, at as u32)));
        }
    }

    // === appends ===

    pub(super) fn run_appends(&mut self, now: Now, budget: usize) -> bool {
        self.inbox.pop_data(budget, &mut self.queued);
        if self.queued.is_empty() {
            return false;
        }
        let mut queued = std::mem::take(&mut self.queued);
        let mut items = std::mem::take(&mut self.items);
        for Queued { command, .. } in &mut queued {
            let acks = command.acks;
            items.extend(command.items.drain(..).map(|item| (item, acks)));
        }
        // Stable: within a partition the order of arrival stays. Together they share write calls.
        items.sort_by_key(|(item, _)| item.slot);
        let mut rest = items.drain(..).peekable();
        let mut run = Vec::new();
        while let Some(first) = rest.next() {
            let slot = first.0.slot;
            run.push(first);
            run.extend(std::iter::from_fn(|| rest.next_if(|(item, _)| item.slot == slot)));
            self.append_run(slot, &mut run, now);
        }
        drop(rest);
        // Room in the queue comes back only now, when the bytes are written.
        queued.clear();
        self.queued = queued;
        self.items = items;
        true
    }

    /// Appends what came for one partition.
    fn append_run(&mut self, key: SlotKey, run: &mut Vec<(AppendItem, Acks)>, now: Now) {
        let Some(slot) = self.slot(key) else {
            for (item, _) in run.drain(..) {
                item.waiter.refuse(ErrorCode::NotLeaderOrFollower, Offset::NONE);
            }
            return;
        };
        let log_start = slot.log.log_start();
        let mut accepted = Vec::with_capacity(run.len());
        for (item, acks) in run.drain(..) {
            match slot.replica.check_append(acks) {
                Ok(_) => accepted.push((item, acks)),
                Err(error) => item.waiter.refuse(error, log_start),
            }
        }
        let epoch = slot.replica.leader_epoch();
        let at = key.index as usize;
        let mut results = std::mem::take(&mut self.results);
        if let Some(slot) = &mut self.slots[at] {
            let batches = accepted.iter().map(|(item, _)| std::slice::from_ref(&item.batch));
            slot.log.append_all_as_leader(batches, epoch, now, &mut results);
        }
        for ((item, acks), result) in accepted.into_iter().zip(results.drain(..)) {
            self.on_appended(at, (item, acks), result);
        }
        self.results = results;
        self.flush_if_due(at, now);
    }

    fn on_appended(
        &mut self,
        at: usize,
        (item, acks): (AppendItem, Acks),
        result: Result<Appended, AppendError>,
    ) {
        let AppendItem { batch, mut waiter, .. } = item;
        match result {
            Ok(appended) => {
                waiter.success.error = ErrorCode::None;
                waiter.success.base_offset = appended.first_offset;
                waiter.success.log_append_time = appended.log_append_time;
                waiter.success.log_start = appended.log_start;
                let end = appended.last_offset + 1;
                if let Some(slot) = self.slots[at].as_mut().filter(|_| !appended.duplicate) {
                    slot.grown = slot.grown.saturating_add(batch.batch.bytes.len() as u64);
                }
                self.handle(
                    at,
                    if appended.duplicate {
                        Input::Repeated { end, acks, waiter }
                    } else {
                        let bytes = batch.batch.bytes.len() as u64;
                        Input::Appended { end, bytes, acks, waiter: Some(waiter) }
                    },
                );
            }
            Err(error) => {
                let slot = self.slots[at].as_ref();
                waiter.refuse(
                    error_code(&error),
                    slot.map_or(Offset::NONE, |slot| slot.log.log_start()),
                );
                match error {
                    AppendError::Storage(failure) => self.fail_dir(failure),
                    AppendError::StaleLeaderEpoch { .. } => {
                        tracing::error!(%error, "a leader epoch is below one that the log has seen");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What a producer is told.
fn error_code(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Storage(_) | AppendError::OutOfSpace { .. } => ErrorCode::KafkaStorageError,
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::NotTransactional { .. } => ErrorCode::InvalidTxnState,
        AppendError::TooLargeForSegment { .. } => ErrorCode::RecordListTooLarge,
        AppendError::StaleLeaderEpoch { .. } => ErrorCode::NotLeaderOrFollower,
        AppendError::UnexpectedOffset { .. } | AppendError::OffsetOverflow(_) => {
            ErrorCode::UnknownServerError
        }
    }
}
