//! What a client knows of its cluster: brokers, topics, leaders. Replaced as a whole, so readers keep a consistent view.

use std::collections::{BTreeMap, HashMap};

use ottla_protocol::messages::MetadataResponse;
use ottla_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::types::{BrokerId, LeaderEpoch, PartitionId, TopicId};
use ottla_protocol::{ErrorCode, Str};

use crate::connection::Address;

/// A view of the cluster, as far as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster's id; none before the first answer.
    pub cluster_id: Option<Str>,
    /// The broker that takes administrative requests; −1 if unknown.
    pub controller: BrokerId,
    /// The brokers that are up.
    pub brokers: BTreeMap<BrokerId, Broker>,
    topics: HashMap<Str, Topic>,
    names: HashMap<TopicId, Str>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Node id.
    pub id: BrokerId,
    /// Where it listens for clients.
    pub address: Address,
    /// Where it stands.
    pub rack: Option<Str>,
}

impl Broker {
    /// A broker as answers name it; none if its port is no port.
    pub(crate) fn read(id: i32, (host, port): (&Str, i32), rack: Option<&Str>) -> Option<Self> {
        let address = Address { host: host.to_string(), port: u16::try_from(port).ok()? };
        Some(Self { id: BrokerId(id), address, rack: rack.map(Str::detach) })
    }
}

/// What a broker that does not lead a partition says of who does (KIP-951).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaderHint {
    pub(crate) topic: Str,
    pub(crate) partition: PartitionId,
    pub(crate) leader: BrokerId,
    pub(crate) epoch: LeaderEpoch,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: Str,
    /// Id; zero from brokers that have none.
    pub id: TopicId,
    /// Whether the cluster uses it itself.
    pub is_internal: bool,
    /// Why there are no partitions, or `None`.
    pub error: ErrorCode,
    /// By ascending number.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Number within the topic.
    pub id: PartitionId,
    /// Why there is no leader, or `None`.
    pub error: ErrorCode,
    /// −1 if there is none.
    pub leader: BrokerId,
    /// −1 from old brokers.
    pub leader_epoch: LeaderEpoch,
    /// Brokers that hold it.
    pub replicas: Vec<BrokerId>,
    /// Brokers that hold it up to its end.
    pub isr: Vec<BrokerId>,
    /// Replicas that are down.
    pub offline: Vec<BrokerId>,
}

impl Metadata {
    /// A topic, if it was asked for.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The name of a topic that was asked for.
    pub fn topic_name(&self, id: TopicId) -> Option<&Str> {
        self.names.get(&id)
    }

    /// Every topic that was asked for.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    /// A partition, if its topic was asked for and has it.
    pub fn partition(&self, topic: &str, partition: PartitionId) -> Option<&Partition> {
        let partitions = &self.topic(topic)?.partitions;
        let at = partitions.binary_search_by_key(&partition, |known| known.id).ok()?;
        partitions.get(at)
    }

    /// A partition's leader and its epoch, if there is one and it is up.
    pub fn leader(&self, topic: &str, partition: PartitionId) -> Option<(BrokerId, LeaderEpoch)> {
        let partition = self.partition(topic, partition)?;
        let known = self.brokers.contains_key(&partition.leader);
        known.then_some((partition.leader, partition.leader_epoch))
    }

    /// Whether a partition has, by this view, a later leader than by the one before.
    pub(crate) fn has_moved_since(
        &self,
        before: &Self,
        topic: &str,
        partition: PartitionId,
    ) -> bool {
        let leaders = self.leader(topic, partition).zip(before.leader(topic, partition));
        leaders.is_some_and(|(now, before)| now != before && before.1 <= now.1)
    }

    /// This view with the leaders that `hints` names, where that is news and the leader is known or among `brokers`; none
    /// without any news.
    pub(crate) fn hinted(&self, hints: &[LeaderHint], brokers: &[Broker]) -> Option<Self> {
        let is_reachable =
            |id| self.brokers.contains_key(&id) || brokers.iter().any(|broker| broker.id == id);
        let is_news = |hint: &&LeaderHint| {
            let known = self.partition(&hint.topic, hint.partition);
            known.is_some_and(|known| known.leader_epoch < hint.epoch) && is_reachable(hint.leader)
        };
        let mut news = hints.iter().filter(is_news).peekable();
        news.peek()?;
        let mut new = self.clone();
        for hint in news {
            let Some(topic) = new.topics.get_mut(&hint.topic) else { continue };
            let same = |known: &&mut Partition| known.id == hint.partition;
            let Some(partition) = topic.partitions.iter_mut().find(same) else { continue };
            (partition.leader, partition.leader_epoch) = (hint.leader, hint.epoch);
            partition.error = ErrorCode::None;
            let broker = brokers.iter().find(|broker| broker.id == hint.leader);
            new.brokers.extend(broker.map(|broker| (broker.id, broker.clone())));
        }
        Some(new)
    }

    /// This view, brought up to date by an answer: brokers are replaced, topics in it are, others stay.
    #[must_use]
    pub fn updated(&self, response: &MetadataResponse) -> Self {
        let mut new = self.clone();
        if response.cluster_id.is_some() {
            new.cluster_id = response.cluster_id.as_ref().map(Str::detach);
        }
        new.controller = BrokerId(response.controller_id);
        new.brokers = response
            .brokers
            .iter()
            .filter_map(|broker| {
                let address = (&broker.host, broker.port);
                let broker = Broker::read(broker.node_id, address, broker.rack.as_ref())?;
                Some((broker.id, broker))
            })
            .collect();
        for topic in &response.topics {
            // A topic asked for by an id that does not exist has no name.
            if let Some(name) = &topic.name {
                new.insert(name.detach(), topic);
            }
        }
        new
    }

