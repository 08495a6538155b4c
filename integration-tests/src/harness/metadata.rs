//! What a broker, of whatever make, says of topics, and how it is asked for one.

use std::{io, net::SocketAddr, time::Duration};

use ottla_protocol::messages::{
    CreateTopicsRequest, MetadataRequest, MetadataResponse,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponsePartition,
};

use super::WireClient;

/// How long one broker may take to answer before another is asked.
const PATIENCE: Duration = Duration::from_secs(5);
const METADATA_VERSION: i16 = 12;
const CREATE_VERSION: i16 = 7;

/// A partition as a broker shows it to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// Its number.
    pub partition: i32,
    /// The broker that leads.
    pub leader: Option<u16>,
    /// Grows with every election.
    pub leader_epoch: i32,
    /// Those that hold it, the preferred leader first.
    pub replicas: Vec<u16>,
    /// Those in sync, ascending.
    pub isr: Vec<u16>,
}

impl PartitionState {
    /// Whether somebody leads and every replica is in sync.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.leader.is_some() && self.isr.len() == self.replicas.len()
    }

    pub(super) fn of(partition: &MetadataResponsePartition) -> Self {
        let ids = |ids: &[i32]| ids.iter().filter_map(|id| u16::try_from(*id).ok()).collect();
        let mut isr: Vec<u16> = ids(&partition.isr_nodes);
        isr.sort_unstable();
        Self {
            partition: partition.partition_index,
            leader: u16::try_from(partition.leader_id).ok(),
            leader_epoch: partition.leader_epoch,
            replicas: ids(&partition.replica_nodes),
            isr,
        }
    }
}

/// A topic's partitions as the broker at `address` knows them, by number; nothing where it does not know the topic or does not
/// answer.
#[must_use]
pub fn describe_topic(address: SocketAddr, topic: &str) -> Option<Vec<PartitionState>> {
    let topic =
        MetadataRequestTopic { name: Some(topic.into()), ..MetadataRequestTopic::default() };
    let mut response = metadata(address, Some(vec![topic]))?;
    let topic = response.topics.pop().filter(|topic| topic.error_code == 0)?;
    let mut states: Vec<_> = topic.partitions.iter().map(PartitionState::of).collect();
    states.sort_unstable_by_key(|state| state.partition);
    Some(states)
}

/// Has a topic created by the broker at `address`: the error code, 0 for none, and the message.
///
/// # Errors
/// When it does not answer within `patience`.
pub fn create_topic_at(
    address: SocketAddr,
    patience: Duration,
    name: &str,
    (partitions, replicas): (i32, i16),
    configs: &[(&str, &str)],
) -> io::Result<(i16, String)> {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..CreatableTopicConfig::default()
    };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 30_000,
        ..CreateTopicsRequest::default()
    };
    let mut client = WireClient::try_connect(address, patience)?;
    let mut response = client.try_call(CREATE_VERSION, &request)?;
    let topic = response.topics.pop().ok_or(io::ErrorKind::InvalidData)?;
    let message = topic.error_message.map(|text| text.to_string()).unwrap_or_default();
    Ok((topic.error_code, message))
}

/// What the broker at `address` says of these topics, or of all; nothing where it does not answer.
pub(super) fn metadata(
    address: SocketAddr,
    topics: Option<Vec<MetadataRequestTopic>>,
) -> Option<MetadataResponse> {
    let request =
        MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() };
    let mut client = WireClient::try_connect(address, PATIENCE).ok()?;
    client.try_call(METADATA_VERSION, &request).ok()
}
