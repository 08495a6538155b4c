//! Leaders and replicas that move.

use std::collections::{BTreeMap, HashMap};

use ottla_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::elect_leaders_request::TopicPartitions;
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
};
use ottla_protocol::types::{BrokerId, PartitionId};
use ottla_protocol::{ErrorCode, Str};

use crate::admin::{Admin, unanswered};
use crate::error::{ClientError, check};

/// Which leader is wanted; the numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ElectionType {
    /// The first replica, if it is in sync.
    Preferred = 0,
    /// Any replica that lives, where nobody leads: acknowledged records may be lost.
    Unclean = 1,
}

/// What came of one election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elected {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: PartitionId,
    /// Whether a leader was elected.
    pub result: Result<(), ClientError>,
}

/// A partition to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassign {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: PartitionId,
    /// Its replicas afterwards, the preferred leader first; none cancels what is under way.
    pub replicas: Option<Vec<BrokerId>>,
}

/// A reassignment that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: PartitionId,
    /// All replicas, those that go included.
    pub replicas: Vec<BrokerId>,
    /// Replicas that are being added.
    pub adding: Vec<BrokerId>,
    /// Replicas that go once the others are in sync.
    pub removing: Vec<BrokerId>,
}

impl Admin {
    /// Elects leaders of the given partitions, or of all that need it. Of the latter only those are answered.
    pub async fn elect_leaders(
        &self,
        kind: ElectionType,
        partitions: Option<&[(Str, PartitionId)]>,
    ) -> Result<Vec<Elected>, ClientError> {
        let topic = |(topic, partitions)| TopicPartitions {
            topic,
            partitions,
            ..TopicPartitions::default()
        };
        let grouped = |named: &[(Str, PartitionId)]| {
            let mut topics: BTreeMap<Str, Vec<i32>> = BTreeMap::new();
            for (topic, partition) in named {
                topics.entry(topic.clone()).or_default().push(partition.0);
            }
            topics.into_iter().map(topic).collect()
        };
        let request = ElectLeadersRequest {
            election_type: kind as i8,
            topic_partitions: partitions.map(grouped),
            timeout_ms: self.timeout_ms(),
            ..ElectLeadersRequest::default()
        };
        let response = self
            .call_controller(&request, |response| {
                let results = response.replica_election_results.iter();
                let codes = results.flat_map(|topic| &topic.partition_result);
                codes.map(|partition| partition.error_code).chain([response.error_code]).collect()
            })
            .await?;
        check(response.error_code, None)?;
        let elected = response.replica_election_results.iter().flat_map(|topic| {
            topic.partition_result.iter().map(|partition| Elected {
                topic: topic.topic.clone(),
                partition: PartitionId(partition.partition_id),
                result: check(partition.error_code, partition.error_message.as_deref()),
            })
        });
        Ok(elected.collect())
    }

    /// Starts, redirects or cancels reassignments. Answered when they are under way, not when they are done.
    pub async fn alter_reassignments(
        &self,
        wanted: &[Reassign],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let mut topics: BTreeMap<Str, Vec<ReassignablePartition>> = BTreeMap::new();
        for Reassign { topic, partition, replicas } in wanted {
            topics.entry(topic.clone()).or_default().push(ReassignablePartition {
                partition_index: partition.0,
                replicas: replicas.as_ref().map(|ids| ids.iter().map(|id| id.0).collect()),
                ..ReassignablePartition::default()
            });
        }
        let topic =
            |(name, partitions)| ReassignableTopic { name, partitions, ..Default::default() };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics: topics.into_iter().map(topic).collect(),
            ..AlterPartitionReassignmentsRequest::default()
        };
        let response = self.call_controller(&request, |response| vec![response.error_code]).await?;
        check(response.error_code, response.error_message.as_deref())?;
        let answered: HashMap<_, _> = response
            .responses
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |it| (&topic.name, it)))
            .map(|(topic, it)| ((topic.clone(), it.partition_index), it))
            .collect();
        let result = |it: &Reassign| {
            let answered = answered.get(&(it.topic.clone(), it.partition.0));
            let answered = answered.ok_or_else(unanswered)?;
            check(answered.error_code, answered.error_message.as_deref())
        };
        Ok(wanted.iter().map(result).collect())
    }

    /// Every reassignment that is under way, by topic and partition.
    pub async fn list_reassignments(&self) -> Result<Vec<Reassignment>, ClientError> {
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics: None,
            ..ListPartitionReassignmentsRequest::default()
        };
        let response = self.call_controller(&request, |response| vec![response.error_code]).await?;
        check(response.error_code, response.error_message.as_deref())?;
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
        let mut found: Vec<Reassignment> = response
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |it| (topic, it)))
            .map(|(topic, it)| Reassignment {
                topic: topic.name.clone(),
                partition: PartitionId(it.partition_index),
                replicas: ids(&it.replicas),
                adding: ids(&it.adding_replicas),
                removing: ids(&it.removing_replicas),
            })
            .collect();
        found.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(found)
    }
}

