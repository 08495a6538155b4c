//! The task that sends batches: the driver around the accumulator.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use ottla_protocol::compression::Codec;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use ottla_protocol::types::{BrokerId, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};
use ottla_protocol::wire::Records;
use ottla_protocol::{ErrorCode, Message, Str};
use tokio::time::Instant;

use crate::connection::UnsupportedApi;
use crate::error::{ClientError, check};
use crate::node::Link;
use crate::producer::accumulator::Parcel;
use crate::producer::batch::{Fate, SentBatch};
use crate::producer::config::Acks;
use crate::producer::delivery::{DeliveryError, Written};
use crate::producer::queue::Identity;
use crate::producer::{Shared, is_stale_metadata};

/// Lowest version of Produce that carries batches of magic 2, and the lowest that may carry zstd.
const VERSION_MIN: i16 = 3;
const ZSTD_VERSION_MIN: i16 = 7;

/// First version that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;

/// The producer's clock for records without a timestamp, Unix ms.
#[expect(
    clippy::disallowed_methods,
    reason = "a driver: records are stamped with the time of sending"
)]
pub(super) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Runs until the task is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut sender = Sender::new(shared);
    loop {
        sender.step().await;
    }
}

/// What was being waited for.
enum Event {
    /// A request was answered or failed.
    Answered(Parcel, Result<Option<ProduceResponse>, ClientError>),
    /// A connection was made, or not.
    Connected(BrokerId),
    /// Metadata was fetched, or not.
    Refreshed,
    /// A producer id was given out, or not.
    Identified(Result<Identity, ClientError>),
}

struct Sender {
    shared: Arc<Shared>,
    /// Everything under way: bounded by the brokers, times requests in flight.
    work: FuturesUnordered<BoxFuture<'static, Event>>,
    in_flight: HashMap<BrokerId, usize>,
    connecting: HashSet<BrokerId>,
    refreshing: bool,
    identifying: bool,
    identity: Option<Identity>,
    /// Failures in a row to get metadata or an identity.
    failures: u32,
}

