//! Keeps a claim alive.

use std::time::Duration;

use ottla_metadata::image::ImageReader;
use ottla_metadata::model::PreviousLife;
use ottla_metadata::store::StoreError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::former_lease::FormerLease;
use super::{ClaimError, Claimant, Claimed};

/// The task that renews the claim, and claims anew when the store has let it end.
#[derive(Debug)]
pub struct Keeper {
    claimant: Claimant,
    claimed: Claimed,
    lease: FormerLease,
    image: ImageReader,
    /// Epochs that this process had since the controller last took note of one.
    held: Vec<i64>,
    /// The broker epoch, for whoever needs to know when it changes.
    epochs: watch::Sender<i64>,
}

impl Keeper {
    /// Keeps `claimed`; each new epoch is told through `epochs`.
    pub fn new(
        claimant: Claimant,
        claimed: Claimed,
        lease: FormerLease,
        image: ImageReader,
        epochs: watch::Sender<i64>,
    ) -> Self {
        lease.remember(claimed.lease);
        epochs.send_replace(claimed.broker_epoch);
        Self { claimant, claimed, lease, image, held: vec![claimed.broker_epoch], epochs }
    }

    /// Renews until `stop`, then gives the claim up. Fails if the broker cannot claim its id any more: then
    /// the process must end, as another one is this broker now.
    ///
    /// While the store is away nothing is given up: nobody can have decided anything meanwhile, and what
    /// a broker does that was fenced without its knowledge is refused by epochs, not by clocks.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), ClaimError> {
        let mut pause = self.claimed.ttl / 3;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.until_gone() => {}
                () = tokio::time::sleep(pause) => {}
            }
            let lapsed = || Err(StoreError::LeaseNotFound(self.claimed.lease));
            let answer = tokio::select! {
                () = stop.cancelled() => break,
                () = self.until_gone() => lapsed(),
                answer = self.claimant.store.lease_keep_alive(self.claimed.lease) => answer,
            };
            pause = match answer {
                Ok(_) => self.claimed.ttl / 3,
                Err(StoreError::LeaseNotFound(_)) => {
                    tracing::warn!("the claim of this broker has lapsed; claiming anew");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        claimed = self.claim_again() => claimed?,
                    }
                    self.claimed.ttl / 3
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot renew this broker's claim, trying again");
                    (self.claimed.ttl / 10).max(RETRY_MIN)
                }
            };
        }
        self.give_up().await;
        Ok(())
    }

    /// Waits until the image shows that the claim is gone. It sees that sooner than the next renewal, and as
    /// soon as the other brokers do, so that after an outage of the store all claim together.
    async fn until_gone(&self) {
        let mut images = self.image.clone();
        let epoch = self.claimed.broker_epoch;
        loop {
            let image = images.load();
            let claim = image.claim(self.claimant.broker_id.0).map(|claim| claim.create_revision);
            if image.is_complete() && epoch <= image.revision() && claim != Some(epoch) {
                return;
            }
            if images.changed().await.is_err() {
                // Nothing more will be seen; the lease tells.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn claim_again(&mut self) -> Result<(), ClaimError> {
        // Nothing was lost: it is still the same process on the same disks. What the controller knows
        // may be an earlier epoch of it.
        let image = self.image.load();
        let known = image.broker(self.claimant.broker_id.0).map(|record| record.broker_epoch);
        if let Some(known) = known.filter(|known| self.held.contains(known)) {
            self.held.retain(|held| known <= *held);
        }
        if let Some(broker_epoch) = self.held.first().copied() {
            self.claimant.claim.previous = PreviousLife::ProcessCrash { broker_epoch };
        }
        // Whatever is left of the former claim ends with its lease.
        self.claimed = self.claimant.claim(Some(self.claimed.lease)).await?;
        self.held.push(self.claimed.broker_epoch);
        self.lease.remember(self.claimed.lease);
        self.epochs.send_replace(self.claimed.broker_epoch);
        tracing::info!(broker_epoch = self.claimed.broker_epoch, "claimed anew");
        Ok(())
    }

    async fn give_up(&self) {
        match self.claimant.store.lease_revoke(self.claimed.lease).await {
            Ok(()) => self.lease.forget(),
            Err(error) => {
                tracing::warn!(%error, "cannot give the claim up; it ends with its lease");
            }
        }
    }
}

/// Least pause between two attempts to renew.
const RETRY_MIN: Duration = Duration::from_millis(100);
