//! Records on their way into batches. Opens no socket and reads no clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::record_batch::{BuildError, BuilderOptions, HEADER_LEN, NewRecord};
use ottla_protocol::types::{BrokerId, PartitionId, TopicId};
use ottla_protocol::{ErrorCode, Str};
use rand::seq::IndexedRandom;
use tokio::time::Instant;

use crate::error::ClientError;
use crate::metadata_cache::{Metadata, Topic};
use crate::partitioner::partition_for_key;
use crate::producer::SendError;
use crate::producer::batch::{Fate, FillingBatch, SentBatch};
use crate::producer::config::ProducerConfig;
use crate::producer::delivery::{BatchDone, Delivery};
use crate::producer::queue::{Identity, Next, PartitionQueue};
use crate::producer::sticky::Sticky;

/// Where a record is to go.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) topic: &'a Str,
    pub(super) partition: Option<PartitionId>,
}

/// Batches for one broker, to be sent in one request.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) broker: BrokerId,
    /// By which the leader and the topics' ids were chosen.
    pub(super) metadata: Arc<Metadata>,
    pub(super) batches: Vec<(Str, PartitionId, SentBatch)>,
}

impl Parcel {
    /// A topic's id; zero where topics have none.
    pub(super) fn topic_id(&self, topic: &str) -> TopicId {
        self.metadata.topic(topic).map_or(TopicId::ZERO, |topic| topic.id)
    }
}

/// What [`Accumulator::drain`] found.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) parcels: Vec<Parcel>,
    /// Batches that cannot be made.
    pub(super) failed: Vec<(Fate, BuildError)>,
    /// Whether something could be sent if its leader were known.
    pub(super) needs_metadata: bool,
}

/// The batches of every partition.
#[derive(Debug)]
pub(super) struct Accumulator {
    topics: HashMap<Str, TopicQueues>,
    compression: Compression,
    batch_size: usize,
    linger: Duration,
    max_request_size: usize,
    max_in_flight: usize,
    delivery_timeout: Duration,
    /// Where the next drain begins, so that no partition is always the last.
    turn: usize,
}

#[derive(Debug)]
struct TopicQueues {
    partitions: BTreeMap<PartitionId, PartitionQueue>,
    sticky: Sticky,
    /// Compressed over uncompressed size of late batches.
    compression_ratio: f32,
}

/// What late batches count for in the compression ratio, against earlier ones.
const RATIO_WEIGHT: f32 = 0.2;

impl Accumulator {
    pub(super) fn new(config: &ProducerConfig) -> Self {
        Self {
            topics: HashMap::new(),
            compression: config.compression,
            batch_size: config.batch_size.max(1),
            linger: config.linger,
            max_request_size: config.max_request_size,
            max_in_flight: config.max_in_flight,
            delivery_timeout: config.delivery_timeout,
            turn: 0,
        }
    }

    /// Adds a record, for which `memory` bytes of the buffer were taken. Returns its delivery, and whether there is
    /// something new to do for the sender.
    pub(super) fn append(
        &mut self,
        target: &Target<'_>,
        record: &NewRecord<'_>,
        (metadata, memory): (&Metadata, usize),
        now: Instant,
    ) -> Result<(Delivery, bool), SendError> {
        let unknown = || ClientError::server(ErrorCode::UnknownTopicOrPartition, None);
        let known = metadata.topic(target.topic).ok_or_else(unknown)?;
        if !self.topics.contains_key(target.topic) {
            self.topics.insert(target.topic.detach(), TopicQueues::new());
        }
        let batch_size = self.batch_size;
        let options = self.builder_options(target.topic);
        let queues = self.topics.get_mut(target.topic).ok_or_else(unknown)?;
        let partition =
            queues.choose(target, record.key, (known, metadata), (memory, batch_size))?;
        let queue = queues.partitions.entry(partition).or_default();
        let mut wake = queue.is_idle();
        if let Some(full) = queue.filling.take_if(|batch| !batch.builder.has_room_for(record)) {
            queue.full.push_back(full);
            wake = true;
        }
        let batch = queue.filling.get_or_insert_with(|| FillingBatch::new(options, now));
        let index = batch.builder.push(record)?;
        batch.fate.memory += memory;
        wake |= self.batch_size <= batch.builder.estimated_len();
        let watch = batch.fate.watch.clone();
        Ok((Delivery::new(watch, partition, index, record.timestamp), wake || index == 0))
    }

