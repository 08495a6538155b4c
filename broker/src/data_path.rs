//! What the handlers of the data path share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_metadata::image::{Image, ImageReader};
use ottla_metadata::internal_topics::is_metadata_only;
use ottla_protocol::types::{BrokerId, LeaderEpoch};
use ottla_protocol::{ErrorCode, Str, Uuid};

use crate::fetch_session;
use crate::fetch_session::TopicKey;
use crate::figures::DataFigures;
use crate::isr::Proposals;
use crate::partition::{PartitionHandle, PartitionTable};
use crate::placement::Placements;
use crate::pool::Pool;
use crate::preferred_dirs::PreferredDirs;
use crate::replication::{Side, Throttle};

/// The way from a request to the logs: where partitions are, and threads for what would hold up a
/// network task.
#[derive(Debug)]
pub struct DataPath {
    /// This broker.
    pub broker: BrokerId,
    /// The cluster, as far as this broker knows.
    pub image: ImageReader,
    /// The replicas here.
    pub partitions: Arc<PartitionTable>,
    /// Incremental fetch sessions.
    pub fetch_sessions: fetch_session::Cache,
    /// Look-ups that may wait for a disk.
    pub readers: Pool,
    /// Decompression and compression that takes long.
    pub compute: Pool,
    /// The log directories, in the order of `log.dirs`.
    pub log_dirs: Vec<Arc<LogDirStatus>>,
    /// Directories that were named for replicas to come.
    pub preferred_dirs: PreferredDirs,
    /// `fetch.max.bytes`: no answer to a fetch is larger, but for one batch that alone is. Default 55 MiB.
    pub fetch_bytes_max: u32,
    /// Consumers are sent to a replica in their own rack.
    pub is_rack_aware: bool,
    /// Changes of in-sync replicas on their way to the controller.
    pub proposals: Arc<Proposals>,
    /// Log directories of replicas here, on their way to the controller.
    pub placements: Arc<Placements>,
    /// How fast replicas that are to be throttled may catch up.
    pub leader_throttle: Throttle,
    /// What is counted.
    pub figures: DataFigures,
}

/// Bounds of the data path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataLimits {
    /// `max.incremental.fetch.session.cache.slots`. Default 1000.
    pub fetch_session_slots: usize,
    /// `fetch.max.bytes`. Default 55 MiB.
    pub fetch_bytes_max: u32,
    /// Threads for look-ups that wait for a disk. Default 16.
    pub reader_threads: usize,
    /// Threads for long compression. Default: one per core.
    pub compute_threads: usize,
    /// `replica.selector.class` is Kafka's rack-aware one. Default no: consumers read from leaders.
    pub is_rack_aware: bool,
    /// `leader.replication.throttled.rate` of the node's file, bytes per second. Default `i64::MAX`: no limit.
    pub leader_throttled_rate: i64,
}

impl Default for DataLimits {
    fn default() -> Self {
        Self {
            fetch_session_slots: 1000,
            fetch_bytes_max: 57_671_680,
            reader_threads: 16,
            compute_threads: std::thread::available_parallelism().map_or(2, usize::from),
            is_rack_aware: false,
            leader_throttled_rate: i64::MAX,
        }
    }
}

/// A log directory, for those who describe it.
#[derive(Debug)]
pub struct LogDirStatus {
    /// As in `log.dirs`.
    pub path: PathBuf,
    /// From `meta.properties`.
    pub id: Uuid,
    is_offline: AtomicBool,
}

impl LogDirStatus {
    /// A directory that works.
    pub const fn new(path: PathBuf, id: Uuid) -> Self {
        Self { path, id, is_offline: AtomicBool::new(false) }
    }

    /// True after a write or a sync failed.
    pub fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Acquire)
    }

    /// A write or a sync failed.
    pub fn set_offline(&self) {
        self.is_offline.store(true, Ordering::Release);
    }
}

/// Why a partition cannot be worked on here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unroutable {
    /// What the client is told.
    pub error: ErrorCode,
    /// Who leads, where that is the point.
    pub leader: Option<LeaderHint>,
}

