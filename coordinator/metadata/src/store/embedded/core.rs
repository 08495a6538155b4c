//! The embedded store without threads, timers or tasks: revisions, leases, watches, compaction and faults,
//! driven by calls and a clock that the caller owns. The simulator uses it as it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::file::{LogFile, OpenError};
use super::record::Record;
use crate::store::{
    Event, GuardedWrite, KeyRange, KeyValue, Lease, LeaseId, Limits, Outcome, Page, RangeRequest,
    Status, StoreError, WatchBatch, WatchItem,
};

/// What is to go wrong with the next transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is applied, the answer is lost.
    LoseAnswer,
    /// It is lost on the way.
    LoseRequest,
    /// It is held, and applied by [`Core::deliver_late`].
    Late,
}

/// A running watch of a [`Core`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId(u64);

/// The state machine. All times are since an arbitrary start that the caller chose.
#[derive(Debug)]
pub struct Core {
    store_id: u64,
    revision: i64,
    compacted: i64,
    /// Versions of a key, oldest first; `Delete` where it was absent.
    keys: BTreeMap<Bytes, Vec<Event>>,
    /// Changes behind `compacted`, by revision.
    history: VecDeque<WatchBatch>,
    leases: BTreeMap<LeaseId, HeldLease>,
    next_lease: i64,
    watches: BTreeMap<WatchId, Watching>,
    next_watch: u64,
    faults: VecDeque<Fault>,
    late: VecDeque<GuardedWrite>,
    paused: bool,
    file: Option<LogFile>,
    failed: Option<String>,
    history_max: usize,
}

#[derive(Debug)]
struct HeldLease {
    ttl: Duration,
    expires_at: Duration,
    keys: BTreeSet<Bytes>,
}

#[derive(Debug)]
struct Watching {
    keys: KeyRange,
    /// The next revision to deliver.
    next: i64,
    progress_wanted: bool,
}

impl Core {
    /// A store in memory. Two stores with one id would be taken for one.
    pub fn in_memory(store_id: u64) -> Self {
        Self {
            store_id,
            // As in etcd, the empty store is at 1 and the first write makes 2.
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            leases: BTreeMap::new(),
            next_lease: 1,
            watches: BTreeMap::new(),
            next_watch: 0,
            faults: VecDeque::new(),
            late: VecDeque::new(),
            paused: false,
            file: None,
            failed: None,
            history_max: HISTORY_MAX,
        }
    }

    /// A store kept in `dir`; `new_store_id` is used if there is none yet. Leases found there get their full
    /// time again.
    pub fn open(dir: &Path, new_store_id: u64, now: Duration) -> Result<Self, OpenError> {
        let (file, recovered) = LogFile::open(dir)?;
        let mut core = Self::in_memory(new_store_id);
        let fresh = recovered.snapshot.is_empty() && recovered.log.is_empty();
        for record in recovered.snapshot.into_iter().chain(recovered.log) {
            core.apply(record, now);
        }
        core.file = Some(file);
        if fresh {
            core.snapshot();
            if let Some(reason) = core.failed.take() {
                let source = std::io::Error::other(reason);
                return Err(OpenError::Io { path: dir.to_owned(), source });
            }
        }
        Ok(core)
    }

    /// Sends a transaction.
    pub fn txn(&mut self, write: &GuardedWrite, now: Duration) -> Result<Outcome, StoreError> {
        write.check()?;
        if self.paused {
            // As with a paused member of etcd: what reached it is applied when it goes on.
            self.late.push_back(write.clone());
            return Ok(Outcome::Unknown { reason: "the store is paused".into() });
        }
        match self.faults.pop_front() {
            None => self.decide(write, now),
            Some(Fault::LoseAnswer) => {
                let outcome = self.decide(write, now);
                tracing::debug!(?outcome, "answer lost on purpose");
                Ok(Outcome::Unknown { reason: "the answer was lost".into() })
            }
            Some(Fault::LoseRequest) => {
                Ok(Outcome::Unknown { reason: "the request was lost".into() })
            }
            Some(Fault::Late) => {
                self.late.push_back(write.clone());
                Ok(Outcome::Unknown { reason: "the request is late".into() })
            }
        }
    }

    /// Applies the transactions that were held, and says what became of each.
    pub fn deliver_late(&mut self, now: Duration) -> Vec<Result<Outcome, StoreError>> {
        let late = std::mem::take(&mut self.late);
        late.iter().map(|write| self.decide(write, now)).collect()
    }

