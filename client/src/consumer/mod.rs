//! Reads records, from partitions that the application assigns or that it shares with a group.

mod config;
mod fetch;
mod fetched;
pub mod group;
mod partition;

pub use config::{ConsumerConfig, OffsetReset};
pub use fetched::{ConsumerRecord, RecordHeader};
pub use group::{GroupConfig, GroupConsumer};

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use ottla_protocol::messages::FetchResponse;
use ottla_protocol::record_batch::BatchError;
use ottla_protocol::types::{BrokerId, Offset, PartitionId};
use ottla_protocol::{ErrorCode, Str};
use tokio::time::Instant;

use crate::client::Client;
use crate::error::ClientError;
use crate::metadata_cache::Metadata;
use crate::offsets::{OffsetFound, list_offsets_once};
use fetch::FetchPlan;
use fetched::Fetched;
use partition::Assigned;

/// Where reading a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record there is.
    Earliest,
    /// At the next record to be written.
    Latest,
    /// At this offset.
    Offset(Offset),
    /// At the first record with this timestamp (Unix ms) or a later one; at the end if there is none.
    Timestamp(i64),
}

/// A topic's partition.
pub type TopicPartition = (Str, PartitionId);

/// Why a partition cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{topic}-{partition}: {cause}")]
pub struct ConsumeError {
    /// Of this topic.
    pub topic: Str,
    /// Its number.
    pub partition: PartitionId,
    /// What is wrong.
    pub cause: ConsumeErrorCause,
}

/// What is wrong with a partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeErrorCause {
    /// The cluster refuses, or cannot be talked to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What the broker sent is damaged.
    #[error("damaged batch: {0}")]
    Batch(#[from] BatchError),
    /// The position is not (any more) in the log, and there is no reset policy.
    #[error("offset {0} is out of range, and auto.offset.reset is none")]
    OutOfRange(Offset),
}

/// A partition that is not assigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{topic}-{partition} is not assigned")]
pub struct NotAssigned {
    /// Of this topic.
    pub topic: Str,
    /// Its number.
    pub partition: PartitionId,
}

/// Reads the partitions that it was assigned. Does its work within [`poll`](Self::poll), but fetches ahead meanwhile.
/// Reads records of unfinished transactions like any other (`isolation.level=read_uncommitted`).
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    partitions: BTreeMap<TopicPartition, Assigned>,
    /// Fetched and not yet returned, at most one answer for each partition.
    fetched: VecDeque<Fetched>,
    /// Brokers with a fetch under way.
    busy: HashSet<BrokerId>,
    refreshing: bool,
    /// Everything under way: a fetch for each broker, one lookup for each partition, one refresh.
    work: FuturesUnordered<BoxFuture<'static, Event>>,
    next_generation: u64,
}

/// What was being waited for.
#[derive(Debug)]
enum Event {
    Fetched(FetchPlan, Result<FetchResponse, ClientError>),
    /// Offsets, each with the generation of the partition that they were looked up for.
    Found(Vec<(TopicPartition, u64)>, Vec<Result<OffsetFound, ClientError>>),
    Refreshed,
}

impl Consumer {
    /// A consumer of the cluster that `client` reaches.
    pub fn new(client: Client, config: ConsumerConfig) -> Self {
        Self {
            client,
            config,
            partitions: BTreeMap::new(),
            fetched: VecDeque::new(),
            busy: HashSet::new(),
            refreshing: false,
            work: FuturesUnordered::new(),
            next_generation: 0,
        }
    }

    /// Changes `max.poll.records`.
    pub fn set_max_poll_records(&mut self, records: usize) {
        self.config.max_poll_records = records;
    }

    /// Reads this partition too, from `start` on; from there anew if it is assigned already.
    pub fn assign(&mut self, topic: impl Into<Str>, partition: PartitionId, start: Start) {
        self.next_generation += 1;
        let assigned = Assigned::new(start, self.next_generation);
        self.partitions.insert((topic.into(), partition), assigned);
    }

