//! The journal that carries the state of coordination shards.
//!
//! Every write compares the head of each shard that it touches and bumps it, so a write of a former owner is
//! refused, and so is a delayed write of the owner itself. One write is in flight at a time; it may coalesce
//! several shards. Whether an unanswered write was applied is found out by sending it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::keys::{Key, KeySpace, ShardKey};
use crate::model::{JournalOwner, ModelError, Rest, ShardHead, decode, encode};
use crate::store::{
    BoxFuture, Compare, GuardedWrite, KeyRange, KeyValue, MetaStore, Outcome, RetryPolicy,
    StoreError, commit_until_known, read_all, read_key,
};

/// One key of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key, other than the head.
    pub key: ShardKey,
    /// The value; `None` deletes the key.
    pub value: Option<Bytes>,
}

/// What a shard's owner found when it took the shard over.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The head, now the owner's.
    pub head: ShardHead,
    /// Everything that the shard holds, in the order of keys.
    pub records: Vec<Record>,
}

/// The records that one shard writes at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardBatch {
    /// Which shard.
    pub shard: i32,
    /// What it writes; no key twice.
    pub records: Vec<Record>,
}

/// Why a journal write or load did not happen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JournalError {
    /// Another coordinator has the shard: unload it, answer NOT_COORDINATOR.
    #[error("shard {shard} was taken over by coordinator {}", head.owner)]
    Fenced {
        /// The shard; the others of the batch were not written either.
        shard: i32,
        /// Its head now.
        head: ShardHead,
    },
    /// This coordinator is no longer the active one.
    #[error("this coordinator is not the active one any more")]
    NotActive,
    /// The shard is not loaded, or was lost.
    #[error("shard {shard} is not loaded")]
    NotLoaded {
        /// The shard.
        shard: i32,
    },
    /// It is not known whether the write was applied. Nothing may be answered or reverted; call
    /// [`Journal::resolve`] until it is.
    #[error("a journal write is unanswered: {reason}")]
    Unresolved {
        /// What was seen.
        reason: String,
    },
    /// A value that cannot be read.
    #[error(transparent)]
    Value(#[from] ModelError),
    /// Certainly not written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Carries shard state. One per coordinator and store, owned by one task.
pub trait Journal: Send {
    /// Takes a shard over and reads it.
    fn load(&mut self, shard: i32) -> BoxFuture<'_, Result<Loaded, JournalError>>;

    /// Takes shards over, all or none: nothing of a former owner is written to them any more. What they hold
    /// is read by [`Self::reader`] from then on.
    fn take_over(&mut self, shards: Vec<i32>) -> BoxFuture<'_, Result<(), JournalError>>;

    /// Reads shards beside the writing.
    fn reader(&self) -> ShardReader;

    /// Writes batches of loaded shards, all or nothing, and returns the revision. An unresolved write is
    /// resolved first.
    fn commit(&mut self, batches: Vec<ShardBatch>) -> BoxFuture<'_, Result<i64, JournalError>>;

    /// Finds out what became of an unresolved write: its revision if it was applied, `None` if none is pending.
    fn resolve(&mut self) -> BoxFuture<'_, Result<Option<i64>, JournalError>>;
}

/// Reads what shards hold, and whether they are still this coordinator's. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ShardReader {
    store: Arc<dyn MetaStore>,
    keys: KeySpace,
    /// Holds while this coordinator owns its shards.
    active: Option<Compare>,
}

impl ShardReader {
    /// Everything that a shard holds, in the order of keys. To be read after it was taken over: then nothing
    /// of a former owner can come later.
    pub async fn read(&self, shard: i32) -> Result<Vec<Record>, JournalError> {
        let all = read_all(&*self.store, self.keys.shard(shard)).await?;
        let mut records = Vec::with_capacity(all.items.len());
        for kv in all.items {
            match self.keys.parse(&kv.key) {
                Ok(Key::Shard(_, ShardKey::Head)) => {}
                Ok(Key::Shard(_, key)) => records.push(Record { key, value: Some(kv.value) }),
                Ok(_) | Err(_) => {
                    let key = String::from_utf8_lossy(&kv.key).into_owned();
                    tracing::warn!(%key, "key of a later version is left alone");
                }
            }
        }
        Ok(records)
    }