impl Sender {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            work: FuturesUnordered::new(),
            in_flight: HashMap::new(),
            connecting: HashSet::new(),
            refreshing: false,
            identifying: false,
            identity: None,
            failures: 0,
        }
    }

    /// Sends what can be sent, then waits for something to happen.
    async fn step(&mut self) {
        // Taken first, so that nothing that becomes due during the step is missed.
        let began = Instant::now();
        self.expire();
        self.renew_epochs();
        if self.shared.config.idempotence && self.identity.is_none() {
            self.identify();
        } else {
            self.send_all().await;
        }
        let next = self.shared.accumulator().next_event(began);
        let pause = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            Some(event) = self.work.next() => Some(event),
            () = self.shared.wake.notified() => None,
            () = pause => None,
        };
        if let Some(event) = event {
            self.handle(event);
        }
        // Whatever else was answered meanwhile must be known before anything is sent behind it.
        while let Some(Some(event)) = futures_util::FutureExt::now_or_never(self.work.next()) {
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answered(parcel, result) => self.answered(parcel, result),
            Event::Connected(broker) => {
                self.connecting.remove(&broker);
            }
            Event::Refreshed => self.refreshing = false,
            Event::Identified(result) => {
                self.identifying = false;
                match result {
                    Ok(identity) => {
                        self.identity = Some(identity);
                        self.failures = 0;
                    }
                    Err(error) => self.identity_failed(&error),
                }
            }
        }
    }

    /// Sends one request after the other until no broker has room or nothing is left.
    async fn send_all(&mut self) {
        loop {
            let metadata = self.shared.client.metadata();
            let hurry = 0 < self.shared.waiting.load(Ordering::Acquire)
                || self.shared.closed.load(Ordering::Acquire);
            let max = self.shared.config.max_in_flight;
            let mut unconnected = HashSet::new();
            let drained = {
                let busy = |broker| max <= self.in_flight.get(&broker).copied().unwrap_or(0);
                let cell = std::cell::RefCell::new(&mut unconnected);
                let has_room = |broker| {
                    let ready = self.shared.client.ready(broker).is_some();
                    if !ready {
                        cell.borrow_mut().insert(broker);
                    }
                    ready && !busy(broker)
                };
                let when = (Instant::now(), hurry);
                self.shared.accumulator().drain(&metadata, self.identity, when, has_room)
            };
            for (fate, error) in drained.failed {
                self.settle(fate, Err(error.into()));
            }
            if drained.needs_metadata {
                self.refresh();
            }
            for broker in unconnected {
                self.connect(broker);
            }
            if drained.parcels.is_empty() {
                return;
            }
            for parcel in drained.parcels {
                self.send(parcel).await;
            }
        }
    }

    async fn send(&mut self, parcel: Parcel) {
        *self.in_flight.entry(parcel.broker).or_default() += 1;
        let Some(link) = self.shared.client.ready(parcel.broker) else {
            self.answered(parcel, Err(ClientError::UnknownBroker(BrokerId::NONE)));
            return;
        };
        let (version, request) = match self.request(&parcel, &link) {
            Ok(request) => request,
            Err(error) => {
                self.answered(parcel, Err(error.into()));
                return;
            }
        };
        if self.shared.config.acks == Acks::None {
            let sent = async move {
                let sent = link.connection.send(version, &request).await;
                let result = link.judge(sent).map(|()| None);
                Event::Answered(parcel, result)
            };
            self.work.push(Box::pin(sent));
            return;
        }
        // Started here, one after the other: that keeps the order on the connection.
        let started = link.connection.start(version, &request).await;
        let call = match link.judge(started) {
            Ok(call) => call,
            Err(error) => {
                self.answered(parcel, Err(error));
                return;
            }
        };
        let answered = async move {
            let result = link.judge(call.response().await).map(Some);
            Event::Answered(parcel, result)
        };
        self.work.push(Box::pin(answered));
    }

    fn request(
        &self,
        parcel: &Parcel,
        link: &Link,
    ) -> Result<(i16, ProduceRequest), UnsupportedApi> {
        let config = &self.shared.config;
        let zstd = config.compression.codec() == Codec::Zstd;
        let min = if zstd { ZSTD_VERSION_MIN } else { VERSION_MIN };
        let id = |topic: &Str| parcel.topic_id(topic);
        let all_have_ids = parcel.batches.iter().all(|(topic, ..)| id(topic) != TopicId::ZERO);
        let max = if all_have_ids { ProduceRequest::MAX_VERSION } else { TOPIC_ID_VERSION - 1 };
        let version = link.versions.pick_between::<ProduceRequest>(min, max)?;
        let by_id = TOPIC_ID_VERSION <= version;
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for (topic, partition, batch) in &parcel.batches {
            let data = PartitionProduceData {
                index: partition.0,
                records: Some(Records::Memory(batch.batch.bytes.clone())),
                ..PartitionProduceData::default()
            };
            let name = if by_id { Str::default() } else { topic.clone() };
            let topic_id = if by_id { id(topic) } else { TopicId::ZERO };
            let same =
                |known: &&mut TopicProduceData| known.name == name && known.topic_id == topic_id;
            match topics.iter_mut().find(same) {
                Some(known) => known.partition_data.push(data),
                None => topics.push(TopicProduceData {
                    name,
                    topic_id,
                    partition_data: vec![data],
                    ..TopicProduceData::default()
                }),
            }
        }
        let timeout = self.shared.client.config().request_timeout.as_millis();
        let request = ProduceRequest {
            acks: config.acks.code(),
            timeout_ms: i32::try_from(timeout).unwrap_or(i32::MAX),
            topic_data: topics,
            ..ProduceRequest::default()
        };
        Ok((version, request))
    }

    fn answered(&mut self, parcel: Parcel, result: Result<Option<ProduceResponse>, ClientError>) {
        if let Some(count) = self.in_flight.get_mut(&parcel.broker) {
            *count = count.saturating_sub(1);
        }
        for (topic, partition, batch) in parcel.batches {
            match &result {
                Err(error) => self.attempt_failed(&topic, partition, batch, error.clone().into()),
                Ok(None) => {
                    let written = Written { base_offset: Offset::NONE, append_time: None };
                    self.finished(&topic, partition, batch, Ok(written));
                }
                Ok(Some(response)) => {
                    let id = parcel.metadata.topic(&topic).map_or(TopicId::ZERO, |topic| topic.id);
                    match find(response, (&topic, id), partition) {
                        Some(answer) => self.batch_answered(&topic, partition, batch, answer),
                        None => {
                            let message = "the broker's answer leaves the batch out";
                            let code = ErrorCode::UnknownServerError;
                            let error = ClientError::server(code, Some(message));
                            self.finished(&topic, partition, batch, Err(error.into()));
                        }
                    }
                }
            }
        }
        if result.is_err() {
            self.refresh();
        }
    }

    fn batch_answered(
        &mut self,
        topic: &Str,
        partition: PartitionId,
        batch: SentBatch,
        answer: &PartitionProduceResponse,
    ) {
        match ErrorCode::from_code(answer.error_code) {
            // What was written before is written.
            ErrorCode::None | ErrorCode::DuplicateSequenceNumber => {
                let append_time = Some(answer.log_append_time_ms).filter(|&at_ms| 0 <= at_ms);
                let base_offset = Offset(answer.base_offset);
                let written = Written { base_offset, append_time };
                self.finished(topic, partition, batch, Ok(written));
            }
            code => {
                if is_stale_metadata(code) {
                    self.refresh();
                }
                let error = DeliveryError::Refused { code, message: reason(code, answer) };
                self.attempt_failed(topic, partition, batch, error);
            }
        }
    }

    /// Sends the batch again if that may help and there is time, else tells its records.
    fn attempt_failed(
        &mut self,
        topic: &Str,
        partition: PartitionId,
        mut batch: SentBatch,
        error: DeliveryError,
    ) {
        let config = &self.shared.config;
        let now = Instant::now();
        let in_time = now < batch.fate.since + config.delivery_timeout;
        let may_repeat = batch.failures < config.retries;
        let mut accumulator = self.shared.accumulator();
        let Some(queue) = accumulator.queue(topic, partition) else { return };
        let helps = match &error {
            DeliveryError::Refused { code, .. } => {
                queue.judge_sequence_error(batch.order, *code) || code.is_retriable()
            }
            DeliveryError::Client(error) => error.is_retriable(),
            _ => false,
        };
        if helps && in_time && may_repeat {
            batch.failures += 1;
            batch.fate.last = error.to_string();
            tracing::debug!(%topic, %partition, %error, "sending a batch again");
            let backoff = self.shared.client.config().retry_backoff;
            queue.repeat(batch, now + backoff.delay(1, rand::random()));
            return;
        }
        drop(accumulator);
        let error =
            if helps && !in_time { timed_out(&self.shared, error.to_string()) } else { error };
        self.finished(topic, partition, batch, Err(error));
    }

    fn finished(
        &mut self,
        topic: &Str,
        partition: PartitionId,
        batch: SentBatch,
        result: Result<Written, DeliveryError>,
    ) {
        if let Some(queue) = self.shared.accumulator().queue(topic, partition) {
            queue.finished(batch.order);
        }
        self.settle(batch.fate, result);
    }

    fn settle(&self, fate: Fate, result: Result<Written, DeliveryError>) {
        self.shared.memory.add_permits(fate.settle(result));
    }

    fn expire(&mut self) {
        let expired = self.shared.accumulator().expire(Instant::now());
        for fate in expired {
            let error = timed_out(&self.shared, fate.last.clone());
            self.settle(fate, Err(error));
        }
    }

    /// Begins a new epoch for partitions whose sequence is broken.
    fn renew_epochs(&mut self) {
        let Some(mut current) = self.identity else { return };
        let shared = self.shared.clone();
        for queue in shared.accumulator().queues_mut().filter(|queue| queue.needs_new_epoch()) {
            if queue.identity() == Some(current) {
                let Some(epoch) = current.epoch.0.checked_add(1) else {
                    // No epoch is left: another producer id.
                    self.identity = None;
                    return;
                };
                current.epoch = ProducerEpoch(epoch);
            }
            queue.begin_epoch(current);
        }
        self.identity = Some(current);
    }

    fn connect(&mut self, broker: BrokerId) {
        if self.connecting.insert(broker) {
            let client = self.shared.client.clone();
            self.work.push(Box::pin(async move {
                // The next attempt to send shows a failure.
                if let Err(error) = client.broker(broker).await {
                    tracing::debug!(%broker, %error, "no connection");
                    let _ = client.refresh_metadata(&[]).await;
                }
                Event::Connected(broker)
            }));
        }
    }

    fn refresh(&mut self) {
        if !std::mem::replace(&mut self.refreshing, true) {
            let client = self.shared.client.clone();
            self.work.push(Box::pin(async move {
                let backoff = client.config().retry_backoff;
                // Leaders change no faster than that, and the next attempt to send shows a failure.
                tokio::time::sleep(backoff.delay(1, rand::random())).await;
                if let Err(error) = client.refresh_metadata(&[]).await {
                    tracing::debug!(%error, "no metadata");
                }
                Event::Refreshed
            }));
        }
    }

    fn identify(&mut self) {
        let waiting = self.shared.accumulator().has_work();
        if !waiting || std::mem::replace(&mut self.identifying, true) {
            return;
        }
        let client = self.shared.client.clone();
        let delay = client.config().retry_backoff.delay(self.failures, rand::random());
        self.work.push(Box::pin(async move {
            tokio::time::sleep(delay).await;
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            let answer = async {
                let response = client.any_broker().await?.call(&request).await?;
                check(response.error_code, None)?;
                Ok(Identity {
                    id: ProducerId(response.producer_id),
                    epoch: ProducerEpoch(response.producer_epoch),
                })
            };
            Event::Identified(answer.await)
        }));
    }

    /// Without an identity nothing can be sent: tries again if that may help, else fails what waits.
    fn identity_failed(&mut self, error: &ClientError) {
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(%error, "no producer id");
        if error.is_retriable() {
            return;
        }
        let all = Instant::now() + self.shared.config.delivery_timeout;
        let fates = self.shared.accumulator().expire(all);
        for fate in fates {
            self.settle(fate, Err(error.clone().into()));
        }
    }
}

fn timed_out(shared: &Shared, last: String) -> DeliveryError {
    DeliveryError::TimedOut { after: shared.config.delivery_timeout, last }
}

fn find<'a>(
    response: &'a ProduceResponse,
    (name, id): (&Str, TopicId),
    partition: PartitionId,
) -> Option<&'a PartitionProduceResponse> {
    response
        .responses
        .iter()
        .filter(|topic| {
            if topic.topic_id == TopicId::ZERO { topic.name == *name } else { topic.topic_id == id }
        })
        .flat_map(|topic| &topic.partition_responses)
        .find(|answer| answer.index == partition.0)
}

/// The broker's words, of the batch or of its first record at fault.
fn reason(code: ErrorCode, answer: &PartitionProduceResponse) -> String {
    let mut words = answer.error_message.as_deref().unwrap_or(code.message()).to_owned();
    for error in answer.record_errors.iter().take(1) {
        let message = error.batch_index_error_message.as_deref().unwrap_or("invalid");
        words.push_str(&format!(" (record {}: {message})", error.batch_index));
    }
    words
}
