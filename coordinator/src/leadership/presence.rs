//! A coordinator's word that it is alive, for people and tools: a key under a lease, active or not.
//!
//! Nothing is decided by it: who is active the election alone tells.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::ImageReader;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, Controller};
use ottla_metadata::store::{GuardedWrite, LeaseId, MetaStore, Outcome, StoreError};
use tokio_util::sync::CancellationToken;

/// What is said, and where.
#[derive(Debug)]
pub(crate) struct Presence {
    /// The store.
    pub store: Arc<dyn MetaStore>,
    /// Where the cluster is in it.
    pub keys: KeySpace,
    /// Nothing is said in a store that was not read, for it may be the wrong one.
    pub images: ImageReader,
    /// Who, where, and of which version.
    pub announcement: Controller,
    /// How long the word outlives the process.
    pub session_timeout: Duration,
}

impl Presence {
    /// Says it until `stop`, and takes it back then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut lease = None;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep(&mut lease) => {}
        }
        if let Some(lease) = lease
            && let Err(error) = self.store.lease_revoke(lease).await
        {
            tracing::debug!(%error, "what says that this coordinator lives goes with its lease");
        }
    }

    async fn keep(&mut self, held: &mut Option<LeaseId>) {
        while !self.images.load().is_complete() {
            if self.images.changed().await.is_err() {
                return;
            }
        }
        loop {
            let error = match self.say(held).await {
                Ok(ttl) => self.keep_alive(held, ttl).await,
                Err(error) => error,
            };
            tracing::debug!(%error, "cannot say that this coordinator lives, trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A repetition of a write that was carried out after all does no harm, so an unknown end is an error.
    async fn say(&self, held: &mut Option<LeaseId>) -> Result<Duration, StoreError> {
        let lease = self.store.lease_grant(self.session_timeout).await?;
        *held = Some(lease.id);
        let key = self.keys.format(&Key::CoordinatorClaim(self.announcement.node_id));
        let value = model::encode(&self.announcement);
        match self.store.txn(GuardedWrite::new().put_leased(key, value, lease.id)).await? {
            Outcome::Committed { .. } => Ok(lease.ttl),
            Outcome::Refused { .. } => {
                Err(StoreError::Invalid { reason: "a write without conditions was refused".into() })
            }
            Outcome::Unknown { reason } => Err(StoreError::Unavailable { reason }),
        }
    }

    /// Renews the lease until it is gone.
    async fn keep_alive(&self, held: &Option<LeaseId>, ttl: Duration) -> StoreError {
        let Some(lease) = *held else { return StoreError::LeaseNotFound(LeaseId(0)) };
        loop {
            tokio::time::sleep(ttl / 3).await;
            // Of any other failure the lease tells when it is too late.
            let renewed = self.store.lease_keep_alive(lease).await;
            if let Err(error @ StoreError::LeaseNotFound(_)) = renewed {
                return error;
            }
        }
    }
}

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(500);
