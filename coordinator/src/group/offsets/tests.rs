use ottla_protocol::ErrorCode;
use ottla_protocol::messages::OffsetCommitRequest;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use super::*;
use crate::controller::testing::{World, partition};

/// An image with a topic of three partitions, and its id.
fn world() -> (World, Uuid) {
    let mut world = World::new();
    let partition = partition(&[1], 1);
    let id = world.topic("t", &[partition.clone(), partition.clone(), partition]);
    (world, id)
}

fn stored(topic: Uuid, partitions: impl Iterator<Item = i32>) -> Offsets {
    let mut offsets = Offsets::default();
    for partition in partitions {
        let mut touched = Touched::new();
        let committed = CommittedOffset {
            partition,
            offset: i64::from(partition),
            leader_epoch: None,
            metadata: String::new(),
            committed_at: 0,
            expires_at: None,
            rest: ottla_metadata::model::Rest::new(),
        };
        offsets.put(topic, committed, &mut touched);
    }
    offsets
}

#[test]
fn what_is_restored_is_what_was_written() {
    let (_, topic) = world();
    let mut offsets = stored(topic, [70, 0, 31, 32, 33].into_iter());
    let all = offsets.iter().map(|(_, it)| it.partition).collect::<Vec<_>>();
    assert_eq!(all, [0, 31, 32, 33, 70]);
    let mut out = Effects::default();
    let touched = [0, 1, 2].map(|number| (topic, number)).into();
    offsets.write("g", &touched, &mut out);
    let mut restored = Offsets::default();
    for record in out.writes {
        let ottla_metadata::keys::ShardKey::Group(_, GroupKey::Offsets(topic, number)) = record.key
        else {
            panic!("{record:?}")
        };
        let value = record.value.expect("no deletion");
        let chunk = ottla_metadata::model::group::decode_value("k", &value).unwrap();
        restored.restore(topic, number, chunk);
    }
    assert_eq!(restored, offsets);
}

#[test]
fn chunk_without_offsets_is_deleted() {
    let (_, topic) = world();
    let mut offsets = stored(topic, [3, 40].into_iter());
    let (mut touched, mut out) = (Touched::new(), Effects::default());
    assert!(offsets.remove(topic, 3, &mut touched));
    assert!(!offsets.remove(topic, 3, &mut touched));
    assert!(!offsets.remove(topic, 500, &mut touched));
    offsets.write("g", &touched, &mut out);
    assert_eq!((out.writes.len(), out.writes[0].value.is_none()), (1, true));
    assert_eq!((offsets.len(), offsets.is_empty()), (1, false));
    offsets.drop_all("g", &mut out);
    assert!(offsets.is_empty() && out.writes.len() == 2);
}

#[test]
fn topic_of_the_same_name_made_anew_has_no_offsets() {
    let (mut world, old) = world();
    let mut offsets = stored(old, 0..3);
    world.delete(ottla_metadata::keys::Key::Topic("t".to_owned()));
    let new = world.topic("t", &[partition(&[1], 1)]);
    assert_ne!(old, new);
    let mut out = Effects::default();
    // An image that is not complete deletes nothing.
    assert_eq!(offsets.drop_deleted_topics("g", &Image::default(), &mut out), 0);
    assert_eq!(offsets.drop_deleted_topics("g", world.image(), &mut out), 3);
    assert!(offsets.get(new, 0).is_none() && offsets.is_empty());
}

#[test]
fn what_does_not_exist_is_told_apart_before_the_group_is_asked() {
    let (world, topic) = world();
    let partitions = |indexes: &[i32]| {
        let partition = |index: &i32| OffsetCommitRequestPartition {
            partition_index: *index,
            ..OffsetCommitRequestPartition::default()
        };
        indexes.iter().map(partition).collect()
    };
    let named = |name: &str, topic_id: Uuid, indexes: &[i32]| OffsetCommitRequestTopic {
        name: name.into(),
        topic_id,
        partitions: partitions(indexes),
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        topics: vec![named("t", topic, &[0, 3, -1]), named("u", Uuid::ONE, &[0])],
        ..OffsetCommitRequest::default()
    };
    for (version, unknown) in
        [(9, ErrorCode::UnknownTopicOrPartition), (10, ErrorCode::UnknownTopicId)]
    {
        let committable = Committable::new(&request, version, world.image());
        assert_eq!(committable.existing(world.image()).collect::<Vec<_>>(), [(topic, 0)]);
        let answer = committable.refused(ErrorCode::UnknownMemberId, world.image());
        let codes: Vec<ErrorCode> = answer
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| ErrorCode::from_code(partition.error_code))
            .collect();
        let missing = ErrorCode::UnknownTopicOrPartition;
        assert_eq!(codes, [ErrorCode::UnknownMemberId, missing, missing, unknown]);
    }
    let nothing = OffsetCommitRequest {
        topics: vec![named("u", Uuid::ONE, &[0]), named("t", topic, &[9])],
        ..OffsetCommitRequest::default()
    };
    let committable = Committable::new(&nothing, 9, world.image());
    assert_eq!(committable.existing(world.image()).count(), 0);
}
