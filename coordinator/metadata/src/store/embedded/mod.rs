//! A store inside the process: etcd's model in memory, optionally kept in a folder. For `ottla dev`, unit
//! tests and the simulator. It enforces etcd's limits and plays its failures, so that what passes on it
//! passes on etcd.

mod core;
mod file;
mod record;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::core::{Core, Fault, WatchId};
pub use self::file::OpenError;
use super::{
    BoxFuture, GuardedWrite, KeyRange, Lease, LeaseId, MetaStore, Outcome, Page, RangeRequest,
    Status, StoreError, Watch, WatchItem,
};

/// Reads the time since an arbitrary start.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// [`Core`] behind a lock, for tasks.
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    clock: Clock,
    /// Bumped by everything that may concern a watch.
    changes: watch::Sender<u64>,
}

impl EmbeddedStore {
    /// A store in memory on the process's clock.
    pub fn in_memory(store_id: u64) -> Self {
        Self::new(Core::in_memory(store_id), monotonic_clock())
    }

    /// A store kept in `dir` on the process's clock.
    pub fn open(dir: &Path, new_store_id: u64) -> Result<Self, OpenError> {
        let clock = monotonic_clock();
        Ok(Self::new(Core::open(dir, new_store_id, clock())?, clock))
    }

    /// A store on a clock of the caller's.
    pub fn new(core: Core, clock: Clock) -> Self {
        let changes = watch::channel(0).0;
        Self { shared: Arc::new(Shared { core: Mutex::new(core), clock, changes }) }
    }

    /// Ends leases when their time is over, until `stop`. Without it they end at the next call.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            self.tick();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Ends the leases whose time is over.
    pub fn tick(&self) {
        let mut changed = false;
        self.with(|core, now| {
            changed = core.next_deadline().is_some_and(|deadline| deadline <= now);
            if changed {
                core.tick(now);
            }
        });
        if changed {
            self.shared.announce();
        }
    }

    /// Lets the next transaction go wrong.
    pub fn inject(&self, fault: Fault) {
        self.with(|core, _| core.inject(fault));
    }

    /// Applies the transactions held by [`Fault::Late`].
    pub fn deliver_late(&self) -> Vec<Result<Outcome, StoreError>> {
        self.change(Core::deliver_late)
    }

    /// Breaks every watch.
    pub fn break_watches(&self) {
        self.change(|core, _| core.break_watches());
    }

    /// Stops answering, or goes on.
    pub fn set_paused(&self, paused: bool) {
        self.change(|core, now| core.set_paused(paused, now));
    }

    fn with<T>(&self, call: impl FnOnce(&mut Core, Duration) -> T) -> T {
        let now = (self.shared.clock)();
        call(&mut self.shared.lock(), now)
    }

    fn change<T>(&self, call: impl FnOnce(&mut Core, Duration) -> T) -> T {
        let result = self.with(call);
        self.shared.announce();
        result
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        // The core is consistent between its calls, and none of them panics half-way on purpose.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl MetaStore for EmbeddedStore {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(async move {
            self.tick();
            self.with(|core, _| core.range(&request))
        })
    }

    fn txn(&self, write: GuardedWrite) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move { self.change(|core, now| core.txn(&write, now)) })
    }

    fn watch(
        &self,
        keys: KeyRange,
        from_revision: i64,
    ) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>> {
        Box::pin(async move {
            let id = self.with(|core, _| core.watch(keys, from_revision))?;
            let changes = self.shared.changes.subscribe();
            let watch = EmbeddedWatch { shared: self.shared.clone(), id, changes };
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }

    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(async move { self.with(|core, now| core.lease_grant(ttl, now)) })
    }

    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        Box::pin(async move { self.change(|core, now| core.lease_keep_alive(id, now)) })
    }

    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.change(|core, now| core.lease_revoke(id, now)) })
    }

    fn compact(&self, revision: i64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.change(|core, now| core.compact(revision, now)) })
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, StoreError>> {
        Box::pin(async move { self.with(|core, _| core.status()) })
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").finish_non_exhaustive()
    }
}

struct EmbeddedWatch {
    shared: Arc<Shared>,
    id: WatchId,
    changes: watch::Receiver<u64>,
}

impl Watch for EmbeddedWatch {
    fn next(&mut self) -> BoxFuture<'_, WatchItem> {
        Box::pin(async move {
            loop {
                // Seen before it is polled: a change in between wakes the wait.
                self.changes.borrow_and_update();
                if let Some(item) = self.shared.lock().poll_watch(self.id) {
                    return item;
                }
                if self.changes.changed().await.is_err() {
                    return WatchItem::Broken { reason: "the store is gone".into() };
                }
            }
        })
    }

    fn request_progress(&mut self) {
        self.shared.lock().request_progress(self.id);
        self.shared.announce();
    }

    fn tells_progress(&self) -> bool {
        true
    }
}

impl Drop for EmbeddedWatch {
    fn drop(&mut self) {
        self.shared.lock().unwatch(self.id);
    }
}

impl fmt::Debug for EmbeddedWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedWatch").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The time since this call.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the embedded store reads a clock"
)]
pub fn monotonic_clock() -> Clock {
    let start = std::time::Instant::now();
    Arc::new(move || start.elapsed())
}

/// How late a lease may end.
const TICK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
