//! The task that sends batches: the driver around the accumulator.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use ottla_protocol::compression::Codec;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use ottla_protocol::types::{
    BrokerId, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId,
};
use ottla_protocol::wire::Records;
use ottla_protocol::{ErrorCode, Message, Str};
use tokio::time::Instant;

use crate::client::SUCCESSOR_PAUSE;
use crate::connection::UnsupportedApi;
use crate::error::{ClientError, check};
use crate::metadata_cache::{Broker, LeaderHint, Metadata};
use crate::node::{Link, PATIENCE};
use crate::producer::accumulator::Parcel;
use crate::producer::batch::{Fate, SentBatch};
use crate::producer::config::Acks;
use crate::producer::delivery::{DeliveryError, Written};
use crate::producer::flights::{Flight, Flights};
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

/// A partition, and the metadata by which its leader was chosen.
type Place<'a> = (&'a Str, PartitionId, &'a Metadata);

/// What was being waited for.
enum Event {
    /// A request was answered or failed.
    Answered(u64, Result<Option<ProduceResponse>, ClientError>),
    /// All that a request carried was taken back.
    TakenBack,
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
    flights: Flights,
    in_flight: HashMap<BrokerId, usize>,
    /// With the time when it began.
    connecting: HashMap<BrokerId, Instant>,
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
            flights: Flights::default(),
            in_flight: HashMap::new(),
            connecting: HashMap::new(),
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
        self.leave_silent_leaders(began);
        self.expire();
        self.renew_epochs();
        if self.shared.config.idempotence && self.identity.is_none() {
            self.identify();
        } else {
            self.send_all().await;
        }
        let next = self.shared.accumulator().next_event(began);
        let next = [next, self.next_late(began)].into_iter().flatten().min();
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
            Event::Answered(id, result) => {
                if let Some(parcel) = self.flights.remove(id) {
                    self.answered(parcel, result);
                }
            }
            Event::TakenBack => {}
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

    /// Takes back what a silent leader was sent, if another leads by now, and asks who leads while any is silent.
    fn leave_silent_leaders(&mut self, now: Instant) {
        let late = |since: &Instant| *since + PATIENCE <= now;
        let is_connecting_late = self.connecting.values().any(late);
        if !is_connecting_late && !self.flights.any_late(now) {
            return;
        }
        let shared = self.shared.clone();
        let config = &shared.config;
        // The new leader knows an idempotent producer's batches; to send others again is to try again.
        let may_repeat = |batch: &SentBatch| config.idempotence || batch.failures < config.retries;
        let metadata = shared.client.metadata();
        let taken = self.flights.take_back(now, &metadata, may_repeat);
        for broker in taken.emptied {
            self.has_landed(broker);
        }
        for (topic, partition, mut batch) in taken.batches {
            batch.failures += u32::from(!config.idempotence);
            batch.fate.last = "its leader was silent, and by now another one leads".to_owned();
            tracing::debug!(%topic, %partition, "taking a batch back from a silent leader");
            if let Some(queue) = shared.accumulator().queue(&topic, partition) {
                queue.repeat(batch, now);
            }
        }
        if is_connecting_late || self.flights.any_late(now) {
            self.refresh_after(SUCCESSOR_PAUSE);
        }
    }

    /// When, after `now`, the next leader will count as silent.
    fn next_late(&self, now: Instant) -> Option<Instant> {
        let connecting = self.connecting.values().map(|&since| since + PATIENCE);
        let connecting = connecting.filter(|&at| now < at).min();
        connecting.into_iter().chain(self.flights.next_late(now)).min()
    }

