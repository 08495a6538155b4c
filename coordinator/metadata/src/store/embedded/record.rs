//! What the embedded store writes to its log, as bytes.
//!
//! Little-endian; byte strings are preceded by their length as u32. The frame around a record (length,
//! checksum) belongs to the file.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};

use crate::store::{Event, KeyValue, LeaseId, WatchBatch};

/// A change of the store, as decided: replaying it needs no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// First record of a snapshot.
    Start { store_id: u64, revision: i64, compacted: i64, next_lease: i64 },
    /// A transaction that changed something.
    Write(WatchBatch),
    /// A new lease.
    Grant(LeaseId, Duration),
    /// A lease that ended, and the deletions that came with it.
    Revoke(LeaseId, Option<WatchBatch>),
    /// History before this revision is gone.
    Compact(i64),
    /// In a snapshot: one kept version of a key.
    Version(Event),
    /// Last record of a snapshot: how many came before it.
    End(u64),
}

/// A record that passed its checksum but makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of the metadata log makes no sense")]
pub(super) struct BadRecord;

impl Record {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Start { store_id, revision, compacted, next_lease } => {
                out.put_u8(0);
                out.put_u64_le(*store_id);
                out.put_i64_le(*revision);
                out.put_i64_le(*compacted);
                out.put_i64_le(*next_lease);
            }
            Self::Write(batch) => {
                out.put_u8(1);
                put_batch(out, batch);
            }
            Self::Grant(id, ttl) => {
                out.put_u8(2);
                out.put_i64_le(id.0);
                out.put_u64_le(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            }
            Self::Revoke(id, batch) => {
                out.put_u8(3);
                out.put_i64_le(id.0);
                out.put_u8(u8::from(batch.is_some()));
                if let Some(batch) = batch {
                    put_batch(out, batch);
                }
            }
            Self::Compact(revision) => {
                out.put_u8(4);
                out.put_i64_le(*revision);
            }
            Self::Version(event) => {
                out.put_u8(5);
                put_event(out, event);
            }
            Self::End(count) => {
                out.put_u8(6);
                out.put_u64_le(*count);
            }
        }
    }

    pub(super) fn decode(mut from: Bytes) -> Result<Self, BadRecord> {
        let from = &mut from;
        let record = match u8_of(from)? {
            0 => Self::Start {
                store_id: u64_of(from)?,
                revision: i64_of(from)?,
                compacted: i64_of(from)?,
                next_lease: i64_of(from)?,
            },
            1 => Self::Write(batch_of(from)?),
            2 => Self::Grant(LeaseId(i64_of(from)?), Duration::from_millis(u64_of(from)?)),
            3 => {
                let id = LeaseId(i64_of(from)?);
                let batch = if u8_of(from)? == 0 { None } else { Some(batch_of(from)?) };
                Self::Revoke(id, batch)
            }
            4 => Self::Compact(i64_of(from)?),
            5 => Self::Version(event_of(from)?),
            6 => Self::End(u64_of(from)?),
            _ => return Err(BadRecord),
        };
        if from.is_empty() { Ok(record) } else { Err(BadRecord) }
    }
}

fn put_batch(out: &mut Vec<u8>, batch: &WatchBatch) {
    out.put_i64_le(batch.revision);
    out.put_u32_le(length(batch.events.len()));
    for event in &batch.events {
        put_event(out, event);
    }
}

fn put_event(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Put(kv) => {
            out.put_u8(1);
            put_bytes(out, &kv.key);
            put_bytes(out, &kv.value);
            out.put_i64_le(kv.create_revision);
            out.put_i64_le(kv.mod_revision);
            out.put_i64_le(kv.lease.map_or(0, |lease| lease.0));
        }
        Event::Delete { key, revision } => {
            out.put_u8(0);
            put_bytes(out, key);
            out.put_i64_le(*revision);
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(length(bytes.len()));
    out.put_slice(bytes);
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("a request is at most 1.5 MiB")
}

fn batch_of(from: &mut Bytes) -> Result<WatchBatch, BadRecord> {
    let revision = i64_of(from)?;
    let count = from.try_get_u32_le().map_err(|_| BadRecord)?;
    let events = (0..count).map(|_| event_of(from)).collect::<Result<_, _>>()?;
    Ok(WatchBatch { revision, events })
}

fn event_of(from: &mut Bytes) -> Result<Event, BadRecord> {
    match u8_of(from)? {
        0 => Ok(Event::Delete { key: bytes_of(from)?, revision: i64_of(from)? }),
        1 => {
            let (key, value) = (bytes_of(from)?, bytes_of(from)?);
            let (create_revision, mod_revision) = (i64_of(from)?, i64_of(from)?);
            let lease = Some(LeaseId(i64_of(from)?)).filter(|lease| lease.0 != 0);
            Ok(Event::Put(KeyValue { key, value, create_revision, mod_revision, lease }))
        }
        _ => Err(BadRecord),
    }
}

fn bytes_of(from: &mut Bytes) -> Result<Bytes, BadRecord> {
    let len = from.try_get_u32_le().map_err(|_| BadRecord)? as usize;
    if from.len() < len {
        return Err(BadRecord);
    }
    // A copy, so that one small value does not keep the whole log in memory.
    Ok(Bytes::copy_from_slice(&from.split_to(len)))
}

fn u8_of(from: &mut Bytes) -> Result<u8, BadRecord> {
    from.try_get_u8().map_err(|_| BadRecord)
}

fn i64_of(from: &mut Bytes) -> Result<i64, BadRecord> {
    from.try_get_i64_le().map_err(|_| BadRecord)
}

fn u64_of(from: &mut Bytes) -> Result<u64, BadRecord> {
    from.try_get_u64_le().map_err(|_| BadRecord)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        prop_oneof![
            (bytes(), 1..i64::MAX).prop_map(|(key, revision)| Event::Delete { key, revision }),
            (bytes(), bytes(), any::<[i64; 2]>(), prop::option::of(1..i64::MAX)).prop_map(
                |(key, value, [create_revision, mod_revision], lease)| {
                    let lease = lease.map(LeaseId);
                    Event::Put(KeyValue { key, value, create_revision, mod_revision, lease })
                }
            ),
        ]
    }

    fn record() -> impl Strategy<Value = Record> {
        let batch = || {
            (any::<i64>(), prop::collection::vec(event(), 0..4))
                .prop_map(|(revision, events)| WatchBatch { revision, events })
        };
        prop_oneof![
            any::<(u64, i64, i64, i64)>().prop_map(
                |(store_id, revision, compacted, next_lease)| {
                    Record::Start { store_id, revision, compacted, next_lease }
                }
            ),
            batch().prop_map(Record::Write),
            (1i64.., 0u64..1 << 40)
                .prop_map(|(id, ms)| Record::Grant(LeaseId(id), Duration::from_millis(ms))),
            (1i64.., prop::option::of(batch())).prop_map(|(id, b)| Record::Revoke(LeaseId(id), b)),
            any::<i64>().prop_map(Record::Compact),
            event().prop_map(Record::Version),
            any::<u64>().prop_map(Record::End),
        ]
    }

    proptest! {
        #[test]
        fn record_survives_encoding(record in record()) {
            let mut out = Vec::new();
            record.encode(&mut out);
            prop_assert_eq!(Record::decode(out.clone().into()), Ok(record));
            let cut = Bytes::from(out).slice(..0);
            prop_assert_eq!(Record::decode(cut), Err(BadRecord));
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Record::decode(bytes.into());
        }
    }
}