/// Who leads a partition, for clients that would otherwise have to ask (KIP-951).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderHint {
    /// The leader, −1 if nobody leads.
    pub leader: BrokerId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
}

/// A partition without a log that this broker leads: one of the cluster's own topics, which are metadata alone.
/// Readers find a log with nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptyLog {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The partition's.
    pub partition_epoch: i64,
}

/// Where a broker is reached by clients of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// The broker.
    pub node: i32,
    /// Advertised host.
    pub host: Str,
    /// Advertised port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<Str>,
}

/// Finds the partitions of one request, all in the same image.
#[derive(Debug)]
pub struct Resolver {
    broker: BrokerId,
    image: Arc<Image>,
    partitions: Arc<PartitionTable>,
}

impl DataPath {
    /// Without replicas; the assigner adds them.
    pub fn new(
        broker: BrokerId,
        image: ImageReader,
        log_dirs: Vec<Arc<LogDirStatus>>,
        limits: DataLimits,
    ) -> Arc<Self> {
        let figures = DataFigures::default();
        let leader_throttle = Throttle::new(
            Side::Leader,
            broker,
            limits.leader_throttled_rate,
            figures.throttle.clone(),
        );
        Arc::new(Self {
            broker,
            image,
            partitions: Arc::new(PartitionTable::new()),
            fetch_sessions: fetch_session::Cache::new(limits.fetch_session_slots),
            readers: Pool::new("log-read", limits.reader_threads),
            compute: Pool::new("compute", limits.compute_threads),
            log_dirs,
            preferred_dirs: PreferredDirs::default(),
            fetch_bytes_max: limits.fetch_bytes_max,
            is_rack_aware: limits.is_rack_aware,
            proposals: Arc::default(),
            placements: Arc::default(),
            leader_throttle,
            figures,
        })
    }

    /// For one request, or one round of it.
    pub fn resolver(&self) -> Resolver {
        Resolver {
            broker: self.broker,
            image: self.image.load(),
            partitions: Arc::clone(&self.partitions),
        }
    }
}

impl Resolver {
    /// The id of a topic that the request names.
    pub fn topic_id(&self, topic: &TopicKey) -> Result<Uuid, ErrorCode> {
        match topic {
            TopicKey::Name(name) => self.topic_id_by_name(name),
            TopicKey::Id(id) => match self.image.topic_by_id(*id) {
                Some(_) => Ok(*id),
                None => Err(ErrorCode::UnknownTopicId),
            },
        }
    }

