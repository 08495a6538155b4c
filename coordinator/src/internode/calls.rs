//! The calls of brokers on their own behalf.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_request::TopicData as ProposedTopic;
use ottla_protocol::messages::alter_partition_response::{PartitionData, TopicData};
use ottla_protocol::messages::assign_replicas_to_dirs_request::{
    DirectoryData, PartitionData as PlacedPartition,
};
use ottla_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest,
    AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, assign_replicas_to_dirs_response as assigned,
};
use tokio::sync::{mpsc, oneshot};

use super::hello::Peer;
use crate::admin::{Command, IsrAnswer, IsrWork};
use crate::controller::alter_partition::{AlterPartition, IsrProposal, wire_partition_epoch};
use crate::controller::directories::{DirectoryReport, Placed};
use crate::controller::liveness::Heartbeat;
use crate::coordinator::Services;
use crate::heartbeats;

/// Answers a heartbeat from memory, whatever the store does.
pub(super) fn heartbeat(
    services: &Services,
    peer: &Peer,
    request: &BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    let refused = |code: ErrorCode| BrokerHeartbeatResponse {
        error_code: code.code(),
        ..BrokerHeartbeatResponse::default()
    };
    if !peer.is_broker || peer.node_id != request.broker_id {
        return refused(ErrorCode::InvalidRequest);
    }
    if !services.leadership.borrow().is_me {
        return refused(ErrorCode::NotController);
    }
    let heartbeat = Heartbeat {
        broker: request.broker_id,
        broker_epoch: request.broker_epoch,
        image_revision: request.current_metadata_offset,
        wants_shutdown: request.want_shut_down,
        offline_log_dirs: request.offline_log_dirs.clone(),
    };
    let image = services.images.load();
    match heartbeats::answer(&image, &heartbeat) {
        Err(code) => refused(code),
        Ok(answer) => {
            services.heartbeats.put(heartbeat, &image, services.clock.now());
            BrokerHeartbeatResponse {
                is_caught_up: answer.is_caught_up,
                is_fenced: answer.is_fenced,
                should_shut_down: answer.should_shut_down,
                ..BrokerHeartbeatResponse::default()
            }
        }
    }
}

/// Hands out a block of producer ids.
pub(super) async fn allocate_producer_ids(
    services: &Services,
    request: &AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    let (broker, broker_epoch) = (request.broker_id, request.broker_epoch);
    let command = |reply| Command::AllocateProducerIds { broker, broker_epoch, reply };
    match ask(services, command).await {
        Ok(block) => AllocateProducerIdsResponse {
            producer_id_start: block.start,
            producer_id_len: block.len,
            ..AllocateProducerIdsResponse::default()
        },
        Err(code) => AllocateProducerIdsResponse {
            error_code: code.code(),
            ..AllocateProducerIdsResponse::default()
        },
    }
}

/// Takes a leader's proposals for ISRs to the writer.
pub(super) async fn alter_partition(
    services: &Services,
    request: AlterPartitionRequest,
) -> AlterPartitionResponse {
    let proposals = request.topics.iter().flat_map(proposals_of).collect();
    let change =
        AlterPartition { broker: request.broker_id, broker_epoch: request.broker_epoch, proposals };
    let command = |reply| Command::AlterPartition(IsrWork { request: change, reply });
    let answers = match ask(services, command).await {
        Ok(answers) => answers,
        Err(code) => {
            return AlterPartitionResponse {
                error_code: code.code(),
                ..AlterPartitionResponse::default()
            };
        }
    };
    let mut answers = answers.into_iter();
    let topics = request.topics.into_iter().map(|topic| TopicData {
        topic_id: topic.topic_id,
        topic_name: topic.topic_name,
        partitions: topic
            .partitions
            .iter()
            .zip(&mut answers)
            .map(|(partition, answer)| partition_data(partition.partition_index, answer))
            .collect(),
        ..TopicData::default()
    });
    AlterPartitionResponse { topics: topics.collect(), ..AlterPartitionResponse::default() }
}