    /// Reads one page.
    pub fn range(&self, request: &RangeRequest) -> Result<Page, StoreError> {
        self.check_usable()?;
        let at = request.at_revision.unwrap_or(self.revision);
        if at < self.compacted {
            return Err(StoreError::Compacted { compacted: self.compacted });
        }
        if self.revision < at {
            let reason = format!("revision {at} is in the future");
            return Err(StoreError::Invalid { reason });
        }
        let limit = request.limit.clamp(1, Limits::PAGE_ITEMS_MAX);
        let mut page =
            Page { store_id: self.store_id, revision: self.revision, items: vec![], more: false };
        let mut bytes = 0;
        for (_, versions) in self.keys.range::<[u8], _>(bounds(&request.keys)) {
            let Some(kv) = version_at(versions, at) else { continue };
            bytes += kv.key.len() + kv.value.len() + Limits::OVERHEAD;
            let full = Limits::PAGE_BYTES_MAX < bytes && !page.items.is_empty();
            if page.items.len() == limit || full {
                page.more = true;
                break;
            }
            page.items.push(kv.clone());
        }
        Ok(page)
    }

    /// Grants a lease; etcd counts whole seconds, so this does too.
    pub fn lease_grant(&mut self, ttl: Duration, now: Duration) -> Result<Lease, StoreError> {
        self.check_usable()?;
        let ttl =
            Duration::from_secs(ttl.as_secs() + u64::from(0 < ttl.subsec_nanos())).max(TTL_MIN);
        let id = LeaseId(self.next_lease);
        self.commit(Record::Grant(id, ttl), now)?;
        Ok(Lease { id, ttl })
    }

    /// Renews a lease.
    pub fn lease_keep_alive(&mut self, id: LeaseId, now: Duration) -> Result<Duration, StoreError> {
        self.check_usable()?;
        self.tick(now);
        let lease = self.leases.get_mut(&id).ok_or(StoreError::LeaseNotFound(id))?;
        lease.expires_at = now + lease.ttl;
        Ok(lease.ttl)
    }

    /// Ends a lease and deletes its keys.
    pub fn lease_revoke(&mut self, id: LeaseId, now: Duration) -> Result<(), StoreError> {
        self.check_usable()?;
        self.revoke(id, now)
    }

    /// Ends the leases whose time is over.
    pub fn tick(&mut self, now: Duration) {
        if self.check_usable().is_err() {
            return;
        }
        let over = self.leases.iter().filter(|(_, lease)| lease.expires_at <= now);
        let over: Vec<LeaseId> = over.map(|(id, _)| *id).collect();
        for id in over {
            if let Err(error) = self.revoke(id, now) {
                tracing::warn!(%id, %error, "lease could not be ended");
            }
        }
    }