    /// Whether this coordinator still owned its shards at some time after this call began: then nobody else
    /// had written to them before. One read, however many shards there are.
    pub async fn is_active(&self) -> Result<bool, StoreError> {
        let Some(active) = &self.active else { return Ok(false) };
        let current = read_key(&*self.store, active.key()).await?;
        Ok(active.holds(current.as_ref()))
    }
}

/// The journal in the metadata store, or in a store of its own.
#[derive(Debug)]
pub struct MetaJournal {
    store: Arc<dyn MetaStore>,
    keys: KeySpace,
    owner: i32,
    term: i64,
    /// Holds while this coordinator is the active one; in a store of its own, `None` before it is the owner.
    active: Option<Compare>,
    /// Whether the store is another than the one that the coordinator was elected in.
    is_apart: bool,
    retry: RetryPolicy,
    heads: BTreeMap<i32, Head>,
    pending: Option<Pending>,
}

#[derive(Debug, Clone)]
struct Head {
    value: ShardHead,
    revision: i64,
}

#[derive(Debug)]
struct Pending {
    write: GuardedWrite,
    /// The heads that it compares and what it makes of them.
    bumps: Vec<Bump>,
    /// It was sent before without an answer, so a failure to send it again decides nothing.
    in_doubt: bool,
}

#[derive(Debug)]
struct Bump {
    shard: i32,
    /// The mod revision before, 0 if there was no head.
    before: i64,
    after: ShardHead,
}

impl MetaJournal {
    /// A journal of the coordinator `owner` in its controller term (the create revision of the controller key).
    pub fn new(store: Arc<dyn MetaStore>, keys: KeySpace, owner: i32, term: i64) -> Self {
        let active = Compare::CreateRevision(keys.format(&Key::Controller).into(), term);
        let retry = RetryPolicy::default();
        let (active, is_apart, heads) = (Some(active), false, BTreeMap::new());
        Self { store, keys, owner, term, active, is_apart, retry, heads, pending: None }
    }

    /// A journal in a store of its own, which does not know who is the active coordinator: the owner's key
    /// there takes the place of the election's, and a coordinator of an earlier term takes nothing over.
    pub fn apart(store: Arc<dyn MetaStore>, keys: KeySpace, owner: i32, term: i64) -> Self {
        Self { active: None, is_apart: true, ..Self::new(store, keys, owner, term) }
    }

    fn head_key(&self, shard: i32) -> String {
        self.keys.format(&Key::Shard(shard, ShardKey::Head))
    }

    async fn take_over_all(&mut self, shards: Vec<i32>) -> Result<(), JournalError> {
        self.settle().await?;
        if self.is_apart && self.active.is_none() {
            self.become_owner().await?;
        }
        for some in shards.chunks(TAKEN_AT_ONCE) {
            self.take_over_some(some).await?;
        }
        Ok(())
    }

    async fn take_over_some(&mut self, shards: &[i32]) -> Result<(), JournalError> {
        let mut pending = Pending { write: self.fenced()?, bumps: Vec::new(), in_doubt: false };
        let store = self.store.clone();
        let heads = shards.iter().map(|shard| read_key(&*store, self.head_key(*shard)));
        let found = try_join_all(heads.collect::<Vec<_>>()).await?;
        for (shard, found) in shards.iter().zip(found) {
            self.heads.remove(shard);
            let key = self.head_key(*shard);
            let (before, after) = self.taken(&key, found)?;
            let write = std::mem::take(&mut pending.write);
            pending.write = write.when_unchanged(&key, before).put(&key, encode(&after));
            pending.bumps.push(Bump { shard: *shard, before, after });
        }
        self.send(pending).await?;
        Ok(())
    }

