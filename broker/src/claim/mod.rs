//! The broker's claim to be alive: a key in the store that goes away with the broker.
//!
//! | state | what happens | next |
//! |---|---|---|
//! | no key | it is written, bound to a fresh lease | claimed |
//! | key of this broker's former life: same log directories, whose lock is held | it is removed | no key |
//! | key of somebody else | wait for it to lapse; if it does not, somebody alive has this id | error |
//! | claimed | the lease is renewed at a third of its time | claimed, or lost |
//! | lost: the store let the lease end, or the image shows no claim | claim again, with a new broker epoch and the same incarnation | claimed |
//!
//! A claim only says that somebody lives. Whether that broker may lead is the controller's word, and no
//! safety rests on the lease.

mod former_lease;
mod keeper;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, BrokerClaim};
use ottla_metadata::store::{
    Compare, GuardedWrite, KeyRange, KeyValue, LeaseId, MetaStore, Outcome, RetryPolicy,
    StoreError, commit_until_known, read_key,
};
use ottla_protocol::types::BrokerId;

pub use former_lease::FormerLease;
pub use keeper::Keeper;

/// What is needed to claim a broker id.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// The store.
    pub store: Arc<dyn MetaStore>,
    /// Where the cluster is in it.
    pub keys: KeySpace,
    /// `node.id`.
    pub broker_id: BrokerId,
    /// How long the claim outlives its broker.
    pub session_timeout: Duration,
    /// What is claimed. The incarnation id tells this process from any other.
    pub claim: BrokerClaim,
}

/// A claim that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// The revision that created the key: the broker epoch of this life.
    pub broker_epoch: i64,
    /// What the key is bound to.
    pub lease: LeaseId,
    /// How long the lease lasts without being renewed.
    pub ttl: Duration,
}

/// The id cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process with this id is alive.
    #[error(
        "broker id {id} is in use: another broker at {holder} claims it and is alive; give every broker \
         a node.id of its own, or stop the other one"
    )]
    InUse {
        /// The id.
        id: BrokerId,
        /// Where the other one is reached.
        holder: String,
    },
    /// The claim in the store cannot be read.
    #[error(transparent)]
    Model(#[from] model::ModelError),
    /// The store does not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a claim is sent when the store does not answer.
const POLICY: RetryPolicy = RetryPolicy {
    pause: Duration::from_millis(20),
    pause_max: Duration::from_millis(500),
    attempts: 5,
};
/// Between looks at somebody else's claim.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Claimant {
    /// Claims the id. Waits as long as the store is away, and for a foreign claim as long as it could
    /// outlive its broker. `lease_before` is the lease of this node's former life, if it is remembered.
    pub async fn claim(&self, lease_before: Option<LeaseId>) -> Result<Claimed, ClaimError> {
        if let Some(lease) = lease_before {
            self.patiently("ending the former claim", || self.store.lease_revoke(lease)).await?;
        }
        let key = self.keys.format(&Key::BrokerClaim(self.broker_id.0));
        let mut waited = Duration::ZERO;
        loop {
            let holder =
                self.patiently("reading the claim", || read_key(&*self.store, &key)).await?;
            let Some(holder) = holder else {
                if let Some(claimed) = self.write(&key).await? {
                    return Ok(claimed);
                }
                continue;
            };
            let theirs: BrokerClaim = model::decode(&key, &holder.value)?;
            if self.is_former_self(&theirs) {
                self.remove(&holder).await?;
                continue;
            }
            if self.session_timeout + GRACE < waited {
                return Err(ClaimError::InUse { id: self.broker_id, holder: address(&theirs) });
            }
            if waited.is_zero() {
                tracing::warn!(
                    id = self.broker_id.0,
                    holder = address(&theirs),
                    "this broker id is claimed by another process; waiting whether that claim lapses"
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        }
    }

    /// The same directories, and this process has locked them: whoever made that claim is dead.
    fn is_former_self(&self, theirs: &BrokerClaim) -> bool {
        let mine = &self.claim.log_dirs;
        theirs.incarnation_id != self.claim.incarnation_id
            && !mine.is_empty()
            && theirs.log_dirs.iter().any(|dir| mine.contains(dir))
    }

    async fn remove(&self, holder: &KeyValue) -> Result<(), ClaimError> {
        tracing::info!("taking over the claim of this broker's former life");
        let key = holder.key.clone();
        let write = GuardedWrite::new()
            .when(Compare::ModRevision(key.clone(), holder.mod_revision))
            .delete(KeyRange::key(&key));
        let sent = || commit_until_known(&*self.store, &write, POLICY);
        match self.patiently("removing the former claim", sent).await? {
            // Whatever came of it, the next look shows.
            Outcome::Committed { .. } | Outcome::Refused { .. } | Outcome::Unknown { .. } => Ok(()),
        }
    }

    /// Writes the claim where there is none; `None` if somebody was faster, or nobody knows.
    async fn write(&self, key: &str) -> Result<Option<Claimed>, ClaimError> {
        let granted = || self.store.lease_grant(self.session_timeout);
        let lease = self.patiently("asking for a lease", granted).await?;
        let write = GuardedWrite::new()
            .when(Compare::Absent(key.to_owned().into()))
            .put_leased(key, model::encode(&self.claim), lease.id)
            .read_back(key);
        match commit_until_known(&*self.store, &write, POLICY).await {
            Ok(Outcome::Committed { revision }) => {
                Ok(Some(Claimed { broker_epoch: revision, lease: lease.id, ttl: lease.ttl }))
            }
            outcome => {
                // What may still be applied cannot be once its lease is gone.
                let revoked = || self.store.lease_revoke(lease.id);
                self.patiently("giving a lease back", revoked).await?;
                match outcome {
                    Err(error) if !error.is_retryable() => Err(error.into()),
                    _ => Ok(None),
                }
            }
        }
    }

    /// Repeats a call that is safe to repeat for as long as the store is away, and says so.
    async fn patiently<T, F>(
        &self,
        doing: &str,
        mut call: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let policy = RetryPolicy::default();
        let mut attempt = 0;
        loop {
            match call().await {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, doing, "waiting for the metadata store");
                    attempt += 1;
                    tokio::time::sleep(policy.pause_before(attempt)).await;
                }
                answer => return answer,
            }
        }
    }
}

/// What a lease may last beyond its time to live: the store looks at it now and then only.
const GRACE: Duration = Duration::from_secs(2);

fn address(claim: &BrokerClaim) -> String {
    claim.listeners.first().map_or_else(
        || "an unknown address".to_owned(),
        |listener| format!("{}:{}", listener.host, listener.port),
    )
}
