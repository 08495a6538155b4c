//! Groups that only commit: each test is a script of requests and what comes back.

use std::time::Duration;

use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::{ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest};
use ottla_protocol::{ErrorCode, Uuid};

use super::*;
use crate::controller::testing::{self, partition};
use crate::group::{GroupSettings, Response};

/// A shard in a cluster with the topics `t` (three partitions) and `u` (one).
struct Script {
    cluster: testing::World,
    settings: SettingsTable,
    shard: Shard,
    now: Now,
    out: Effects,
    tickets: u64,
}

impl Script {
    fn new() -> Self {
        let mut cluster = testing::World::new();
        let partition = partition(&[1], 1);
        cluster.topic("t", &[partition.clone(), partition.clone(), partition.clone()]);
        cluster.topic("u", &[partition]);
        Self {
            cluster,
            settings: SettingsTable::default(),
            shard: Shard::default(),
            now: Now { monotonic: Duration::ZERO, wall_ms: 1_000_000 },
            out: Effects::default(),
            tickets: 0,
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Shard, &mut World<'_>) -> T) -> T {
        let mut world = World {
            now: self.now,
            image: self.cluster.image(),
            settings: &self.settings,
            random: &mut testing::random(1),
            out: &mut self.out,
        };
        act(&mut self.shard, &mut world)
    }

    fn ask(&mut self, group: &str, version: i16, request: Request) -> Response {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let client = Client { id: "c".to_owned(), host: "/127.0.0.1".to_owned(), version };
        self.with(|shard, world| {
            shard.handle(Call { ticket, client: &client, group, request }, world);
        });
        let answer = self.out.answers.pop().expect("an answer");
        assert_eq!((answer.ticket, self.out.answers.len()), (ticket, 0));
        answer.response
    }

    fn commit(&mut self, group: &str, request: OffsetCommitRequest) -> Vec<ErrorCode> {
        self.commit_in(9, group, request)
    }

    fn commit_in(
        &mut self,
        version: i16,
        group: &str,
        request: OffsetCommitRequest,
    ) -> Vec<ErrorCode> {
        match self.ask(group, version, Request::OffsetCommit(request)) {
            Response::OffsetCommit(answer) => answer
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .map(|partition| ErrorCode::from_code(partition.error_code))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Everything that is committed: topic, partition, offset.
    fn committed(&mut self, group: &str) -> Vec<(String, i32, i64)> {
        let request =
            OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
        match self.ask(group, 9, Request::OffsetFetch(request)) {
            Response::OffsetFetch(answer) => answer
                .topics
                .iter()
                .flat_map(|topic| {
                    topic.partitions.iter().map(|partition| {
                        let offset = partition.committed_offset;
                        (topic.name.as_str().to_owned(), partition.partition_index, offset)
                    })
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    fn delete(&mut self, group: &str) -> ErrorCode {
        match self.ask(group, 2, Request::Delete) {
            Response::Delete(code) => code,
            other => panic!("{other:?}"),
        }
    }

    fn sweep(&mut self) -> Swept {
        self.with(|shard, world| shard.sweep(world))
    }

    fn list(&self, states: &[&str], types: &[&str]) -> Vec<String> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect();
        let request = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
            ..Default::default()
        };
        let listed = self.shard.list(&Filter::from(&request));
        listed
            .iter()
            .map(|it| format!("{} {} {}", &*it.group_id, &*it.group_state, &*it.group_type))
            .collect()
    }

    /// The shard as another coordinator finds it.
    fn reload(&mut self, journal: &mut BTreeMap<String, ottla_metadata::journal::Record>) {
        for record in self.out.writes.drain(..) {
            journal.insert(record.key.to_string(), record);
        }
        let records = journal.values().filter(|record| record.value.is_some()).cloned().collect();
        self.shard = Shard::restore(records, self.now).expect("readable");
    }
}

fn commit(topic: &str, partitions: &[(i32, i64)]) -> OffsetCommitRequest {
    let partition = |(index, offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: *offset,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: partitions.iter().map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest { topics: vec![topic], ..OffsetCommitRequest::default() }
}

const NONE: ErrorCode = ErrorCode::None;

#[test]
fn commit_without_membership_makes_a_simple_group() {
    let mut script = Script::new();
    assert_eq!(script.commit("g", commit("t", &[(0, 5), (2, 7)])), [NONE, NONE]);
    let expected = vec![("t".to_owned(), 0, 5), ("t".to_owned(), 2, 7)];
    assert_eq!(script.committed("g"), expected);
    assert_eq!(script.list(&[], &[]), ["g Empty classic"]);
    let mut journal = BTreeMap::new();
    script.reload(&mut journal);
    assert_eq!(script.committed("g"), expected, "also after a failover");
    assert_eq!(script.list(&["EMPTY"], &["classic"]), ["g Empty classic"]);
    assert!(script.list(&["Stable"], &[]).is_empty());
    assert!(script.list(&[], &["consumer"]).is_empty());
}

#[test]
fn commit_of_a_generation_needs_a_group_with_that_member() {
    let mut script = Script::new();
    let of_generation = || OffsetCommitRequest {
        generation_id_or_member_epoch: 3,
        member_id: "m".into(),
        ..commit("t", &[(0, 5)])
    };
    assert_eq!(script.commit_in(8, "g", of_generation()), [ErrorCode::IllegalGeneration]);
    assert_eq!(script.commit_in(9, "g", of_generation()), [ErrorCode::GroupIdNotFound]);
    assert!(script.shard.is_empty(), "no group was made");
    script.commit("g", commit("t", &[(0, 1)]));
    assert_eq!(script.commit("g", of_generation()), [ErrorCode::UnknownMemberId]);
    assert_eq!(script.committed("g"), [("t".to_owned(), 0, 1)]);
}

#[test]
fn commit_to_what_does_not_exist_makes_no_group() {
    let mut script = Script::new();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(script.commit("g", commit("nowhere", &[(0, 1)])), [unknown]);
    assert_eq!(script.commit("g", commit("t", &[(3, 1)])), [unknown]);
    assert!(script.shard.is_empty() && script.out.writes.is_empty());
    assert_eq!(script.commit("g", commit("t", &[(3, 1), (0, 1)])), [unknown, NONE]);
}

#[test]
fn long_metadata_fails_its_partition_alone() {
    let mut script = Script::new();
    let settings = GroupSettings { offset_metadata_max: 4, ..GroupSettings::default() };
    script.settings = SettingsTable::fixed(settings);
    let mut request = commit("t", &[(0, 1), (1, 1), (2, 1)]);
    // Java counts the last of these as two characters each.
    for (at, text) in [(0, "1234"), (1, "12345"), (2, "😀😀😀")] {
        request.topics[0].partitions[at].committed_metadata = Some(text.into());
    }
    let too_long = ErrorCode::OffsetMetadataTooLarge;
    assert_eq!(script.commit("g", request), [NONE, too_long, too_long]);
    assert_eq!(script.committed("g"), [("t".to_owned(), 0, 1)]);
}

#[test]
fn offsets_that_were_never_committed_are_minus_one_and_no_error() {
    let mut script = Script::new();
    script.commit("g", commit("t", &[(0, 5)]));
    let topic = |name: &str, topic_id: Uuid| OffsetFetchRequestTopics {
        name: name.into(),
        topic_id,
        partition_indexes: vec![0, 1],
        ..OffsetFetchRequestTopics::default()
    };
    let id = script.cluster.image().topic("t").unwrap().id;
    let request = |group: &str| OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: Some(vec![topic("t", id), topic("nowhere", Uuid::ONE)]),
        ..OffsetFetchRequestGroup::default()
    };
    let mut fetch = |version: i16, group: &str| match script.ask(
        group,
        version,
        Request::OffsetFetch(request(group)),
    ) {
        Response::OffsetFetch(answer) => {
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let seen: Vec<(i64, i16)> =
                partitions.map(|it| (it.committed_offset, it.error_code)).collect();
            (answer.error_code, seen)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(fetch(9, "g"), (0, vec![(5, 0), (-1, 0), (-1, 0), (-1, 0)]));
    assert_eq!(fetch(9, "unknown"), (0, vec![(-1, 0); 4]));
    let unknown = ErrorCode::UnknownTopicId.code();
    assert_eq!(fetch(10, "g"), (0, vec![(5, 0), (-1, 0), (-1, unknown), (-1, unknown)]));
}

#[test]
fn offsets_are_deleted_one_by_one_or_with_their_group() {
    let mut script = Script::new();
    let delete = |partitions: &[i32]| {
        let partition = |index: &i32| OffsetDeleteRequestPartition { partition_index: *index };
        let topic = OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: partitions.iter().map(partition).collect(),
        };
        let request = OffsetDeleteRequest { topics: vec![topic], ..OffsetDeleteRequest::default() };
        Request::OffsetDelete(request)
    };
    let code = |response: Response| match response {
        Response::OffsetDelete(answer) => {
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let codes: Vec<i16> = partitions.map(|it| it.error_code).collect();
            (ErrorCode::from_code(answer.error_code), codes)
        }
        other => panic!("{other:?}"),
    };
    let missing = script.ask("g", 0, delete(&[0]));
    assert_eq!(code(missing), (ErrorCode::GroupIdNotFound, vec![]));
    script.commit("g", commit("t", &[(0, 5), (1, 6)]));
    script.commit("g", commit("u", &[(0, 7)]));
    let answer = script.ask("g", 0, delete(&[0, 2, 3]));
    assert_eq!(code(answer), (NONE, vec![0, 0, ErrorCode::UnknownTopicOrPartition.code()]));
    assert_eq!(script.committed("g"), [("t".to_owned(), 1, 6), ("u".to_owned(), 0, 7)]);
    let mut journal = BTreeMap::new();
    script.reload(&mut journal);
    assert_eq!(script.delete("g"), NONE);
    assert_eq!(script.delete("g"), ErrorCode::GroupIdNotFound);
    script.reload(&mut journal);
    assert!(script.shard.is_empty(), "nothing is left of it");
}

#[test]
fn offsets_of_simple_groups_expire_after_their_commit() {
    let mut script = Script::new();
    let retention = Duration::from_secs(100);
    let settings = GroupSettings { offsets_retention: retention, ..GroupSettings::default() };
    script.settings = SettingsTable::fixed(settings);
    script.commit("g", commit("t", &[(0, 1)]));
    // Version 1 says itself when it was, versions 2 to 4 how long it holds.
    let mut old = commit("t", &[(1, 1)]);
    old.topics[0].partitions[0].commit_timestamp = script.now.wall_ms - 90_000;
    script.commit_in(1, "g", old);
    script.commit_in(
        2,
        "g",
        OffsetCommitRequest { retention_time_ms: 300_000, ..commit("t", &[(2, 1)]) },
    );
    script.now.wall_ms += 10_000;
    assert_eq!(script.sweep(), Swept { offsets: 1, groups: 0 });
    script.now.wall_ms -= 1_000_000;
    assert_eq!(script.sweep(), Swept::default(), "a clock that steps back ages nothing");
    script.now.wall_ms += 1_090_000;
    assert_eq!(script.sweep(), Swept { offsets: 1, groups: 0 });
    assert_eq!(script.committed("g"), [("t".to_owned(), 2, 1)]);
    script.now.wall_ms += 200_000;
    assert_eq!(script.sweep(), Swept { offsets: 1, groups: 1 });
    assert!(script.shard.is_empty());
}

#[test]
fn offsets_of_a_deleted_topic_go_with_it() {
    let mut script = Script::new();
    script.commit("g", commit("t", &[(0, 5)]));
    script.commit("g", commit("u", &[(0, 7)]));
    let id = script.cluster.image().topic("t").unwrap().id;
    script.cluster.delete(ottla_metadata::keys::Key::Topic("t".to_owned()));
    script.with(|shard, world| shard.topics_changed(&BTreeSet::from([id]), world));
    script.cluster.topic("t", &[partition(&[1], 1)]);
    assert_eq!(script.committed("g"), [("u".to_owned(), 0, 7)]);
}

#[test]
fn group_that_is_none_is_dead_before_version_6_and_not_found_from_then_on() {
    let mut script = Script::new();
    script.commit("g", commit("t", &[(0, 5)]));
    let mut describe =
        |group: &str, version: i16| match script.ask(group, version, Request::Describe) {
            Response::Describe(answer) => (
                answer.group_state.as_str().to_owned(),
                ErrorCode::from_code(answer.error_code),
                answer.error_message.as_deref().unwrap_or_default().to_owned(),
            ),
            other => panic!("{other:?}"),
        };
    assert_eq!(describe("g", 6), ("Empty".to_owned(), NONE, String::new()));
    assert_eq!(describe("h", 5), ("Dead".to_owned(), NONE, String::new()));
    let missing = ("Dead".to_owned(), ErrorCode::GroupIdNotFound, "Group h not found.".to_owned());
    assert_eq!(describe("h", 6), missing);
    match script.ask("g", 1, Request::DescribeConsumer) {
        Response::DescribeConsumer(answer) => {
            assert_eq!(answer.error_code, ErrorCode::GroupIdNotFound.code());
            let message = "Group g is not a consumer group.";
            assert_eq!(answer.error_message.as_deref(), Some(message));
        }
        other => panic!("{other:?}"),
    }
}