    /// The id of the topic with this name.
    pub fn topic_id_by_name(&self, name: &str) -> Result<Uuid, ErrorCode> {
        let topic = self.image.topic(name);
        topic.map(|topic| topic.id).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// The name of the topic with this id.
    pub fn topic_name(&self, id: Uuid) -> Option<&str> {
        self.image.topic_by_id(id).map(|topic| topic.name.as_str())
    }

    /// The replica of a partition here.
    pub fn find(
        &self,
        topic: Result<Uuid, ErrorCode>,
        partition: i32,
    ) -> Result<Arc<PartitionHandle>, Unroutable> {
        let topic = topic.map_err(Unroutable::plain)?;
        if let Some(handle) = self.partitions.find(topic, partition) {
            return Ok(handle);
        }
        if self.image.partition(topic, partition).is_none() {
            return Err(Unroutable::plain(ErrorCode::UnknownTopicOrPartition));
        }
        if self.partitions.is_unusable(topic, partition) {
            return Err(Unroutable::plain(ErrorCode::KafkaStorageError));
        }
        Err(self.not_leader(topic, partition))
    }

    /// True if no broker has a log of the topic.
    pub fn is_metadata_only(&self, topic: Uuid) -> bool {
        self.topic_name(topic).is_some_and(is_metadata_only)
    }

    /// The partition, if it has no log anywhere and this broker leads it; asked where [`Resolver::find`] finds
    /// nothing.
    pub fn empty_log(&self, topic: Uuid, partition: i32) -> Option<EmptyLog> {
        if !self.is_metadata_only(topic) {
            return None;
        }
        let partition = self.image.partition(topic, partition)?;
        (partition.leader == self.broker.0).then(|| EmptyLog {
            leader_epoch: LeaderEpoch(partition.leader_epoch),
            partition_epoch: partition.mod_revision,
        })
    }

    /// Refuses because somebody else leads.
    pub fn not_leader(&self, topic: Uuid, partition: i32) -> Unroutable {
        Unroutable {
            error: ErrorCode::NotLeaderOrFollower,
            leader: self.leader_hint(topic, partition),
        }
    }

    /// Who leads a partition.
    pub fn leader_hint(&self, topic: Uuid, partition: i32) -> Option<LeaderHint> {
        let partition = self.image.partition(topic, partition)?;
        Some(LeaderHint {
            leader: BrokerId(partition.leader),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
        })
    }

    /// Refuses a broker that asks as a replica of a partition and is none, or is in a life that has ended
    /// (`epoch`, −1 if it does not say). `knows_epoch`: it names the leader's epoch, so it may have learnt
    /// of its place before this broker has.
    pub fn check_replica(
        &self,
        partition: (Uuid, i32),
        replica: (BrokerId, i64),
        knows_epoch: bool,
    ) -> Result<(), ErrorCode> {
        check_replica(&self.image, partition, replica, knows_epoch)
    }

    /// The brokers of these that are in `rack` and can be reached through `listener`.
    pub fn in_rack<'a>(
        &'a self,
        brokers: impl Iterator<Item = BrokerId> + 'a,
        rack: &'a str,
        listener: &'a str,
    ) -> impl Iterator<Item = BrokerId> + 'a {
        brokers.filter(move |broker| {
            self.image.broker(broker.0).is_some_and(|record| {
                !record.fenced
                    && record.rack.as_deref() == Some(rack)
                    && record.listener(listener).is_some()
            })
        })
    }

    /// Where clients of `listener` reach a broker.
    pub fn endpoint(&self, broker: BrokerId, listener: &str) -> Option<NodeEndpoint> {
        let record = self.image.broker(broker.0)?;
        let found = record.listeners.iter().find(|candidate| candidate.name == listener)?;
        Some(NodeEndpoint {
            node: broker.0,
            host: Str::from(found.host.as_str()),
            port: i32::from(found.port),
            rack: record.rack.as_deref().map(Str::from),
        })
    }

    /// Where the leaders of these hints are reached, each once.
    pub fn endpoints(
        &self,
        hints: impl Iterator<Item = LeaderHint>,
        listener: &str,
    ) -> Vec<NodeEndpoint> {
        let mut found: Vec<NodeEndpoint> = Vec::new();
        for hint in hints {
            if found.iter().all(|endpoint| endpoint.node != hint.leader.0) {
                found.extend(self.endpoint(hint.leader, listener));
            }
        }
        found
    }
}

impl EmptyLog {
    /// Refuses a client that knows of another leader; −1 knows of none.
    pub fn check_epoch(self, known: i32) -> Result<(), ErrorCode> {
        match known {
            -1 => Ok(()),
            known if known < self.leader_epoch.0 => Err(ErrorCode::FencedLeaderEpoch),
            known if self.leader_epoch.0 < known => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

impl Unroutable {
    /// Without a hint.
    pub const fn plain(error: ErrorCode) -> Self {
        Self { error, leader: None }
    }
}

/// See [`Resolver::check_replica`].
pub fn check_replica(
    image: &Image,
    (topic, partition): (Uuid, i32),
    (broker, epoch): (BrokerId, i64),
    knows_epoch: bool,
) -> Result<(), ErrorCode> {
    let partition = image.partition(topic, partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !partition.replicas.contains(&broker.0) {
        return Err(if knows_epoch {
            ErrorCode::UnknownLeaderEpoch
        } else {
            ErrorCode::NotLeaderOrFollower
        });
    }
    let known = image.broker(broker.0).map(|record| record.broker_epoch);
    if epoch != -1 && known.is_some_and(|known| epoch < known) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    Ok(())
}
