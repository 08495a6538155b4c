//! Kafka's `.snapshot` file: the producers of a partition as of an offset.
//!
//! version int16 (1), CRC-32C uint32 over what follows it, then an array of entries. Only the last batch of a producer is
//! in it.

use ottla_protocol::record_batch::crc32c;
use ottla_protocol::types::{Offset, ProducerEpoch, ProducerId};

use super::{ProducerBatch, ProducerEntry, ProducerStates};

const VERSION: i16 = 1;
const CRC_FROM: usize = 6;
const ENTRY_LEN: usize = 46;

/// Why a snapshot is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InvalidSnapshot(&'static str);

pub(crate) fn encode(states: &ProducerStates) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + states.len() * ENTRY_LEN);
    body.extend((states.len() as i32).to_be_bytes());
    for (id, entry) in states.iter() {
        let none =
            ProducerBatch { last_sequence: -1, last_offset: Offset::NONE, ..Default::default() };
        let last = entry.batches().last().copied().unwrap_or(none);
        body.extend(id.0.to_be_bytes());
        body.extend(entry.epoch.0.to_be_bytes());
        body.extend(last.last_sequence.to_be_bytes());
        body.extend(last.last_offset.0.to_be_bytes());
        body.extend(last.offset_delta.to_be_bytes());
        body.extend(entry.last_timestamp.to_be_bytes());
        body.extend(entry.coordinator_epoch.to_be_bytes());
        body.extend(entry.txn_first_offset.unwrap_or(Offset::NONE).0.to_be_bytes());
    }
    let mut out = Vec::with_capacity(CRC_FROM + body.len());
    out.extend(VERSION.to_be_bytes());
    out.extend(crc32c(&body).to_be_bytes());
    out.extend(body);
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Result<ProducerStates, InvalidSnapshot> {
    let mut fields = Fields(bytes);
    if i16::from_be_bytes(fields.take()?) != VERSION {
        return Err(InvalidSnapshot("its version is not 1"));
    }
    let crc = u32::from_be_bytes(fields.take()?);
    if crc != crc32c(fields.0) {
        return Err(InvalidSnapshot("its checksum is wrong"));
    }
    let count = i32::from_be_bytes(fields.take()?);
    let mut states = ProducerStates::default();
    for _ in 0..count {
        let (id, entry) = fields.entry()?;
        states.insert(id, entry);
    }
    if fields.0.is_empty() { Ok(states) } else { Err(InvalidSnapshot("it is too long")) }
}

/// The highest producer id in a snapshot; `None` if it holds none, or is none.
pub(crate) fn max_in_snapshot(bytes: &[u8]) -> Option<ProducerId> {
    decode(bytes).ok()?.iter().map(|(id, _)| id).max()
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], InvalidSnapshot> {
        let (field, rest) = self.0.split_first_chunk().ok_or(InvalidSnapshot("it is cut short"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn entry(&mut self) -> Result<(ProducerId, ProducerEntry), InvalidSnapshot> {
        let id = ProducerId(i64::from_be_bytes(self.take()?));
        let mut entry = ProducerEntry::new(ProducerEpoch(i16::from_be_bytes(self.take()?)));
        let mut batch = ProducerBatch {
            last_sequence: i32::from_be_bytes(self.take()?),
            last_offset: Offset(i64::from_be_bytes(self.take()?)),
            offset_delta: i32::from_be_bytes(self.take()?),
            timestamp: 0,
        };
        entry.last_timestamp = i64::from_be_bytes(self.take()?);
        batch.timestamp = entry.last_timestamp;
        entry.coordinator_epoch = i32::from_be_bytes(self.take()?);
        let first = Offset(i64::from_be_bytes(self.take()?));
        entry.txn_first_offset = (Offset(0) <= first).then_some(first);
        if Offset(0) <= batch.last_offset {
            entry.remember(batch);
        }
        Ok((id, entry))
    }
}
