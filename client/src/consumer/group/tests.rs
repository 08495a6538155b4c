//! Members against a coordinator that does what a script says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ottla_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use ottla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::find_coordinator_response::Coordinator as FoundCoordinator;
use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FetchRequest, FetchResponse,
    FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use ottla_protocol::types::TopicId;
use ottla_protocol::{ApiKey, RequestHeader};

use super::*;
use crate::testing::{FakeCluster, Reaction, TOPIC, decode};

const PARTITIONS: i32 = 2;

/// A coordinator of one member, and what it heard.
#[derive(Default)]
struct Script {
    /// Errors of the next heartbeats.
    heartbeats: VecDeque<ErrorCode>,
    generation: i32,
    ids: u32,
    /// What the new protocol assigns, in its next answer.
    target: Option<Vec<i32>>,
    coordinator: i32,
    heard: Vec<String>,
}

type Shared = Arc<Mutex<Script>>;

impl Script {
    fn react(&mut self, broker: i32, header: &RequestHeader, body: Bytes) -> Reaction {
        let key = ApiKey::try_from(header.api_key).unwrap();
        if !matches!(key, ApiKey::Fetch | ApiKey::FindCoordinator | ApiKey::OffsetFetch) {
            assert_eq!(broker, self.coordinator, "{key:?} goes to the coordinator");
        }
        match key {
            ApiKey::FindCoordinator => {
                self.heard.push("find".to_owned());
                let found =
                    FoundCoordinator { node_id: self.coordinator, ..FoundCoordinator::default() };
                let response =
                    FindCoordinatorResponse { coordinators: vec![found], ..Default::default() };
                Reaction::answer(header, &response)
            }
            ApiKey::JoinGroup => Reaction::answer(header, &self.join(&decode(header, body))),
            ApiKey::SyncGroup => Reaction::answer(header, &self.sync(&decode(header, body))),
            ApiKey::Heartbeat => {
                let request: HeartbeatRequest = decode(header, body);
                self.heard.push(format!("heartbeat {}", request.member_id));
                let error = self.heartbeats.pop_front().unwrap_or(ErrorCode::None);
                let response =
                    HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() };
                Reaction::answer(header, &response)
            }
            ApiKey::LeaveGroup => {
                let request: LeaveGroupRequest = decode(header, body);
                self.heard.push(format!("leave {}", request.members[0].member_id));
                Reaction::answer(header, &LeaveGroupResponse::default())
            }
            ApiKey::ConsumerGroupHeartbeat => {
                Reaction::answer(header, &self.modern(&decode(header, body)))
            }
            ApiKey::OffsetFetch => Reaction::answer(header, &committed(&decode(header, body))),
            ApiKey::OffsetCommit => {
                let request: OffsetCommitRequest = decode(header, body);
                self.heard.push(format!("commit {}", request.generation_id_or_member_epoch));
                Reaction::answer(header, &accepted(&request))
            }
            ApiKey::Fetch => {
                let wait = Duration::from_millis(500);
                match Reaction::answer(header, &nothing(&decode(header, body))) {
                    Reaction::Answer(frame) => Reaction::AnswerAfter(wait, frame),
                    other => other,
                }
            }
            other => panic!("{other:?} is not expected"),
        }
    }

    fn join(&mut self, request: &JoinGroupRequest) -> JoinGroupResponse {
        self.heard.push(format!("join {:?}", &*request.member_id));
        if request.member_id.is_empty() {
            self.ids += 1;
            return JoinGroupResponse {
                error_code: ErrorCode::MemberIdRequired.code(),
                member_id: format!("m{}", self.ids).into(),
                ..JoinGroupResponse::default()
            };
        }
        self.generation += 1;
        let member = JoinGroupResponseMember {
            member_id: request.member_id.clone(),
            metadata: request.protocols[0].metadata.clone(),
            ..JoinGroupResponseMember::default()
        };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some(request.protocols[0].name.clone()),
            leader: request.member_id.clone(),
            member_id: request.member_id.clone(),
            members: vec![member],
            ..JoinGroupResponse::default()
        }
    }

    fn sync(&mut self, request: &SyncGroupRequest) -> SyncGroupResponse {
        let own = request.assignments[0].assignment.clone();
        SyncGroupResponse { assignment: own, ..SyncGroupResponse::default() }
    }

    fn modern(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let owned = request.topic_partitions.iter().flatten().flat_map(|one| &one.partitions);
        let owned: Vec<_> = owned.copied().collect();
        self.heard.push(format!("epoch {} has {owned:?}", request.member_epoch));
        let error = self.heartbeats.pop_front().unwrap_or(ErrorCode::None);
        let assignment = self.target.take().map(|partitions| Assignment {
            topic_partitions: vec![TopicPartitions {
                topic_id: TopicId::from_bytes([7; 16]),
                partitions,
                ..TopicPartitions::default()
            }],
            ..Assignment::default()
        });
        if assignment.is_some() {
            self.generation += 1;
        }
        ConsumerGroupHeartbeatResponse {
            error_code: error.code(),
            member_id: Some(request.member_id.clone()),
            member_epoch: self.generation,
            heartbeat_interval_ms: 1000,
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }
}

