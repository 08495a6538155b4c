//! Groups as a broker relays them: offsets, classic members, and what outlives a coordinator.

use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::Handle;
use ottla_metadata::shard_of;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, IncrementalAlterConfigsRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};

use crate::broker::FakeBroker;
use crate::link::{Link, envelope, inner};
use crate::support::{create, soon, start_active, stop, store, topic, until};

/// A request that commits the same offset for these partitions of a topic.
pub fn commit(group: &str, topic: &str, partitions: &[i32], offset: i64) -> OffsetCommitRequest {
    let partition = |index: &i32| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: offset,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: partitions.iter().map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

/// Commits until the shard is loaded, and returns the code of the first partition.
pub async fn commit_one(link: &mut Link, group: &str, offset: i64) -> ErrorCode {
    loop {
        let request = commit(group, "t", &[0], offset);
        let (answer, _) = link.relay(9, &request).await;
        let code = ErrorCode::from_code(answer.topics[0].partitions[0].error_code);
        if code != ErrorCode::CoordinatorLoadInProgress && code != ErrorCode::NotCoordinator {
            return code;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A request for everything that a group has committed.
pub fn fetch_all(group: &str) -> OffsetFetchRequest {
    let group = OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() }
}

/// What is committed for partition 0 of the topic `t`; `None` while the shard is not there.
async fn committed_now(link: &mut Link, group: &str) -> Option<i64> {
    let (answer, _) = link.relay(9, &fetch_all(group)).await;
    let group = &answer.groups[0];
    if group.error_code != 0 {
        return None;
    }
    Some(group.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset))
}

pub async fn committed(link: &mut Link, group: &str) -> i64 {
    let loaded = async {
        loop {
            if let Some(offset) = committed_now(link, group).await {
                return offset;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the shard is loaded", loaded).await
}

/// An active coordinator with a broker and the topic `t` of three partitions.
pub async fn cluster(
    store: impl ottla_metadata::store::MetaStore + Clone,
) -> (Handle, FakeBroker, Link) {
    let handle = start_active(1, store).await;
    let (broker, link) = FakeBroker::start(1, &handle).await;
    let created = create(&handle, vec![topic("t", 3)]).await.expect("an answer");
    assert!(created.results[0].is_ok());
    (handle, broker, link)
}

#[tokio::test]
async fn offsets_are_committed_and_fetched_in_every_version() {
    let (handle, _broker, mut link) = cluster(store()).await;
    let id = handle.services().images.load().topic("t").unwrap().id;
    for version in 0..=10 {
        let group = format!("g{version}");
        let mut request = commit(&group, "t", &[0, 7], 5);
        request.topics[0].topic_id = id;
        // The first finds its shard loading, perhaps.
        assert_eq!(commit_one(&mut link, &group, 4).await, ErrorCode::None);
        let (answer, _) = link.relay(version, &request).await;
        let codes: Vec<i16> =
            answer.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
        assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()], "version {version}");
        assert_eq!(committed(&mut link, &group).await, 5);
    }
    for version in 0..=7 {
        let topic = OffsetFetchRequestTopic {
            name: "t".into(),
            partition_indexes: vec![0, 1],
            ..OffsetFetchRequestTopic::default()
        };
        let request = OffsetFetchRequest {
            group_id: "g3".into(),
            topics: Some(vec![topic]),
            require_stable: 7 <= version,
            ..OffsetFetchRequest::default()
        };
        let (answer, _) = link.relay(version, &request).await;
        let seen: Vec<(i64, i16)> = answer.topics[0]
            .partitions
            .iter()
            .map(|partition| (partition.committed_offset, partition.error_code))
            .collect();
        assert_eq!(seen, [(5, 0), (-1, 0)], "version {version}");
    }
    stop(handle).await;
}

#[tokio::test]
async fn broker_speaks_for_the_groups_of_its_shards_and_no_others() {
    let (handle, _broker, mut link) = cluster(store()).await;
    let mine = shard_of("mine", 50);
    let other = (0..).map(|n| format!("other{n}")).find(|name| shard_of(name, 50) != mine).unwrap();
    for group in ["mine", &other] {
        assert_eq!(commit_one(&mut link, group, 1).await, ErrorCode::None);
    }
    let mut relayed = envelope(9, &commit(&other, "t", &[0], 2));
    relayed.shards = vec![mine];
    let answer = link.call(0, &relayed).await;
    let answer = inner::<OffsetCommitRequest>(9, &answer).unwrap();
    let code = answer.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::NotCoordinator.code());
    let mut listing = envelope(5, &ListGroupsRequest::default());
    listing.shards = vec![mine];
    let answer = link.call(0, &listing).await;
    let answer = inner::<ListGroupsRequest>(5, &answer).unwrap();
    let names: Vec<&str> = answer.groups.iter().map(|group| &*group.group_id).collect();
    assert_eq!((answer.error_code, names), (0, vec!["mine"]));
    let request = DeleteGroupsRequest {
        groups_names: vec!["mine".into(), "nobody".into()],
        ..DeleteGroupsRequest::default()
    };
    let (answer, _) = link.relay(2, &request).await;
    let codes: Vec<i16> = answer.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::GroupIdNotFound.code()]);
    assert_eq!(committed(&mut link, "mine").await, -1);
    stop(handle).await;
}