    fn has_landed(&mut self, broker: BrokerId) {
        if let Some(count) = self.in_flight.get_mut(&broker) {
            *count = count.saturating_sub(1);
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
        let result: BoxFuture<'static, _> = if self.shared.config.acks == Acks::None {
            let link = link.clone();
            Box::pin(async move {
                let sent = link.connection.send(version, &request).await;
                link.judge(sent).map(|()| None)
            })
        } else {
            // Started here, one after the other: that keeps the order on the connection.
            let started = link.connection.start(version, &request).await;
            let call = match link.judge(started) {
                Ok(call) => call,
                Err(error) => {
                    self.answered(parcel, Err(error));
                    return;
                }
            };
            let link = link.clone();
            Box::pin(async move { link.judge(call.response().await).map(Some) })
        };
        let (abort, registration) = AbortHandle::new_pair();
        let id = self.flights.next_id();
        self.flights.insert(id, Flight { parcel, link, sent_at: Instant::now(), abort });
        self.work.push(Box::pin(async move {
            match Abortable::new(result, registration).await {
                Ok(result) => Event::Answered(id, result),
                Err(_) => Event::TakenBack,
            }
        }));
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
        self.has_landed(parcel.broker);
        if let Ok(Some(response)) = &result {
            self.adopt_leaders(&parcel, response);
        }
        let sent_by = parcel.metadata;
        for (topic, partition, batch) in parcel.batches {
            match &result {
                Err(error) => {
                    let place = (&topic, partition, &*sent_by);
                    self.attempt_failed(place, batch, error.clone().into());
                }
                Ok(None) => {
                    let written = Written { base_offset: Offset::NONE, append_time: None };
                    self.finished(&topic, partition, batch, Ok(written));
                }
                Ok(Some(response)) => {
                    let id = sent_by.topic(&topic).map_or(TopicId::ZERO, |topic| topic.id);
                    match find(response, (&topic, id), partition) {
                        Some(answer) => {
                            self.batch_answered((&topic, partition, &sent_by), batch, answer);
                        }
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

    /// Believes what the answer says of other leaders.
    fn adopt_leaders(&self, parcel: &Parcel, response: &ProduceResponse) {
        let hint = |(topic, partition, _): &(Str, PartitionId, SentBatch)| {
            let answer = find(response, (topic, parcel.topic_id(topic)), *partition)?;
            let leader = &answer.current_leader;
            let (topic, partition) = (topic.clone(), *partition);
            let (leader, epoch) = (BrokerId(leader.leader_id), LeaderEpoch(leader.leader_epoch));
            let hint = LeaderHint { topic, partition, leader, epoch };
            (answer.error_code != 0 && leader != BrokerId::NONE).then_some(hint)
        };
        let hints: Vec<_> = parcel.batches.iter().filter_map(hint).collect();
        if hints.is_empty() {
            return;
        }
        let endpoints = response.node_endpoints.iter();
        let brokers: Vec<_> = endpoints
            .filter_map(|node| {
                Broker::read(node.node_id, (&node.host, node.port), node.rack.as_ref())
            })
            .collect();
        self.shared.client.adopt(&hints, &brokers);
    }

    fn batch_answered(
        &mut self,
        (topic, partition, sent_by): Place<'_>,
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
                let error = DeliveryError::Refused { code, message: reason(code, answer) };
                let has_moved = self.attempt_failed((topic, partition, sent_by), batch, error);
                if is_stale_metadata(code) && !has_moved {
                    self.refresh();
                }
            }
        }
    }

    /// Sends the batch again if that may help and there is time, at once if another leader is known already; else tells
    /// its records. Returns whether another leader is known.
    fn attempt_failed(
        &mut self,
        (topic, partition, sent_by): Place<'_>,
        mut batch: SentBatch,
        error: DeliveryError,
    ) -> bool {
        let config = &self.shared.config;
        let has_moved = self.shared.client.metadata().has_moved_since(sent_by, topic, partition);
        let now = Instant::now();
        let in_time = now < batch.fate.since + config.delivery_timeout;
        let may_repeat = batch.failures < config.retries;
        let mut accumulator = self.shared.accumulator();
        let Some(queue) = accumulator.queue(topic, partition) else { return has_moved };
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
            let backoff = self.shared.client.config().retry_backoff.delay(1, rand::random());
            queue.repeat(batch, if has_moved { now } else { now + backoff });
            return has_moved;
        }
        drop(accumulator);
        let error =
            if helps && !in_time { timed_out(&self.shared, error.to_string()) } else { error };
        self.finished(topic, partition, batch, Err(error));
        has_moved
    }

    fn finished(
        &mut self,
        topic: &Str,
        partition: PartitionId,
        batch: SentBatch,
        result: Result<Written, DeliveryError>,
    ) {
        if let Some(queue) = self.shared.accumulator().queue(topic, partition) {
            queue.finished(batch.order, result.is_ok());
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
        if let Entry::Vacant(entry) = self.connecting.entry(broker) {
            entry.insert(Instant::now());
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
        self.refresh_after(self.shared.client.config().retry_backoff.delay(1, rand::random()));
    }

    fn refresh_after(&mut self, delay: Duration) {
        if !std::mem::replace(&mut self.refreshing, true) {
            let client = self.shared.client.clone();
            self.work.push(Box::pin(async move {
                // Leaders change no faster than that, and the next attempt to send shows a failure.
                tokio::time::sleep(delay).await;
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
