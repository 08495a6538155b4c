//! What consumers that speak the classic protocol say to each other, where the server says it in their place.

use bytes::Bytes;
use ottla_metadata::image::Image;
use ottla_protocol::Message;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_protocol_assignment::TopicPartition;
use ottla_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::wire::{Decoder, Encoder};

use super::partitions::Owned;

/// The protocol type of consumers.
pub const PROTOCOL_TYPE: &str = "consumer";

/// The subscription that `metadata` holds; `None` if it holds none.
pub fn subscription(metadata: &Bytes) -> Option<ConsumerProtocolSubscription> {
    let mut decoder = Decoder::new(metadata.clone());
    let version = decoder.i16().ok()?;
    if version < 0 {
        return None;
    }
    // A later version only adds to the last that is known.
    let version = version.min(ConsumerProtocolSubscription::MAX_VERSION);
    ConsumerProtocolSubscription::decode(&mut decoder, version).ok()
}

/// What a member says that it has, by the ids that its topics have now.
pub fn claimed(subscription: &ConsumerProtocolSubscription, image: &Image) -> Vec<TopicPartitions> {
    let of = |owned: &ottla_protocol::messages::consumer_protocol_subscription::TopicPartition| {
        let topic = image.topic(&owned.topic)?;
        let partitions = owned.partitions.clone();
        Some(TopicPartitions { topic_id: topic.id, partitions, ..Default::default() })
    };
    subscription.owned_partitions.iter().filter_map(of).collect()
}

/// An assignment in the version of the member's own metadata. Topics that are no more are left out.
pub fn write_assignment(assigned: &Owned, metadata: &Bytes, image: &Image) -> Bytes {
    let version = Decoder::new(metadata.clone()).i16().unwrap_or(0);
    let version = version.clamp(0, ConsumerProtocolAssignment::MAX_VERSION);
    let of = |(id, partitions): (_, &std::collections::BTreeMap<i32, i32>)| {
        let topic = image.topic_by_id(id)?.name.as_str().into();
        let partitions = partitions.keys().copied().collect();
        Some(TopicPartition { topic, partitions })
    };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: assigned.topics().filter_map(of).collect(),
        ..Default::default()
    };
    let mut encoder = Encoder::new();
    encoder.put_i16(version);
    let written = assignment.encode(&mut encoder, version);
    let bytes = written.and_then(|()| encoder.finish().into_contiguous());
    bytes.expect("names of topics and their partitions fit into a frame")
}

/// The partitions of an assignment, of topics that exist; `None` if these bytes are none.
pub fn read_assignment(bytes: &Bytes, image: &Image, epoch: i32) -> Option<Owned> {
    let mut owned = Owned::default();
    if bytes.is_empty() {
        return Some(owned);
    }
    let mut decoder = Decoder::new(bytes.clone());
    let version = decoder.i16().ok().filter(|version| 0 <= *version)?;
    let version = version.min(ConsumerProtocolAssignment::MAX_VERSION);
    let assignment = ConsumerProtocolAssignment::decode(&mut decoder, version).ok()?;
    for topic in &assignment.assigned_partitions {
        let Some(known) = image.topic(&topic.topic) else { continue };
        let exist = topic.partitions.iter().filter(|it| (0..known.partitions).contains(*it));
        for partition in exist {
            owned.insert(known.id, *partition, epoch);
        }
    }
    Some(owned)
}