fn committed(request: &OffsetFetchRequest) -> OffsetFetchResponse {
    let group = &request.groups[0];
    let topic =
        |asked: &ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics| {
            OffsetFetchResponseTopics {
                name: asked.name.clone(),
                partitions: asked
                    .partition_indexes
                    .iter()
                    .map(|id| OffsetFetchResponsePartitions {
                        partition_index: *id,
                        committed_offset: 5,
                        ..OffsetFetchResponsePartitions::default()
                    })
                    .collect(),
                ..OffsetFetchResponseTopics::default()
            }
        };
    let answered = OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        topics: group.topics.iter().flatten().map(topic).collect(),
        ..OffsetFetchResponseGroup::default()
    };
    OffsetFetchResponse { groups: vec![answered], ..OffsetFetchResponse::default() }
}

fn accepted(request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|one| OffsetCommitResponsePartition {
                partition_index: one.partition_index,
                ..OffsetCommitResponsePartition::default()
            })
            .collect(),
        ..OffsetCommitResponseTopic::default()
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}

fn nothing(request: &FetchRequest) -> FetchResponse {
    let topics = request.topics.iter().map(|topic| FetchableTopicResponse {
        topic: topic.topic.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|one| PartitionData {
                partition_index: one.partition,
                high_watermark: one.fetch_offset,
                ..PartitionData::default()
            })
            .collect(),
        ..FetchableTopicResponse::default()
    });
    FetchResponse { responses: topics.collect(), ..FetchResponse::default() }
}

/// What a listener was told, in the script's words.
struct Told(Shared);

impl RebalanceListener for Told {
    fn assigned(&mut self, partitions: &[TopicPartition]) {
        self.0.lock().unwrap().heard.push(format!("assigned {}", partitions.len()));
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        self.0.lock().unwrap().heard.push(format!("revoked {}", partitions.len()));
    }

    fn lost(&mut self, partitions: &[TopicPartition]) {
        self.0.lock().unwrap().heard.push(format!("lost {}", partitions.len()));
    }
}

fn member(change: impl FnOnce(&mut GroupConfig)) -> (GroupConsumer, Shared) {
    let script = Shared::new(Mutex::new(Script { coordinator: 2, ..Script::default() }));
    let reacting = script.clone();
    let cluster = FakeCluster::new(
        PARTITIONS as usize,
        Box::new(move |broker, header, body| reacting.lock().unwrap().react(broker, header, body)),
    );
    let mut config = GroupConfig::new("g", vec![Str::from_static(TOPIC)]);
    change(&mut config);
    let member = GroupConsumer::new(Client::new(cluster.config()), config);
    (member.with_listener(Told(script.clone())), script)
}