    /// Reads this partition no more.
    pub fn unassign(&mut self, topic: &Str, partition: PartitionId) {
        self.partitions.remove(&(topic.clone(), partition));
        if !self.partitions.keys().any(|(other, _)| other == topic) {
            self.client.forget_topic(topic);
        }
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Goes on reading an assigned partition from `start`.
    pub fn seek(
        &mut self,
        topic: &Str,
        partition: PartitionId,
        start: Start,
    ) -> Result<(), NotAssigned> {
        self.assigned(topic, partition)?;
        self.assign(topic.clone(), partition, start);
        Ok(())
    }

    /// The offset of the next record that [`poll`](Self::poll) returns; none before it was looked up.
    pub fn position(
        &self,
        topic: &Str,
        partition: PartitionId,
    ) -> Result<Option<Offset>, NotAssigned> {
        Ok(self.assigned(topic, partition)?.position)
    }

    /// The partition's end as consumers see it, as of the last fetch; none before the first.
    pub fn high_watermark(
        &self,
        topic: &Str,
        partition: PartitionId,
    ) -> Result<Option<Offset>, NotAssigned> {
        Ok(self.assigned(topic, partition)?.high_watermark)
    }

    /// Whether everything up to the end, as of the last fetch, was returned.
    pub fn is_at_end(&self, topic: &Str, partition: PartitionId) -> Result<bool, NotAssigned> {
        let assigned = self.assigned(topic, partition)?;
        Ok(assigned
            .position
            .zip(assigned.high_watermark)
            .is_some_and(|(position, end)| end <= position))
    }

    /// Records of the assigned partitions, at most `max.poll.records`; none if none came within `timeout`. Those of one
    /// partition are in order. An error is about one partition, and what was returned for it before stands; the next
    /// poll tries again.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        let deadline = Instant::now() + timeout;
        loop {
            let records = self.take_records()?;
            self.start_work();
            if !records.is_empty() {
                // Lets the next fetches begin while the application is busy with these records.
                while let Some(Some(event)) = self.work.next().now_or_never() {
                    if let Err(error) = self.handle(event) {
                        // It comes up again in the next poll, after these records.
                        tracing::debug!(%error, "fetching ahead");
                    }
                }
                return Ok(records);
            }
            let now = Instant::now();
            if deadline <= now {
                return Ok(records);
            }
            let retry = self.partitions.values().filter_map(|assigned| assigned.retry_at).min();
            let until = retry.filter(|&at| now < at).map_or(deadline, |at| at.min(deadline));
            let event = tokio::select! {
                Some(event) = self.work.next() => event,
                () = tokio::time::sleep_until(until) => continue,
            };
            self.handle(event)?;
        }
    }

    fn assigned(&self, topic: &Str, partition: PartitionId) -> Result<&Assigned, NotAssigned> {
        let known = self.partitions.get(&(topic.clone(), partition));
        known.ok_or_else(|| NotAssigned { topic: topic.clone(), partition })
    }

