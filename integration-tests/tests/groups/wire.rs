//! Bare requests about groups, noted by the codes of their answers and by what matters of the rest.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_integration_tests::harness::WireClient;
use ottla_protocol::{
    Message, Str, Uuid,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
        DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest,
        JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
        OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
        consumer_protocol_assignment::TopicPartition,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
        sync_group_request::SyncGroupRequestAssignment,
    },
};

use crate::notes::{Notes, code};

/// What a member of a classic group says of itself.
#[derive(Debug, Clone)]
pub struct Member {
    pub group: &'static str,
    pub id: String,
    pub instance: Option<&'static str>,
    pub generation: i32,
    pub protocols: Vec<(&'static str, Bytes)>,
    pub session_ms: i32,
}

impl Member {
    /// One without an id, which knows the protocol `range` and wants `topics`.
    pub fn of(group: &'static str, topics: &[&str]) -> Self {
        Self {
            group,
            id: String::new(),
            instance: None,
            generation: -1,
            protocols: vec![("range", subscription(topics))],
            session_ms: 30_000,
        }
    }

    pub fn join(&self) -> JoinGroupRequest {
        let protocol = |(name, metadata): &(&'static str, Bytes)| JoinGroupRequestProtocol {
            name: Str::from_static(name),
            metadata: metadata.clone(),
            ..Default::default()
        };
        JoinGroupRequest {
            group_id: self.group.into(),
            session_timeout_ms: self.session_ms,
            rebalance_timeout_ms: 30_000,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.map(Str::from_static),
            protocol_type: "consumer".into(),
            protocols: self.protocols.iter().map(protocol).collect(),
            ..Default::default()
        }
    }

    pub fn sync(&self, shares: &[(&str, Bytes)]) -> SyncGroupRequest {
        let share = |(member, assignment): &(&str, Bytes)| SyncGroupRequestAssignment {
            member_id: (*member).into(),
            assignment: assignment.clone(),
            ..Default::default()
        };
        SyncGroupRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.map(Str::from_static),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: shares.iter().map(share).collect(),
            ..Default::default()
        }
    }

    pub fn heartbeat(&self) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.map(Str::from_static),
            ..Default::default()
        }
    }
}

/// Metadata of the protocols of consumers.
pub fn subscription(topics: &[&str]) -> Bytes {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| Str::from(*topic)).collect(),
        ..Default::default()
    };
    versioned(1, &subscription)
}

/// A share of one topic.
pub fn share(topic: &str, partitions: &[i32]) -> Bytes {
    let topic = TopicPartition { topic: topic.into(), partitions: partitions.to_vec() };
    let assigned_partitions = if partitions.is_empty() { vec![] } else { vec![topic] };
    versioned(1, &ConsumerProtocolAssignment { assigned_partitions, ..Default::default() })
}

fn versioned<M: Message>(version: i16, message: &M) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.extend_from_slice(&message.encode_all(version).expect("a small message"));
    bytes.freeze()
}

fn joined(notes: &Notes, response: &JoinGroupResponse) -> String {
    let mut members: Vec<&str> =
        response.members.iter().map(|member| notes.alias(&member.member_id)).collect();
    members.sort_unstable();
    format!(
        "{} generation {} type {:?} protocol {:?} leader {:?} skip {} member {:?} of {}",
        code(response.error_code),
        response.generation_id,
        response.protocol_type.as_deref().unwrap_or("null"),
        response.protocol_name.as_deref().unwrap_or("null"),
        &*response.leader,
        response.skip_assignment,
        &*response.member_id,
        members.join(","),
    )
}

/// Joins and notes the answer. An id that the server made is from then on called `alias`.
pub fn join(notes: &mut Notes, version: i16, member: &mut Member, alias: &str) {
    let response = notes.call(version, &member.join());
    note_join(notes, version, member, (&response, alias));
}

/// Notes the answer to a JoinGroup.
pub fn note_join(
    notes: &mut Notes,
    version: i16,
    member: &mut Member,
    (response, alias): (&JoinGroupResponse, &str),
) {
    if member.id.is_empty() || *response.member_id != member.id && !response.member_id.is_empty() {
        notes.call_it(&response.member_id, alias);
    }
    let outcome = joined(notes, response);
    notes.note(&format!("join v{version} {} as {alias}", member.group), &outcome);
    if !response.member_id.is_empty() {
        member.id = response.member_id.to_string();
    }
    if response.error_code == 0 {
        member.generation = response.generation_id;
    }
}