async fn poll_for(member: &mut GroupConsumer, seconds: u64) -> Result<(), GroupError> {
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        member.poll(Duration::from_millis(200)).await?;
    }
    Ok(())
}

/// What was heard since the last time, without what only repeats itself.
fn heard(script: &Shared) -> Vec<String> {
    let mut heard = std::mem::take(&mut script.lock().unwrap().heard);
    heard.retain(|one| one != "find");
    heard.dedup();
    heard
}

fn next_heartbeat_is(script: &Shared, error: ErrorCode) {
    script.lock().unwrap().heartbeats.push_back(error);
}

fn eager(config: &mut GroupConfig) {
    config.protocol = GroupProtocol::Classic { assignors: vec![Assignor::Range] };
}

fn modern(config: &mut GroupConfig) {
    config.protocol = GroupProtocol::Consumer { assignor: None };
}

#[tokio::test(start_paused = true)]
async fn member_joins_with_the_id_it_is_given_reads_and_leaves() {
    let (mut consumer, script) = member(|config| config.auto_commit = None);
    poll_for(&mut consumer, 5).await.unwrap();
    assert_eq!(heard(&script), ["join \"\"", "join \"m1\"", "assigned 2", "heartbeat m1"]);
    assert_eq!(consumer.assignment().count(), 2);
    let position = consumer.consumer.position(&TOPIC.into(), PartitionId(0));
    assert_eq!(position, Ok(Some(Offset(5))), "where the group was");
    consumer.close().await;
    assert_eq!(heard(&script), ["leave m1"]);
}

