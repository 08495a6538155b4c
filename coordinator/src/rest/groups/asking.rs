//! Asking groups over HTTP, in the words in which brokers relay requests.

use axum::http::StatusCode;
use bytes::Bytes;
use ottla_protocol::messages::consumer_group_describe_response::{self as consumer, Assignment};
use ottla_protocol::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use ottla_protocol::messages::describe_groups_response as classic;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::wire::Decoder;
use ottla_protocol::{ErrorCode, Message};

use super::super::problem::Problem;
use super::super::state::Rest;
use super::views::{self, GroupDetail, GroupView, MemberView, TopicAssignment};
use crate::admin::Caller;
use crate::admin::stages::{self, Operation};
use crate::group::{Client, Request, Response};

/// Asks a group, in this version of the API that the request is of.
pub(super) async fn ask(
    rest: &Rest,
    caller: &Caller,
    (group, version): (&str, i16),
    request: Request,
) -> Response {
    let address = caller.client_address.map(|address| address.ip().to_string());
    let client = Client {
        id: caller.client_id.clone().unwrap_or_default(),
        host: format!("/{}", address.unwrap_or_default()),
        version,
    };
    let groups = rest.groups();
    let late = crate::group::refusal(&request, version, ErrorCode::CoordinatorNotAvailable);
    let answer = groups.ask(&client, group, request);
    tokio::time::timeout(groups.commit_timeout(), answer).await.unwrap_or(late)
}

/// What a code of a group means to whoever asked for it.
pub(super) fn problem(code: ErrorCode, group: &str) -> Problem {
    let mut problem = match code {
        ErrorCode::GroupIdNotFound => {
            Problem::of_code(code, format!("there is no group {group:?}"))
        }
        ErrorCode::NonEmptyGroup => {
            let detail = format!("{group:?} has members; stop them first");
            Problem::of_code(code, detail)
        }
        code => Problem::of_code(code, format!("{group:?}: {}", code.message())),
    };
    problem.status = match code {
        ErrorCode::GroupIdNotFound => StatusCode::NOT_FOUND,
        ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId => StatusCode::CONFLICT,
        ErrorCode::InvalidGroupId => StatusCode::BAD_REQUEST,
        ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
    .as_u16();
    problem
}

/// Describes a group of either kind, without its offsets.
pub(super) async fn describe(
    rest: &Rest,
    caller: &Caller,
    group: &str,
) -> Result<GroupDetail, Problem> {
    stages::authorise(caller, Operation::DescribeGroup, &group)?;
    let of_classic = ask(rest, caller, (group, 6), Request::Describe).await;
    let detail = match of_classic {
        Response::Describe(described) if described.error_code == 0 => {
            Ok(from_classic(rest, group, &described))
        }
        Response::Describe(described) => Err(described.error_code),
        _ => Err(ErrorCode::UnknownServerError.code()),
    };
    let code = match detail {
        Ok(detail) => return Ok(detail),
        Err(code) => code,
    };
    if code != ErrorCode::GroupIdNotFound.code() {
        return Err(problem(ErrorCode::from_code(code), group));
    }
    match ask(rest, caller, (group, 1), Request::DescribeConsumer).await {
        Response::DescribeConsumer(described) if described.error_code == 0 => {
            Ok(from_consumer(rest, group, described))
        }
        Response::DescribeConsumer(described) => {
            Err(problem(ErrorCode::from_code(described.error_code), group))
        }
        _ => Err(problem(ErrorCode::UnknownServerError, group)),
    }
}

/// Everything that a group has committed.
pub(super) async fn committed(
    rest: &Rest,
    caller: &Caller,
    group: &str,
) -> Result<OffsetFetchResponseGroup, Problem> {
    let request = OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    match ask(rest, caller, (group, 9), Request::OffsetFetch(request)).await {
        Response::OffsetFetch(answer) if answer.error_code == 0 => Ok(answer),
        Response::OffsetFetch(answer) => {
            Err(problem(ErrorCode::from_code(answer.error_code), group))
        }
        _ => Err(problem(ErrorCode::UnknownServerError, group)),
    }
}

fn view(rest: &Rest, group: &str, kind: &str, state: &str) -> GroupView {
    let shard = rest.groups().shard_of(group);
    let image = rest.images().load();
    GroupView {
        group: group.to_owned(),
        kind: kind.to_owned(),
        state: state.to_owned(),
        protocol_type: "consumer".to_owned(),
        coordinator: shard.and_then(|shard| views::coordinator(&image, shard)),
        shard,
    }
}

fn from_classic(rest: &Rest, group: &str, described: &classic::DescribedGroup) -> GroupDetail {
    let mut view = view(rest, group, "classic", &described.group_state);
    view.protocol_type = described.protocol_type.as_str().to_owned();
    let speaks_kafka = view.protocol_type == crate::group::classic::CONSUMER;
    let members = described.members.iter().map(|member| MemberView {
        id: member.member_id.as_str().to_owned(),
        instance_id: member.group_instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.as_str().to_owned(),
        host: member.client_host.as_str().to_owned(),
        rack: None,
        epoch: None,
        assignment: if speaks_kafka { decode(&member.member_assignment) } else { Vec::new() },
    });
    GroupDetail {
        group: view,
        assignor: described.protocol_data.as_str().to_owned(),
        epoch: None,
        members: members.collect(),
        offsets: Vec::new(),
        lag: 0,
    }
}

fn from_consumer(rest: &Rest, group: &str, described: consumer::DescribedGroup) -> GroupDetail {
    let members = described.members.iter().map(|member| MemberView {
        id: member.member_id.as_str().to_owned(),
        instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.as_str().to_owned(),
        host: member.client_host.as_str().to_owned(),
        rack: member.rack_id.as_deref().map(str::to_owned),
        epoch: Some(member.member_epoch),
        assignment: assignment(&member.assignment),
    });
    GroupDetail {
        group: view(rest, group, "consumer", &described.group_state),
        assignor: described.assignor_name.as_str().to_owned(),
        epoch: Some(described.group_epoch),
        members: members.collect(),
        offsets: Vec::new(),
        lag: 0,
    }
}

fn assignment(assignment: &Assignment) -> Vec<TopicAssignment> {
    let topics = assignment.topic_partitions.iter().map(|topic| TopicAssignment {
        topic: topic.topic_name.as_str().to_owned(),
        partitions: topic.partitions.clone(),
    });
    topics.collect()
}

/// What consumers say to each other, as far as it is in Kafka's own form.
fn decode(bytes: &Bytes) -> Vec<TopicAssignment> {
    let Some(version) = bytes.get(..2).map(|two| i16::from_be_bytes([two[0], two[1]])) else {
        return Vec::new();
    };
    let known = version.clamp(0, ConsumerProtocolAssignment::MAX_VERSION);
    let mut decoder = Decoder::new(bytes.slice(2..));
    let Ok(decoded) = ConsumerProtocolAssignment::decode(&mut decoder, known) else {
        return Vec::new();
    };
    let topics = decoded.assigned_partitions.into_iter().map(|topic| TopicAssignment {
        topic: topic.topic.as_str().to_owned(),
        partitions: topic.partitions,
    });
    topics.collect()
}
