//! What the store's calls take and return. The model is etcd's own, made small.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::error::StoreError;

/// The id of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A granted lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// How long it lasts without a keep-alive; the store may have rounded the wish up.
    pub ttl: Duration,
}

/// One key, or all keys from a start up to (not including) an end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// The first key beyond the range; `None` for the single key `start`.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// A single key.
    pub fn key(key: impl AsRef<[u8]>) -> Self {
        Self { start: Bytes::copy_from_slice(key.as_ref()), end: None }
    }

    /// All keys that start with `prefix`, which may not be empty nor end in a byte 255.
    pub fn prefix(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        // Text never holds a byte 255, so the last byte can be raised.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { start: Bytes::copy_from_slice(prefix.as_bytes()), end: Some(end.into()) }
    }

    /// All keys from `start` up to `end`, which is not included.
    pub fn between(start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Self {
        Self {
            start: Bytes::copy_from_slice(start.as_ref()),
            end: Some(Bytes::copy_from_slice(end.as_ref())),
        }
    }

    /// What is left of the range behind `key`.
    pub fn after(&self, key: &[u8]) -> Self {
        let mut start = Vec::with_capacity(key.len() + 1);
        start.extend_from_slice(key);
        start.push(0);
        Self {
            start: start.into(),
            end: Some(self.end.clone().unwrap_or_else(|| self.start.clone())),
        }
    }

    /// True if `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            None => key == self.start,
            Some(end) => self.start <= key && key < end.as_ref(),
        }
    }
}

/// A key with its value and revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision that created the key, since it was last absent.
    pub create_revision: i64,
    /// The revision that wrote this value.
    pub mod_revision: i64,
    /// The lease that the key is bound to.
    pub lease: Option<LeaseId>,
}

/// A request for one page of a range, in the order of keys. Always linearizable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// How many at most, 1 to [`Limits::PAGE_ITEMS_MAX`]. A page may hold fewer although more follow.
    pub limit: usize,
    /// Read the state of this revision instead of the newest.
    pub at_revision: Option<i64>,
}

impl RangeRequest {
    /// The newest state of `keys`, a page of the largest size.
    pub fn newest(keys: KeyRange) -> Self {
        Self { keys, limit: Limits::PAGE_ITEMS_MAX, at_revision: None }
    }
}

/// One page of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Tells one store from another; changes when a store is built anew.
    pub store_id: u64,
    /// The revision of the store when it was read. (With `at_revision`, that of the store, not the one asked for.)
    pub revision: i64,
    /// The keys in order.
    pub items: Vec<KeyValue>,
    /// True if the range goes on behind the last item.
    pub more: bool,
}

/// What must hold for a write to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key was last written by this revision.
    ModRevision(Bytes, i64),
    /// The key exists and was created by this revision.
    CreateRevision(Bytes, i64),
    /// The key does not exist.
    Absent(Bytes),
    /// The key exists.
    Exists(Bytes),
    /// The key has this value.
    Value(Bytes, Bytes),
}

impl Compare {
    /// The key that is compared.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::ModRevision(key, _)
            | Self::CreateRevision(key, _)
            | Self::Absent(key)
            | Self::Exists(key)
            | Self::Value(key, _) => key,
        }
    }

    /// True if it holds for the current state of its key.
    pub fn holds(&self, current: Option<&KeyValue>) -> bool {
        match self {
            Self::ModRevision(_, revision) => {
                current.is_some_and(|kv| kv.mod_revision == *revision)
            }
            Self::CreateRevision(_, revision) => {
                current.is_some_and(|kv| kv.create_revision == *revision)
            }
            Self::Absent(_) => current.is_none(),
            Self::Exists(_) => current.is_some(),
            Self::Value(_, value) => current.is_some_and(|kv| kv.value == *value),
        }
    }
}

/// A key to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The lease to bind the key to.
    pub lease: Option<LeaseId>,
}

/// A transaction: applied as a whole if all compares hold, not at all otherwise. No key may be written
/// twice, nor written and deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardedWrite {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// Keys to write.
    pub puts: Vec<Put>,
    /// Keys to delete.
    pub deletes: Vec<KeyRange>,
    /// Keys to read back if a compare fails.
    pub on_refused: Vec<Bytes>,
}

