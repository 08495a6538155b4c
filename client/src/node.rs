//! One broker: its address, and a connection made when it is first needed and made again when it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::connection::{
    Address, CallError, Connection, Software, UnsupportedApi, Versions, negotiate,
};
use crate::error::ClientError;
use crate::protocol::Request;

/// How long a broker may owe answers before it counts as silent: then others are asked too. A third of what a broker may
/// take to be declared dead, and much more than one that is well takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How long reaching a broker and learning its versions may take, whatever a request may.
const SETUP_MAX: Duration = Duration::from_secs(10);

/// A working connection, and what its peer understands.
#[derive(Clone, Debug)]
pub struct Link {
    /// The connection.
    pub connection: Connection,
    /// The versions that the peer takes.
    pub versions: Arc<Versions>,
}

impl Link {
    /// Sends `request` in the highest version that both sides know.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        let version = self.versions.pick::<R>()?;
        self.judge(self.connection.call(version, request).await)
    }

    /// Sends the request that `make` gives for the highest version that both sides know, from `min` on.
    pub async fn call_from<R: Request>(
        &self,
        min: i16,
        make: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let version = self.pick_from::<R>(min)?;
        self.judge(self.connection.call(version, &make(version)).await)
    }

    /// Passes a result on; gives the connection up after a call that went unanswered, since a broker answers in order
    /// and whatever follows would go unanswered too.
    pub(crate) fn judge<T>(&self, result: Result<T, CallError>) -> Result<T, ClientError> {
        if let Err(CallError::TimedOut(_)) = &result {
            self.connection.close();
        }
        Ok(result?)
    }

    /// Whether the broker owes answers, and gave none for a while.
    pub(crate) fn is_silent(&self) -> bool {
        PATIENCE <= self.connection.silent_for()
    }

    /// The link, if its broker has answered lately or does so now.
    pub(crate) async fn proven(self, software: &Software) -> Result<Self, ClientError> {
        let late = |at: Instant| at.elapsed() < PATIENCE;
        if self.is_silent() || !self.connection.answered_at().is_some_and(late) {
            negotiate(&self.connection, software).await?;
        }
        Ok(self)
    }

    /// The highest version of `R` that both sides know, from `min` on.
    pub fn pick_from<R: Request>(&self, min: i16) -> Result<i16, UnsupportedApi> {
        self.versions.pick_between::<R>(min, R::MAX_VERSION)
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    config: Arc<ClientConfig>,
    slot: Mutex<Slot>,
    /// Held by the one caller that connects; the others wait for its success or failure.
    gate: Semaphore,
}

#[derive(Debug, Default)]
struct Slot {
    link: Option<Link>,
    failures: u32,
    failed: Option<(Instant, ClientError)>,
}

impl Node {
    pub(crate) fn new(address: Address, config: Arc<ClientConfig>) -> Self {
        Self { address, config, slot: Mutex::default(), gate: Semaphore::new(1) }
    }

    /// The connection, if there is one. One that is silent and that nobody awaits anything from is given up: its broker
    /// may have gone without a word.
    pub(crate) fn ready(&self) -> Option<Link> {
        let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let link = slot.link.clone()?;
        drop(slot);
        if link.is_silent() && link.connection.calls_in_flight() == 0 {
            link.connection.close();
        }
        (!link.connection.is_closed()).then_some(link)
    }

    /// The connection, made if need be: not before the backoff after the last failure has passed.
    pub(crate) async fn link(&self) -> Result<Link, ClientError> {
        if let Some(link) = self.ready() {
            return Ok(link);
        }
        let asked = Instant::now();
        // The semaphore is never closed.
        let _permit = self.gate.acquire().await;
        if let Some(link) = self.ready() {
            return Ok(link);
        }
        let (failures, failed) = {
            let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            (slot.failures, slot.failed.clone())
        };
        if let Some((at, error)) = failed {
            if asked < at {
                return Err(error);
            }
            let delay = self.config.reconnect_backoff.delay(failures, rand::random());
            tokio::time::sleep_until(at + delay).await;
        }
        let result = self.connect().await;
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(link) => *slot = Slot { link: Some(link.clone()), ..Slot::default() },
            Err(error) => {
                slot.link = None;
                slot.failures = slot.failures.saturating_add(1);
                slot.failed = Some((Instant::now(), error.clone()));
            }
        }
        result
    }

    async fn connect(&self) -> Result<Link, ClientError> {
        let stream = self.config.connector.connect(&self.address).await?;
        let connection = Connection::new(stream, self.config.connection_options());
        let timeout = SETUP_MAX.min(self.config.request_timeout);
        let negotiated = negotiate(&connection, &self.config.software);
        let timed_out = |_| CallError::TimedOut(timeout);
        let versions = tokio::time::timeout(timeout, negotiated).await.map_err(timed_out)??;
        tracing::debug!(address = %self.address, "connected");
        Ok(Link { connection, versions: Arc::new(versions) })
    }
}