/// Syncs and notes the answer.
pub fn sync(notes: &mut Notes, version: i16, member: &Member, shares: &[(&str, Bytes)]) {
    let response = notes.call(version, &member.sync(shares));
    let outcome = format!(
        "{} type {:?} protocol {:?}, {} bytes",
        code(response.error_code),
        response.protocol_type.as_deref().unwrap_or("null"),
        response.protocol_name.as_deref().unwrap_or("null"),
        response.assignment.len(),
    );
    notes.note(&format!("sync v{version} {} {}", member.group, member.id), &outcome);
}

pub fn heartbeat(notes: &mut Notes, version: i16, member: &Member) {
    let response = notes.call(version, &member.heartbeat());
    let step = format!(
        "heartbeat v{version} {} {} generation {}",
        member.group, member.id, member.generation
    );
    notes.note(&step, code(response.error_code));
}

/// Sends a JoinGroup that is not answered before others have done something, and waits until it has arrived: until then
/// `other` is told of no rebalance.
pub fn park(notes: &mut Notes, version: i16, member: &Member, other: &Member) -> (WireClient, i32) {
    let mut connection = notes.connect();
    let sent = connection.send(version, &member.join());
    notes.until("a rebalance", |notes| {
        let response = notes.call(3, &other.heartbeat());
        (code(response.error_code) == "REBALANCE_IN_PROGRESS").then_some(())
    });
    (connection, sent)
}

/// Leaves, members by id and by instance.
pub fn leave(notes: &mut Notes, version: i16, group: &str, members: &[(&str, Option<&str>)]) {
    let identity = |(id, instance): &(&str, Option<&str>)| MemberIdentity {
        member_id: (*id).into(),
        group_instance_id: instance.map(Str::from),
        ..Default::default()
    };
    let mut request = LeaveGroupRequest { group_id: group.into(), ..Default::default() };
    if version < 3 {
        request.member_id = members[0].0.into();
    } else {
        request.members = members.iter().map(identity).collect();
    }
    let response = notes.call(version, &request);
    let each = response.members.iter().map(|member| {
        let instance = member.group_instance_id.as_deref().unwrap_or("null");
        format!("{:?} {instance} {}", &*member.member_id, code(member.error_code))
    });
    let each: Vec<_> = each.collect();
    let outcome = format!("{} {}", code(response.error_code), each.join(", "));
    let asked: Vec<_> =
        members.iter().map(|(id, instance)| format!("{id:?}/{instance:?}")).collect();
    notes.note(&format!("leave v{version} {group} {}", asked.join(" ")), outcome.trim());
}

/// Who commits: member id, generation or epoch, instance.
pub type Committer<'a> = (&'a str, i32, Option<&'a str>);

/// Commits `offset` for these partitions with a text beside it.
pub fn commit(
    notes: &mut Notes,
    version: i16,
    (group, (member, generation, instance)): (&str, Committer<'_>),
    topics: &[(&str, &[i32])],
    (offset, text): (i64, &str),
) {
    let topics_of = |notes: &mut Notes, (name, partitions): &(&str, &[i32])| {
        let partition = |index: &i32| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: offset,
            committed_metadata: Some(text.into()),
            ..Default::default()
        };
        OffsetCommitRequestTopic {
            name: if version < 10 { (*name).into() } else { Str::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { notes.topic_id(name) },
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        }
    };
    let topics: Vec<_> = topics.iter().map(|topic| topics_of(notes, topic)).collect();
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        group_instance_id: instance.map(Str::from),
        topics,
        ..Default::default()
    };
    let response = notes.call(version, &request);
    let codes: Vec<_> = response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| format!("{}:{}", partition.partition_index, code(partition.error_code)))
        .collect();
    let step = format!(
        "commit v{version} {group} {offset} by {member:?} generation {}, {} bytes",
        notes.epoch(generation),
        text.len()
    );
    notes.note(&step, &codes.join(" "));
}

