//! Standing for election: one candidate's way to a term, and how it learns that the term is over.
//!
//! The election's key is bound to a lease and created only where it is absent, so there is one active
//! coordinator at a time as far as anybody *believes*; what makes that safe is that every write compares
//! the key's create revision.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::features;
use ottla_metadata::image::ImageReader;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, Controller};
use ottla_metadata::store::{
    Compare, GuardedWrite, LeaseId, MetaStore, Outcome, RetryPolicy, StoreError, commit_until_known,
};
use ottla_protocol::Uuid;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::former_claim::FormerClaim;

/// What a candidate needs.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The store.
    pub store: Arc<dyn MetaStore>,
    /// Where the cluster is in it.
    pub keys: KeySpace,
    /// The image, which shows when nobody is active.
    pub images: ImageReader,
    /// How long a term outlives its holder.
    pub session_timeout: Duration,
    /// What is announced; the nonce is drawn for each attempt.
    pub announcement: Controller,
    /// Where the lease of this node's term is remembered, if it has a folder.
    pub former_claim: FormerClaim,
    /// Whether the store could be written when it was last tried.
    pub health: watch::Sender<bool>,
}

/// A term that was won.
#[derive(Debug)]
pub(crate) struct Term {
    /// Its number: the revision that created the election's key.
    pub number: i64,
    /// Cancelled when the term is over.
    pub over: CancellationToken,
    /// What the election's key is bound to.
    pub lease: LeaseId,
    /// What the election's key holds.
    pub announcement: Bytes,
    store: Arc<dyn MetaStore>,
}

impl Term {
    /// A term that somebody else won, for tests of its writer.
    #[cfg(test)]
    pub fn for_tests(number: i64, lease: LeaseId, store: Arc<dyn MetaStore>) -> Self {
        Self { number, over: CancellationToken::new(), lease, announcement: Bytes::new(), store }
    }

    /// Gives the term up, so that a successor need not wait for the lease.
    pub async fn resign(&self) {
        self.over.cancel();
        if let Err(error) = self.store.lease_revoke(self.lease).await {
            tracing::warn!(%error, "cannot give the election up, it ends with its lease");
        }
    }
}

impl Candidate {
    /// Ends the term of this node's former life, if that life cannot write any more: its folder, which is
    /// locked, remembers the lease.
    pub async fn end_former_term(&self) {
        let Some(lease) = self.former_claim.read() else { return };
        match self.store.lease_revoke(lease).await {
            Ok(()) => self.former_claim.forget(),
            Err(error) => tracing::warn!(%error, "cannot end this node's former term"),
        }
    }

    /// Waits until nobody is active and then stands; returns when this node has won a term.
    pub async fn win(&self) -> Term {
        loop {
            self.until_vacant().await;
            match self.stand().await {
                Ok(Some(term)) => return term,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot stand for election, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A node that does not support what the cluster has finalised does not stand.
    async fn until_vacant(&self) {
        let mut images = self.images.clone();
        loop {
            let image = images.load();
            let may_act = image.is_complete() && features::unsupported(&image).is_empty();
            if may_act && image.controller().is_none() {
                return;
            }
            if images.changed().await.is_err() {
                // The feed is gone, so this process is ending.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn stand(&self) -> Result<Option<Term>, StoreError> {
        let lease = self.store.lease_grant(self.session_timeout).await?;
        self.former_claim.remember(lease.id);
        let key = self.keys.format(&Key::Controller);
        // The nonce tells this attempt from any other, also from a delayed one of this process.
        let announcement =
            model::encode(&Controller { boot_id: nonce(), ..self.announcement.clone() });
        let write = GuardedWrite::new()
            .when(Compare::Absent(key.clone().into()))
            .put_leased(&key, announcement.clone(), lease.id)
            .read_back(&key);
        let outcome = commit_until_known(&*self.store, &write, POLICY).await;
        let Ok(Outcome::Committed { revision }) = outcome else {
            // Whatever was sent can no longer be applied once its lease is gone.
            self.store.lease_revoke(lease.id).await?;
            return outcome.map(|_| None);
        };
        let over = CancellationToken::new();
        let watcher = TermWatcher {
            store: self.store.clone(),
            images: self.images.clone(),
            number: revision,
            over: over.clone(),
            health: self.health.clone(),
        };
        tokio::spawn(watcher.clone().keep_alive(lease.id, lease.ttl));
        tokio::spawn(watcher.watch_image());
        let store = self.store.clone();
        Ok(Some(Term { number: revision, over, lease: lease.id, announcement, store }))
    }
}

/// Keeps a term alive, and ends it when the store says that it is over.
#[derive(Debug, Clone)]
struct TermWatcher {
    store: Arc<dyn MetaStore>,
    images: ImageReader,
    number: i64,
    over: CancellationToken,
    health: watch::Sender<bool>,
}

impl TermWatcher {
    /// While the store does not answer the term goes on: nobody else can have been elected by a store that
    /// is away, and if only this node is cut off its writes are refused.
    async fn keep_alive(self, lease: LeaseId, ttl: Duration) {
        let mut pause = ttl / 3;
        loop {
            tokio::select! {
                () = self.over.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let answer = tokio::select! {
                () = self.over.cancelled() => return,
                answer = self.store.lease_keep_alive(lease) => answer,
            };
            match answer {
                Ok(_) => {
                    self.health.send_replace(true);
                    pause = ttl / 3;
                }
                Err(StoreError::LeaseNotFound(_)) => {
                    tracing::warn!(term = self.number, "the lease of the election is gone");
                    self.over.cancel();
                    return;
                }
                Err(error) => {
                    self.health.send_replace(false);
                    tracing::warn!(%error, "cannot renew the election, trying again");
                    pause = ttl / 10;
                }
            }
        }
    }

    async fn watch_image(mut self) {
        loop {
            let image = self.images.load();
            let current = image.controller().map(|controller| controller.create_revision);
            if self.number <= image.revision() && current != Some(self.number) {
                self.over.cancel();
            }
            tokio::select! {
                () = self.over.cancelled() => return,
                changed = self.images.changed() => {
                    if changed.is_err() {
                        self.over.cancel();
                    }
                }
            }
        }
    }
}

fn nonce() -> String {
    Uuid::from_bytes(rand::random()).to_string()
}

const POLICY: RetryPolicy = RetryPolicy {
    pause: Duration::from_millis(20),
    pause_max: Duration::from_millis(500),
    attempts: 4,
};
const PAUSE: Duration = Duration::from_millis(300);
