use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::messages::alter_partition_response::TopicData as AnsweredTopic;

use super::testing::{handles, proposed};
use super::*;
use crate::partition::PartitionHandle;

fn answered(partitions: &[(i32, ErrorCode)]) -> Answer {
    let partitions = partitions.iter().map(|(partition_index, error)| PartitionData {
        partition_index: *partition_index,
        error_code: error.code(),
        leader_epoch: 5,
        isr: vec![1, 2],
        partition_epoch: 12,
        ..PartitionData::default()
    });
    let topic = AnsweredTopic {
        topic_id: Uuid::ONE,
        partitions: partitions.collect(),
        ..AnsweredTopic::default()
    };
    Answer::Answered(AlterPartitionResponse { topics: vec![topic], ..Default::default() })
}

fn desk(handles: &[Arc<PartitionHandle>]) -> Desk {
    let mut desk = Desk::default();
    for handle in handles {
        desk.take(proposed(handle, 1));
    }
    desk
}

fn request(desk: &Desk) -> (Sent, AlterPartitionRequest) {
    desk.request(BrokerId(1), 10)
}

#[test]
fn everything_that_is_there_goes_in_one_request() {
    let (_, request) = request(&desk(&handles(3)));
    assert_eq!((request.broker_id, request.broker_epoch), (1, 10));
    let [topic] = &request.topics[..] else { panic!("{request:?}") };
    assert_eq!(topic.topic_id, Uuid::ONE);
    let [first, _, third] = &topic.partitions[..] else { panic!("{request:?}") };
    assert_eq!((first.partition_index, third.partition_index), (0, 2));
    assert_eq!((first.leader_epoch, first.partition_epoch), (5, 9));
    let seats: Vec<_> =
        first.new_isr_with_epochs.iter().map(|seat| (seat.broker_id, seat.broker_epoch)).collect();
    assert_eq!(seats, [(1, 10), (2, 20)], "the leader's own epoch is that of the request");
    assert_eq!(first.leader_recovery_state, 0);
}

#[test]
fn what_is_decided_leaves_and_the_rest_is_sent_again() {
    let mut desk = desk(&handles(3));
    let (sent, before) = request(&desk);
    let answer = answered(&[(0, ErrorCode::None), (1, ErrorCode::NotController)]);
    let settled = desk.settle(&sent, &answer);
    let [(first, ProposalOutcome::Accepted { partition_epoch: 12, .. })] = &settled[..] else {
        panic!("{settled:?}")
    };
    assert_eq!(first.handle.index, 0);
    let (_, again) = request(&desk);
    assert_eq!(again.topics[0].partitions, before.topics[0].partitions[1..], "the same again");
}

#[test]
fn refusal_is_in_doubt_only_if_an_earlier_copy_may_live() {
    for (lost, is_in_doubt) in [(Answer::NotSent, false), (Answer::Lost, true)] {
        let mut desk = desk(&handles(1));
        let (sent, _) = request(&desk);
        assert!(desk.settle(&sent, &lost).is_empty());
        let (sent, _) = request(&desk);
        let settled = desk.settle(&sent, &answered(&[(0, ErrorCode::InvalidUpdateVersion)]));
        let error = ErrorCode::InvalidUpdateVersion;
        assert_eq!(settled[0].1, ProposalOutcome::Refused { error, is_in_doubt });
        assert!(desk.is_empty());
    }
    // A coordinator that steps down says so also of what it has passed on.
    let mut desk = desk(&handles(1));
    let (sent, _) = request(&desk);
    let stepped_down = AlterPartitionResponse {
        error_code: ErrorCode::NotController.code(),
        ..AlterPartitionResponse::default()
    };
    assert!(desk.settle(&sent, &Answer::Answered(stepped_down)).is_empty());
    let (sent, _) = request(&desk);
    let settled = desk.settle(&sent, &answered(&[(0, ErrorCode::IneligibleReplica)]));
    let error = ErrorCode::IneligibleReplica;
    assert_eq!(settled[0].1, ProposalOutcome::Refused { error, is_in_doubt: true });
}

#[test]
fn newer_proposal_takes_the_place_of_an_older_one_and_not_its_answer() {
    let handles = handles(1);
    let mut desk = desk(&handles);
    let (sent, _) = request(&desk);
    desk.take(proposed(&handles[0], 2));
    assert!(desk.settle(&sent, &answered(&[(0, ErrorCode::None)])).is_empty());
    let (sent, _) = request(&desk);
    assert_eq!(desk.settle(&sent, &answered(&[(0, ErrorCode::None)])).len(), 1);
    assert!(desk.is_empty());
}

#[test]
fn those_that_wait_longest_come_first_when_there_are_too_many() {
    let count = PROPOSALS_MAX as i32 + 1;
    let mut desk = desk(&handles(count));
    let (sent, request) = self::request(&desk);
    assert_eq!(request.topics[0].partitions.len(), PROPOSALS_MAX);
    desk.settle(&sent, &Answer::Lost);
    let (_, request) = self::request(&desk);
    let last = request.topics[0].partitions.last().unwrap();
    assert_eq!(last.partition_index, count - 1);
}