    /// The head as this owner makes it, and the revision of the one that it replaces.
    fn taken(&self, key: &str, found: Option<KeyValue>) -> Result<(i64, ShardHead), JournalError> {
        let owner = self.owner;
        let Some(kv) = found else {
            return Ok((0, ShardHead { owner, epoch: 0, sequence: 0, rest: Rest::new() }));
        };
        let before: ShardHead = decode(key, &kv.value)?;
        let (epoch, sequence) = (before.epoch + 1, before.sequence + 1);
        Ok((kv.mod_revision, ShardHead { owner, epoch, sequence, rest: before.rest }))
    }

    /// Puts this coordinator's name into a store that was not asked who is elected.
    async fn become_owner(&mut self) -> Result<(), JournalError> {
        let key = self.keys.journal_owner();
        let found = read_key(&*self.store, &key).await?;
        let before = found.as_ref().map_or(0, |kv| kv.mod_revision);
        if let Some(kv) = &found {
            let former: JournalOwner = decode(&key, &kv.value)?;
            if self.term < former.term {
                return Err(JournalError::NotActive);
            }
        }
        let mine = JournalOwner { owner: self.owner, term: self.term, rest: Rest::new() };
        let write = GuardedWrite::new().when_unchanged(&key, before).put(&key, encode(&mine));
        match commit_until_known(&*self.store, &write, self.retry).await? {
            Outcome::Committed { revision } => {
                self.active = Some(Compare::ModRevision(key.into(), revision));
                Ok(())
            }
            Outcome::Refused { .. } => Err(JournalError::NotActive),
            // Nothing was written to a shard yet, so it is simply tried again: whichever copy of this write
            // comes late is refused by the revision that it compares.
            Outcome::Unknown { reason } => Err(StoreError::Unavailable { reason }.into()),
        }
    }

    async fn load_one(&mut self, shard: i32) -> Result<Loaded, JournalError> {
        self.take_over_all(vec![shard]).await?;
        let records = self.reader().read(shard).await?;
        let head = self.heads.get(&shard).ok_or(JournalError::NotLoaded { shard })?;
        Ok(Loaded { head: head.value.clone(), records })
    }

    async fn write(&mut self, batches: Vec<ShardBatch>) -> Result<i64, JournalError> {
        self.settle().await?;
        let mut pending = Pending { write: self.fenced()?, bumps: Vec::new(), in_doubt: false };
        for batch in batches {
            let shard = batch.shard;
            let head = self.heads.get(&shard).ok_or(JournalError::NotLoaded { shard })?;
            let mut next = head.value.clone();
            next.sequence += 1;
            let key = self.head_key(shard);
            let mut write = std::mem::take(&mut pending.write);
            write = write.when_unchanged(&key, head.revision).put(&key, encode(&next));
            for record in batch.records {
                let key = self.keys.format(&Key::Shard(shard, record.key));
                write = match record.value {
                    Some(value) => write.put(&key, value),
                    None => write.delete(KeyRange::key(&key)),
                };
            }
            pending.write = write;
            pending.bumps.push(Bump { shard, before: head.revision, after: next });
        }
        self.send(pending).await
    }

    fn fenced(&self) -> Result<GuardedWrite, JournalError> {
        let active = self.active.clone().ok_or(JournalError::NotActive)?;
        Ok(GuardedWrite::new().when(active))
    }

    /// An earlier write that is in doubt comes first; if it turns out refused, this call fails with that.
    async fn settle(&mut self) -> Result<Option<i64>, JournalError> {
        match self.pending.take() {
            Some(pending) => self.send(pending).await.map(Some),
            None => Ok(None),
        }
    }

