//! The shards of groups while this coordinator is the active one: a task for each, one writer of the journal
//! for all of them.
//!
//! A shard is taken over and read when the term begins; until then it answers COORDINATOR_LOAD_IN_PROGRESS. It
//! changes its state at once, and answers when the journal holds everything that it decided. If the journal
//! turns out to be somebody else's, the shards are dropped, and whoever waits is answered NOT_COORDINATOR.

mod clock;
mod confirm;
mod hub;
mod lag;
mod linger;
mod metrics;
mod outbox;
mod term;
mod worker;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ottla_metadata::shard_of;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_groups_response::ListedGroup;
use tokio::sync::{mpsc, oneshot};

use crate::group::shard::Filter;
use crate::group::{Client, Request, Response, Ticket, refusal};
use crate::metrics::Metrics;

use hub::{Hub, Inbound, Phase, Slot};
use metrics::ShardMetrics;

pub(crate) use term::{TermParts, run};

/// The groups of the cluster, for whoever serves requests about them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Of the term that this coordinator is active in.
    hub: ArcSwapOption<Hub>,
    metrics: ShardMetrics,
}

impl Groups {
    /// Groups of a coordinator that is not active yet.
    pub fn new(metrics: &Metrics) -> Self {
        let metrics = ShardMetrics::new(metrics);
        Self { inner: Arc::new(Inner { hub: ArcSwapOption::empty(), metrics }) }
    }

    /// The shard that a group belongs to, while this coordinator is active.
    pub fn shard_of(&self, group: &str) -> Option<i32> {
        let hub = self.inner.hub.load();
        let shards = i32::try_from(hub.as_ref()?.slots.len()).ok()?;
        Some(shard_of(group, shards))
    }

    /// Every shard, while this coordinator is active.
    pub fn shards(&self) -> Vec<i32> {
        let hub = self.inner.hub.load();
        hub.as_ref().map(|hub| hub.slots.iter().map(|slot| slot.id).collect()).unwrap_or_default()
    }

    /// How long a commit may take, and a request for what was committed.
    pub fn commit_timeout(&self) -> Duration {
        let hub = self.inner.hub.load();
        hub.as_ref().map_or(COMMIT_TIMEOUT, |hub| hub.settings.load().commit_timeout)
    }

    /// Asks a group, and waits for its answer. Dropping the future takes the request back as far as it only
    /// waits; what was decided stays decided.
    pub async fn ask(&self, client: &Client, group: &str, request: Request) -> Response {
        let hub = self.inner.hub.load_full();
        let slot = hub.as_ref().and_then(|hub| hub.slot(self.shard_of(group)?));
        let (Some(hub), Some(slot)) = (&hub, slot) else {
            return refusal(&request, client.version, ErrorCode::NotCoordinator);
        };
        if GROUP_ID_MAX < group.len() {
            return refusal(&request, client.version, ErrorCode::InvalidGroupId);
        }
        if let Err(code) = admit(hub, slot, &request) {
            return refusal(&request, client.version, code);
        }
        let (reply, answer) = oneshot::channel();
        let ticket = slot.next_ticket();
        let inbound = Inbound::Request {
            ticket,
            client: client.clone(),
            group: group.to_owned(),
            request: Box::new(request.clone()),
            reply,
        };
        if let Err(refused) = slot.calls.try_send(inbound) {
            return refusal(&request, client.version, code_of(&refused));
        }
        let mut waiting = Waiting { slot, ticket, is_answered: false };
        let answer = answer.await;
        waiting.is_answered = true;
        drop(waiting);
        self.count(&request);
        // Dropped with the shard.
        answer.unwrap_or_else(|_| refusal(&request, client.version, ErrorCode::NotCoordinator))
    }

    /// Lists the groups of some shards.
    pub async fn list(
        &self,
        shards: &[i32],
        filter: &Filter,
    ) -> Result<Vec<ListedGroup>, ErrorCode> {
        let hub = self.inner.hub.load_full().ok_or(ErrorCode::NotCoordinator)?;
        let mut all = Vec::new();
        for shard in shards {
            let Some(slot) = hub.slot(*shard) else { continue };
            if slot.phase() != Phase::Active {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
            let (reply, answer) = oneshot::channel();
            let inbound = Inbound::List { filter: filter.clone(), reply };
            slot.calls.try_send(inbound).map_err(|refused| code_of(&refused))?;
            all.append(&mut answer.await.map_err(|_| ErrorCode::NotCoordinator)?);
        }
        Ok(all)
    }

    fn count(&self, request: &Request) {
        match request {
            Request::OffsetCommit(_) => drop(self.inner.metrics.offset_commits.inc()),
            Request::OffsetFetch(_) => drop(self.inner.metrics.offset_fetches.inc()),
            _ => {}
        }
    }
}

/// Whether a shard takes a request at all.
fn admit(hub: &Hub, slot: &Slot, request: &Request) -> Result<(), ErrorCode> {
    match slot.phase() {
        Phase::Loading => return Err(ErrorCode::CoordinatorLoadInProgress),
        Phase::Lost => return Err(ErrorCode::NotCoordinator),
        Phase::Active => {}
    }
    if matches!(request, Request::OffsetCommit(_)) && hub.is_shedding() {
        hub.metrics.refused_commits.inc();
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    Ok(())
}

fn code_of<T>(refused: &mpsc::error::TrySendError<T>) -> ErrorCode {
    match refused {
        mpsc::error::TrySendError::Full(_) => ErrorCode::CoordinatorNotAvailable,
        mpsc::error::TrySendError::Closed(_) => ErrorCode::NotCoordinator,
    }
}

/// Takes a request back when nobody waits for it any more.
struct Waiting<'a> {
    slot: &'a Slot,
    ticket: Ticket,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.slot.abandon(self.ticket);
        }
    }
}

/// Until the settings are known.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest group id: what Kafka's older versions can say. It is part of every key of the group.
const GROUP_ID_MAX: usize = 32_767;
