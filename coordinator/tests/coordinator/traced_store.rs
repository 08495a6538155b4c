//! A store that writes down when each transaction is known to be applied, and can hold transactions back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_metadata::keys::{Key, KeySpace, ShardKey};
use ottla_metadata::store::{
    BoxFuture, GuardedWrite, KeyRange, Lease, LeaseId, MetaStore, Outcome, Page, RangeRequest,
    Status, StoreError, Watch, WatchItem,
};
use tokio::sync::watch;

/// Passes calls on.
#[derive(Debug, Clone)]
pub struct TracedStore {
    inner: Arc<dyn MetaStore>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    steps: AtomicU64,
    /// Step and write of every transaction that was applied and touches a shard of groups.
    applied: Mutex<Vec<(u64, GuardedWrite)>>,
    /// Transactions of shards are applied, and then not answered, while this is set.
    held: watch::Sender<bool>,
    /// Watches and leases are not heard of while this is set.
    deaf: watch::Sender<bool>,
}

impl TracedStore {
    pub fn new(inner: impl MetaStore) -> Self {
        let shared = Shared {
            steps: AtomicU64::new(0),
            applied: Mutex::default(),
            held: watch::channel(false).0,
            deaf: watch::channel(false).0,
        };
        Self { inner: Arc::new(inner), shared: Arc::new(shared) }
    }

    /// A number that is larger than that of everything that happened before.
    pub fn step(&self) -> u64 {
        self.shared.steps.fetch_add(1, Ordering::SeqCst)
    }

    /// What was applied, in order, with the step at which its answer left the store.
    pub fn applied(&self) -> Vec<(u64, GuardedWrite)> {
        self.shared.applied.lock().expect("nobody panics").clone()
    }

    /// Lets its user believe that nothing changes, from now on.
    pub fn deafen(&self) {
        self.shared.deaf.send_replace(true);
    }

    /// Keeps answers to transactions of shards back, or lets them go.
    pub fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }
}

fn is_of_a_shard(write: &GuardedWrite) -> bool {
    let keys = KeySpace::default();
    let is_head = |key: &[u8]| matches!(keys.parse(key), Ok(Key::Shard(_, ShardKey::Head)));
    write.puts.iter().any(|put| is_head(&put.key))
}

/// Whether the answer says that the write was applied, now or when it was sent before.
fn was_applied(outcome: &Result<Outcome, StoreError>, write: &GuardedWrite) -> bool {
    match outcome {
        Ok(Outcome::Committed { .. }) => true,
        Ok(Outcome::Refused { current, .. }) => current
            .iter()
            .any(|kv| write.puts.iter().any(|put| put.key == kv.key && put.value == kv.value)),
        _ => false,
    }
}

impl MetaStore for TracedStore {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.inner.range(request)
    }

    fn txn(&self, write: GuardedWrite) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move {
            if !is_of_a_shard(&write) {
                return self.inner.txn(write).await;
            }
            let outcome = self.inner.txn(write.clone()).await;
            let mut held = self.shared.held.subscribe();
            let _ = held.wait_for(|held| !held).await;
            if was_applied(&outcome, &write) {
                let step = self.step();
                self.shared.applied.lock().expect("nobody panics").push((step, write));
            }
            outcome
        })
    }

    fn watch(
        &self,
        keys: KeyRange,
        from_revision: i64,
    ) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>> {
        Box::pin(async move {
            let watch = self.inner.watch(keys, from_revision).await?;
            let deaf = self.shared.deaf.subscribe();
            Ok(Box::new(DeafWatch { watch, deaf }) as Box<dyn Watch>)
        })
    }

    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        self.inner.lease_grant(ttl)
    }

    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        Box::pin(async move {
            if *self.shared.deaf.borrow() {
                return std::future::pending().await;
            }
            self.inner.lease_keep_alive(id).await
        })
    }

    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.lease_revoke(id)
    }

    fn compact(&self, revision: i64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.compact(revision)
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, StoreError>> {
        self.inner.status()
    }
}

/// A watch that delivers nothing more once it is deaf.
#[derive(Debug)]
struct DeafWatch {
    watch: Box<dyn Watch>,
    deaf: watch::Receiver<bool>,
}

impl Watch for DeafWatch {
    fn next(&mut self) -> BoxFuture<'_, WatchItem> {
        Box::pin(async move {
            tokio::select! {
                biased;
                _ = self.deaf.wait_for(|deaf| *deaf) => {}
                item = self.watch.next() => return item,
            }
            std::future::pending().await
        })
    }

    fn request_progress(&mut self) {
        self.watch.request_progress();
    }

    fn tells_progress(&self) -> bool {
        self.watch.tells_progress()
    }
}
