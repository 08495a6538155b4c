//! OffsetDelete: forgets offsets of topics that nobody in the group is subscribed to.

use std::collections::BTreeSet;

use ottla_metadata::image::Image;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use ottla_protocol::{ErrorCode, Uuid};

use super::{Offsets, Touched};
use crate::group::Effects;

/// Which topics the members of a group are subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscribed {
    /// To these.
    To(BTreeSet<String>),
    /// Nobody can tell, so it may be any.
    Unknown,
}

impl Subscribed {
    /// Nobody is subscribed to anything.
    pub fn nothing() -> Self {
        Self::To(BTreeSet::new())
    }

    /// Whether somebody is, or may be, subscribed to a topic.
    pub fn includes(&self, topic: &str) -> bool {
        match self {
            Self::To(topics) => topics.contains(topic),
            Self::Unknown => true,
        }
    }
}

/// What of a request is to be deleted, from which group.
#[derive(Debug)]
pub struct Deletable<'a> {
    /// The group.
    pub group: &'a str,
    /// What is asked for.
    pub request: &'a OffsetDeleteRequest,
    /// What its members are subscribed to.
    pub subscribed: Subscribed,
}

impl Offsets {
    /// Forgets what a request names, and answers for each partition.
    pub fn delete(
        &mut self,
        deletable: &Deletable<'_>,
        image: &Image,
        out: &mut Effects,
    ) -> OffsetDeleteResponse {
        let mut touched = Touched::new();
        let topics = deletable.request.topics.iter().map(|topic| {
            let id = image.topic(&topic.name).map(|topic| topic.id);
            let is_subscribed = deletable.subscribed.includes(&topic.name);
            answer(topic, |partition| {
                let exists = |id: &Uuid| image.partition(*id, partition).is_some();
                let Some(id) = id.filter(exists) else { return ErrorCode::UnknownTopicOrPartition };
                if is_subscribed {
                    return ErrorCode::GroupSubscribedToTopic;
                }
                self.remove(id, partition, &mut touched);
                ErrorCode::None
            })
        });
        let topics = topics.collect();
        self.write(deletable.group, &touched, out);
        OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() }
    }
}

fn answer(
    topic: &OffsetDeleteRequestTopic,
    mut code: impl FnMut(i32) -> ErrorCode,
) -> OffsetDeleteResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| OffsetDeleteResponsePartition {
        partition_index: partition.partition_index,
        error_code: code(partition.partition_index).code(),
    });
    OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
}