/// A classic consumer that joins alone.
struct Member {
    link: Link,
    group: String,
    id: String,
    generation: i32,
}

impl Member {
    async fn join(mut link: Link, group: &str, id: &str) -> Self {
        let mut request = join_request(group, id);
        let (answer, _) = link.relay(9, &request).await;
        let answer: JoinGroupResponse = answer;
        assert_eq!(answer.error_code, ErrorCode::MemberIdRequired.code(), "{answer:?}");
        request.member_id = answer.member_id;
        let (joined, _) = link.relay(9, &request).await;
        assert_eq!(joined.error_code, 0, "{joined:?}");
        let id = joined.member_id.as_str().to_owned();
        let (group, generation) = (group.to_owned(), joined.generation_id);
        Self { link, group, id, generation }
    }

    async fn sync(&mut self, assignment: &'static [u8]) -> Bytes {
        let request = SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: self.id.as_str().into(),
                assignment: Bytes::from_static(assignment),
                ..SyncGroupRequestAssignment::default()
            }],
            ..SyncGroupRequest::default()
        };
        let (answer, _) = self.link.relay(5, &request).await;
        assert_eq!(answer.error_code, 0, "{answer:?}");
        answer.assignment
    }

    async fn heartbeat(&mut self) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            ..HeartbeatRequest::default()
        };
        let (answer, _) = self.link.relay(4, &request).await;
        ErrorCode::from_code(answer.error_code)
    }
}

/// Sends heartbeats until the shard is there, and fails if the member has to do anything.
async fn until_heard(member: &mut Member) {
    loop {
        match member.heartbeat().await {
            ErrorCode::None => return,
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            code => panic!("the member was told {code:?}"),
        }
    }
}

fn join_request(group: &str, id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"),
            ..JoinGroupRequestProtocol::default()
        }],
        ..JoinGroupRequest::default()
    }
}

/// A coordinator whose new groups wait for nobody.
async fn quick_cluster()
-> (Handle, FakeBroker, Link, ottla_metadata::store::embedded::EmbeddedStore) {
    let store = store();
    let mut config = crate::support::config(1);
    config.admin.file.insert("group.initial.rebalance.delay.ms".to_owned(), "0".to_owned());
    let handle = crate::support::start_with(config, store.clone()).await;
    assert!(handle.until_active(crate::support::PATIENCE).await);
    let (broker, mut link) = FakeBroker::start(1, &handle).await;
    assert!(create(&handle, vec![topic("t", 3)]).await.expect("an answer").results[0].is_ok());
    assert_eq!(commit_one(&mut link, "loaded", 1).await, ErrorCode::None);
    (handle, broker, link, store)
}

async fn tool(handle: &Handle) -> Link {
    let mut link = Link::memory(handle);
    link.hello_as_tool().await;
    link
}

#[tokio::test]
async fn classic_member_joins_commits_and_is_known_to_the_next_coordinator() {
    let (handle, _broker, mut link, store) = quick_cluster().await;
    committed(&mut link, "g").await;
    let mut member = Member::join(tool(&handle).await, "g", "").await;
    assert_eq!(member.sync(b"mine").await, Bytes::from_static(b"mine"));
    assert_eq!(member.heartbeat().await, ErrorCode::None);
    let mut request = commit("g", "t", &[0], 9);
    request.generation_id_or_member_epoch = member.generation;
    request.member_id = member.id.as_str().into();
    let (answer, _) = link.relay(9, &request).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    request.generation_id_or_member_epoch += 1;
    let (answer, _) = link.relay(9, &request).await;
    let code = answer.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::IllegalGeneration.code());

    stop(handle).await;
    let handle = start_active(2, store).await;
    let mut link = tool(&handle).await;
    assert_eq!(committed(&mut link, "g").await, 9);
    let mut member = Member { link, ..member };
    assert_eq!(member.heartbeat().await, ErrorCode::None, "nobody was asked to join again");
    let describe = DescribeGroupsRequest {
        groups: vec!["g".into()],
        include_authorized_operations: true,
        ..DescribeGroupsRequest::default()
    };
    let (answer, _) = member.link.relay(6, &describe).await;
    let group = &answer.groups[0];
    assert_eq!((&*group.group_state, group.members.len()), ("Stable", 1));
    assert_eq!(group.authorized_operations, 3400);
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        member_id: member.id.as_str().into(),
        ..LeaveGroupRequest::default()
    };
    let (answer, _) = member.link.relay(1, &leave).await;
    assert_eq!(answer.error_code, 0);
    assert_eq!(member.heartbeat().await, ErrorCode::UnknownMemberId);
    stop(handle).await;
}

