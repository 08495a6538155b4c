//! Members of groups against a real cluster, Ottla or Apache Kafka: the one at `OTTLA_TEST_BOOTSTRAP`.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_client::consumer::group::{Assignor, GroupProtocol};
use ottla_client::consumer::{ConsumerConfig, OffsetReset, TopicPartition};
use ottla_client::protocol::types::{Offset, PartitionId};
use ottla_client::protocol::{ErrorCode, Str};
use ottla_client::{Client, GroupConfig, GroupConsumer, Producer, ProducerConfig, ProducerRecord};

use common::TestTopic;

const PARTITIONS: i32 = 4;

fn protocols() -> [GroupProtocol; 3] {
    [
        GroupProtocol::Classic { assignors: vec![Assignor::Range] },
        GroupProtocol::Classic { assignors: vec![Assignor::CooperativeSticky] },
        GroupProtocol::Consumer { assignor: None },
    ]
}

fn config(group: &Str, topic: &Str, protocol: &GroupProtocol) -> GroupConfig {
    GroupConfig {
        protocol: protocol.clone(),
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_millis(200),
        auto_commit: None,
        consumer: ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            ..ConsumerConfig::default()
        },
        ..GroupConfig::new(group.clone(), vec![topic.clone()])
    }
}

async fn produce(client: &Client, topic: &Str, values: std::ops::Range<u32>) {
    let producer = Producer::new(client.clone(), ProducerConfig::default()).expect("valid");
    for value in values {
        let record = ProducerRecord {
            topic: topic.clone(),
            partition: Some(PartitionId(value as i32 % PARTITIONS)),
            value: Some(value.to_string().into()),
            ..ProducerRecord::default()
        };
        producer.send(record).await.expect("room");
    }
    producer.flush().await;
}

fn assigned(consumer: &GroupConsumer) -> BTreeSet<TopicPartition> {
    consumer.assignment().cloned().collect()
}

/// Polls all members in turn, until `done` says so of what they read; what each of them read.
async fn poll_until(
    members: &mut [&mut GroupConsumer],
    done: impl Fn(&[&mut GroupConsumer], &[Vec<u32>]) -> bool,
) -> Vec<Vec<u32>> {
    let mut read = vec![Vec::new(); members.len()];
    let polling = async {
        while !done(members, &read) {
            for (member, read) in members.iter_mut().zip(&mut read) {
                for record in member.poll(Duration::from_millis(50)).await.expect("a member") {
                    let value = record.value.expect("a value");
                    let text = std::str::from_utf8(&value).expect("text");
                    read.push(text.parse().expect("a number"));
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), polling).await.expect("within a minute");
    read
}

/// Whether the members have all partitions, each of them one, and about as many as the others.
fn is_shared(members: &[&mut GroupConsumer]) -> bool {
    let all: Vec<TopicPartition> = members.iter().flat_map(|one| assigned(one)).collect();
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "a partition has two owners: {all:?}");
    let share = PARTITIONS as usize / members.len();
    all.len() == PARTITIONS as usize && members.iter().all(|one| assigned(one).len() == share)
}

#[tokio::test]
async fn members_share_a_topic_and_take_over_from_each_other() {
    for protocol in protocols() {
        let Some(topic) = TestTopic::create("shared", PARTITIONS).await else { return };
        let group: Str = common::unique("group").into();
        let config = config(&group, &topic.name, &protocol);
        produce(&topic.client, &topic.name, 0..100).await;
        let mut first = GroupConsumer::new(topic.client.clone(), config.clone());
        let read = poll_until(&mut [&mut first], |_, read| read[0].len() == 100).await;
        assert_eq!(read[0].iter().collect::<BTreeSet<_>>().len(), 100, "{protocol:?}");
        first.commit().await.unwrap();

        // The client of another process.
        let client = common::client().unwrap();
        let mut second = GroupConsumer::new(client, config);
        poll_until(&mut [&mut first, &mut second], |members, _| is_shared(members)).await;
        produce(&topic.client, &topic.name, 100..200).await;
        let read = poll_until(&mut [&mut first, &mut second], |_, read| {
            200 <= 100 + read[0].len() + read[1].len()
        })
        .await;
        let all: BTreeSet<u32> = read.concat().into_iter().collect();
        assert_eq!(all, (100..200).collect(), "{protocol:?}");
        assert_eq!((read[0].len(), read[1].len()), (50, 50), "{protocol:?}");

        // What the first one committed is not read again, what it did not is.
        second.commit().await.unwrap();
        first.close().await;
        let read = poll_until(&mut [&mut second], |members, read| {
            is_shared(members) && read[0].len() == 50
        })
        .await;
        assert_eq!(read[0].iter().collect::<BTreeSet<_>>().len(), 50, "{protocol:?}");
        second.commit().await.unwrap();
        second.close().await;
        topic.delete().await;
    }
}

#[tokio::test]
async fn static_member_comes_back_without_a_rebalance() {
    let Some(topic) = TestTopic::create("static", PARTITIONS).await else { return };
    let group: Str = common::unique("group").into();
    let protocol = GroupProtocol::Classic { assignors: vec![Assignor::CooperativeSticky] };
    let config = config(&group, &topic.name, &protocol);
    let named = |name: &'static str| GroupConfig {
        instance_id: Some(Str::from_static(name)),
        ..config.clone()
    };
    let mut first = GroupConsumer::new(topic.client.clone(), named("one"));
    let second_client = common::client().unwrap();
    let mut second = GroupConsumer::new(second_client.clone(), named("two"));
    poll_until(&mut [&mut first, &mut second], |members, _| is_shared(members)).await;
    let (before, id) = (assigned(&second), second.member_id());
    second.close().await;
    let mut second = GroupConsumer::new(second_client, named("two"));
    let kept = assigned(&first);
    poll_until(&mut [&mut first, &mut second], |members, _| is_shared(members)).await;
    assert_eq!((assigned(&first), assigned(&second)), (kept, before));
    assert_ne!(second.member_id(), id);
    let described = topic.admin.describe_groups(std::slice::from_ref(&group)).await;
    let described = described[0].clone().unwrap();
    assert_eq!((&*described.state, &*described.assignor), ("Stable", "cooperative-sticky"));
    let instances: BTreeSet<_> = described.members.iter().map(|one| &one.instance_id).collect();
    assert_eq!(instances, [Some("one".into()), Some("two".into())].iter().collect());
    first.close().await;
    second.close().await;
    topic.delete().await;
}

