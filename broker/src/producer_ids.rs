//! Producer ids for idempotent producers, from blocks that the controller hands out.

use std::ops::Range;

use tokio::sync::{mpsc, oneshot};

use crate::relay::{Relay, RelayError};

/// Hands out producer ids; cheap to clone. One task owns the block, so that many producers that start
/// at once fetch one block and not many.
#[derive(Debug, Clone)]
pub struct ProducerIds {
    wanted: mpsc::Sender<oneshot::Sender<Result<i64, RelayError>>>,
}

/// The owner of the block.
#[derive(Debug)]
pub struct ProducerIdTask {
    wanted: mpsc::Receiver<oneshot::Sender<Result<i64, RelayError>>>,
    relay: Relay,
    block: Range<i64>,
}

/// Producers that wait for an id at a time; more are told to come back.
const WAITING_MAX: usize = 1024;

impl ProducerIds {
    /// The handle, and the task to run.
    pub fn new(relay: Relay) -> (Self, ProducerIdTask) {
        let (wanted, queue) = mpsc::channel(WAITING_MAX);
        (Self { wanted }, ProducerIdTask { wanted: queue, relay, block: 0..0 })
    }

    /// An id that no producer has had.
    pub async fn next(&self) -> Result<i64, RelayError> {
        let (reply, answer) = oneshot::channel();
        self.wanted.try_send(reply).map_err(|_| RelayError::Overloaded)?;
        answer.await.unwrap_or(Err(RelayError::NoCoordinator))
    }
}

impl ProducerIdTask {
    /// Serves the handles until all of them are gone.
    pub async fn run(mut self) {
        while let Some(reply) = self.wanted.recv().await {
            let id = self.next().await;
            if let Err(error) = &id {
                tracing::warn!(%error, "no producer ids; idempotent producers have to wait");
            }
            // Whoever asked may have hung up; an id that nobody gets is lost, which does no harm.
            drop(reply.send(id));
        }
    }

    async fn next(&mut self) -> Result<i64, RelayError> {
        if self.block.is_empty() {
            let (start, len) = self.relay.allocate_producer_ids().await?;
            let end = start.checked_add(len.into()).filter(|end| 0 <= start && start < *end);
            let end = end.ok_or_else(|| {
                RelayError::Malformed(format!("a block of {len} producer ids from {start}"))
            })?;
            self.block = start..end;
        }
        self.block.next().ok_or(RelayError::NoCoordinator)
    }
}
