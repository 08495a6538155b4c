//! The task that takes proposals to the controller.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use super::desk::{Answer, Desk};
use super::{Proposals, Proposed};
use crate::identity::Identity;
use crate::partition::ProposalOutcome;
use crate::relay::{Relay, RelayError};
use crate::worker::Control;

/// What became of this broker's proposals, since its start.
#[derive(Debug, Default, Clone)]
pub struct IsrFigures {
    /// In-sync sets that became smaller.
    pub shrinks: Counter,
    /// In-sync sets that became larger.
    pub expands: Counter,
    /// Proposals that were refused.
    pub failed: Counter,
}

/// Sends one AlterPartition at a time.
#[derive(Debug)]
pub struct Proposer {
    proposals: Arc<Proposals>,
    relay: Relay,
    identity: Arc<Identity>,
    figures: IsrFigures,
    desk: Desk,
}

/// Pause after a request that decided nothing; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Proposer {
    /// Takes what workers put into `proposals`.
    pub fn new(
        proposals: Arc<Proposals>,
        relay: Relay,
        identity: Arc<Identity>,
        figures: IsrFigures,
    ) -> Self {
        Self { proposals, relay, identity, figures, desk: Desk::default() }
    }

    /// Sends proposals until `stop`. What is left then was not decided, as its leaders know.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.send_all() => {}
        }
    }

    async fn send_all(&mut self) {
        let mut failures = 0u32;
        loop {
            if self.desk.is_empty() {
                self.proposals.arrived().await;
            }
            for proposed in self.proposals.take() {
                self.desk.take(proposed);
            }
            if self.desk.is_empty() {
                continue;
            }
            let has_decided = self.send().await;
            failures = if has_decided { 0 } else { failures.saturating_add(1) };
            if !has_decided || !self.desk.is_empty() {
                let pause = PAUSE_MIN.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Sends what is on the desk; true if something was decided.
    async fn send(&mut self) -> bool {
        let identity = &self.identity;
        let (sent, request) = self.desk.request(identity.broker_id, identity.broker_epoch());
        let answer = match self.relay.alter_partition(request).await {
            Ok(response) => {
                if response.error_code != 0 {
                    let error = ottla_protocol::ErrorCode::from_code(response.error_code).name();
                    tracing::warn!(error, "in-sync replicas cannot be changed now");
                }
                Answer::Answered(response)
            }
            Err(error) => {
                tracing::warn!(%error, "in-sync replicas cannot be changed now");
                match error {
                    RelayError::NoCoordinator | RelayError::Overloaded => Answer::NotSent,
                    _ => Answer::Lost,
                }
            }
        };
        let settled = self.desk.settle(&sent, &answer);
        let has_decided = !settled.is_empty();
        for (proposed, outcome) in settled {
            self.report(proposed, outcome);
        }
        has_decided
    }

    fn report(&self, proposed: Proposed, outcome: ProposalOutcome) {
        let Proposed { handle, proposal } = proposed;
        let (topic, partition) = (&handle.topic, handle.index);
        match &outcome {
            ProposalOutcome::Accepted { isr, .. } => {
                tracing::info!(%topic, partition, ?isr, "in-sync replicas changed");
                self.figures.shrinks.inc_by(u64::from(0 < proposal.leaving));
                self.figures.expands.inc_by(u64::from(0 < proposal.joining));
            }
            ProposalOutcome::Refused { error, .. } => {
                tracing::info!(%topic, partition, error = error.name(),
                    "a change of the in-sync replicas was refused");
                self.figures.failed.inc();
            }
        }
        let (slot, id) = (handle.slot, proposal.id);
        // One for each replica at most is under way. A worker that has ended needs no answer.
        let _ = handle.inbox.report(Control::ProposalResolved { slot, id, outcome });
    }
}

#[cfg(test)]
#[path = "proposer_tests.rs"]
mod tests;