    /// Takes what may be sent now: for each broker that `has_room` at most one request, with a batch for each of the
    /// partitions that it leads. With `hurry` nothing lingers.
    pub(super) fn drain(
        &mut self,
        metadata: &Arc<Metadata>,
        producer: Option<Identity>,
        (now, hurry): (Instant, bool),
        has_room: impl Fn(BrokerId) -> bool,
    ) -> Drained {
        let mut drained = Drained::default();
        let mut parcels: BTreeMap<BrokerId, (usize, Parcel)> = BTreeMap::new();
        for (topic, partition) in self.sendable(now, hurry) {
            let Some((broker, _)) = metadata.leader(&topic, partition) else {
                drained.needs_metadata = true;
                continue;
            };
            if !has_room(broker) {
                continue;
            }
            let (size, parcel) = parcels.entry(broker).or_insert_with(|| {
                (0, Parcel { broker, metadata: metadata.clone(), batches: Vec::new() })
            });
            if self.max_request_size <= *size {
                continue;
            }
            match self.take(&topic, partition, producer) {
                None => {}
                Some(Ok(batch)) => {
                    *size += batch.batch.bytes.len();
                    parcel.batches.push((topic, partition, batch));
                }
                Some(Err(failed)) => drained.failed.push(failed),
            }
        }
        let filled = parcels.into_values().map(|(_, parcel)| parcel);
        drained.parcels = filled.filter(|parcel| !parcel.batches.is_empty()).collect();
        drained
    }

    /// Ends every batch that fills, and returns what becomes of all batches that are not done.
    pub(super) fn flush(&mut self) -> Vec<BatchDone> {
        let mut deliveries = Vec::new();
        for queue in self.queues_mut() {
            queue.full.extend(queue.filling.take());
            deliveries.extend(queue.unfinished());
        }
        deliveries
    }

    /// The queue of a partition that batches were taken from.
    pub(super) fn queue(
        &mut self,
        topic: &Str,
        partition: PartitionId,
    ) -> Option<&mut PartitionQueue> {
        self.topics.get_mut(topic)?.partitions.get_mut(&partition)
    }

    /// Every queue.
    pub(super) fn queues_mut(&mut self) -> impl Iterator<Item = &mut PartitionQueue> {
        self.topics.values_mut().flat_map(|queues| queues.partitions.values_mut())
    }

