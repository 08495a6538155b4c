//! AlterPartition as it comes over the wire, and what is answered.

use ottla_coordinator::controller::alter_partition::{
    AlterPartition, IsrProposal, IsrResult, wire_partition_epoch,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_response::{PartitionData, TopicData};
use ottla_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};

/// What a request asks for.
pub(super) fn change_of(request: &AlterPartitionRequest) -> AlterPartition {
    let proposals = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| IsrProposal {
            topic_id: topic.topic_id,
            partition: partition.partition_index,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: partition
                .new_isr_with_epochs
                .iter()
                .map(|seat| (seat.broker_id, seat.broker_epoch))
                .collect(),
            recovering: partition.leader_recovery_state == 1,
        })
    });
    AlterPartition {
        broker: request.broker_id,
        broker_epoch: request.broker_epoch,
        proposals: proposals.collect(),
    }
}

/// Takes away in which life members are.
pub(super) fn forget_lives(change: &mut AlterPartition) {
    for seat in change.proposals.iter_mut().flat_map(|proposal| &mut proposal.isr) {
        seat.1 = -1;
    }
}

/// The answer; `results` are those of the proposals, each with the revision that it stands at.
pub(super) fn answer_of(
    request: &AlterPartition,
    results: Vec<(IsrResult, i64)>,
) -> AlterPartitionResponse {
    let topics = request.proposals.iter().zip(results).map(|(proposal, (result, revision))| {
        let partition_index = proposal.partition;
        let data = match result {
            Ok(partition) => PartitionData {
                partition_index,
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                isr: partition.isr,
                leader_recovery_state: i8::from(partition.recovering),
                partition_epoch: wire_partition_epoch(revision),
                ..PartitionData::default()
            },
            Err(error) => PartitionData {
                partition_index,
                error_code: error.code(),
                ..PartitionData::default()
            },
        };
        TopicData { topic_id: proposal.topic_id, partitions: vec![data], ..TopicData::default() }
    });
    AlterPartitionResponse { topics: topics.collect(), ..AlterPartitionResponse::default() }
}

/// The answer to a request that is refused as a whole.
pub(super) fn refusal(error: ErrorCode) -> AlterPartitionResponse {
    AlterPartitionResponse { error_code: error.code(), ..AlterPartitionResponse::default() }
}
