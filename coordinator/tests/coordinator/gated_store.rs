//! A store whose user is cut off after some transactions, as a process that is stopped or killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_metadata::store::{
    BoxFuture, GuardedWrite, KeyRange, Lease, LeaseId, MetaStore, Outcome, Page, RangeRequest,
    Status, StoreError, Watch, WatchItem,
};

/// Passes calls on until its transactions are used up; then nothing is ever answered.
#[derive(Debug, Clone)]
pub struct GatedStore {
    inner: Arc<dyn MetaStore>,
    left: Arc<AtomicI64>,
    quiet: bool,
}

impl GatedStore {
    /// Open.
    pub fn new(inner: impl MetaStore) -> Self {
        Self { inner: Arc::new(inner), left: Arc::new(AtomicI64::new(i64::MAX)), quiet: false }
    }

    /// Open, and as old stores are: watches tell changes of their keys and never mere progress.
    pub fn without_progress(inner: impl MetaStore) -> Self {
        Self { quiet: true, ..Self::new(inner) }
    }

    /// Lets so many more transactions through, and then nothing at all.
    pub fn close_after(&self, transactions: i64) {
        self.left.store(transactions, Ordering::SeqCst);
    }

    pub fn is_closed(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }

    async fn pass(&self) {
        if self.is_closed() {
            std::future::pending::<()>().await;
        }
    }
}

impl MetaStore for GatedStore {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.range(request).await
        })
    }

    fn txn(&self, write: GuardedWrite) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move {
            self.pass().await;
            let outcome = self.inner.txn(write).await;
            if self.left.fetch_sub(1, Ordering::SeqCst) <= 1 {
                // The last one is applied, but its sender does not live to see the answer.
                self.pass().await;
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
            Ok(if self.quiet { Box::new(QuietWatch(watch)) } else { watch })
        })
    }

    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.lease_grant(ttl).await
        })
    }

    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.lease_keep_alive(id).await
        })
    }

    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.lease_revoke(id).await
        })
    }

    fn compact(&self, revision: i64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.compact(revision)
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, StoreError>> {
        self.inner.status()
    }
}

/// A watch that tells no progress.
#[derive(Debug)]
struct QuietWatch(Box<dyn Watch>);

impl Watch for QuietWatch {
    fn next(&mut self) -> BoxFuture<'_, WatchItem> {
        Box::pin(async move {
            loop {
                match self.0.next().await {
                    WatchItem::Batch(batch) if batch.events.is_empty() => {}
                    item => return item,
                }
            }
        })
    }

    fn request_progress(&mut self) {}

    fn tells_progress(&self) -> bool {
        false
    }
}