#[tokio::test(start_paused = true)]
async fn eager_member_commits_and_gives_everything_up_before_it_joins_again() {
    let (mut consumer, script) = member(|config| {
        eager(config);
        config.auto_commit = Some(Duration::from_hours(1));
    });
    poll_for(&mut consumer, 4).await.unwrap();
    heard(&script);
    next_heartbeat_is(&script, ErrorCode::RebalanceInProgress);
    poll_for(&mut consumer, 3).await.unwrap();
    let heard = heard(&script);
    let rebalance = ["commit 1", "revoked 2", "join \"m1\"", "assigned 2"];
    let relevant: Vec<_> = heard.iter().filter(|one| rebalance.contains(&one.as_str())).collect();
    assert_eq!(relevant, rebalance.iter().collect::<Vec<_>>(), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn cooperative_member_keeps_reading_while_it_joins_again() {
    let (mut consumer, script) = member(|config| config.auto_commit = None);
    poll_for(&mut consumer, 4).await.unwrap();
    heard(&script);
    next_heartbeat_is(&script, ErrorCode::RebalanceInProgress);
    poll_for(&mut consumer, 7).await.unwrap();
    assert_eq!(heard(&script), ["heartbeat m1", "join \"m1\"", "heartbeat m1"]);
    assert_eq!(consumer.assignment().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn forgotten_member_loses_its_partitions_and_joins_under_another_id() {
    let (mut consumer, script) = member(|config| config.auto_commit = None);
    poll_for(&mut consumer, 4).await.unwrap();
    heard(&script);
    next_heartbeat_is(&script, ErrorCode::UnknownMemberId);
    poll_for(&mut consumer, 4).await.unwrap();
    let expected = ["heartbeat m1", "lost 2", "join \"\"", "join \"m2\"", "assigned 2"];
    assert_eq!(heard(&script)[..5], expected);
}

#[tokio::test(start_paused = true)]
async fn member_of_an_earlier_generation_loses_its_partitions_and_keeps_its_id() {
    let (mut consumer, script) = member(|config| config.auto_commit = None);
    poll_for(&mut consumer, 4).await.unwrap();
    heard(&script);
    next_heartbeat_is(&script, ErrorCode::IllegalGeneration);
    poll_for(&mut consumer, 4).await.unwrap();
    assert_eq!(heard(&script)[..4], ["heartbeat m1", "lost 2", "join \"m1\"", "assigned 2"]);
}

#[tokio::test(start_paused = true)]
async fn member_whose_place_was_taken_stops() {
    let (mut consumer, script) = member(|config| {
        config.auto_commit = None;
        config.instance_id = Some("i".into());
    });
    poll_for(&mut consumer, 4).await.unwrap();
    next_heartbeat_is(&script, ErrorCode::FencedInstanceId);
    let error = poll_for(&mut consumer, 4).await.unwrap_err();
    let GroupError::Group { cause, .. } = &error else { panic!("{error}") };
    assert_eq!(cause.code(), Some(ErrorCode::FencedInstanceId));
    assert_eq!(poll_for(&mut consumer, 1).await, Err(error), "it does not come back");
}

#[tokio::test(start_paused = true)]
async fn coordinator_that_moved_is_found_again() {
    let (mut consumer, script) = member(|config| config.auto_commit = None);
    poll_for(&mut consumer, 4).await.unwrap();
    heard(&script);
    next_heartbeat_is(&script, ErrorCode::NotCoordinator);
    poll_for(&mut consumer, 1).await.unwrap();
    // The script insists that whatever follows goes there.
    let moving = script.clone();
    let moved = async {
        while moving.lock().unwrap().heartbeats.front().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        moving.lock().unwrap().coordinator = 1;
    };
    let (polled, ()) = tokio::join!(poll_for(&mut consumer, 8), moved);
    polled.unwrap();
    assert_eq!(heard(&script), ["heartbeat m1"], "nobody joined again");
}

#[tokio::test(start_paused = true)]
async fn application_that_does_not_poll_leaves_the_group_and_comes_back() {
    let (mut consumer, script) = member(|config| {
        config.auto_commit = None;
        config.max_poll_interval = Duration::from_secs(20);
    });
    poll_for(&mut consumer, 4).await.unwrap();
    heard(&script);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(heard(&script), ["heartbeat m1", "leave m1"]);
    poll_for(&mut consumer, 4).await.unwrap();
    assert_eq!(heard(&script)[..4], ["lost 2", "join \"\"", "join \"m2\"", "assigned 2"]);
}

#[tokio::test(start_paused = true)]
async fn partition_counts_as_had_until_the_application_has_given_it_up() {
    let (mut consumer, script) = member(|config| {
        modern(config);
        config.auto_commit = None;
    });
    script.lock().unwrap().target = Some(vec![0, 1]);
    poll_for(&mut consumer, 3).await.unwrap();
    assert_eq!(heard(&script), ["epoch 0 has []", "assigned 2", "epoch 1 has [0, 1]"]);
    // The coordinator takes one away while the application is busy.
    script.lock().unwrap().target = Some(vec![0]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(heard(&script), ["epoch 1 has [0, 1]", "epoch 2 has [0, 1]"]);
    poll_for(&mut consumer, 3).await.unwrap();
    assert_eq!(heard(&script), ["revoked 1", "epoch 2 has [0]"]);
    consumer.close().await;
    assert_eq!(heard(&script).last().unwrap(), "epoch -1 has [0]");
}

#[tokio::test(start_paused = true)]
async fn fenced_member_begins_anew_in_the_new_protocol() {
    let (mut consumer, script) = member(|config| {
        modern(config);
        config.auto_commit = None;
    });
    script.lock().unwrap().target = Some(vec![0, 1]);
    poll_for(&mut consumer, 3).await.unwrap();
    heard(&script);
    next_heartbeat_is(&script, ErrorCode::FencedMemberEpoch);
    poll_for(&mut consumer, 3).await.unwrap();
    assert_eq!(heard(&script)[..3], ["epoch 1 has [0, 1]", "lost 2", "epoch 0 has []"]);
}
