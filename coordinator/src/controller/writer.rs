//! The one writer of a term: carries transactions to the store until it is known what became of them.
//!
//! Every transaction compares that the election of this term still stands, and compares **and bumps** a
//! head of its own (term, sequence). The first keeps former controllers out; the second keeps out this
//! controller's own delayed requests, and shows after a lost answer whether the transaction was applied:
//! the same one is sent again, and what stands in the head then is either this sequence or not.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::keys::KeySpace;
use ottla_metadata::store::{
    MetaStore, Outcome, RetryPolicy, StoreError, commit_until_known, read_key,
};
use tokio::sync::watch;

pub use super::fence::Written;

use super::fence::{Fence, Fenced};
use super::plan::Transaction;
use crate::leadership::campaign::Term;

/// Writes for one term. Owned by the driver, so that one transaction is in flight at most.
#[derive(Debug)]
pub struct Writer {
    store: Arc<dyn MetaStore>,
    keys: KeySpace,
    fence: Fence,
    health: watch::Sender<bool>,
}

impl Writer {
    /// Takes the head over for `term`, once for each term. `None` if the term is over already.
    pub async fn begin(
        store: Arc<dyn MetaStore>,
        keys: KeySpace,
        term: &Term,
        health: watch::Sender<bool>,
    ) -> Option<Self> {
        let fence = Fence::new(keys.clone(), term.number);
        let mut writer = Self { store, keys, fence, health };
        loop {
            let head = writer.read_head().await;
            writer.fence.found_head(head);
            let again = writer.fence.take_over(term.announcement.clone(), term.lease);
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
        self.fence.revision()
    }

    /// Writes one transaction and returns when it is known what became of it, however long the store is
    /// away. Dropping the future leaves that unknown, so it is only dropped when the term is over.
    pub async fn write(&mut self, transaction: &Transaction) -> Written {
        let write = transaction.guarded(&self.keys);
        let fenced = self.fence.fence(write);
        self.send(fenced).await
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

    async fn send(&mut self, fenced: Fenced) -> Written {
        loop {
            match commit_until_known(&*self.store, &fenced.write, POLICY).await {
                Ok(Outcome::Committed { revision }) => {
                    self.health.send_replace(true);
                    return self.fence.handle_committed(&fenced, revision);
                }
                Ok(Outcome::Refused { revision, current }) => {
                    self.health.send_replace(true);
                    return self.fence.handle_refused(&fenced, revision, &current);
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
    use ottla_metadata::keys::Key;
    use ottla_metadata::model::{self, Rest};
    use ottla_metadata::store::embedded::{EmbeddedStore, Fault};
    use ottla_metadata::store::{GuardedWrite, KeyRange, LeaseId};

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
