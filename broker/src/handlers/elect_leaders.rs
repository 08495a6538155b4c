//! ElectLeaders, 0 to 2. Carried out by the coordinator.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves ElectLeaders.
#[derive(Debug)]
pub struct ElectLeaders;

impl Handler for ElectLeaders {
    type Request = ElectLeadersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: ElectLeadersRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for ElectLeadersRequest {
    fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> ElectLeadersResponse {
        let partition = |partition_id: &i32| PartitionResult {
            partition_id: *partition_id,
            error_code: error.code(),
            error_message: Some(message.clone()),
            ..PartitionResult::default()
        };
        let topic = |topic: &TopicPartitions| ReplicaElectionResult {
            topic: topic.topic.clone(),
            partition_result: topic.partitions.iter().map(partition).collect(),
            ..ReplicaElectionResult::default()
        };
        ElectLeadersResponse {
            error_code: error.code(),
            replica_election_results: self.topic_partitions.iter().flatten().map(topic).collect(),
            ..ElectLeadersResponse::default()
        }
    }
}
