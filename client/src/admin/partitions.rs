//! Partitions with everything that a cluster tells of their replicas.

use std::collections::BTreeMap;

use ottla_protocol::messages::DescribeTopicPartitionsRequest;
use ottla_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use ottla_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition;
use ottla_protocol::types::{BrokerId, LeaderEpoch, PartitionId, TopicId};
use ottla_protocol::{ErrorCode, Str};

use crate::admin::{Admin, unanswered};
use crate::error::{ClientError, check};
use crate::metadata_cache::Topic;

/// A topic with its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    /// Its name.
    pub name: Str,
    /// Its id; zero from old brokers.
    pub id: TopicId,
    /// Whether the cluster uses it itself.
    pub is_internal: bool,
    /// By ascending number.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub id: PartitionId,
    /// −1 if there is none.
    pub leader: BrokerId,
    /// −1 from old brokers.
    pub leader_epoch: LeaderEpoch,
    /// Brokers that hold it, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Brokers that hold it up to its end.
    pub isr: Vec<BrokerId>,
    /// Replicas that are not in sync but hold everything that was acknowledged; none from brokers that do not tell.
    pub eligible: Option<Vec<BrokerId>>,
    /// Replicas that were eligible before their broker ended in a way that may have lost records; none from brokers
    /// that do not tell.
    pub last_known_eligible: Option<Vec<BrokerId>>,
    /// Replicas that are down.
    pub offline: Vec<BrokerId>,
}

/// Partitions in one answer; the broker may give fewer.
const PARTITIONS_MAX: i32 = 2000;

impl Admin {
    /// The partitions of these topics, or of all. Asks the metadata where the broker has no request for this, which
    /// does not tell who is eligible.
    pub async fn describe_partitions(
        &self,
        topics: Option<&[Str]>,
    ) -> Result<Vec<TopicPartitions>, ClientError> {
        if topics.is_some_and(<[Str]>::is_empty) {
            return Ok(Vec::new());
        }
        match self.describe_in_pages(topics.unwrap_or_default()).await {
            Err(ClientError::Unsupported(_)) => self.describe_partitions_by_metadata(topics).await,
            described => described,
        }
    }

    async fn describe_in_pages(&self, names: &[Str]) -> Result<Vec<TopicPartitions>, ClientError> {
        let mut found: BTreeMap<Str, TopicPartitions> = BTreeMap::new();
        let named = |name: &Str| TopicRequest { name: name.clone(), ..TopicRequest::default() };
        let mut request = DescribeTopicPartitionsRequest {
            topics: names.iter().map(named).collect(),
            response_partition_limit: PARTITIONS_MAX,
            ..DescribeTopicPartitionsRequest::default()
        };
        loop {
            let response = self.client.call_any(&request).await?;
            for topic in &response.topics {
                check(topic.error_code, None)?;
                let Some(name) = &topic.name else { continue };
                let partitions = topic.partitions.iter().map(described);
                let known = found.entry(name.clone()).or_insert_with(|| TopicPartitions {
                    name: name.clone(),
                    id: topic.topic_id,
                    is_internal: topic.is_internal,
                    partitions: Vec::new(),
                });
                known.partitions.extend(partitions);
            }
            let Some(next) = response.next_cursor else { break };
            let next = Cursor {
                topic_name: next.topic_name,
                partition_index: next.partition_index,
                ..Cursor::default()
            };
            let at = |cursor: &Cursor| (cursor.topic_name.clone(), cursor.partition_index);
            // A page that leads back would lead on for ever.
            if request.cursor.as_ref().is_some_and(|before| at(&next) <= at(before)) {
                return Err(unanswered());
            }
            request.topics.retain(|topic| next.topic_name <= topic.name);
            request.cursor = Some(next);
        }
        for topic in found.values_mut() {
            topic.partitions.sort_unstable_by_key(|partition| partition.id);
        }
        Ok(found.into_values().collect())
    }

    async fn describe_partitions_by_metadata(
        &self,
        names: Option<&[Str]>,
    ) -> Result<Vec<TopicPartitions>, ClientError> {
        let metadata = self.fetch_topics(names).await?;
        let mut topics: Vec<&Topic> = metadata.topics().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let told = |topic: &Topic| {
            if topic.error != ErrorCode::None {
                return Err(ClientError::server(topic.error, None));
            }
            let partitions = topic.partitions.iter().map(|partition| PartitionDescription {
                id: partition.id,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replicas.clone(),
                isr: partition.isr.clone(),
                eligible: None,
                last_known_eligible: None,
                offline: partition.offline.clone(),
            });
            Ok(TopicPartitions {
                name: topic.name.clone(),
                id: topic.id,
                is_internal: topic.is_internal,
                partitions: partitions.collect(),
            })
        };
        topics.into_iter().map(told).collect()
    }
}

fn described(partition: &DescribeTopicPartitionsResponsePartition) -> PartitionDescription {
    let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
    PartitionDescription {
        id: PartitionId(partition.partition_index),
        leader: BrokerId(partition.leader_id),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: ids(&partition.replica_nodes),
        isr: ids(&partition.isr_nodes),
        eligible: partition.eligible_leader_replicas.as_deref().map(ids),
        last_known_eligible: partition.last_known_elr.as_deref().map(ids),
        offline: ids(&partition.offline_replicas),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::DescribeTopicPartitionsResponse;
    use ottla_protocol::messages::describe_topic_partitions_response::{
        Cursor as NextCursor, DescribeTopicPartitionsResponseTopic,
    };

    use super::*;
    use crate::client::Client;
    use crate::testing::{FakeCluster, Reaction, decode};

    /// A cluster with one topic of three partitions that answers one of them at a time, and leads to `next`.
    fn cluster(next: fn(i32) -> Option<i32>) -> FakeCluster {
        FakeCluster::new(
            1,
            Box::new(move |_, header, body| {
                let request: DescribeTopicPartitionsRequest = decode(header, body);
                let at = request.cursor.as_ref().map_or(0, |cursor| cursor.partition_index);
                let partition = DescribeTopicPartitionsResponsePartition {
                    partition_index: at,
                    replica_nodes: vec![1, 2],
                    eligible_leader_replicas: Some(vec![2]),
                    ..Default::default()
                };
                let topic = DescribeTopicPartitionsResponseTopic {
                    name: Some("topic".into()),
                    partitions: vec![partition],
                    ..Default::default()
                };
                let cursor = |partition_index| NextCursor {
                    topic_name: "topic".into(),
                    partition_index,
                    ..Default::default()
                };
                let response = DescribeTopicPartitionsResponse {
                    topics: vec![topic],
                    next_cursor: next(at).map(cursor),
                    ..Default::default()
                };
                Reaction::answer(header, &response)
            }),
        )
    }

    #[tokio::test]
    async fn pages_are_put_together() {
        let cluster = cluster(|at| (at < 2).then_some(at + 1));
        let admin = Admin::new(Client::new(cluster.config()));
        let topics = admin.describe_partitions(None).await.unwrap();
        assert_eq!(topics.len(), 1);
        let partitions = &topics[0].partitions;
        assert_eq!(partitions.iter().map(|it| it.id.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(partitions[2].eligible, Some(vec![BrokerId(2)]));
    }

    #[tokio::test]
    async fn pages_that_lead_in_a_circle_come_to_an_end() {
        let cluster = cluster(|at| Some(1 - at.min(1)));
        let admin = Admin::new(Client::new(cluster.config()));
        assert!(admin.describe_partitions(Some(&["topic".into()])).await.is_err());
        assert_eq!(admin.describe_partitions(Some(&[])).await.unwrap(), []);
    }
}
