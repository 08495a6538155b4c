//! Batches that came, and the records in them.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_protocol::Str;
use ottla_protocol::record_batch::{
    Batch, BatchError, Batches, Record, Records, TimestampType, batches,
};
use ottla_protocol::types::{LeaderEpoch, Offset, PartitionId};

use crate::consumer::TopicPartition;
use crate::consumer::config::ConsumerConfig;

/// A record that was read. Key, value and headers are slices of what the broker sent, or of what came out when its
/// batch was decompressed; keeping one keeps that in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Its topic.
    pub topic: Str,
    /// Its partition.
    pub partition: PartitionId,
    /// Its place there.
    pub offset: Offset,
    /// Unix ms; −1 without one.
    pub timestamp: i64,
    /// Whether producer or broker set it.
    pub timestamp_type: TimestampType,
    /// Epoch of the leader that took it; −1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// What it is about.
    pub key: Option<Bytes>,
    /// What it says; none in a tombstone.
    pub value: Option<Bytes>,
    /// In order, names possibly repeated.
    pub headers: Vec<RecordHeader>,
}

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its name; bytes that are not UTF-8 are replaced.
    pub name: Str,
    /// Its value.
    pub value: Option<Bytes>,
}

/// What one fetch brought for one partition, as far as it was not returned yet.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) partition: TopicPartition,
    pub(super) generation: u64,
    batches: Batches,
    /// Of the batch that is being returned.
    records: VecDeque<ConsumerRecord>,
    /// Where to go on after that batch.
    next: Option<Offset>,
    seen_batch: bool,
}

impl Fetched {
    pub(super) fn new(partition: TopicPartition, generation: u64, bytes: Bytes) -> Self {
        Self {
            partition,
            generation,
            batches: batches(bytes),
            records: VecDeque::new(),
            next: None,
            seen_batch: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.batches.rest().is_empty()
    }

    /// Appends at most `max` records from `position` on to `out`. Returns the position after them, which stands even
    /// where an error follows.
    pub(super) fn take(
        &mut self,
        mut position: Offset,
        max: usize,
        config: &ConsumerConfig,
        out: &mut Vec<ConsumerRecord>,
    ) -> (Offset, Result<(), BatchError>) {
        let mut taken = 0;
        while taken < max {
            if let Some(record) = self.records.pop_front() {
                position = record.offset + 1;
                out.push(record);
                taken += 1;
                continue;
            }
            if let Some(next) = self.next.take() {
                position = position.max(next);
            }
            match self.open_next(position, config) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return (position, Err(error)),
            }
        }
        // A batch may end in offsets without records, which must not be asked for again.
        if self.records.is_empty()
            && let Some(next) = self.next.take()
        {
            position = position.max(next);
        }
        (position, Ok(()))
    }

    /// Opens the next batch that has something from `position` on; `false` if there is none.
    fn open_next(&mut self, position: Offset, config: &ConsumerConfig) -> Result<bool, BatchError> {
        for batch in self.batches.by_ref() {
            let batch = match batch {
                Ok(batch) => batch,
                // The answer was cut at its size limit; the rest is fetched next.
                Err(BatchError::Truncated { .. }) if self.seen_batch => return Ok(false),
                Err(error) => return Err(error),
            };
            self.seen_batch = true;
            if batch.header.last_offset() < position {
                continue;
            }
            if config.check_crcs {
                batch.verify_crc()?;
            }
            self.next = Some(batch.header.next_offset());
            if !batch.header.attributes.is_control() {
                self.read(&batch, position, config)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn read(
        &mut self,
        batch: &Batch,
        position: Offset,
        config: &ConsumerConfig,
    ) -> Result<(), BatchError> {
        let payload = batch.payload(config.limits)?;
        let read: Result<VecDeque<_>, _> = Records::new(&batch.header, &payload)
            .filter(|record| record.as_ref().map_or(true, |record| position <= record.offset))
            .map(|record| record.map(|record| self.own(batch, &payload, &record)))
            .collect();
        self.records = read?;
        Ok(())
    }

    fn own(&self, batch: &Batch, payload: &Bytes, record: &Record<'_>) -> ConsumerRecord {
        let slice = |bytes: &[u8]| payload.slice_ref(bytes);
        let headers = record.headers.iter().map(|header| RecordHeader {
            name: Str::from_utf8(slice(header.key))
                .unwrap_or_else(|_| String::from_utf8_lossy(header.key).into_owned().into()),
            value: header.value.map(slice),
        });
        let (topic, partition) = &self.partition;
        ConsumerRecord {
            topic: topic.clone(),
            partition: *partition,
            offset: record.offset,
            timestamp: record.timestamp,
            timestamp_type: batch.header.attributes.timestamp_type(),
            leader_epoch: batch.header.partition_leader_epoch,
            key: record.key.map(slice),
            value: record.value.map(slice),
            headers: headers.collect(),
        }
    }
}