impl GuardedWrite {
    /// A transaction without content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds the condition that `key` was last written by `revision`, 0 meaning that it does not exist, and
    /// reads it back if not.
    #[must_use]
    pub fn when_unchanged(mut self, key: impl AsRef<[u8]>, revision: i64) -> Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.compares.push(match revision {
            0 => Compare::Absent(key.clone()),
            revision => Compare::ModRevision(key.clone(), revision),
        });
        self.on_refused.push(key);
        self
    }

    /// Adds a key to write.
    #[must_use]
    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.puts.push(Put { key, value: value.into(), lease: None });
        self
    }

    /// Adds a key to write that goes away with `lease`.
    #[must_use]
    pub fn put_leased(
        mut self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        lease: LeaseId,
    ) -> Self {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.puts.push(Put { key, value: value.into(), lease: Some(lease) });
        self
    }

    /// Adds keys to delete.
    #[must_use]
    pub fn delete(mut self, keys: KeyRange) -> Self {
        self.deletes.push(keys);
        self
    }

    /// Adds a key to read back if a compare fails.
    #[must_use]
    pub fn read_back(mut self, key: impl AsRef<[u8]>) -> Self {
        self.on_refused.push(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// The most operations of one kind, which is what etcd counts.
    pub fn operations(&self) -> usize {
        (self.puts.len() + self.deletes.len()).max(self.compares.len()).max(self.on_refused.len())
    }

    /// About how many bytes the request takes on the wire, never less than it does.
    pub fn size(&self) -> usize {
        let compares = self.compares.iter().map(|compare| {
            compare.key().len()
                + if let Compare::Value(_, value) = compare { value.len() } else { 0 }
        });
        let puts = self.puts.iter().map(|put| put.key.len() + put.value.len());
        let deletes = self
            .deletes
            .iter()
            .map(|keys| keys.start.len() + keys.end.as_ref().map_or(0, Bytes::len));
        let reads = self.on_refused.iter().map(Bytes::len);
        compares.chain(puts).chain(deletes).chain(reads).map(|part| part + Limits::OVERHEAD).sum()
    }

    /// Refuses what etcd would refuse for its shape, so that every implementation does.
    pub fn check(&self) -> Result<(), StoreError> {
        let operations = self.operations();
        if Limits::OPERATIONS_MAX < operations {
            return Err(StoreError::TooManyOperations { operations });
        }
        let size = self.size();
        if Limits::REQUEST_BYTES_MAX < size {
            return Err(StoreError::TooLarge { size });
        }
        let empty = |key: &Bytes| key.is_empty();
        if self.puts.iter().any(|put| empty(&put.key))
            || self.compares.iter().any(|compare| empty(compare.key()))
            || self.deletes.iter().any(|keys| empty(&keys.start))
            || self.on_refused.iter().any(empty)
        {
            return Err(StoreError::Invalid { reason: "a key is empty".into() });
        }
        self.check_overlap()
    }

    fn check_overlap(&self) -> Result<(), StoreError> {
        let mut keys: Vec<&Bytes> = self.puts.iter().map(|put| &put.key).collect();
        keys.sort_unstable();
        let twice = keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        let deleted =
            || keys.iter().copied().find(|key| self.deletes.iter().any(|keys| keys.contains(key)));
        match twice.or_else(deleted) {
            None => Ok(()),
            Some(key) => {
                Err(StoreError::DuplicateKey { key: String::from_utf8_lossy(key).into_owned() })
            }
        }
    }
}

/// What became of a [`GuardedWrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a write that may not have happened must be told from one that did"]
pub enum Outcome {
    /// Applied, as this revision.
    Committed {
        /// The revision of every key written.
        revision: i64,
    },
    /// Not applied: a compare failed.
    Refused {
        /// The revision of the store.
        revision: i64,
        /// The keys of `on_refused` that exist.
        current: Vec<KeyValue>,
    },
    /// Nobody answered: it may have been applied, may never be, or **may still be applied later**. Send the
    /// same transaction again until it is known ([`commit_until_known`](super::commit_until_known)).
    Unknown {
        /// Why, for the log.
        reason: String,
    },
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Written.
    Put(KeyValue),
    /// Deleted, or its lease expired.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision that deleted it.
        revision: i64,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision that changed it.
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(kv) => kv.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// Changes in the order of revisions; never a part of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchBatch {
    /// Everything up to and including this revision has been delivered, now or earlier.
    pub revision: i64,
    /// The changes; empty in a progress notification.
    pub events: Vec<Event>,
}

/// What a watch delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// Changes, or progress without changes.
    Batch(WatchBatch),
    /// The history that the watch needs is gone: list again. Last item.
    Compacted {
        /// The oldest revision that can be watched from is behind this one.
        compacted: i64,
    },
    /// The stream ended: nothing was lost if it is resumed from the last revision + 1. Last item.
    Broken {
        /// Why, for the log.
        reason: String,
    },
}

/// The store's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Tells one store from another.
    pub store_id: u64,
    /// The newest revision.
    pub revision: i64,
    /// The version of the store's program, for people.
    pub version: String,
    /// Bytes that the store takes on disk, free pages included; the quota counts these.
    pub size: u64,
    /// Bytes of `size` that are in use.
    pub size_in_use: u64,
    /// The limit of `size`, where the store tells it.
    pub quota: Option<u64>,
    /// The quota was reached: the store only reads and deletes until it is compacted, defragmented and
    /// its alarm disarmed.
    pub no_space: bool,
}

/// Limits of etcd that every implementation enforces.
#[derive(Debug)]
pub struct Limits;

impl Limits {
    /// Operations per transaction; compares, writes and reads are counted apart.
    pub const OPERATIONS_MAX: usize = 128;
    /// Bytes per request.
    pub const REQUEST_BYTES_MAX: usize = 1_572_864;
    /// Items per page.
    pub const PAGE_ITEMS_MAX: usize = 1000;
    /// Bytes per page: what a client of etcd decodes by default.
    pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
    /// Framing of one operation, at most: tags, lengths, revision, lease.
    pub const OVERHEAD: usize = 48;
}