#[tokio::test]
async fn parked_join_holds_nobody_up_and_is_forgotten_with_its_client() {
    let (handle, _broker, mut link, _store) = quick_cluster().await;
    committed(&mut link, "g").await;
    let mut member = Member::join(tool(&handle).await, "g", "").await;
    member.sync(b"").await;
    // A second one joins, which waits until the first comes back.
    let mut joining = tool(&handle).await;
    let (answer, _) = joining.relay(9, &join_request("g", "")).await;
    let mut request = join_request("g", "");
    request.member_id = answer.member_id;
    let sent = joining.send(0, &envelope(9, &request)).await;
    let parked = |count: usize| {
        let line = format!("ottla_coordinator_group_requests_parked {count}\n");
        handle.services().metrics.text().contains(&line)
    };
    until("the join waits", || parked(1)).await;
    assert_eq!(member.heartbeat().await, ErrorCode::RebalanceInProgress);
    assert_eq!(commit_one(&mut link, "g2", 1).await, ErrorCode::None);
    joining.cancel(sent).await;
    until("the join is forgotten", || parked(0)).await;
    stop(handle).await;
}

#[tokio::test]
async fn configs_of_a_group_are_checked_and_kept() {
    let (handle, _broker, mut link) = cluster(store()).await;
    let resource = |name: &str, value: Option<&str>| AlterConfigsResource {
        resource_type: 32,
        resource_name: "g".into(),
        configs: vec![AlterableConfig {
            name: name.into(),
            config_operation: i8::from(value.is_none()),
            value: value.map(Into::into),
            ..Default::default()
        }],
        ..Default::default()
    };
    let session = "consumer.session.timeout.ms";
    for (name, value, expected) in [
        (session, Some("50000"), ErrorCode::None),
        (session, Some("10"), ErrorCode::InvalidConfig),
        (session, Some("60001"), ErrorCode::InvalidConfig),
        (session, Some("x"), ErrorCode::InvalidConfig),
        ("consumer.heartbeat.interval.ms", Some("15000"), ErrorCode::None),
        ("retention.ms", Some("1"), ErrorCode::InvalidConfig),
        (session, None, ErrorCode::None),
    ] {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource(name, value)],
            ..Default::default()
        };
        let (answer, _) = link.relay(1, &request).await;
        let answer = &answer.responses[0];
        assert_eq!(ErrorCode::from_code(answer.error_code), expected, "{name}: {answer:?}");
    }
    until("what is left is seen", || {
        let image = handle.services().images.load();
        let key = ottla_metadata::keys::ConfigResource::Group("g".to_owned());
        image.config(&key).is_some_and(|entry| entry.configs.len() == 1)
    })
    .await;
    stop(handle).await;
}

#[tokio::test]
async fn outage_of_the_store_expels_nobody_and_heartbeats_are_answered() {
    let (handle, _broker, mut link, store) = quick_cluster().await;
    committed(&mut link, "g").await;
    let mut member = Member::join(tool(&handle).await, "g", "").await;
    member.sync(b"").await;
    store.set_paused(true);
    // A commit begins, which is what shows that the store is away.
    link.send(0, &envelope(9, &commit("g2", "t", &[0], 5))).await;
    for _ in 0..10 {
        assert_eq!(member.heartbeat().await, ErrorCode::None);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    store.set_paused(false);
    let mut other = tool(&handle).await;
    // Its own lease may have run out meanwhile; then it has to be elected anew, and nobody notices.
    assert_eq!(commit_one(&mut other, "g2", 6).await, ErrorCode::None);
    assert_eq!(committed(&mut other, "g2").await, 6);
    until_heard(&mut member).await;
    let text = handle.services().metrics.text();
    assert!(text.contains("ottla_coordinator_group_rebalances_total 1\n"), "{text}");
    stop(handle).await;
}