    fn take_records(&mut self) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        let mut records = Vec::new();
        while records.len() < self.config.max_poll_records {
            let Some(mut fetched) = self.fetched.pop_front() else { break };
            let key = &fetched.partition;
            let Some(assigned) = self.partitions.get_mut(key) else { continue };
            if assigned.generation != fetched.generation {
                continue;
            }
            let position = assigned.position.unwrap_or(Offset(0));
            let max = self.config.max_poll_records - records.len();
            let (next, result) = fetched.take(position, max, &self.config, &mut records);
            assigned.position = Some(next);
            if let Err(error) = result {
                assigned.is_buffered = false;
                if records.is_empty() {
                    let (topic, partition) = fetched.partition;
                    return Err(ConsumeError { topic, partition, cause: error.into() });
                }
                // The records before the damage first; it will be fetched, and found, again.
                break;
            }
            if fetched.is_empty() {
                assigned.is_buffered = false;
            } else {
                self.fetched.push_front(fetched);
            }
        }
        Ok(records)
    }

    /// Starts whatever is needed and not under way: looking up offsets, fetching.
    fn start_work(&mut self) {
        let now = Instant::now();
        self.look_up_offsets(now);
        let metadata = self.client.metadata();
        let unled =
            |(topic, partition): &TopicPartition| metadata.leader(topic, *partition).is_none();
        let waiting = self.partitions.iter().filter(|(_, assigned)| assigned.can_fetch(now));
        let mut plans = BTreeMap::new();
        let mut stale = false;
        for (key, assigned) in waiting {
            if unled(key) {
                stale = true;
                continue;
            }
            fetch::plan(&mut plans, &metadata, key, assigned);
        }
        for (broker, plan) in plans {
            if self.busy.contains(&broker) {
                continue;
            }
            for (key, ..) in &plan.partitions {
                if let Some(assigned) = self.partitions.get_mut(key) {
                    assigned.is_fetching = true;
                }
            }
            self.busy.insert(broker);
            let fetching = fetch::run(self.client.clone(), self.config.clone(), plan);
            self.work.push(Box::pin(fetching.map(|(plan, result)| Event::Fetched(plan, result))));
        }
        if stale {
            self.refresh();
        }
    }

    fn look_up_offsets(&mut self, now: Instant) {
        let mut queries = Vec::new();
        let mut wanted = Vec::new();
        for (key, assigned) in &mut self.partitions {
            if let Some(at) = assigned.start_lookup(now) {
                queries.push((key.0.clone(), key.1, at));
                wanted.push((key.clone(), assigned.generation));
            }
        }
        if !queries.is_empty() {
            let client = self.client.clone();
            self.work.push(Box::pin(async move {
                let results = list_offsets_once(&client, &queries).await;
                Event::Found(wanted, results)
            }));
        }
    }

    fn refresh(&mut self) {
        if std::mem::replace(&mut self.refreshing, true) {
            return;
        }
        let client = self.client.clone();
        let topics: HashSet<Str> = self.partitions.keys().map(|(topic, _)| topic.clone()).collect();
        let topics: Vec<Str> = topics.into_iter().collect();
        self.work.push(Box::pin(async move {
            let delay = client.config().retry_backoff.delay(1, rand::random());
            if let Err(error) = client.refresh_metadata(&topics).await {
                tracing::debug!(%error, "no metadata");
            }
            // No more often than that, however much it is wanted.
            tokio::time::sleep(delay).await;
            Event::Refreshed
        }));
    }

    fn handle(&mut self, event: Event) -> Result<(), ConsumeError> {
        match event {
            Event::Refreshed => {
                self.refreshing = false;
                Ok(())
            }
            Event::Found(wanted, results) => self.found(wanted, results),
            Event::Fetched(plan, result) => self.answered(plan, result),
        }
    }

    fn found(
        &mut self,
        wanted: Vec<(TopicPartition, u64)>,
        results: Vec<Result<OffsetFound, ClientError>>,
    ) -> Result<(), ConsumeError> {
        let mut first_error = Ok(());
        for ((key, generation), result) in wanted.into_iter().zip(results) {
            let Some(assigned) = self.partitions.get_mut(&key) else { continue };
            if assigned.generation != generation {
                continue;
            }
            let backoff = self.client.config().retry_backoff.delay(1, rand::random());
            match result {
                Ok(found) => assigned.found(found.offset),
                Err(error) => {
                    assigned.failed(Instant::now() + backoff);
                    if !error.is_retriable() && first_error.is_ok() {
                        let (topic, partition) = key;
                        first_error = Err(ConsumeError { topic, partition, cause: error.into() });
                    }
                }
            }
        }
        first_error
    }

    fn answered(
        &mut self,
        plan: FetchPlan,
        result: Result<FetchResponse, ClientError>,
    ) -> Result<(), ConsumeError> {
        self.busy.remove(&plan.broker);
        let response = match result {
            Ok(response) if response.error_code == ErrorCode::None.code() => Ok(response),
            Ok(response) => {
                Err(ClientError::server(ErrorCode::from_code(response.error_code), None))
            }
            Err(error) => Err(error),
        };
        if let Ok(response) = &response {
            fetch::adopt_leaders(&self.client, &plan, response);
        }
        let metadata = self.client.metadata();
        let mut first_error = Ok(());
        for (key, generation, offset) in &plan.partitions {
            let Some(assigned) = self.partitions.get_mut(key) else { continue };
            if assigned.generation != *generation {
                continue;
            }
            assigned.is_fetching = false;
            let outcome = match &response {
                Err(error) => Err(error.clone()),
                Ok(response) => fetch::find(response, &plan.metadata, key),
            };
            let has_moved = metadata.has_moved_since(&plan.metadata, &key.0, key.1);
            let result = self.partition_answered(key, (*offset, has_moved), outcome);
            if first_error.is_ok() {
                first_error = result;
            }
        }
        first_error
    }

    /// `has_moved` says whether a leader is known that is later than the one asked.
    fn partition_answered(
        &mut self,
        key: &TopicPartition,
        (offset, has_moved): (Offset, bool),
        outcome: Result<fetch::Answer, ClientError>,
    ) -> Result<(), ConsumeError> {
        let Some(assigned) = self.partitions.get_mut(key) else { return Ok(()) };
        let retry_at = Instant::now() + self.client.config().retry_backoff.delay(1, rand::random());
        let cause = match outcome {
            Ok(answer) => {
                assigned.retry_at = None;
                assigned.high_watermark = Some(answer.high_watermark);
                if let Some(bytes) = answer.records {
                    assigned.is_buffered = true;
                    let generation = assigned.generation;
                    self.fetched.push_back(Fetched::new(key.clone(), generation, bytes));
                }
                return Ok(());
            }
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                match self.config.auto_offset_reset {
                    OffsetReset::Earliest => assigned.reset(Start::Earliest),
                    OffsetReset::Latest => assigned.reset(Start::Latest),
                    OffsetReset::None => assigned.failed(retry_at),
                }
                if self.config.auto_offset_reset != OffsetReset::None {
                    return Ok(());
                }
                ConsumeErrorCause::OutOfRange(offset)
            }
            Err(error) if error.is_retriable() && has_moved => {
                assigned.failed(Instant::now());
                return Ok(());
            }
            Err(error) => {
                assigned.failed(retry_at);
                if error.is_retriable() {
                    self.refresh();
                    return Ok(());
                }
                error.into()
            }
        };
        let (topic, partition) = key.clone();
        Err(ConsumeError { topic, partition, cause })
    }
}

/// What a fetch was planned with.
type SharedMetadata = Arc<Metadata>;

#[cfg(test)]
mod tests;