/// Where a group is; no topics means all.
pub fn fetch(notes: &mut Notes, version: i16, group: &str, topics: Option<&[(&str, &[i32])]>) {
    fetch_as(notes, version, (group, ("", -1)), topics);
}

/// As [`fetch`], as a member in an epoch.
pub fn fetch_as(
    notes: &mut Notes,
    version: i16,
    (group, (member, epoch)): (&str, (&str, i32)),
    topics: Option<&[(&str, &[i32])]>,
) {
    let mut request = OffsetFetchRequest::default();
    if version < 8 {
        request.group_id = group.into();
        let of = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopic {
            name: (*name).into(),
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        };
        request.topics = topics.map(|topics| topics.iter().map(of).collect());
    } else {
        let mut of = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopics {
            name: if version < 10 { (*name).into() } else { Str::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { notes.topic_id(name) },
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        };
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            member_id: (9 <= version && !member.is_empty()).then(|| Str::from(member)),
            member_epoch: epoch,
            topics: topics.map(|topics| topics.iter().map(&mut of).collect()),
            ..Default::default()
        }];
    }
    let response = notes.call(version, &request);
    let mut found = vec![code(response.error_code).to_owned()];
    // The order in which Kafka tells topics and partitions is a matter of chance.
    let add = |found: &mut Vec<String>, mut partitions: Vec<(i32, i64, String, i16)>| {
        partitions.sort_unstable();
        let show = |(index, offset, text, error): (i32, i64, String, i16)| {
            format!("{index}@{offset} {text:?} {}", code(error))
        };
        found.extend(partitions.into_iter().map(show));
    };
    let text = |text: &Option<Str>| text.as_deref().unwrap_or("null").to_owned();
    let each = response.topics.iter().flat_map(|topic| &topic.partitions);
    let each =
        each.map(|it| (it.partition_index, it.committed_offset, text(&it.metadata), it.error_code));
    add(&mut found, each.collect());
    for group in &response.groups {
        found.push(format!("{} {}", &*group.group_id, code(group.error_code)));
        let each = group.topics.iter().flat_map(|topic| &topic.partitions);
        let each = each
            .map(|it| (it.partition_index, it.committed_offset, text(&it.metadata), it.error_code));
        add(&mut found, each.collect());
    }
    let asked = if topics.is_some() { "" } else { " all" };
    let epoch = notes.epoch(epoch);
    notes.note(
        &format!("fetch v{version} {group}{asked} by {member:?} epoch {epoch}"),
        &found.join(", "),
    );
}

pub fn delete_offsets(notes: &mut Notes, group: &str, topic: &str, partitions: &[i32]) {
    let partition = |index: &i32| OffsetDeleteRequestPartition { partition_index: *index };
    let partitions = partitions.iter().map(partition).collect();
    let topics = vec![OffsetDeleteRequestTopic { name: topic.into(), partitions }];
    let request = OffsetDeleteRequest { group_id: group.into(), topics };
    let response = notes.call(0, &request);
    let codes = response.topics.iter().flat_map(|topic| &topic.partitions);
    let mut codes: Vec<_> = codes
        .map(|partition| format!("{}:{}", partition.partition_index, code(partition.error_code)))
        .collect();
    codes.sort_unstable();
    let outcome = format!("{} {}", code(response.error_code), codes.join(" "));
    notes.note(&format!("offset-delete {group} {topic}"), outcome.trim());
}

pub fn describe(notes: &mut Notes, version: i16, groups: &[&str]) {
    let names = groups.iter().map(|group| Str::from(*group)).collect();
    let request = DescribeGroupsRequest { groups: names, ..Default::default() };
    let response = notes.call(version, &request);
    let each = response.groups.iter().map(|group| {
        let mut members: Vec<_> = group
            .members
            .iter()
            .map(|member| {
                format!(
                    "{} {:?} {} {} {}+{}",
                    notes.alias(&member.member_id),
                    member.group_instance_id.as_deref().unwrap_or("null"),
                    &*member.client_id,
                    &*member.client_host,
                    member.member_metadata.len(),
                    member.member_assignment.len(),
                )
            })
            .collect();
        members.sort_unstable();
        format!(
            "{} {} {:?} {:?} {:?} {:?} [{}]",
            &*group.group_id,
            code(group.error_code),
            group.error_message.is_some(),
            &*group.group_state,
            &*group.protocol_type,
            &*group.protocol_data,
            members.join(", ")
        )
    });
    let mut each: Vec<_> = each.collect();
    each.sort_unstable();
    notes.note(&format!("describe v{version} {}", groups.join(" ")), &each.join("; "));
}