    /// When [`Core::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.leases.values().map(|lease| lease.expires_at).min()
    }

    /// Starts a watch.
    pub fn watch(&mut self, keys: KeyRange, from_revision: i64) -> Result<WatchId, StoreError> {
        self.check_usable()?;
        let id = WatchId(self.next_watch);
        self.next_watch += 1;
        // Zero would be "from now on" in etcd.
        let next = from_revision.max(1);
        self.watches.insert(id, Watching { keys, next, progress_wanted: false });
        Ok(id)
    }

    /// The next item of a watch, if there is one now.
    pub fn poll_watch(&mut self, id: WatchId) -> Option<WatchItem> {
        let Some(watch) = self.watches.get_mut(&id) else {
            return Some(WatchItem::Broken { reason: "the watch has ended".into() });
        };
        if self.paused {
            return None;
        }
        if watch.next <= self.compacted && watch.next <= self.revision {
            let compacted = self.compacted;
            self.watches.remove(&id);
            return Some(WatchItem::Compacted { compacted });
        }
        let mut batch = WatchBatch { revision: watch.next - 1, events: vec![] };
        let first = self.history.partition_point(|past| past.revision < watch.next);
        for past in self.history.range(first..) {
            let events = past.events.iter().filter(|event| watch.keys.contains(event.key()));
            batch.events.extend(events.cloned());
            batch.revision = past.revision;
            watch.next = past.revision + 1;
            if WATCH_BATCH_EVENTS <= batch.events.len() {
                break;
            }
        }
        if !batch.events.is_empty() {
            return Some(WatchItem::Batch(batch));
        }
        if watch.progress_wanted && watch.next == self.revision + 1 {
            watch.progress_wanted = false;
            return Some(WatchItem::Batch(WatchBatch { revision: self.revision, events: vec![] }));
        }
        None
    }

    /// Asks a watch for progress once it has delivered everything.
    pub fn request_progress(&mut self, id: WatchId) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.progress_wanted = true;
        }
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, id: WatchId) {
        self.watches.remove(&id);
    }

    /// Drops history before `revision`.
    pub fn compact(&mut self, revision: i64, now: Duration) -> Result<(), StoreError> {
        self.check_usable()?;
        if revision <= self.compacted {
            return Ok(());
        }
        if self.revision < revision {
            let reason = format!("revision {revision} is in the future");
            return Err(StoreError::Invalid { reason });
        }
        self.commit(Record::Compact(revision), now)
    }

    /// The state of the store.
    pub fn status(&self) -> Result<Status, StoreError> {
        self.check_usable()?;
        let events = self.keys.values().flatten();
        let size = events.map(|event| match event {
            Event::Put(kv) => kv.key.len() + kv.value.len() + Limits::OVERHEAD,
            Event::Delete { key, .. } => key.len() + Limits::OVERHEAD,
        });
        let size = size.sum::<usize>() as u64;
        Ok(Status {
            store_id: self.store_id,
            revision: self.revision,
            version: concat!("embedded ", env!("CARGO_PKG_VERSION")).into(),
            size,
            size_in_use: size,
            quota: None,
            no_space: false,
        })
    }

    /// Lets the next transactions go wrong, one fault each.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push_back(fault);
    }

    /// Breaks every watch.
    pub fn break_watches(&mut self) {
        self.watches.clear();
    }

    /// Stops answering, or goes on; what was sent meanwhile is applied then.
    pub fn set_paused(&mut self, paused: bool, now: Duration) {
        self.paused = paused;
        if !paused {
            self.deliver_late(now);
        }
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.paused {
            return Err(StoreError::Unavailable { reason: "the store is paused".into() });
        }
        match &self.failed {
            None => Ok(()),
            Some(reason) => Err(StoreError::Unavailable { reason: reason.clone() }),
        }
    }

    fn current(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key).and_then(|versions| version_at(versions, i64::MAX))
    }

    fn decide(&mut self, write: &GuardedWrite, now: Duration) -> Result<Outcome, StoreError> {
        self.check_usable()?;
        self.tick(now);
        if !write.compares.iter().all(|compare| compare.holds(self.current(compare.key()))) {
            let current = write.on_refused.iter().filter_map(|key| self.current(key).cloned());
            return Ok(Outcome::Refused { revision: self.revision, current: current.collect() });
        }
        let missing = |lease: &LeaseId| !self.leases.contains_key(lease);
        if let Some(lease) = write.puts.iter().filter_map(|put| put.lease).find(missing) {
            return Err(StoreError::LeaseNotFound(lease));
        }
        let batch = self.events_of(write);
        if batch.events.is_empty() {
            return Ok(Outcome::Committed { revision: self.revision });
        }
        let revision = batch.revision;
        match self.commit(Record::Write(batch), now) {
            Ok(()) => Ok(Outcome::Committed { revision }),
            // The record may be found in the file when it is opened again.
            Err(error) => Ok(Outcome::Unknown { reason: error.to_string() }),
        }
    }

    fn events_of(&self, write: &GuardedWrite) -> WatchBatch {
        let revision = self.revision + 1;
        let mut events = Vec::with_capacity(write.puts.len() + write.deletes.len());
        for put in &write.puts {
            let created = self.current(&put.key).map_or(revision, |kv| kv.create_revision);
            events.push(Event::Put(KeyValue {
                key: put.key.clone(),
                value: put.value.clone(),
                create_revision: created,
                mod_revision: revision,
                lease: put.lease,
            }));
        }
        let mut deleted = BTreeSet::new();
        for keys in &write.deletes {
            for (key, versions) in self.keys.range::<[u8], _>(bounds(keys)) {
                if version_at(versions, i64::MAX).is_some() {
                    deleted.insert(key.clone());
                }
            }
        }
        events.extend(deleted.into_iter().map(|key| Event::Delete { key, revision }));
        WatchBatch { revision, events }
    }

    fn revoke(&mut self, id: LeaseId, now: Duration) -> Result<(), StoreError> {
        let Some(lease) = self.leases.get(&id) else { return Ok(()) };
        let revision = self.revision + 1;
        let events = lease.keys.iter().map(|key| Event::Delete { key: key.clone(), revision });
        let events: Vec<Event> = events.collect();
        let batch = (!events.is_empty()).then_some(WatchBatch { revision, events });
        self.commit(Record::Revoke(id, batch), now)
    }

    /// Makes a record durable, then applies it.
    fn commit(&mut self, record: Record, now: Duration) -> Result<(), StoreError> {
        if let Some(file) = &mut self.file
            && let Err(error) = file.append(&record)
        {
            let reason = format!("the metadata log cannot be written: {error}");
            tracing::error!(%error, "the metadata log cannot be written: restart when the disk is well");
            self.failed = Some(reason.clone());
            return Err(StoreError::Unavailable { reason });
        }
        self.apply(record, now);
        if self.history_max < self.history.len() {
            let keep = self.history_max / 2;
            let revision = self.history[self.history.len() - keep].revision;
            self.commit(Record::Compact(revision), now)?;
        }
        if self.file.as_ref().is_some_and(LogFile::wants_snapshot) {
            self.snapshot();
        }
        Ok(())
    }

    fn apply(&mut self, record: Record, now: Duration) {
        match record {
            Record::Start { store_id, revision, compacted, next_lease } => {
                self.store_id = store_id;
                self.revision = revision;
                self.compacted = compacted;
                self.next_lease = next_lease;
            }
            Record::Write(batch) => self.apply_batch(batch),
            Record::Grant(id, ttl) => {
                let lease = HeldLease { ttl, expires_at: now + ttl, keys: BTreeSet::new() };
                self.leases.insert(id, lease);
                self.next_lease = self.next_lease.max(id.0 + 1);
            }
            Record::Revoke(id, batch) => {
                self.leases.remove(&id);
                if let Some(batch) = batch {
                    self.apply_batch(batch);
                }
            }
            Record::Compact(revision) => self.apply_compact(revision),
            Record::Version(event) => self.apply_version(event),
            Record::End(_) => {}
        }
    }

    fn apply_batch(&mut self, batch: WatchBatch) {
        self.revision = batch.revision;
        for event in &batch.events {
            self.apply_lease(event);
            self.keys.entry(event.key().clone()).or_default().push(event.clone());
        }
        self.history.push_back(batch);
    }

    /// A version from a snapshot: versions of one revision make its batch again.
    fn apply_version(&mut self, event: Event) {
        self.apply_lease(&event);
        let revision = event.revision();
        self.keys.entry(event.key().clone()).or_default().push(event.clone());
        if self.compacted < revision {
            match self.history.back_mut() {
                Some(batch) if batch.revision == revision => batch.events.push(event),
                _ => self.history.push_back(WatchBatch { revision, events: vec![event] }),
            }
        }
    }

    fn apply_lease(&mut self, event: &Event) {
        let bound = match event {
            Event::Put(kv) => kv.lease,
            Event::Delete { .. } => None,
        };
        let former = self.current(event.key()).and_then(|kv| kv.lease);
        if let Some(lease) = former.and_then(|former| self.leases.get_mut(&former)) {
            lease.keys.remove(event.key());
        }
        if let Some(lease) = bound.and_then(|bound| self.leases.get_mut(&bound)) {
            lease.keys.insert(event.key().clone());
        }
    }

    fn apply_compact(&mut self, revision: i64) {
        self.compacted = revision;
        while self.history.front().is_some_and(|batch| batch.revision <= revision) {
            self.history.pop_front();
        }
        self.keys.retain(|_, versions| {
            let behind = versions.partition_point(|event| event.revision() <= revision);
            // The last version at or before the revision is still its state, unless the key was absent.
            let state = behind.checked_sub(1);
            let first = match state {
                Some(at) if matches!(versions[at], Event::Delete { .. }) => behind,
                Some(at) => at,
                None => 0,
            };
            versions.drain(..first);
            !versions.is_empty()
        });
    }

    fn snapshot(&mut self) {
        let start = Record::Start {
            store_id: self.store_id,
            revision: self.revision,
            compacted: self.compacted,
            next_lease: self.next_lease,
        };
        let leases = self.leases.iter().map(|(id, lease)| Record::Grant(*id, lease.ttl));
        let mut versions: Vec<&Event> = self.keys.values().flatten().collect();
        versions.sort_by_key(|event| event.revision());
        let versions = versions.into_iter().map(|event| Record::Version(event.clone()));
        let records = std::iter::once(start).chain(leases).chain(versions);
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.snapshot(records) {
            tracing::error!(%error, "the metadata snapshot cannot be written: restart when the disk is well");
            self.failed = Some(format!("the metadata snapshot cannot be written: {error}"));
        }
    }
}

fn bounds(keys: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let start = keys.start.as_ref();
    match &keys.end {
        None => (Bound::Included(start), Bound::Included(start)),
        // A map refuses a range that ends before it starts.
        Some(end) if end.as_ref() <= start => (Bound::Excluded(start), Bound::Included(start)),
        Some(end) => (Bound::Included(start), Bound::Excluded(end.as_ref())),
    }
}

fn version_at(versions: &[Event], revision: i64) -> Option<&KeyValue> {
    let behind = versions.partition_point(|event| event.revision() <= revision);
    match versions.get(behind.checked_sub(1)?)? {
        Event::Put(kv) => Some(kv),
        Event::Delete { .. } => None,
    }
}

/// Revisions kept before the older half is compacted, in case nobody else compacts.
const HISTORY_MAX: usize = 20_000;
/// A watch that is behind gets about this many events at once; always whole revisions.
const WATCH_BATCH_EVENTS: usize = 256;
/// As in etcd with its default election timeout.
const TTL_MIN: Duration = Duration::from_secs(1);
