//! Answers and writes, each in a line.

use ottla_metadata::keys::{GroupKey, ShardKey};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, SyncGroupResponse,
};

use crate::group::Response;

pub(super) fn key(key: &ShardKey) -> String {
    match key {
        ShardKey::Group(_, key) => group_key(key),
        other => other.to_string(),
    }
}

fn group_key(key: &GroupKey) -> String {
    let whole = ShardKey::Group("g".to_owned(), key.clone()).to_string();
    whole.trim_start_matches("groups/g/").to_owned()
}

pub(super) fn response(response: &Response) -> String {
    match response {
        Response::JoinGroup(answer) => join(answer),
        Response::SyncGroup(answer) => sync(answer),
        Response::Heartbeat(answer) => format!("Heartbeat {}", error(answer.error_code)),
        Response::LeaveGroup(answer) => leave(answer),
        Response::ConsumerGroupHeartbeat(answer) => consumer_heartbeat(answer),
        other => format!("{other:?}"),
    }
}

fn join(answer: &JoinGroupResponse) -> String {
    let mut text = format!("JoinGroup {} member={}", error(answer.error_code), answer.member_id);
    if answer.error_code != 0 {
        return text;
    }
    text.push_str(&format!(" generation={} leader={}", answer.generation_id, answer.leader));
    for (name, value) in [("type", &answer.protocol_type), ("protocol", &answer.protocol_name)] {
        text.push_str(&format!(" {name}={}", value.as_deref().unwrap_or("null")));
    }
    if answer.skip_assignment {
        text.push_str(" skip");
    }
    if !answer.members.is_empty() {
        let members = answer.members.iter().map(|member| {
            let instance = member.group_instance_id.as_ref().map(|id| format!("({id})"));
            format!("{}{}", member.member_id, instance.unwrap_or_default())
        });
        text.push_str(&format!(" members=[{}]", members.collect::<Vec<_>>().join(" ")));
    }
    text
}

fn sync(answer: &SyncGroupResponse) -> String {
    let mut text = format!("SyncGroup {}", error(answer.error_code));
    if answer.error_code == 0 {
        text.push_str(&format!(" assignment={:?}", answer.assignment));
    }
    text
}

fn leave(answer: &LeaveGroupResponse) -> String {
    let mut text = format!("LeaveGroup {}", error(answer.error_code));
    for member in &answer.members {
        let instance = member.group_instance_id.as_ref().map(|id| format!("({id})"));
        let (id, instance) = (&member.member_id, instance.unwrap_or_default());
        text.push_str(&format!(" {id}{instance}:{}", error(member.error_code)));
    }
    text
}

fn consumer_heartbeat(answer: &ConsumerGroupHeartbeatResponse) -> String {
    let member = answer.member_id.as_deref().unwrap_or("null");
    let mut text = format!("ConsumerGroupHeartbeat {}", error(answer.error_code));
    if answer.error_code != 0 {
        let message = answer.error_message.as_deref().unwrap_or("");
        return format!("{text} {message}").trim_end().to_owned();
    }
    text.push_str(&format!(" member={member} epoch={}", answer.member_epoch));
    if 0 < answer.heartbeat_interval_ms {
        text.push_str(&format!(" in={}ms", answer.heartbeat_interval_ms));
    }
    if let Some(assignment) = &answer.assignment {
        let topics = assignment
            .topic_partitions
            .iter()
            .map(|topic| format!("{}:{}", topic.topic_id, ranges(&topic.partitions)));
        text.push_str(&format!(" assignment=[{}]", topics.collect::<Vec<_>>().join(" ")));
    }
    text
}

/// `0-3,5`.
fn ranges(numbers: &[i32]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let run = |run: &[i32]| match run {
        [] => String::new(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
    };
    runs.map(run).collect::<Vec<_>>().join(",")
}

pub(super) fn error(code: i16) -> &'static str {
    ErrorCode::from_code(code).name()
}
