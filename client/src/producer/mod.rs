//! Writes records: collected into batches per partition, sent to the partitions' leaders, acknowledged.

mod accumulator;
mod batch;
mod config;
mod delivery;
mod flights;
mod queue;
mod sender;
mod sticky;

pub use config::{Acks, ProducerConfig, ProducerConfigError};
pub use delivery::{Delivery, DeliveryError, RecordMetadata};

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use ottla_protocol::record_batch::{BuildError, Header, NewRecord};
use ottla_protocol::types::PartitionId;
use ottla_protocol::{ErrorCode, Str};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::ClientError;
use accumulator::{Accumulator, Target};

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Where to.
    pub topic: Str,
    /// To this partition; by key, or by whichever batch is filling, if none.
    pub partition: Option<PartitionId>,
    /// What the record is about.
    pub key: Option<Bytes>,
    /// What it says; none makes it a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order, names possibly repeated.
    pub headers: Vec<(Str, Option<Bytes>)>,
    /// Unix ms; the time of sending if none.
    pub timestamp: Option<i64>,
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The producer was closed.
    #[error("the producer is closed")]
    Closed,
    /// The topic's partitions are not known.
    #[error("no metadata of the topic: {0}")]
    Metadata(#[from] ClientError),
    /// The topic has no such partition.
    #[error("the topic has {count} partitions, and so no partition {partition}")]
    NoSuchPartition {
        /// Asked for.
        partition: PartitionId,
        /// How many there are.
        count: usize,
    },
    /// Larger than `max.request.size` or `buffer.memory`.
    #[error("the record has {len} bytes, more than {max}")]
    TooLarge {
        /// Bytes of the record.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// No room within `max.block.ms`: records come faster than the cluster takes them.
    #[error("no room for the record within {0:?}")]
    BufferFull(Duration),
    /// The record cannot be put into a batch.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Writes records. Cloning gives another handle; when the last is dropped without [`close`](Self::close), what has not
/// been sent is lost and its deliveries fail.
#[derive(Clone, Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    _task: Arc<SenderTask>,
}

/// What the handles share with the sender.
#[derive(Debug)]
struct Shared {
    client: Client,
    config: ProducerConfig,
    accumulator: Mutex<Accumulator>,
    /// Bytes that may still be buffered.
    memory: Semaphore,
    /// Senders that wait for memory: nothing lingers meanwhile.
    waiting: AtomicUsize,
    closed: AtomicBool,
    /// Wakes the sender.
    wake: Notify,
}

#[derive(Debug)]
struct SenderTask(JoinHandle<()>);

impl Drop for SenderTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Producer {
    /// A producer for the cluster that `client` reaches. Must be called within a tokio runtime.
    pub fn new(client: Client, config: ProducerConfig) -> Result<Self, ProducerConfigError> {
        config.check()?;
        let shared = Arc::new(Shared {
            accumulator: Mutex::new(Accumulator::new(&config)),
            memory: Semaphore::new(config.buffer_memory.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            client,
            config,
        });
        let task = SenderTask(tokio::spawn(sender::run(shared.clone())));
        Ok(Self { shared, _task: Arc::new(task) })
    }

    /// Takes a record, and returns a future of its delivery. Waits, at most `max.block.ms`, for the topic's metadata and
    /// for room in the buffer. Records of one partition are written in the order in which these futures complete.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, SendError> {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.config.max_block;
        let metadata = shared.client.topic(&record.topic, shared.config.max_block).await?;
        let headers: Vec<Header<'_>> = record
            .headers
            .iter()
            .map(|(key, value)| Header { key: key.as_bytes(), value: value.as_deref() })
            .collect();
        let new = NewRecord {
            timestamp: record.timestamp.unwrap_or_else(sender::wall_ms),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let len = batch::record_len_max(&new);
        shared.reserve(len, deadline).await?;
        let target = Target { topic: &record.topic, partition: record.partition };
        let appended = shared.accumulator().append(&target, &new, (&metadata, len), Instant::now());
        match appended {
            Ok((delivery, wake)) => {
                if wake {
                    shared.wake.notify_one();
                }
                Ok(delivery)
            }
            Err(error) => {
                shared.memory.add_permits(len);
                Err(error)
            }
        }
    }

    /// Sends everything taken so far and waits until each record is delivered or has failed; how, its own delivery says.
    pub async fn flush(&self) {
        let deliveries = self.shared.accumulator().flush();
        self.shared.wake.notify_one();
        join_all(deliveries).await;
    }

    /// Takes no more records and flushes, but not for longer than `timeout`. Returns whether everything was sent in time.
    pub async fn close(self, timeout: Duration) -> bool {
        self.shared.closed.store(true, Ordering::Release);
        tokio::time::timeout(timeout, self.flush()).await.is_ok()
    }

    /// Bytes of records that wait to be sent or acknowledged.
    pub fn buffered_bytes(&self) -> usize {
        let all = self.shared.config.buffer_memory.min(Semaphore::MAX_PERMITS);
        all.saturating_sub(self.shared.memory.available_permits())
    }
}

impl Shared {
    /// Takes `len` bytes of the buffer, to be given back when the record's batch is done.
    async fn reserve(&self, len: usize, deadline: Instant) -> Result<(), SendError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(SendError::Closed);
        }
        let max = self.config.buffer_memory.min(self.config.max_request_size);
        if max < len {
            return Err(SendError::TooLarge { len, max });
        }
        let permits = u32::try_from(len).map_err(|_| SendError::TooLarge { len, max })?;
        if let Ok(permit) = self.memory.try_acquire_many(permits) {
            permit.forget();
            return Ok(());
        }
        let _waiting = Waiting::new(self);
        self.wake.notify_one();
        match tokio::time::timeout_at(deadline, self.memory.acquire_many(permits)).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(SendError::Closed),
            Err(_) => Err(SendError::BufferFull(self.config.max_block)),
        }
    }

    fn accumulator(&self) -> MutexGuard<'_, Accumulator> {
        // Nothing panics while it is held, and every change is complete in itself.
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a sender that waits for memory, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::AcqRel);
        Self(&shared.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether an error says that the broker is not (any more) the partition's leader, so that metadata is stale.
fn is_stale_metadata(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::KafkaStorageError
            | ErrorCode::ReplicaNotAvailable
    )
}

#[cfg(test)]
mod tests;