    async fn send(&mut self, pending: Pending) -> Result<i64, JournalError> {
        // Kept while the store is asked: a cancelled call leaves the write in doubt, not forgotten.
        let (write, in_doubt) = (pending.write.clone(), pending.in_doubt);
        self.pending = Some(Pending { in_doubt: true, ..pending });
        let outcome = commit_until_known(&*self.store, &write, self.retry).await;
        match outcome {
            Ok(Outcome::Unknown { reason }) => Err(JournalError::Unresolved { reason }),
            Ok(Outcome::Committed { revision }) => {
                for bump in self.pending.take().map(|pending| pending.bumps).unwrap_or_default() {
                    self.heads.insert(bump.shard, Head { value: bump.after, revision });
                }
                Ok(revision)
            }
            Ok(Outcome::Refused { current, .. }) => {
                let bumps = self.pending.take().map(|pending| pending.bumps).unwrap_or_default();
                for Bump { shard, before, .. } in bumps {
                    let key = self.head_key(shard);
                    let now = current.iter().find(|kv| kv.key == key);
                    if let Some(kv) = now
                        && kv.mod_revision != before
                    {
                        self.heads.remove(&shard);
                        return Err(JournalError::Fenced { shard, head: decode(&key, &kv.value)? });
                    }
                }
                // No head moved, so it was the term.
                self.heads.clear();
                Err(JournalError::NotActive)
            }
            Err(error) if in_doubt => Err(JournalError::Unresolved { reason: error.to_string() }),
            Err(error) => {
                self.pending = None;
                Err(error.into())
            }
        }
    }
}

impl Journal for MetaJournal {
    fn load(&mut self, shard: i32) -> BoxFuture<'_, Result<Loaded, JournalError>> {
        Box::pin(self.load_one(shard))
    }

    fn take_over(&mut self, shards: Vec<i32>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(self.take_over_all(shards))
    }

    fn reader(&self) -> ShardReader {
        let (store, keys) = (self.store.clone(), self.keys.clone());
        ShardReader { store, keys, active: self.active.clone() }
    }

    fn commit(&mut self, batches: Vec<ShardBatch>) -> BoxFuture<'_, Result<i64, JournalError>> {
        Box::pin(self.write(batches))
    }

    fn resolve(&mut self) -> BoxFuture<'_, Result<Option<i64>, JournalError>> {
        Box::pin(self.settle())
    }
}

