//! The store behind everything: etcd's own model, made small.
//!
//! Two implementations, which pass one conformance suite: `etcd`, and `embedded` for `ottla dev`, unit
//! tests and the simulator.

pub mod embedded;
mod error;
pub mod etcd;

mod retry;
mod types;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use error::StoreError;
pub use retry::{RetryPolicy, commit_until_known, read_all, read_key};
pub use types::{
    Compare, Event, GuardedWrite, KeyRange, KeyValue, Lease, LeaseId, Limits, Outcome, Page, Put,
    RangeRequest, Status, WatchBatch, WatchItem,
};

/// A boxed future; the store is never on the path of records.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A small, strict etcd. Every call has a deadline of its own and ends with an answer; calls that are safe
/// to repeat are repeated inside, against every member.
pub trait MetaStore: Debug + Send + Sync + 'static {
    /// Reads one page.
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// Sends a transaction once. `Err` means that it was not applied and will not be.
    fn txn(&self, write: GuardedWrite) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// Watches `keys` from `from_revision` on, that one included.
    fn watch(
        &self,
        keys: KeyRange,
        from_revision: i64,
    ) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>>;

    /// Grants a lease of at least `ttl` (whole seconds in etcd, rounded up).
    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>>;

    /// Renews a lease once and returns how long it lasts from now. The caller repeats it from its own task,
    /// at a third of the TTL, and counts itself out when it has not succeeded for a TTL.
    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>>;

    /// Ends a lease; its keys are deleted. A lease that does not exist is no error.
    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Drops all history before `revision`. A revision compacted earlier is no error.
    fn compact(&self, revision: i64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The state of the store; the revision is that of one member, which may lag. Etcd 3.6 tells it to its root
    /// user only; id and revision of the store are in every [`Page`], too.
    fn status(&self) -> BoxFuture<'_, Result<Status, StoreError>>;
}

/// A running watch; dropping it ends it.
pub trait Watch: Debug + Send {
    /// The next item; cancel-safe. After `Compacted` or `Broken` it returns `Broken` for ever.
    fn next(&mut self) -> BoxFuture<'_, WatchItem>;

    /// Asks for a [`WatchBatch`] that tells how far the watch has come. May be ignored, so ask again.
    fn request_progress(&mut self);

    /// False for old stores whose progress answers may overtake changes. Such a watch never reports progress;
    /// its reader must list at a fixed revision instead.
    fn tells_progress(&self) -> bool;
}