    fn insert(&mut self, name: Str, topic: &MetadataResponseTopic) {
        let before = self.topics.remove(&name);
        if let Some(before) = &before {
            self.names.remove(&before.id);
        }
        let same_topic = before.filter(|before| before.id == topic.topic_id);
        let known = |id| {
            let partitions = &same_topic.as_ref()?.partitions;
            partitions.iter().find(|known| known.id == id).cloned()
        };
        let mut partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|partition| {
                let new = read_partition(partition);
                // A broker that lags behind must not take us back to an older leader.
                match known(new.id) {
                    Some(known) if new.leader_epoch < known.leader_epoch => known,
                    _ => new,
                }
            })
            .collect();
        partitions.sort_unstable_by_key(|partition| partition.id);
        if topic.topic_id != TopicId::ZERO {
            self.names.insert(topic.topic_id, name.clone());
        }
        let read = Topic {
            name: name.clone(),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            error: ErrorCode::from_code(topic.error_code),
            partitions,
        };
        self.topics.insert(name, read);
    }
}

fn read_partition(partition: &MetadataResponsePartition) -> Partition {
    let ids = |ids: &[i32]| ids.iter().map(|&id| BrokerId(id)).collect();
    Partition {
        id: PartitionId(partition.partition_index),
        error: ErrorCode::from_code(partition.error_code),
        leader: BrokerId(partition.leader_id),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: ids(&partition.replica_nodes),
        isr: ids(&partition.isr_nodes),
        offline: ids(&partition.offline_replicas),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::metadata_response::MetadataResponseBroker;

    use super::*;

    fn answer(topic_id: u8, leader: i32, leader_epoch: i32) -> MetadataResponse {
        let broker = |node_id| MetadataResponseBroker {
            node_id,
            host: Str::from("host"),
            port: 9092,
            ..Default::default()
        };
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: leader,
            leader_epoch,
            replica_nodes: vec![1, 2],
            isr_nodes: vec![1],
            ..Default::default()
        };
        MetadataResponse {
            brokers: vec![broker(1), broker(2)],
            controller_id: 2,
            topics: vec![MetadataResponseTopic {
                name: Some(Str::from("topic")),
                topic_id: TopicId::from_bytes([topic_id; 16]),
                partitions: vec![partition(1), partition(0)],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn leaders_are_found() {
        let metadata = Metadata::default().updated(&answer(7, 2, 5));
        let leader = Some((BrokerId(2), LeaderEpoch(5)));
        assert_eq!(metadata.leader("topic", PartitionId(1)), leader);
        assert_eq!(metadata.leader("topic", PartitionId(2)), None);
        assert_eq!(metadata.leader("other", PartitionId(0)), None);
        let name = metadata.topic_name(TopicId::from_bytes([7; 16]));
        assert_eq!(name, Some(&Str::from("topic")));
        let gone = Metadata::default().updated(&answer(7, 3, 5));
        assert_eq!(gone.leader("topic", PartitionId(0)), None, "not among the brokers");
    }

    #[test]
    fn an_older_epoch_does_not_replace_a_newer() {
        let metadata = Metadata::default().updated(&answer(7, 2, 5));
        let stale = metadata.updated(&answer(7, 1, 4));
        assert_eq!(stale.leader("topic", PartitionId(0)), Some((BrokerId(2), LeaderEpoch(5))));
        let newer = metadata.updated(&answer(7, 1, 6));
        assert_eq!(newer.leader("topic", PartitionId(0)), Some((BrokerId(1), LeaderEpoch(6))));
    }

    #[test]
    fn a_hint_counts_if_it_is_news_and_its_leader_can_be_reached() {
        let metadata = Metadata::default().updated(&answer(7, 2, 5));
        let hint = |leader, epoch| LeaderHint {
            topic: Str::from("topic"),
            partition: PartitionId(1),
            leader: BrokerId(leader),
            epoch: LeaderEpoch(epoch),
        };
        assert_eq!(metadata.hinted(&[hint(1, 5)], &[]), None, "the same epoch");
        assert_eq!(metadata.hinted(&[hint(3, 6)], &[]), None, "an unknown broker");
        let hinted = metadata.hinted(&[hint(1, 6)], &[]).unwrap();
        assert_eq!(hinted.leader("topic", PartitionId(1)), Some((BrokerId(1), LeaderEpoch(6))));
        assert!(hinted.has_moved_since(&metadata, "topic", PartitionId(1)));
        assert!(!hinted.has_moved_since(&metadata, "topic", PartitionId(0)));
        assert!(!metadata.has_moved_since(&hinted, "topic", PartitionId(1)), "backwards");
        let third = Broker::read(3, (&Str::from("host"), 9), None).unwrap();
        let hinted = metadata.hinted(&[hint(3, 6)], &[third]).unwrap();
        assert_eq!(hinted.leader("topic", PartitionId(1)), Some((BrokerId(3), LeaderEpoch(6))));
    }

    #[test]
    fn a_topic_created_anew_begins_anew() {
        let metadata = Metadata::default().updated(&answer(7, 2, 5));
        let recreated = metadata.updated(&answer(8, 1, 0));
        assert_eq!(recreated.leader("topic", PartitionId(0)), Some((BrokerId(1), LeaderEpoch(0))));
        assert_eq!(recreated.topic_name(TopicId::from_bytes([7; 16])), None);
        assert!(recreated.topic_name(TopicId::from_bytes([8; 16])).is_some());
    }
}
