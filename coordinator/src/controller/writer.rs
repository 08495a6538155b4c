//! The one writer of a term: carries transactions to the store until it is known what became of them.
//!
//! Every transaction compares that the election of this term still stands, and compares **and bumps** a
//! head of its own (term, sequence). The first keeps former controllers out; the second keeps out this
//! controller's own delayed requests, and shows after a lost answer whether the transaction was applied:
//! the same one is sent again, and what stands in the head then is either this sequence or not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, Rest, Value};
use ottla_metadata::store::{
    Compare, GuardedWrite, KeyValue, MetaStore, Outcome, RetryPolicy, StoreError,
    commit_until_known, read_key,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::plan::Transaction;
use crate::leadership::campaign::Term;

/// The value of the head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ControllerHead {
    /// Create revision of the election's key.
    term: i64,
    /// Raised by each write of the term.
    sequence: i64,
    /// Fields of later versions.
    #[serde(flatten)]
    rest: Rest,
}

impl Value for ControllerHead {}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// Applied, as this revision.
    Committed(i64),
    /// Not applied: a key was not as the decision saw it. Decide again once the image has this revision.
    Refused(i64),
    /// Not applied, and it never can be.
    Failed(StoreError),
    /// This term is over. Nothing of it will be applied any more.
    Deposed,
}

/// Writes for one term. Owned by the driver, so that one transaction is in flight at most.
#[derive(Debug)]
pub struct Writer {
    store: Arc<dyn MetaStore>,
    keys: KeySpace,
    head: ControllerHead,
    head_revision: i64,
    health: watch::Sender<bool>,
}

impl Writer {
    /// Takes the head over for `term`, once for each term. `None` if the term is over already.
    ///
    /// The election's key is written again by the same transaction: the head is not part of the image, and
    /// so an image that has reached the revision has all that former terms wrote.
    pub async fn begin(
        store: Arc<dyn MetaStore>,
        keys: KeySpace,
        term: &Term,
        health: watch::Sender<bool>,
    ) -> Option<Self> {
        let head = ControllerHead { term: term.number, sequence: 0, rest: Rest::new() };
        let mut writer = Self { store, keys, head, head_revision: 0, health };
        let election = writer.election_key();
        loop {
            writer.head_revision = writer.read_head().await;
            let announcement = term.announcement.clone();
            let again = GuardedWrite::new().put_leased(&election, announcement, term.lease);
            match writer.send(again).await {
                Written::Committed(_) => return Some(writer),
                Written::Deposed => return None,
                Written::Failed(StoreError::LeaseNotFound(_)) => return None,
                // A delayed write of the former term came between; it cannot after this one.
                Written::Refused(_) => {}
                Written::Failed(error) => {
                    tracing::error!(%error, "cannot take over the controller's head");
                    tokio::time::sleep(PAUSE_MAX).await;
                }
            }
        }
    }

    /// Revision of the last write; an image that has reached it shows all of them.
    pub fn revision(&self) -> i64 {
        self.head_revision
    }

    /// Writes one transaction and returns when it is known what became of it, however long the store is
    /// away. Dropping the future leaves that unknown, so it is only dropped when the term is over.
    pub async fn write(&mut self, transaction: &Transaction) -> Written {
        let write = transaction.guarded(&self.keys);
        self.send(write).await
    }

    async fn read_head(&self) -> i64 {
        loop {
            match read_key(&*self.store, self.keys.controller_head()).await {
                Ok(found) => return found.map_or(0, |head| head.mod_revision),
                Err(error) => {
                    tracing::warn!(%error, "cannot read the controller's head, trying again");
                    tokio::time::sleep(PAUSE_MAX).await;
                }
            }
        }
    }

    async fn send(&mut self, write: GuardedWrite) -> Written {
        let mut next = self.head.clone();
        next.sequence += 1;
        let write = self.fence(write, &next);
        loop {
            match commit_until_known(&*self.store, &write, POLICY).await {
                Ok(Outcome::Committed { revision }) => {
                    self.health.send_replace(true);
                    self.head = next;
                    self.head_revision = revision;
                    return Written::Committed(revision);
                }
                Ok(Outcome::Refused { revision, current }) => {
                    self.health.send_replace(true);
                    return self.judge(next, revision, &current);
                }
                Ok(Outcome::Unknown { reason }) => {
                    self.health.send_replace(false);
                    tracing::warn!(%reason, "metadata write still unanswered, sending it again");
                }
                Err(error @ (StoreError::Unavailable { .. } | StoreError::NoSpace)) => {
                    self.health.send_replace(false);
                    tracing::warn!(%error, "metadata store takes no writes, trying again");
                }
                Err(error @ StoreError::Denied { .. }) => {
                    self.health.send_replace(false);
                    tracing::error!(%error, "metadata store refuses this coordinator, trying again");
                }
                Err(error) => return Written::Failed(error),
            }
            tokio::time::sleep(PAUSE_MAX).await;
        }
    }

    /// The head comes first, since it is what shows whether a write was applied.
    fn fence(&self, write: GuardedWrite, next: &ControllerHead) -> GuardedWrite {
        let (head, election) = (self.keys.controller_head(), self.election_key());
        let mut fenced = GuardedWrite::new()
            .when(Compare::CreateRevision(election.clone(), self.head.term))
            .when_unchanged(&head, self.head_revision)
            .read_back(&election)
            .put(&head, model::encode(next));
        fenced.compares.extend(write.compares);
        fenced.puts.extend(write.puts);
        fenced.deletes.extend(write.deletes);
        fenced
    }

    fn election_key(&self) -> Bytes {
        Bytes::from(self.keys.format(&Key::Controller))
    }

