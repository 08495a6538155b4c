//! What a decision wants written, and how it is cut into transactions.

use bytes::Bytes;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, Value};
use ottla_metadata::store::{Compare, GuardedWrite, KeyRange, Limits};

/// One key to write or delete, and the state that it must still be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which key.
    pub key: Key,
    /// The revision that last wrote it, as the decision saw it; 0 = it did not exist.
    pub mod_revision: i64,
    /// The new value; `None` deletes the key.
    pub value: Option<Bytes>,
}

impl Change {
    /// Writes `value` to a key last written by `mod_revision`.
    pub fn put<T: Value>(key: Key, mod_revision: i64, value: &T) -> Self {
        Self { key, mod_revision, value: Some(model::encode(value)) }
    }

    /// Deletes a key last written by `mod_revision`.
    pub fn delete(key: Key, mod_revision: i64) -> Self {
        Self { key, mod_revision, value: None }
    }
}

/// Changes that become visible together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// At most [`CHANGES_MAX`].
    pub changes: Vec<Change>,
    /// The item of the request that is done once this unit is committed.
    pub completes: Option<usize>,
}

impl Unit {
    /// Changes that belong to no item of a request.
    pub fn new(changes: Vec<Change>) -> Self {
        Self { changes, completes: None }
    }

    /// Changes whose commit completes item `item`.
    pub fn completing(changes: Vec<Change>, item: usize) -> Self {
        Self { changes, completes: Some(item) }
    }
}

impl From<Change> for Unit {
    fn from(change: Change) -> Self {
        Self::new(vec![change])
    }
}

/// One transaction: whole units, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What it changes; no key twice.
    pub changes: Vec<Change>,
    /// The items that are done once it is committed.
    pub completes: Vec<usize>,
}

impl Transaction {
    /// The transaction for the store, without the controller's fence.
    pub fn guarded(&self, keys: &KeySpace) -> GuardedWrite {
        self.changes.iter().fold(GuardedWrite::new(), |write, change| {
            let key = keys.format(&change.key);
            let write = write.when(match change.mod_revision {
                0 => Compare::Absent(Bytes::copy_from_slice(key.as_bytes())),
                revision => Compare::ModRevision(Bytes::copy_from_slice(key.as_bytes()), revision),
            });
            match &change.value {
                Some(value) => write.put(key, value.clone()),
                None => write.delete(KeyRange::key(key)),
            }
        })
    }
}

/// Cuts units into as few transactions as the store's limits allow, keeping their order: a unit never
/// becomes visible before one that precedes it.
///
/// No two units of a plan touch the same key: the second could not know what the first leaves.
pub fn pack(units: Vec<Unit>) -> Vec<Transaction> {
    let mut transactions: Vec<Transaction> = Vec::new();
    let mut room = Room::default();
    for unit in units {
        let need = Room::of(&unit);
        if transactions.is_empty() || !room.fits(&need) {
            transactions.push(Transaction::default());
            room = Room::full();
        }
        room.take(&need);
        if let Some(current) = transactions.last_mut() {
            current.changes.extend(unit.changes);
            current.completes.extend(unit.completes);
        }
    }
    transactions
}

/// What a transaction still has room for, or what a unit needs.
#[derive(Debug, Default)]
struct Room {
    changes: usize,
    bytes: usize,
}

impl Room {
    fn full() -> Self {
        Self { changes: CHANGES_MAX, bytes: BYTES_MAX }
    }

    fn of(unit: &Unit) -> Self {
        let size = |change: &Change| {
            let value = change.value.as_ref().map_or(0, Bytes::len);
            // The key is sent twice: to compare and to write.
            2 * (KEY_BYTES_MAX + Limits::OVERHEAD) + value
        };
        Self { changes: unit.changes.len(), bytes: unit.changes.iter().map(size).sum() }
    }

    fn fits(&self, need: &Self) -> bool {
        need.changes <= self.changes && need.bytes <= self.bytes
    }

    fn take(&mut self, need: &Self) {
        self.changes = self.changes.saturating_sub(need.changes);
        self.bytes = self.bytes.saturating_sub(need.bytes);
    }
}

/// Changes in a transaction: etcd takes 128 operations, and the fence needs one write and two compares.
pub const CHANGES_MAX: usize = 126;
/// Bytes of a transaction, well below what etcd takes.
const BYTES_MAX: usize = 1024 * 1024;
/// A generous guess at the length of a key: a prefix, and a topic name of at most 249 characters.
const KEY_BYTES_MAX: usize = 320;

const _: () = assert!(CHANGES_MAX + 2 <= Limits::OPERATIONS_MAX);
const _: () = assert!(BYTES_MAX <= Limits::REQUEST_BYTES_MAX);

#[cfg(test)]
mod tests {
    use ottla_protocol::Uuid;

    use super::*;

    fn partition(number: i32, bytes: usize) -> Unit {
        Change {
            key: Key::Partition(Uuid::from_bytes([7; 16]), number),
            mod_revision: 0,
            value: Some(vec![b'x'; bytes].into()),
        }
        .into()
    }

    #[test]
    fn units_keep_their_order_and_fill_transactions() {
        let mut units: Vec<Unit> = (0..300).map(|number| partition(number, 100)).collect();
        units.push(Unit::completing(vec![Change::delete(Key::Topic("t".into()), 5)], 0));
        let transactions = pack(units);
        let sizes: Vec<usize> = transactions.iter().map(|each| each.changes.len()).collect();
        assert_eq!(sizes, [126, 126, 49]);
        assert!(transactions[1].completes.is_empty());
        assert_eq!(transactions[2].completes, [0]);
        let numbers: Vec<i32> = transactions
            .iter()
            .flat_map(|each| &each.changes)
            .filter_map(|change| match change.key {
                Key::Partition(_, number) => Some(number),
                _ => None,
            })
            .collect();
        assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn every_transaction_passes_the_stores_own_check() {
        let units = (0..300).map(|number| partition(number, 60_000)).collect();
        let transactions = pack(units);
        assert!(10 < transactions.len());
        for transaction in transactions {
            assert_eq!(transaction.guarded(&KeySpace::default()).check(), Ok(()));
        }
    }

    #[test]
    fn unit_is_never_divided() {
        let mut units: Vec<Unit> = (0..120).map(|number| partition(number, 10)).collect();
        let pair = (0..10).map(|number| Change::delete(Key::Broker(number), 3)).collect();
        units.push(Unit::new(pair));
        let sizes: Vec<usize> = pack(units).iter().map(|each| each.changes.len()).collect();
        assert_eq!(sizes, [120, 10]);
    }
}
