//! The cluster as the clients of one listener see it.

use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::model::{BrokerRecord, Listener, Partition};
use ottla_protocol::{ErrorCode, Uuid};

/// The image, seen through one listener: clients are told the addresses of the listener that they came in on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Topology<'a> {
    pub(super) image: &'a Image,
    pub(super) listener: &'a str,
}

/// A partition as Metadata and DescribeTopicPartitions tell it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartitionState {
    pub(super) error: ErrorCodeOrNone,
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) isr: Vec<i32>,
    pub(super) offline: Vec<i32>,
}

/// An error code with "none" as its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ErrorCodeOrNone(pub(super) ErrorCode);

impl Default for ErrorCodeOrNone {
    fn default() -> Self {
        Self(ErrorCode::None)
    }
}

impl<'a> Topology<'a> {
    /// The address of a broker that can be used, if it has one here.
    pub(super) fn alive(self, broker: i32) -> Option<&'a Listener> {
        let record = self.image.broker(broker).filter(|record| !record.fenced)?;
        record.listener(self.listener)
    }

    /// Brokers that can be reached here, by id.
    pub(super) fn brokers(self) -> impl Iterator<Item = (i32, &'a BrokerRecord, &'a Listener)> {
        self.image.brokers().filter(|(_, record)| !record.fenced).filter_map(move |(id, record)| {
            let record = &record.value;
            Some((id, record, record.listener(self.listener)?))
        })
    }

    /// The state of a partition for clients.
    pub(super) fn partition(self, partition: &Versioned<Partition>) -> PartitionState {
        let offline = partition.replicas.iter().copied();
        let offline = offline.filter(|replica| self.is_offline(*replica, partition)).collect();
        let (error, leader) = match self.leader(partition) {
            Ok(leader) => (ErrorCode::None, leader),
            Err(error) => (error, -1),
        };
        PartitionState {
            error: ErrorCodeOrNone(error),
            leader,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            offline,
        }
    }

    fn leader(self, partition: &Partition) -> Result<i32, ErrorCode> {
        let leader = partition.leader().ok_or(ErrorCode::LeaderNotAvailable)?;
        if self.alive(leader).is_some() {
            return Ok(leader);
        }
        let is_alive = self.image.broker(leader).is_some_and(|record| !record.fenced);
        Err(if is_alive { ErrorCode::ListenerNotFound } else { ErrorCode::LeaderNotAvailable })
    }

    fn is_offline(self, replica: i32, partition: &Partition) -> bool {
        let Some(record) = self.image.broker(replica) else { return true };
        let log_dir = partition.log_dir_of(replica);
        self.alive(replica).is_none()
            || log_dir != Uuid::ZERO && record.offline_log_dirs.contains(&log_dir)
    }
}

/// What a client may do with a topic, as bits of Kafka's operation codes: everything, as long as there
/// are no access rules.
pub(super) const ALL_TOPIC_OPERATIONS: i32 =
    bits(&[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);
/// What a client may do with the cluster.
pub(super) const ALL_CLUSTER_OPERATIONS: i32 = bits(&[
    CREATE,
    ALTER,
    DESCRIBE,
    CLUSTER_ACTION,
    DESCRIBE_CONFIGS,
    ALTER_CONFIGS,
    IDEMPOTENT_WRITE,
]);
/// The client did not ask.
pub(super) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

const READ: u32 = 3;
const WRITE: u32 = 4;
const CREATE: u32 = 5;
const DELETE: u32 = 6;
const ALTER: u32 = 7;
const DESCRIBE: u32 = 8;
const CLUSTER_ACTION: u32 = 9;
const DESCRIBE_CONFIGS: u32 = 10;
const ALTER_CONFIGS: u32 = 11;
const IDEMPOTENT_WRITE: u32 = 12;

const fn bits(operations: &[u32]) -> i32 {
    let mut all = 0;
    let mut i = 0;
    while i < operations.len() {
        all |= 1 << operations[i];
        i += 1;
    }
    all
}
