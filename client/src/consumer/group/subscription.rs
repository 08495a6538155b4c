//! What members of the classic protocol say to each other: subscriptions and assignments, each after its version.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::messages::{consumer_protocol_assignment, consumer_protocol_subscription};
use ottla_protocol::types::PartitionId;
use ottla_protocol::wire::{DecodeError, Decoder, EncodeError};
use ottla_protocol::{Message, Str};

use super::assignor::Subscription;
use crate::consumer::TopicPartition;

/// The version that this client writes. Whoever reads takes from it what it knows.
const VERSION: i16 = 3;

/// A subscription to `topics` of a member that owns `owned` since `generation`.
pub(super) fn encode_subscription(
    topics: &[Str],
    owned: &[TopicPartition],
    generation: i32,
) -> Result<Bytes, EncodeError> {
    let owned_partitions = by_topic(owned)
        .into_iter()
        .map(|(topic, partitions)| consumer_protocol_subscription::TopicPartition {
            topic,
            partitions,
        })
        .collect();
    let message = ConsumerProtocolSubscription {
        topics: topics.to_vec(),
        owned_partitions,
        generation_id: generation,
        ..ConsumerProtocolSubscription::default()
    };
    with_version(&message.encode_all(VERSION)?)
}

/// What the member `member` subscribes to.
pub(super) fn decode_subscription(
    member_id: &Str,
    instance_id: Option<&Str>,
    metadata: &Bytes,
) -> Result<Subscription, DecodeError> {
    let mut decoder = Decoder::new(metadata.clone());
    let version = decoder.i16()?.clamp(0, VERSION);
    let message = ConsumerProtocolSubscription::decode(&mut decoder, version)?;
    let owned = message.owned_partitions.into_iter().flat_map(|owned| {
        let topic = owned.topic;
        owned.partitions.into_iter().map(move |id| (topic.clone(), PartitionId(id)))
    });
    Ok(Subscription {
        member_id: member_id.clone(),
        instance_id: instance_id.cloned(),
        owned: owned.collect(),
        generation: message.generation_id,
        topics: message.topics,
    })
}

/// An assignment of these partitions.
pub(super) fn encode_assignment(partitions: &[TopicPartition]) -> Result<Bytes, EncodeError> {
    let assigned_partitions = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| consumer_protocol_assignment::TopicPartition {
            topic,
            partitions,
        })
        .collect();
    let message =
        ConsumerProtocolAssignment { assigned_partitions, ..ConsumerProtocolAssignment::default() };
    with_version(&message.encode_all(VERSION)?)
}

/// The partitions of an assignment; none in an empty one.
pub(crate) fn decode_assignment(assignment: &Bytes) -> Result<Vec<TopicPartition>, DecodeError> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let mut decoder = Decoder::new(assignment.clone());
    let version = decoder.i16()?.clamp(0, VERSION);
    let message = ConsumerProtocolAssignment::decode(&mut decoder, version)?;
    let partitions = message.assigned_partitions.into_iter().flat_map(|assigned| {
        let topic = assigned.topic.detach();
        assigned.partitions.into_iter().map(move |id| (topic.clone(), PartitionId(id)))
    });
    Ok(partitions.collect())
}

fn with_version(message: &Bytes) -> Result<Bytes, EncodeError> {
    let mut bytes = BytesMut::with_capacity(2 + message.len());
    bytes.put_i16(VERSION);
    bytes.put_slice(message);
    Ok(bytes.freeze())
}

fn by_topic(partitions: &[TopicPartition]) -> std::collections::BTreeMap<Str, Vec<i32>> {
    let mut topics = std::collections::BTreeMap::<Str, Vec<i32>>::new();
    for (topic, partition) in partitions {
        topics.entry(topic.clone()).or_default().push(partition.0);
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &'static str, id: i32) -> TopicPartition {
        (Str::from_static(topic), PartitionId(id))
    }

    #[test]
    fn subscriptions_and_assignments_can_be_read_back() {
        let owned = vec![partition("a", 0), partition("a", 2), partition("b", 1)];
        let topics = vec![Str::from_static("a"), Str::from_static("b")];
        let bytes = encode_subscription(&topics, &owned, 7).unwrap();
        let read = decode_subscription(&"m".into(), Some(&"i".into()), &bytes).unwrap();
        assert_eq!((read.topics, read.owned, read.generation), (topics, owned.clone(), 7));
        let assignment = encode_assignment(&owned).unwrap();
        assert_eq!(decode_assignment(&assignment).unwrap(), owned);
        assert_eq!(decode_assignment(&Bytes::new()).unwrap(), []);
        assert!(decode_assignment(&assignment.slice(..8)).is_err());
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let mut bytes = encode_assignment(&[partition("a", 4)]).unwrap().to_vec();
        bytes[1] = 9;
        bytes.extend_from_slice(b"more");
        assert_eq!(decode_assignment(&bytes.into()).unwrap(), [partition("a", 4)]);
    }
}
