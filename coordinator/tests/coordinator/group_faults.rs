//! Groups while the store is at its worst, and while coordinators come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_metadata::keys::{GroupKey, Key, KeySpace, ShardKey};
use ottla_metadata::model::group::{OffsetChunk, decode_value};
use ottla_metadata::store::embedded::Fault;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{HeartbeatRequest, OffsetCommitRequest, OffsetFetchRequest};

use crate::broker::FakeBroker;
use crate::gated_store::GatedStore;
use crate::groups::{cluster, commit, commit_one, committed, fetch_all};
use crate::link::{Link, envelope, inner};
use crate::support::{soon, start, start_active, stop, store};
use crate::traced_store::TracedStore;

/// Which offset of partition 0 each group has in the store after each step.
fn history(store: &TracedStore) -> Vec<(u64, String, i64)> {
    let keys = KeySpace::default();
    let mut history = Vec::new();
    for (step, write) in store.applied() {
        for put in &write.puts {
            let Ok(Key::Shard(_, ShardKey::Group(group, GroupKey::Offsets(..)))) =
                keys.parse(&put.key)
            else {
                continue;
            };
            let chunk: OffsetChunk = decode_value("k", &put.value).expect("readable");
            history.push((step, group, chunk.offsets[0].offset));
        }
    }
    history
}

/// Commits 1, 2, 3 … one after another and notes the step at which each was answered.
async fn commit_up_to(
    mut link: Link,
    store: TracedStore,
    group: String,
    last: i64,
) -> Vec<(u64, String, i64)> {
    let mut answered = Vec::new();
    for offset in 1..=last {
        assert_eq!(commit_one(&mut link, &group, offset).await, ErrorCode::None);
        answered.push((store.step(), group.clone(), offset));
    }
    answered
}

#[tokio::test]
async fn no_commit_is_answered_before_its_revision() {
    let embedded = store();
    let store = TracedStore::new(embedded.clone());
    let (handle, _broker, _link) = cluster(store.clone()).await;
    let mut committers = Vec::new();
    for number in 0..8 {
        let mut link = Link::memory(&handle);
        link.hello_as_tool().await;
        committers.push(tokio::spawn(commit_up_to(link, store.clone(), format!("g{number}"), 40)));
    }
    // Answers and requests that are lost, and requests that come late, among them.
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Late].into_iter().cycle().take(12) {
        embedded.inject(fault);
        tokio::time::sleep(Duration::from_millis(15)).await;
        embedded.deliver_late();
    }
    let mut answered = Vec::new();
    for committer in committers {
        answered.extend(soon("all is committed", committer).await.unwrap());
    }
    let written = history(&store);
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, group, offset) in &written {
        let before = last.insert(group, *offset).unwrap_or(0);
        assert!(before <= *offset, "{group} went back from {before} to {offset}");
    }
    for (step, group, offset) in answered {
        let is_written = written
            .iter()
            .any(|(at, name, value)| *at < step && *name == group && offset <= *value);
        assert!(is_written, "{group} was told of {offset} before it was written");
    }
    stop(handle).await;
}

#[tokio::test]
async fn neither_commits_nor_fetches_are_answered_while_a_write_is_in_doubt() {
    let store = TracedStore::new(store());
    let (handle, _broker, mut link) = cluster(store.clone()).await;
    assert_eq!(commit_one(&mut link, "g", 1).await, ErrorCode::None);
    store.hold(true);
    let committing = link.send(0, &envelope(9, &commit("g", "t", &[0], 2))).await;
    let fetching = link.send(0, &envelope(9, &fetch_all("g"))).await;
    // A heartbeat says nothing that is not written, so it is answered at once, and before them.
    let heartbeat = HeartbeatRequest { group_id: "g".into(), ..HeartbeatRequest::default() };
    let answer = link.call(0, &envelope(4, &heartbeat)).await;
    let answer = inner::<HeartbeatRequest>(4, &answer).unwrap();
    assert_eq!(answer.error_code, ErrorCode::UnknownMemberId.code());
    store.hold(false);
    let (first, answer) = link.receive::<ottla_protocol::messages::RelayRequest>(0).await;
    assert_eq!(first, committing);
    let answer = inner::<OffsetCommitRequest>(9, &answer).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    let (second, answer) = link.receive::<ottla_protocol::messages::RelayRequest>(0).await;
    assert_eq!(second, fetching);
    let answer = inner::<OffsetFetchRequest>(9, &answer).unwrap();
    assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, 2);
    stop(handle).await;
}

