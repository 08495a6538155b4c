//! What is known of the producers that write to a partition: enough to refuse gaps and to recognise duplicates.

mod snapshot;

use std::collections::BTreeMap;

use ottla_protocol::record_batch::{BatchHeader, EndTransactionMarker, NO_SEQUENCE};
use ottla_protocol::types::{Offset, ProducerEpoch, ProducerId};

use crate::error::AppendError;

pub(crate) use snapshot::{decode, encode, max_in_snapshot};

/// Batches remembered per producer: a client has at most five requests in flight on a connection.
pub const BATCHES_REMEMBERED: usize = 5;

/// A batch of an idempotent producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Records in it, less one.
    pub offset_delta: i32,
    /// Its max timestamp, Unix ms.
    pub timestamp: i64,
}

impl ProducerBatch {
    /// Offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset + -i64::from(self.offset_delta)
    }

    /// Sequence number of its first record.
    pub fn first_sequence(&self) -> i32 {
        // Sequence numbers wrap from 2³¹−1 to 0.
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

/// A producer as the partition knows it: DescribeProducers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// Epoch of the coordinator that wrote its last marker, −1 if there was none.
    pub coordinator_epoch: i32,
    /// When it last wrote, by the max timestamp of the batch, Unix ms.
    pub last_timestamp: i64,
    /// Where its open transaction begins.
    pub txn_first_offset: Option<Offset>,
    batches: [ProducerBatch; BATCHES_REMEMBERED],
    count: u8,
}

impl ProducerEntry {
    fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            txn_first_offset: None,
            batches: Default::default(),
            count: 0,
        }
    }

    /// The batches remembered of its epoch, oldest first.
    pub fn batches(&self) -> &[ProducerBatch] {
        &self.batches[..usize::from(self.count)]
    }

    /// Its last sequence number; −1 if none is known.
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.count = 0;
        }
    }

    fn remember(&mut self, batch: ProducerBatch) {
        if usize::from(self.count) == BATCHES_REMEMBERED {
            self.batches.rotate_left(1);
            self.count -= 1;
        }
        self.batches[usize::from(self.count)] = batch;
        self.count += 1;
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        if header.producer_epoch != self.epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        let same =
            |batch: &&ProducerBatch| batch.first_sequence() == first && batch.last_sequence == last;
        self.batches().iter().find(same).copied()
    }
}

/// All producers of a partition. `BTreeMap`s: their order reaches snapshots, and simulations must not depend on a hasher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerStates {
    entries: BTreeMap<ProducerId, ProducerEntry>,
    /// Open transactions by their first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
}

/// A transaction that was aborted, for the transaction index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The marker's offset.
    pub last_offset: Offset,
    pub aborted: bool,
}

impl ProducerStates {
    pub(crate) fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(&id, entry)| (id, entry))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The first offset of the oldest open transaction.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        self.ongoing.first_key_value().map(|(&offset, _)| offset)
    }

    /// Whether a batch of a client may be appended: `Ok(Some)` if it is in the log already.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Option<ProducerBatch>, AppendError> {
        let producer_id = header.producer_id;
        let Some(entry) = self.entries.get(&producer_id) else {
            return Ok(None);
        };
        if let Some(duplicate) = entry.duplicate_of(header) {
            return Ok(Some(duplicate));
        }
        let (found, current) = (header.producer_epoch, entry.epoch);
        if found < current {
            return Err(AppendError::InvalidProducerEpoch { producer_id, current, found });
        }
        let last = if found == current { entry.last_sequence() } else { NO_SEQUENCE };
        let follows = (last.wrapping_add(1) & i32::MAX) == header.base_sequence;
        if !follows && current != ProducerEpoch::NONE {
            let found = header.base_sequence;
            return Err(AppendError::OutOfOrderSequence { producer_id, last, found });
        }
        if entry.txn_first_offset.is_some() && !header.attributes.is_transactional() {
            return Err(AppendError::NotTransactional { producer_id });
        }
        Ok(None)
    }

    /// Notes a batch of records that is in the log, with its final offsets.
    pub(crate) fn apply(&mut self, header: &BatchHeader) {
        if !header.has_producer_id() || header.attributes.is_control() {
            return;
        }
        let id = header.producer_id;
        let entry =
            self.entries.entry(id).or_insert_with(|| ProducerEntry::new(header.producer_epoch));
        entry.set_epoch(header.producer_epoch);
        entry.last_timestamp = header.max_timestamp;
        entry.remember(ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if header.attributes.is_transactional() && entry.txn_first_offset.is_none() {
            entry.txn_first_offset = Some(header.base_offset);
            self.ongoing.insert(header.base_offset, id);
        }
    }

    /// Notes a marker that is in the log. Returns the transaction that it ends.
    pub(crate) fn apply_marker(
        &mut self,
        header: &BatchHeader,
        marker: &EndTransactionMarker,
    ) -> Option<CompletedTxn> {
        let id = header.producer_id;
        let entry =
            self.entries.entry(id).or_insert_with(|| ProducerEntry::new(header.producer_epoch));
        entry.set_epoch(header.producer_epoch);
        entry.last_timestamp = header.max_timestamp;
        entry.coordinator_epoch = marker.coordinator_epoch;
        let first_offset = entry.txn_first_offset.take()?;
        self.ongoing.remove(&first_offset);
        let (last_offset, aborted) = (header.last_offset(), !marker.committed);
        Some(CompletedTxn { producer_id: id, first_offset, last_offset, aborted })
    }

    /// What is to be put back if an append fails.
    pub(crate) fn save(&self, id: ProducerId) -> (ProducerId, Option<ProducerEntry>) {
        (id, self.entries.get(&id).cloned())
    }

    pub(crate) fn restore(&mut self, (id, saved): (ProducerId, Option<ProducerEntry>)) {
        if let Some(first) = self.entries.get(&id).and_then(|entry| entry.txn_first_offset) {
            self.ongoing.remove(&first);
        }
        match saved {
            Some(entry) => self.insert(id, entry),
            None => {
                self.entries.remove(&id);
            }
        }
    }

    fn insert(&mut self, id: ProducerId, entry: ProducerEntry) {
        if let Some(first) = entry.txn_first_offset {
            self.ongoing.insert(first, id);
        }
        self.entries.insert(id, entry);
    }

    /// Forgets producers that have no open transaction and wrote nothing since `before_ms`; how many.
    pub(crate) fn expire(&mut self, before_ms: i64) -> usize {
        let count = self.entries.len();
        self.entries.retain(|_, entry| {
            entry.txn_first_offset.is_some() || before_ms < entry.last_timestamp
        });
        count - self.entries.len()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.ongoing.clear();
    }
}

#[cfg(test)]
mod tests;
