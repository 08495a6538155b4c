//! AlterPartitionReassignments, versions 0 and 1: 1 can forbid another number of replicas.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};

use super::{Call, Handler, Relayed};
use crate::admin::{AdminError, Options, Reassignment, Unavailable};

pub(super) struct AlterPartitionReassignments;

impl Handler for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;

    async fn handle(
        call: &Call<'_>,
        request: AlterPartitionReassignmentsRequest,
    ) -> Result<Relayed<AlterPartitionReassignmentsResponse>, Unavailable> {
        let options = Options { validate_only: false, timeout: call.timeout(request.timeout_ms) };
        let allowed = request.allow_replication_factor_change;
        let reassignments = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| Reassignment {
                topic: topic.name.as_str().to_owned(),
                partition: partition.partition_index,
                replicas: partition.replicas.clone(),
                allow_replication_factor_change: allowed,
            })
        });
        let reassignments = reassignments.collect();
        let answer = call.admin.reassign_partitions(&call.caller, reassignments, options).await?;
        let mut results = answer.results.into_iter();
        let responses = request.topics.iter().map(|topic| ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .zip(&mut results)
                .map(|(partition, result)| partition_response(partition.partition_index, result))
                .collect(),
            ..ReassignableTopicResponse::default()
        });
        let response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: allowed,
            responses: responses.collect(),
            ..AlterPartitionReassignmentsResponse::default()
        };
        Ok(Relayed { response, revision: answer.revision })
    }
}

fn partition_response(
    partition_index: i32,
    result: Result<(), AdminError>,
) -> ReassignablePartitionResponse {
    let (code, message) = match result {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error.code, Some(error.message.into())),
    };
    ReassignablePartitionResponse {
        partition_index,
        error_code: code.code(),
        error_message: message,
        ..ReassignablePartitionResponse::default()
    }
}