#[tokio::test]
async fn offsets_of_a_group_are_listed_set_and_deleted() {
    let Some(topic) = TestTopic::create("offsets", 2).await else { return };
    let admin = &topic.admin;
    let group: Str = common::unique("group").into();
    let groups = std::slice::from_ref(&group);
    let absent = admin.describe_groups(groups).await;
    assert_eq!(absent[0].as_ref().unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));
    assert!(admin.group_offsets(&group).await.unwrap().is_empty());

    let key = |partition| (topic.name.clone(), PartitionId(partition));
    let offsets = [(key(0), Offset(7)), (key(1), Offset(0))];
    let set = admin.set_group_offsets(&group, &offsets).await.unwrap();
    assert_eq!(set, [Ok(()), Ok(())]);
    let listed = admin.list_groups().await.unwrap();
    assert!(listed.iter().any(|listing| listing.group_id == group), "{listed:?}");
    let committed = admin.group_offsets(&group).await.unwrap();
    let committed: Vec<_> = committed.into_iter().map(|(key, found)| (key, found.offset)).collect();
    assert_eq!(committed, offsets);

    let deleted = admin.delete_group_offsets(&group, &[key(0)]).await.unwrap();
    assert_eq!(deleted, [Ok(())]);
    let committed = admin.group_offsets(&group).await.unwrap();
    assert_eq!(committed.keys().collect::<Vec<_>>(), [&key(1)]);

    assert_eq!(admin.delete_groups(groups).await, [Ok(())]);
    let again = admin.delete_groups(groups).await;
    assert_eq!(again[0].as_ref().unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));
    topic.delete().await;
}

#[tokio::test]
async fn group_with_members_keeps_its_offsets_to_itself() {
    let Some(topic) = TestTopic::create("guarded", PARTITIONS).await else { return };
    for protocol in protocols() {
        let group: Str = common::unique("group").into();
        let config = config(&group, &topic.name, &protocol);
        let mut member = GroupConsumer::new(topic.client.clone(), config);
        poll_until(&mut [&mut member], |members, _| is_shared(members)).await;
        let key = (topic.name.clone(), PartitionId(0));
        let set = topic.admin.set_group_offsets(&group, &[(key.clone(), Offset(1))]).await.unwrap();
        assert_eq!(set[0].as_ref().unwrap_err().code(), Some(ErrorCode::UnknownMemberId));
        let deleted = topic.admin.delete_groups(std::slice::from_ref(&group)).await;
        assert_eq!(deleted[0].as_ref().unwrap_err().code(), Some(ErrorCode::NonEmptyGroup));
        let described = topic.admin.describe_groups(&[group]).await[0].clone().unwrap();
        assert_eq!(described.members.len(), 1, "{described:?}");
        assert_eq!(described.members[0].assignment.len(), PARTITIONS as usize, "{described:?}");
        member.close().await;
    }
    topic.delete().await;
}
