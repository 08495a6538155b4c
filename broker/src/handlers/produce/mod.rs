//! Produce, 3 to 13 (told from 0 on): appends record batches.
//!
//! - Versions 0 to 2 carry the old message formats and are not served, but librdkafka needs to see them
//!   in ApiVersions.
//! - `acks` is 0, 1 or −1, else INVALID_REQUIRED_ACKS for every partition. With 0 there is no answer, and
//!   any error closes the connection.
//! - Batches are validated on the connection's task, before they are queued; long work goes to a pool.
//!   Once they are queued their order is fixed, and the connection takes its next request.
//! - With −1 the answer waits for the high watermark, at most `timeout_ms`; REQUEST_TIMED_OUT leaves the
//!   records in the log.
//! - 5 tells the log's start, 7 allows zstd, 8 names the records at fault (KIP-467), 10 tells who leads
//!   (KIP-951), 13 names topics by id.
//! - Transactional batches are refused with INVALID_TXN_STATE: no partition is part of a transaction yet.

mod prepare;
mod respond;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::produce_request::{ProduceRequest, TopicProduceData};
use ottla_protocol::wire::Records;
use ottla_protocol::{ErrorCode, Uuid};
use ottla_storage::LeaderBatch;

use self::prepare::{Rejected, prepare};
use self::respond::{PartitionPlan, Plan, Status, TopicPlan};
use super::{Answer, Handler, RequestContext};
use crate::data_path::{DataPath, Resolver, Unroutable};
use crate::fetch_session::TopicKey;
use crate::partition::{Acks, PartitionHandle};
use crate::services::Services;
use crate::worker::{AppendCommand, AppendItem, Inbox, SlotKey, Ticket, Waiter};

/// Serves Produce.
#[derive(Debug)]
pub struct Produce;

/// Kafka's admin tools write to internal topics under this client id.
const ADMIN_CLIENT_ID: &str = "__admin_client";

impl Handler for Produce {
    type Request = ProduceRequest;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const ADVERTISED_MIN: i16 = 0;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: ProduceRequest,
    ) -> Answer {
        produce(&services.data, context, request).await
    }
}