#[tokio::test]
async fn committed_offsets_survive_coordinators_and_never_go_back() {
    let store = store();
    let (first, _broker, mut link) = cluster(store.clone()).await;
    assert_eq!(commit_one(&mut link, "g", 1).await, ErrorCode::None);
    stop(first).await;
    let mut told = 1;
    for node in 2..6 {
        let gate = GatedStore::new(store.clone());
        let handle = start_active(node, gate.clone()).await;
        let mut link = Link::memory(&handle);
        link.hello_as_tool().await;
        let before = committed(&mut link, "g").await;
        // One that was never answered may be there all the same.
        assert!(told <= before && before <= told + 1, "{told} was answered, {before} is there");
        for offset in before + 1..before + 10 {
            assert_eq!(commit_one(&mut link, "g", offset).await, ErrorCode::None);
            told = offset;
        }
        // Killed in the middle of a commit: it is written, and nobody is told.
        gate.close_after(1);
        let request = envelope(9, &commit("g", "t", &[0], told + 1));
        link.send(0, &request).await;
        let is_closed = async {
            while !gate.is_closed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the last write", is_closed).await;
        handle.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn coordinator_that_was_replaced_answers_nobody_with_the_past() {
    let store = store();
    let deaf = TracedStore::new(store.clone());
    let (former, _broker, mut old) = cluster(deaf.clone()).await;
    assert_eq!(commit_one(&mut old, "g", 1).await, ErrorCode::None);
    // It hears of no change any more, and its lease runs out.
    deaf.deafen();
    let handle = start(2, store.clone()).await;
    assert!(handle.until_active(crate::support::PATIENCE).await);
    let mut link = Link::memory(&handle);
    link.hello_as_tool().await;
    assert_eq!(committed(&mut link, "g").await, 1);
    assert_eq!(commit_one(&mut link, "g", 2).await, ErrorCode::None);
    assert!(former.admin().leadership().is_me, "it believes that it is still the one");
    let (answer, _) = old.relay(9, &fetch_all("g")).await;
    assert_eq!(answer.groups[0].error_code, ErrorCode::NotCoordinator.code());
    stop(handle).await;
    former.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn storm_of_commits_is_coalesced_and_all_are_answered() {
    let embedded = store();
    let store = TracedStore::new(embedded);
    let (handle, _broker, mut link) = cluster(store.clone()).await;
    assert_eq!(commit_one(&mut link, "g", 1).await, ErrorCode::None);
    let before = store.applied().len();
    store.hold(true);
    let mut sent = 0;
    for offset in 2..1000 {
        link.send(0, &envelope(9, &commit("g", "t", &[0, 1, 2], offset))).await;
        sent += 1;
    }
    store.hold(false);
    for _ in 0..sent {
        let (_, answer) = link.receive::<ottla_protocol::messages::RelayRequest>(0).await;
        let answer = inner::<OffsetCommitRequest>(9, &answer).unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    assert_eq!(committed(&mut link, "g").await, 999);
    let writes = store.applied().len() - before;
    assert!(writes < 500, "{sent} commits took {writes} transactions");
    stop(handle).await;
}

#[tokio::test]
async fn groups_may_be_in_a_store_of_their_own() {
    let (elections, offsets) = (store(), store());
    let start = |node: i32| {
        let (elections, offsets) = (elections.clone(), offsets.clone());
        async move {
            let config = crate::support::config(node);
            let (elections, offsets) =
                (std::sync::Arc::new(elections), std::sync::Arc::new(offsets));
            let handle =
                ottla_coordinator::Coordinator::start_with_stores(config, elections, Some(offsets));
            let handle = handle.await.unwrap();
            assert!(handle.until_active(crate::support::PATIENCE).await);
            handle
        }
    };
    let handle = start(1).await;
    let (_broker, mut link) = FakeBroker::start(1, &handle).await;
    let created = crate::support::create(&handle, vec![crate::support::topic("t", 1)]).await;
    assert!(created.unwrap().results[0].is_ok());
    assert_eq!(commit_one(&mut link, "g", 7).await, ErrorCode::None);
    stop(handle).await;
    let handle = start(2).await;
    let mut link = Link::memory(&handle);
    link.hello_as_tool().await;
    assert_eq!(committed(&mut link, "g").await, 7);
    let keys = KeySpace::default();
    let below = |store: ottla_metadata::store::embedded::EmbeddedStore| {
        let shards = (0..50).map(|shard| keys.shard(shard)).collect::<Vec<_>>();
        async move {
            let mut count = 0;
            for range in shards {
                count += ottla_metadata::store::read_all(&store, range).await.unwrap().items.len();
            }
            count
        }
    };
    assert_eq!((below(elections.clone()).await, below(offsets.clone()).await), (0, 51));
    stop(handle).await;
}