    /// What a refusal means: the head tells whether an earlier copy was applied, the election whether the
    /// term is over, and otherwise one of the decision's own compares failed.
    fn judge(&mut self, next: ControllerHead, revision: i64, current: &[KeyValue]) -> Written {
        let find = |key: &[u8]| current.iter().find(|kv| kv.key == key);
        let head = find(self.keys.controller_head().as_bytes());
        let stored: Option<ControllerHead> = head.and_then(|kv| {
            model::decode("the controller's head", &kv.value)
                .inspect_err(|error| tracing::error!(%error, "cannot read the controller's head"))
                .ok()
        });
        if let (Some(kv), Some(stored)) = (head, &stored)
            && (stored.term, stored.sequence) == (next.term, next.sequence)
        {
            self.head_revision = kv.mod_revision;
            self.head = next;
            return Written::Committed(kv.mod_revision);
        }
        let election = find(&self.election_key());
        if election.is_none_or(|kv| kv.create_revision != self.head.term) {
            return Written::Deposed;
        }
        if head.map_or(0, |kv| kv.mod_revision) != self.head_revision {
            // Before the first write of the term the former one may still have moved the head.
            if self.head.sequence == 0 {
                return Written::Refused(revision);
            }
            tracing::error!("somebody else writes as the controller of this term, stepping down");
            return Written::Deposed;
        }
        Written::Refused(revision)
    }
}

/// Attempts before the log says that something is wrong; then they go on.
const POLICY: RetryPolicy = RetryPolicy {
    pause: Duration::from_millis(20),
    pause_max: Duration::from_millis(500),
    attempts: 6,
};
/// Pause between rounds of attempts.
const PAUSE_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use ottla_metadata::store::embedded::{EmbeddedStore, Fault};
    use ottla_metadata::store::{KeyRange, LeaseId};

    use super::*;
    use crate::controller::plan::Change;

    struct Setup {
        store: EmbeddedStore,
        keys: KeySpace,
        term: Term,
    }

    impl Setup {
        /// A store in which an election was won.
        async fn new() -> Self {
            let store = EmbeddedStore::in_memory(7);
            let keys = KeySpace::default();
            let lease = store.lease_grant(Duration::from_secs(60)).await.unwrap().id;
            let number = elect(&store, &keys, lease).await;
            let term = Term::for_tests(number, lease, Arc::new(store.clone()));
            Self { store, keys, term }
        }

        async fn begin(&self) -> Option<Writer> {
            let store = Arc::new(self.store.clone());
            let health = watch::channel(true).0;
            Writer::begin(store, self.keys.clone(), &self.term, health).await
        }

        async fn depose(&self) {
            let key = KeyRange::key(self.keys.format(&Key::Controller));
            let outcome = self.store.txn(GuardedWrite::new().delete(key)).await;
            assert!(matches!(outcome, Ok(Outcome::Committed { .. })));
        }
    }

    async fn elect(store: &EmbeddedStore, keys: &KeySpace, lease: LeaseId) -> i64 {
        let key = keys.format(&Key::Controller);
        match store.txn(GuardedWrite::new().put_leased(&key, "{}", lease)).await {
            Ok(Outcome::Committed { revision }) => revision,
            other => panic!("{other:?}"),
        }
    }

    /// Creates the key of producer ids.
    fn creation(mod_revision: i64) -> Transaction {
        let value = model::ProducerIds { next_block_start: 0, rest: Rest::new() };
        let change = Change::put(Key::ProducerIds, mod_revision, &value);
        Transaction { changes: vec![change], completes: Vec::new() }
    }

    #[tokio::test]
    async fn writer_of_a_term_that_ended_writes_nothing_though_nobody_follows() {
        let setup = Setup::new().await;
        let mut writer = setup.begin().await.unwrap();
        setup.depose().await;
        assert_eq!(writer.write(&creation(0)).await, Written::Deposed);
        let key = setup.keys.format(&Key::ProducerIds);
        assert_eq!(read_key(&setup.store, key).await.unwrap(), None);
    }

    #[tokio::test]
    async fn term_that_ended_is_not_begun() {
        let setup = Setup::new().await;
        setup.depose().await;
        assert!(setup.begin().await.is_none());
    }

    #[tokio::test]
    async fn refusal_by_a_key_is_told_from_the_end_of_the_term() {
        let setup = Setup::new().await;
        let mut writer = setup.begin().await.unwrap();
        assert!(matches!(writer.write(&creation(0)).await, Written::Committed(_)));
        assert!(matches!(writer.write(&creation(0)).await, Written::Refused(_)));
        assert!(matches!(writer.write(&creation(1)).await, Written::Refused(_)));
    }

    #[tokio::test]
    async fn lost_answers_are_found_out_in_the_head() {
        let setup = Setup::new().await;
        let mut writer = setup.begin().await.unwrap();
        // Every attempt of a round is lost, so that the next round meets its own write.
        for fault in [[Fault::LoseAnswer; 7], [Fault::LoseRequest; 7]] {
            fault.into_iter().for_each(|fault| setup.store.inject(fault));
            let key = setup.keys.format(&Key::ProducerIds);
            let before = read_key(&setup.store, &key).await.unwrap();
            let guard = before.as_ref().map_or(0, |kv| kv.mod_revision);
            let Written::Committed(revision) = writer.write(&creation(guard)).await else {
                panic!("it was, or was not yet, applied")
            };
            let after = read_key(&setup.store, &key).await.unwrap().unwrap();
            assert_eq!(after.mod_revision, revision, "and once only");
            assert_eq!(writer.revision(), revision);
        }
    }
}