fn proposals_of(topic: &ProposedTopic) -> impl Iterator<Item = IsrProposal> {
    topic.partitions.iter().map(|partition| {
        // Up to version 2 the ISR came without epochs.
        let plain = partition.new_isr.iter().map(|id| (*id, -1));
        let with_epochs =
            partition.new_isr_with_epochs.iter().map(|seat| (seat.broker_id, seat.broker_epoch));
        IsrProposal {
            topic_id: topic.topic_id,
            partition: partition.partition_index,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: plain.chain(with_epochs).collect(),
            recovering: partition.leader_recovery_state != 0,
        }
    })
}

fn partition_data(partition_index: i32, answer: IsrAnswer) -> PartitionData {
    match answer {
        Ok((partition, revision)) => PartitionData {
            partition_index,
            leader_id: partition.leader,
            leader_epoch: partition.leader_epoch,
            isr: partition.isr,
            leader_recovery_state: i8::from(partition.recovering),
            partition_epoch: wire_partition_epoch(revision),
            ..PartitionData::default()
        },
        Err(code) => {
            PartitionData { partition_index, error_code: code.code(), ..PartitionData::default() }
        }
    }
}

/// Writes down which log directories the replicas of a broker are in.
pub(super) async fn assign_replicas_to_dirs(
    services: &Services,
    request: AssignReplicasToDirsRequest,
) -> AssignReplicasToDirsResponse {
    let placed = request.directories.iter().flat_map(placed_in).collect();
    let (broker, broker_epoch) = (request.broker_id, request.broker_epoch);
    let report = DirectoryReport { broker, broker_epoch, placed };
    let answers = match ask(services, |reply| Command::AssignDirectories { report, reply }).await {
        Ok(answers) => answers,
        Err(code) => {
            return AssignReplicasToDirsResponse {
                error_code: code.code(),
                ..AssignReplicasToDirsResponse::default()
            };
        }
    };
    let mut codes = answers.into_iter().map(|answer| match answer {
        Ok(()) => ErrorCode::None.code(),
        Err(code) => code.code(),
    });
    let directories = request.directories.into_iter().map(|directory| {
        let topics = directory.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().zip(&mut codes);
            let partitions = partitions.map(|(partition, error_code)| assigned::PartitionData {
                partition_index: partition.partition_index,
                error_code,
                ..assigned::PartitionData::default()
            });
            assigned::TopicData {
                topic_id: topic.topic_id,
                partitions: partitions.collect(),
                ..assigned::TopicData::default()
            }
        });
        assigned::DirectoryData {
            id: directory.id,
            topics: topics.collect(),
            ..assigned::DirectoryData::default()
        }
    });
    AssignReplicasToDirsResponse {
        directories: directories.collect(),
        ..AssignReplicasToDirsResponse::default()
    }
}

fn placed_in(directory: &DirectoryData) -> impl Iterator<Item = Placed> {
    let id = directory.id;
    directory.topics.iter().flat_map(move |topic| {
        let placed = move |partition: &PlacedPartition| Placed {
            topic_id: topic.topic_id,
            partition: partition.partition_index,
            directory: id,
        };
        topic.partitions.iter().map(placed)
    })
}

/// Asks the writer; a node that is not active says so.
async fn ask<T>(
    services: &Services,
    command: impl FnOnce(oneshot::Sender<Result<T, ErrorCode>>) -> Command,
) -> Result<T, ErrorCode> {
    if !services.leadership.borrow().is_me {
        return Err(ErrorCode::NotController);
    }
    let (reply, answer) = oneshot::channel();
    services.commands.try_send(command(reply)).map_err(|refused| match refused {
        mpsc::error::TrySendError::Full(_) => ErrorCode::RequestTimedOut,
        mpsc::error::TrySendError::Closed(_) => ErrorCode::NotController,
    })?;
    // Dropped with the term of the writer that had it.
    answer.await.map_err(|_| ErrorCode::NotController)?
}