pub fn list(notes: &mut Notes, version: i16, states: &[&str], types: &[&str]) {
    let texts = |texts: &[&str]| texts.iter().map(|text| Str::from(*text)).collect();
    let request = ListGroupsRequest {
        states_filter: texts(states),
        types_filter: texts(types),
        ..Default::default()
    };
    let response = notes.call(version, &request);
    let mut each: Vec<_> = response
        .groups
        .iter()
        .map(|group| {
            format!(
                "{} {:?} {:?} {:?}",
                &*group.group_id, &*group.protocol_type, &*group.group_state, &*group.group_type
            )
        })
        .collect();
    each.sort_unstable();
    let outcome = format!("{} {}", code(response.error_code), each.join(", "));
    notes.note(&format!("list v{version} {states:?} {types:?}"), outcome.trim());
}

pub fn delete(notes: &mut Notes, version: i16, groups: &[&str]) {
    let groups_names = groups.iter().map(|group| Str::from(*group)).collect();
    let request = DeleteGroupsRequest { groups_names, ..Default::default() };
    let response = notes.call(version, &request);
    let mut each: Vec<_> = response
        .results
        .iter()
        .map(|result| format!("{} {}", &*result.group_id, code(result.error_code)))
        .collect();
    each.sort_unstable();
    notes.note(&format!("delete v{version} {}", groups.join(" ")), &each.join(", "));
}

/// A heartbeat of a consumer group's member, and what it was answered.
pub fn consumer_heartbeat(
    notes: &mut Notes,
    version: i16,
    (what, request): (&str, &ConsumerGroupHeartbeatRequest),
) -> ConsumerGroupHeartbeatResponse {
    let response = notes.call(version, request);
    let outcome = format!(
        "{} epoch {}, beats {}, {}",
        code(response.error_code),
        notes.epoch(response.member_epoch),
        0 < response.heartbeat_interval_ms,
        share_of(&response).map_or("no share".to_owned(), |share| format!("{share:?}")),
    );
    notes.note(&format!("consumer-heartbeat v{version} {what}"), &outcome);
    response
}

/// The partitions of the answer, over all topics; none if it says nothing about them.
pub fn share_of(response: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let assignment = response.assignment.as_ref()?;
    let mut partitions: Vec<i32> =
        assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect();
    partitions.sort_unstable();
    Some(partitions)
}

pub fn consumer_describe(notes: &mut Notes, version: i16, groups: &[&str]) {
    let group_ids = groups.iter().map(|group| Str::from(*group)).collect();
    let request = ConsumerGroupDescribeRequest { group_ids, ..Default::default() };
    let response = notes.call(version, &request);
    let each = response.groups.iter().map(|group| {
        let mut members: Vec<_> = group
            .members
            .iter()
            .map(|member| {
                let topics: Vec<&str> =
                    member.subscribed_topic_names.iter().map(|t| &**t).collect();
                format!(
                    "{} {:?} epoch {} type {} topics {topics:?} regex {:?} has {} wants {}",
                    notes.alias(&member.member_id),
                    member.instance_id.as_deref().unwrap_or("null"),
                    notes.epoch(member.member_epoch),
                    member.member_type,
                    member.subscribed_topic_regex.as_deref().unwrap_or("null"),
                    member.assignment.topic_partitions.len(),
                    member.target_assignment.topic_partitions.len(),
                )
            })
            .collect();
        members.sort_unstable();
        format!(
            "{} {} {} epoch {}/{} {} [{}]",
            &*group.group_id,
            code(group.error_code),
            &*group.group_state,
            notes.epoch(group.group_epoch),
            notes.epoch(group.assignment_epoch),
            &*group.assignor_name,
            members.join(", ")
        )
    });
    let mut each: Vec<_> = each.collect();
    each.sort_unstable();
    notes.note(&format!("consumer-describe v{version} {}", groups.join(" ")), &each.join("; "));
}