/// Shards that one transaction takes over.
const TAKEN_AT_ONCE: usize = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keys::GroupKey;
    use crate::store::embedded::{EmbeddedStore, Fault};
    use crate::store::{Lease, LeaseId, Page, RangeRequest, Status, Watch};

    async fn become_active(store: &EmbeddedStore) -> i64 {
        let key = KeySpace::default().format(&Key::Controller);
        let again = GuardedWrite::new().delete(KeyRange::key(&key));
        assert!(matches!(store.txn(again).await, Ok(Outcome::Committed { .. })));
        match store.txn(GuardedWrite::new().put(&key, "{}")).await.unwrap() {
            Outcome::Committed { revision } => revision,
            outcome => panic!("{outcome:?}"),
        }
    }

    fn journal(store: &EmbeddedStore, owner: i32, term: i64) -> MetaJournal {
        MetaJournal::new(Arc::new(store.clone()), KeySpace::default(), owner, term)
    }

    /// A store that cannot be reached.
    #[derive(Debug)]
    struct Away;

    fn away<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
        Box::pin(std::future::ready(Err(StoreError::Unavailable { reason: "away".into() })))
    }

    impl MetaStore for Away {
        fn range(&self, _: RangeRequest) -> BoxFuture<'_, Result<Page, StoreError>> {
            away()
        }
        fn txn(&self, _: GuardedWrite) -> BoxFuture<'_, Result<Outcome, StoreError>> {
            away()
        }
        fn watch(&self, _: KeyRange, _: i64) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>> {
            away()
        }
        fn lease_grant(&self, _: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
            away()
        }
        fn lease_keep_alive(&self, _: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
            away()
        }
        fn lease_revoke(&self, _: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
            away()
        }
        fn compact(&self, _: i64) -> BoxFuture<'_, Result<(), StoreError>> {
            away()
        }
        fn status(&self) -> BoxFuture<'_, Result<Status, StoreError>> {
            away()
        }
    }

    fn meta(group: &str, value: Option<&'static str>) -> Record {
        let key = ShardKey::Group(group.into(), GroupKey::Meta);
        Record { key, value: value.map(Bytes::from) }
    }

    fn batch(shard: i32, records: Vec<Record>) -> ShardBatch {
        ShardBatch { shard, records }
    }

    #[tokio::test]
    async fn what_was_committed_is_loaded_by_the_next_owner() {
        let store = EmbeddedStore::in_memory(1);
        let term = become_active(&store).await;
        let mut first = journal(&store, 1, term);
        assert_eq!(first.load(3).await.unwrap().records, []);
        first.load(4).await.unwrap();
        let a = batch(3, vec![meta("a/b", Some("1")), meta("gone", Some("1"))]);
        first.commit(vec![a, batch(4, vec![meta("other", Some("x"))])]).await.unwrap();
        first.commit(vec![batch(3, vec![meta("gone", None)])]).await.unwrap();
        let error = first.commit(vec![batch(5, vec![])]).await;
        assert_eq!(error, Err(JournalError::NotLoaded { shard: 5 }));

        let mut second = journal(&store, 2, term);
        let loaded = second.load(3).await.unwrap();
        assert_eq!(loaded.records, [meta("a/b", Some("1"))]);
        let head = &loaded.head;
        assert_eq!((head.owner, head.epoch, head.sequence), (2, 1, 3));
        // The former owner learns it at its next write, which changes nothing, the other shard included.
        let both =
            vec![batch(4, vec![meta("other", Some("y"))]), batch(3, vec![meta("z", Some("z"))])];
        let error = first.commit(both).await.unwrap_err();
        assert!(
            matches!(error, JournalError::Fenced { shard: 3, ref head } if head.owner == 2),
            "{error}"
        );
        assert_eq!(second.load(4).await.unwrap().records, [meta("other", Some("x"))]);
        assert_eq!(second.load(3).await.unwrap().records, [meta("a/b", Some("1"))]);
    }

    #[tokio::test]
    async fn lost_answer_is_resolved_by_sending_the_same_again() {
        let store = EmbeddedStore::in_memory(1);
        let term = become_active(&store).await;
        let mut journal = journal(&store, 1, term);
        journal.load(0).await.unwrap();
        for (fault, value) in [(Fault::LoseAnswer, "applied"), (Fault::LoseRequest, "lost")] {
            store.inject(fault);
            journal.commit(vec![batch(0, vec![meta("g", Some(value))])]).await.unwrap();
            // The head is known again, so the next write is not refused.
            journal.commit(vec![batch(0, vec![meta("h", Some(value))])]).await.unwrap();
        }
        let loaded = journal.load(0).await.unwrap();
        assert_eq!(loaded.records, [meta("g", Some("lost")), meta("h", Some("lost"))]);
    }

    #[tokio::test]
    async fn write_in_doubt_is_neither_answered_nor_forgotten() {
        let store = EmbeddedStore::in_memory(1);
        let term = become_active(&store).await;
        let mut journal = journal(&store, 1, term);
        journal.retry =
            RetryPolicy { attempts: 1, pause: Duration::ZERO, ..RetryPolicy::default() };
        journal.load(0).await.unwrap();
        store.inject(Fault::LoseAnswer);
        let error = journal.commit(vec![batch(0, vec![meta("g", Some("1"))])]).await.unwrap_err();
        assert!(matches!(error, JournalError::Unresolved { .. }), "{error}");
        // A store that does not answer decides nothing.
        store.set_paused(true);
        let error = journal.resolve().await.unwrap_err();
        assert!(matches!(error, JournalError::Unresolved { .. }), "{error}");
        store.set_paused(false);
        // Nor does one that certainly does not do it now: the earlier copy was applied.
        journal.store = Arc::new(Away);
        let error = journal.resolve().await.unwrap_err();
        assert!(matches!(error, JournalError::Unresolved { .. }), "{error}");
        journal.store = Arc::new(store.clone());
        assert!(journal.resolve().await.unwrap().is_some());
        assert_eq!(journal.resolve().await, Ok(None));
        assert_eq!(journal.load(0).await.unwrap().records, [meta("g", Some("1"))]);
    }

    #[tokio::test]
    async fn delayed_write_of_the_owner_itself_is_refused() {
        let store = EmbeddedStore::in_memory(1);
        let term = become_active(&store).await;
        let mut journal = journal(&store, 1, term);
        journal.load(0).await.unwrap();
        // The first sending is under way while its repetition is applied.
        store.inject(Fault::Late);
        journal.commit(vec![batch(0, vec![meta("t", Some("prepare commit"))])]).await.unwrap();
        journal.commit(vec![batch(0, vec![meta("t", Some("prepare abort"))])]).await.unwrap();
        for late in store.deliver_late() {
            assert!(matches!(late, Ok(Outcome::Refused { .. })), "{late:?}");
        }
        assert_eq!(journal.load(0).await.unwrap().records, [meta("t", Some("prepare abort"))]);
    }

    #[tokio::test]
    async fn coordinator_of_a_past_term_writes_nothing() {
        let store = EmbeddedStore::in_memory(1);
        let term = become_active(&store).await;
        let mut journal = journal(&store, 1, term);
        journal.load(0).await.unwrap();
        become_active(&store).await;
        let error = journal.commit(vec![batch(0, vec![meta("g", Some("1"))])]).await.unwrap_err();
        assert_eq!(error, JournalError::NotActive);
        assert_eq!(journal.load(0).await.unwrap_err(), JournalError::NotActive);
    }

    #[tokio::test]
    async fn shards_are_taken_over_together_and_read_one_by_one() {
        let store = EmbeddedStore::in_memory(1);
        let term = become_active(&store).await;
        let mut first = journal(&store, 1, term);
        first.take_over((0..150).collect()).await.unwrap();
        let batches = [3, 149].map(|shard| batch(shard, vec![meta("g", Some("1"))]));
        first.commit(batches.into()).await.unwrap();
        let term = become_active(&store).await;
        let mut second = journal(&store, 2, term);
        second.take_over((0..150).collect()).await.unwrap();
        assert_eq!(second.reader().read(149).await.unwrap(), [meta("g", Some("1"))]);
        assert_eq!(second.reader().read(4).await.unwrap(), []);
        assert_eq!(second.reader().is_active().await, Ok(true));
        assert_eq!(first.reader().is_active().await, Ok(false));
        first.commit(vec![batch(3, vec![])]).await.unwrap_err();
        second.commit(vec![batch(3, vec![])]).await.unwrap();
    }

    #[tokio::test]
    async fn in_a_store_of_its_own_the_later_term_has_the_shards() {
        let store = EmbeddedStore::in_memory(1);
        let apart = |owner, term| {
            MetaJournal::apart(Arc::new(store.clone()), KeySpace::default(), owner, term)
        };
        let mut first = apart(1, 7);
        let error = first.commit(vec![batch(0, vec![])]).await;
        assert_eq!(error, Err(JournalError::NotActive), "it owns nothing yet");
        assert_eq!(first.reader().is_active().await, Ok(false));
        store.inject(Fault::LoseAnswer);
        first.load(0).await.unwrap();
        first.commit(vec![batch(0, vec![meta("g", Some("1"))])]).await.unwrap();
        assert_eq!(first.reader().is_active().await, Ok(true));
        let mut second = apart(2, 9);
        assert_eq!(second.load(0).await.unwrap().records, [meta("g", Some("1"))]);
        assert_eq!(first.reader().is_active().await, Ok(false));
        first.commit(vec![batch(0, vec![])]).await.unwrap_err();
        // A shard that the second has not taken over is not the first's either.
        assert_eq!(first.load(1).await.unwrap_err(), JournalError::NotActive);
        assert_eq!(apart(1, 7).load(0).await.unwrap_err(), JournalError::NotActive);
        second.commit(vec![batch(0, vec![meta("g", None)])]).await.unwrap();
    }
}