/// True if the cluster had nothing to elect, which is no failure.
pub fn was_not_needed(error: &ClientError) -> bool {
    error.code() == Some(ErrorCode::ElectionNotNeeded)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use ottla_protocol::messages::alter_partition_reassignments_response::{
        ReassignablePartitionResponse, ReassignableTopicResponse,
    };
    use ottla_protocol::messages::elect_leaders_response::{
        PartitionResult, ReplicaElectionResult,
    };
    use ottla_protocol::messages::{AlterPartitionReassignmentsResponse, ElectLeadersResponse};

    use super::*;
    use crate::client::Client;
    use crate::testing::{FakeCluster, Reaction, decode};

    fn admin(cluster: &FakeCluster) -> Admin {
        Admin::new(Client::new(cluster.config()))
    }

    #[tokio::test]
    async fn election_is_asked_of_the_controller_and_again_after_it_moved() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let keep = asked.clone();
        let cluster = FakeCluster::new(
            2,
            Box::new(move |_, header, body| {
                let request: ElectLeadersRequest = decode(header, body);
                let mut asked = keep.lock().unwrap();
                asked.push(request);
                let moved = asked.len() == 1;
                let result = |partition_id, error: ErrorCode| PartitionResult {
                    partition_id,
                    error_code: error.code(),
                    ..PartitionResult::default()
                };
                let results =
                    vec![result(0, ErrorCode::None), result(1, ErrorCode::ElectionNotNeeded)];
                let topic = ReplicaElectionResult {
                    topic: "topic".into(),
                    partition_result: results,
                    ..ReplicaElectionResult::default()
                };
                let error = if moved { ErrorCode::NotController } else { ErrorCode::None };
                let response = ElectLeadersResponse {
                    error_code: error.code(),
                    replica_election_results: vec![topic],
                    ..ElectLeadersResponse::default()
                };
                Reaction::answer(header, &response)
            }),
        );
        let named = [(Str::from("topic"), PartitionId(0)), (Str::from("topic"), PartitionId(1))];
        let elected =
            admin(&cluster).elect_leaders(ElectionType::Unclean, Some(&named)).await.unwrap();
        assert_eq!(elected[0].result, Ok(()));
        assert!(was_not_needed(elected[1].result.as_ref().unwrap_err()));
        let asked = asked.lock().unwrap();
        assert_eq!((asked.len(), asked[1].election_type), (2, 1));
        let topics = asked[1].topic_partitions.as_ref().unwrap();
        assert_eq!((topics.len(), &topics[0].partitions[..]), (1, &[0, 1][..]));
    }

    #[tokio::test]
    async fn each_reassignment_has_its_own_answer() {
        let cluster = FakeCluster::new(
            2,
            Box::new(|_, header, body| {
                let request: AlterPartitionReassignmentsRequest = decode(header, body);
                let topic = request.topics.iter().find(|topic| &*topic.name == "topic");
                let partitions = &topic.unwrap().partitions;
                assert_eq!(partitions[0].replicas, Some(vec![2, 1]));
                assert_eq!(partitions[1].replicas, None, "cancels");
                let refused = ReassignablePartitionResponse {
                    partition_index: 1,
                    error_code: ErrorCode::NoReassignmentInProgress.code(),
                    ..ReassignablePartitionResponse::default()
                };
                let topic = ReassignableTopicResponse {
                    name: "topic".into(),
                    partitions: vec![refused, ReassignablePartitionResponse::default()],
                    ..ReassignableTopicResponse::default()
                };
                let response = AlterPartitionReassignmentsResponse {
                    responses: vec![topic],
                    ..AlterPartitionReassignmentsResponse::default()
                };
                Reaction::answer(header, &response)
            }),
        );
        let wanted = [
            Reassign {
                topic: "topic".into(),
                partition: PartitionId(0),
                replicas: Some(vec![BrokerId(2), BrokerId(1)]),
            },
            Reassign { topic: "topic".into(), partition: PartitionId(1), replicas: None },
            Reassign { topic: "other".into(), partition: PartitionId(0), replicas: None },
        ];
        let results = admin(&cluster).alter_reassignments(&wanted).await.unwrap();
        assert_eq!(results[0], Ok(()));
        let code = results[1].as_ref().unwrap_err().code();
        assert_eq!(code, Some(ErrorCode::NoReassignmentInProgress));
        let code = results[2].as_ref().unwrap_err().code();
        assert_eq!(code, Some(ErrorCode::UnknownServerError), "it was left out");
    }
}