    /// Takes out the batches that were not delivered in time and are not under way.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Fate> {
        let Some(taken_before) = now.checked_sub(self.delivery_timeout) else { return Vec::new() };
        self.queues_mut().flat_map(|queue| queue.expire(taken_before)).collect()
    }

    /// Whether any batch waits to be sent.
    pub(super) fn has_work(&self) -> bool {
        let mut queues = self.topics.values().flat_map(|queues| queues.partitions.values());
        queues.any(|queue| queue.oldest().is_some())
    }

    /// When, after `now`, there will be something to do although nothing happens, if ever. What could be done already
    /// waits for something else.
    pub(super) fn next_event(&self, now: Instant) -> Option<Instant> {
        let queues = self.topics.values().flat_map(|queues| queues.partitions.values());
        queues
            .flat_map(|queue| {
                let expiry = queue.oldest().map(|oldest| oldest + self.delivery_timeout);
                [queue.next_event(self.linger), expiry]
            })
            .flatten()
            .filter(|&at| now < at)
            .min()
    }

    fn sendable(&mut self, now: Instant, hurry: bool) -> Vec<(Str, PartitionId)> {
        let (linger, batch_size) = (self.linger, self.batch_size);
        let eager = |batch: &FillingBatch| {
            hurry || batch.fate.since + linger <= now || batch_size <= batch.builder.estimated_len()
        };
        let mut sendable = Vec::new();
        for (topic, queues) in &self.topics {
            for (id, queue) in &queues.partitions {
                if queue.is_sendable(now, self.max_in_flight, eager) {
                    sendable.push((topic.clone(), *id));
                }
            }
        }
        if !sendable.is_empty() {
            let first = self.turn % sendable.len();
            sendable.rotate_left(first);
            self.turn = self.turn.wrapping_add(1);
        }
        sendable
    }

    fn take(
        &mut self,
        topic: &Str,
        partition: PartitionId,
        producer: Option<Identity>,
    ) -> Option<Result<SentBatch, (Fate, BuildError)>> {
        let compressed = self.compression.codec() != Codec::None;
        let queues = self.topics.get_mut(topic)?;
        let queue = queues.partitions.get_mut(&partition)?;
        let filled = match queue.take()? {
            Next::Again(batch) => return Some(Ok(batch)),
            Next::First(filled) => filled,
        };
        let uncompressed = filled.builder.uncompressed_len();
        let stamped = queue.stamp(filled, producer);
        if let Ok(batch) = &stamped
            && compressed
        {
            let ratio = batch.batch.body().len() as f32 / uncompressed.max(1) as f32;
            queues.compression_ratio += RATIO_WEIGHT * (ratio - queues.compression_ratio);
        }
        Some(stamped)
    }

    fn builder_options(&self, topic: &Str) -> BuilderOptions {
        // Whatever the estimate says, a batch must be sendable even if it does not compress at all.
        let least_ratio = self.batch_size as f32 / self.max_request_size.max(1) as f32;
        let late_ratio = self.topics.get(topic).map_or(1.0, |queues| queues.compression_ratio);
        BuilderOptions {
            compression: self.compression,
            bytes_max: self.batch_size.max(HEADER_LEN),
            compression_ratio: late_ratio.max(least_ratio),
            ..BuilderOptions::default()
        }
    }
}

impl TopicQueues {
    fn new() -> Self {
        Self { partitions: BTreeMap::new(), sticky: Sticky::default(), compression_ratio: 1.0 }
    }

    fn choose(
        &mut self,
        target: &Target<'_>,
        key: Option<&[u8]>,
        (topic, metadata): (&Topic, &Metadata),
        (len, batch_size): (usize, usize),
    ) -> Result<PartitionId, SendError> {
        let count = topic.partitions.len();
        if let Some(partition) = target.partition {
            let exists = topic.partitions.binary_search_by_key(&partition, |known| known.id);
            return match exists {
                Ok(_) => Ok(partition),
                Err(_) => Err(SendError::NoSuchPartition { partition, count }),
            };
        }
        if let Some(key) = key {
            return Ok(partition_for_key(key, i32::try_from(count).unwrap_or(i32::MAX)));
        }
        let led = |id| metadata.leader(&topic.name, id).is_some();
        let partition = match self.sticky.current().filter(|&id| led(id)) {
            Some(current) => current,
            None => {
                let ids = || topic.partitions.iter().map(|partition| partition.id);
                let available: Vec<_> = ids().filter(|&id| led(id)).collect();
                // Without any leader the records wait for one, wherever.
                let all: Vec<_> = if available.is_empty() { ids().collect() } else { available };
                let chosen = all.choose(&mut rand::rng()).copied();
                let partition = PartitionId(0);
                let chosen = chosen.ok_or(SendError::NoSuchPartition { partition, count })?;
                self.sticky.switch_to(chosen);
                chosen
            }
        };
        self.sticky.added(len, batch_size);
        Ok(partition)
    }
}