/// The ordered part: validates, queues.
async fn produce(
    data: &Arc<DataPath>,
    context: &RequestContext,
    request: ProduceRequest,
) -> Answer {
    let Some(acks) = acks_of(request.acks) else {
        let plan = Plan::refused(&request.topic_data, ErrorCode::InvalidRequiredAcks);
        return Answer::Ready(plan.reply(context, data));
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut queueing = Queueing::default();
    let mut plan = plan(data, context, request.topic_data, &mut queueing).await;
    if queueing.count == 0 {
        return match acks {
            Acks::None if plan.has_failed() => Answer::Close,
            Acks::None => Answer::None,
            _ => Answer::Ready(plan.reply(context, data)),
        };
    }
    let ticket = queueing.send(acks).await;
    plan.ticket = Some(Arc::clone(&ticket));
    if acks == Acks::None {
        // Nothing tells the client when its records are there, so what it asks next must find them.
        ticket.wait().await;
        return if plan.has_failed() { Answer::Close } else { Answer::None };
    }
    let (context, data) = (context.clone(), Arc::clone(data));
    Answer::later(async move {
        // What is not decided by then is answered as timed out; the records stay in the log.
        let _ = tokio::time::timeout(timeout, ticket.wait()).await;
        plan.reply(&context, &data)
    })
}

/// Finds and validates everything; what is sound is left in `queueing`, what is not is in the plan.
async fn plan(
    data: &DataPath,
    context: &RequestContext,
    topics: Vec<TopicProduceData>,
    queueing: &mut Queueing,
) -> Plan {
    let resolver = data.resolver();
    let mut plan = Plan { topics: Vec::with_capacity(topics.len()), ticket: None };
    for topic in topics {
        let key = if context.api_version < 13 {
            TopicKey::Name(topic.name.clone())
        } else {
            TopicKey::Id(topic.topic_id)
        };
        let id = resolver.topic_id(&key);
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for partition in topic.partition_data {
            let index = partition.index;
            let found = match find(&resolver, id, index, context) {
                Ok(handle) => {
                    match prepare_records(data, context, &handle, partition.records).await {
                        Ok(prepared) => Ok((handle, prepared)),
                        Err(rejected) => Err(Status::Rejected(rejected)),
                    }
                }
                Err(unroutable) => Err(Status::Unroutable(unroutable)),
            };
            let status = match found {
                Ok((handle, prepared)) => {
                    let batch = &prepared.batch;
                    let records = u64::try_from(batch.header.records_count).unwrap_or(0);
                    data.figures.messages_in.inc_by(records);
                    data.figures.bytes_in.inc_by(batch.bytes.len() as u64);
                    Status::Queued(queueing.add(&handle, prepared))
                }
                Err(status) => status,
            };
            partitions.push(PartitionPlan { index, status });
        }
        plan.topics.push(TopicPlan {
            // The answer may wait for long; it is not to keep the request's records in memory.
            name: topic.name.detach(),
            id: topic.topic_id,
            resolved: id.ok(),
            partitions,
        });
    }
    plan
}

/// The partition, if this broker leads it and clients may write to it.
fn find(
    resolver: &Resolver,
    topic: Result<Uuid, ErrorCode>,
    partition: i32,
    context: &RequestContext,
) -> Result<Arc<PartitionHandle>, Unroutable> {
    let handle = resolver.find(topic, partition).map_err(|unroutable| {
        let is_metadata_only = topic.is_ok_and(|topic| resolver.is_metadata_only(topic));
        if is_metadata_only {
            Unroutable::plain(ErrorCode::InvalidTopicException)
        } else {
            unroutable
        }
    })?;
    let view = handle.view();
    match view.check_leader(-1) {
        Ok(()) => {}
        Err(ErrorCode::NotLeaderOrFollower) => {
            return Err(resolver.not_leader(handle.topic_id, partition));
        }
        Err(error) => return Err(Unroutable::plain(error)),
    }
    if view.settings.is_internal && context.client_id != ADMIN_CLIENT_ID {
        return Err(Unroutable::plain(ErrorCode::InvalidTopicException));
    }
    drop(view);
    Ok(handle)
}

async fn prepare_records(
    data: &DataPath,
    context: &RequestContext,
    handle: &PartitionHandle,
    records: Option<Records>,
) -> Result<LeaderBatch, Rejected> {
    let Some(Records::Memory(bytes)) = records else {
        return Err(Rejected::plain(ErrorCode::InvalidRecord, "records are missing"));
    };
    let view = handle.view();
    let (settings, log_start) = (Arc::clone(&view.settings), view.log_start);
    drop(view);
    let rules = prepare::Rules {
        settings,
        log_start,
        now_ms: context.received.wall_ms,
        is_zstd_allowed: 7 <= context.api_version,
    };
    prepare(&data.compute, bytes, rules).await
}

/// The parts of a request that are sound, by worker.
#[derive(Default)]
struct Queueing {
    /// Batches so far.
    count: u32,
    /// A request has to do with few workers, so they are found by looking.
    parts: Vec<Part>,
}

/// What one worker gets.
struct Part {
    inbox: Arc<Inbox>,
    /// With each batch's index in the ticket.
    batches: Vec<(u32, SlotKey, LeaderBatch)>,
    bytes: usize,
}

impl Queueing {
    /// Adds a batch; returns its index in the ticket.
    fn add(&mut self, handle: &PartitionHandle, batch: LeaderBatch) -> u32 {
        let index = self.count;
        self.count += 1;
        let bytes = batch.batch.bytes.len();
        let known = self.parts.iter().position(|part| Arc::ptr_eq(&part.inbox, &handle.inbox));
        let at = known.unwrap_or_else(|| {
            let inbox = Arc::clone(&handle.inbox);
            self.parts.push(Part { inbox, batches: Vec::new(), bytes: 0 });
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        part.batches.push((index, handle.slot, batch));
        part.bytes += bytes;
        index
    }

    /// Queues everything, waiting for room where there is none. A worker that is gone answers by the
    /// waiters that are dropped.
    async fn send(self, acks: Acks) -> Arc<Ticket> {
        let ticket = Ticket::new(self.count as usize);
        for Part { inbox, batches, bytes } in self.parts {
            let item = |(index, slot, batch)| {
                let waiter = Waiter::new(Arc::clone(&ticket), index);
                AppendItem { slot, batch, waiter }
            };
            let items = batches.into_iter().map(item).collect();
            let _ = inbox.send(AppendCommand { items, acks }, bytes).await;
        }
        ticket
    }
}

const fn acks_of(acks: i16) -> Option<Acks> {
    match acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
