//! How a client of the classic protocol gets its partitions: it gives up everything whenever members join anew.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::consumer_protocol_assignment::TopicPartition;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use ottla_protocol::wire::Decoder;
use ottla_protocol::{ErrorCode, Message};

use super::client::Member;
use super::{Place, Response, TOPICS};
use crate::group::Request;

#[derive(Debug)]
pub enum State {
    Joins,
    /// It syncs, and brings this if it leads.
    Syncs(Vec<(String, Vec<Place>)>),
    Stable,
}

impl State {
    pub fn new() -> Self {
        Self::Joins
    }

    pub fn is_stable(&self) -> bool {
        matches!(self, Self::Stable)
    }

    pub fn pass(&mut self) {}

    pub fn unanswered(&mut self, member: &mut Member, now: Duration) {
        member.next = now;
        if matches!(self, Self::Syncs(_)) {
            *self = Self::Joins;
        }
    }

    pub fn request(&mut self, member: &Member) -> Request {
        let instance = member.instance.as_deref().map(Into::into);
        let (group_id, member_id) = ("g".into(), member.id.as_str().into());
        match self {
            Self::Joins => Request::JoinGroup(JoinGroupRequest {
                group_id,
                member_id,
                session_timeout_ms: 6000,
                rebalance_timeout_ms: 4000,
                group_instance_id: instance,
                protocol_type: "consumer".into(),
                protocols: vec![JoinGroupRequestProtocol {
                    name: "range".into(),
                    metadata: subscription(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            Self::Syncs(assignments) => Request::SyncGroup(SyncGroupRequest {
                group_id,
                member_id,
                generation_id: member.epoch,
                group_instance_id: instance,
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
                assignments: assignments
                    .iter()
                    .map(|(id, places)| SyncGroupRequestAssignment {
                        member_id: id.as_str().into(),
                        assignment: assignment(places),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }),
            Self::Stable => Request::Heartbeat(HeartbeatRequest {
                group_id,
                member_id,
                generation_id: member.epoch,
                group_instance_id: instance,
                ..Default::default()
            }),
        }
    }

    pub fn answered(&mut self, member: &mut Member, response: &Response, now: Duration) {
        member.next = now + Duration::from_millis(300);
        let code = match response {
            Response::JoinGroup(answer) => answer.error_code,
            Response::SyncGroup(answer) => answer.error_code,
            Response::Heartbeat(answer) => answer.error_code,
            other => panic!("{other:?}"),
        };
        match (ErrorCode::from_code(code), response) {
            (ErrorCode::None, Response::JoinGroup(answer)) => {
                member.id = answer.member_id.to_string();
                member.epoch = answer.generation_id;
                member.next = now;
                *self = Self::Syncs(lead(answer));
            }
            (ErrorCode::None, Response::SyncGroup(answer)) => {
                member.own(read(&answer.assignment));
                *self = Self::Stable;
            }
            (ErrorCode::None, _) => {}
            (ErrorCode::MemberIdRequired, Response::JoinGroup(answer)) => {
                member.id = answer.member_id.to_string();
                member.next = now;
            }
            (ErrorCode::FencedInstanceId, _) => {
                member.owned.clear();
                member.is_over = true;
            }
            (ErrorCode::UnknownMemberId, _) => {
                member.id.clear();
                self.join_anew(member);
            }
            (ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration, _) => {
                self.join_anew(member);
                member.next = now;
            }
            (other, _) => panic!("{other:?}: {response:?}"),
        }
    }

    fn join_anew(&mut self, member: &mut Member) {
        member.owned.clear();
        *self = Self::Joins;
    }
}

pub fn leave(member: &Member) -> Option<Request> {
    let identity = MemberIdentity {
        member_id: member.id.as_str().into(),
        group_instance_id: member.instance.as_deref().map(Into::into),
        ..Default::default()
    };
    // A static member of this protocol just goes.
    (!member.id.is_empty() && member.instance.is_none()).then(|| {
        Request::LeaveGroup(LeaveGroupRequest {
            group_id: "g".into(),
            members: vec![identity],
            ..Default::default()
        })
    })
}

/// What the leader assigns: everything in turns.
fn lead(answer: &JoinGroupResponse) -> Vec<(String, Vec<Place>)> {
    if answer.leader != answer.member_id || answer.members.is_empty() {
        return Vec::new();
    }
    let mut members: BTreeMap<String, Vec<Place>> =
        answer.members.iter().map(|it| (it.member_id.to_string(), Vec::new())).collect();
    let count = members.len();
    let places =
        TOPICS.iter().enumerate().flat_map(|(at, (_, count))| (0..*count).map(move |p| (at, p)));
    for (turn, place) in places.enumerate() {
        if let Some(held) = members.values_mut().nth(turn % count) {
            held.push(place);
        }
    }
    members.into_iter().collect()
}

fn subscription() -> Bytes {
    let subscription = ConsumerProtocolSubscription {
        topics: TOPICS.iter().map(|(name, _)| (*name).into()).collect(),
        ..Default::default()
    };
    [&[0, 1], &*subscription.encode_all(1).expect("version 1")].concat().into()
}

fn assignment(places: &[Place]) -> Bytes {
    let topic = |at: usize| TopicPartition {
        topic: TOPICS[at].0.into(),
        partitions: places.iter().filter(|it| it.0 == at).map(|it| it.1).collect(),
    };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: (0..TOPICS.len()).map(topic).collect(),
        ..Default::default()
    };
    [&[0, 1], &*assignment.encode_all(1).expect("version 1")].concat().into()
}

fn read(bytes: &Bytes) -> Vec<Place> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut decoder = Decoder::new(bytes.clone());
    let version = decoder.i16().expect("a version");
    let assignment =
        ConsumerProtocolAssignment::decode(&mut decoder, version).expect("an assignment");
    let topics = assignment.assigned_partitions.iter();
    let places = topics.flat_map(|topic| {
        let at = TOPICS.iter().position(|it| *it.0 == *topic.topic).expect("a topic");
        topic.partitions.iter().map(move |partition| (at, *partition))
    });
    places.collect()
}
