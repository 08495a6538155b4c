//! ListPartitionReassignments, 0, from the image: what is under way stands in the partitions themselves.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_metadata::image::Image;
use ottla_metadata::model::{Partition, Topic};
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};

use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves ListPartitionReassignments.
#[derive(Debug)]
pub struct ListPartitionReassignments;

impl Handler for ListPartitionReassignments {
    type Request = ListPartitionReassignmentsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: ListPartitionReassignmentsRequest,
    ) -> Answer {
        let response = list(&services.image.load(), &request);
        Answer::ready::<ListPartitionReassignmentsRequest>(context, &response)
    }
}

/// Topics and partitions that do not exist are left out, as those are that stay where they are.
fn list(
    image: &Image,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let topics: Vec<OngoingTopicReassignment> = match &request.topics {
        None => image.topics().filter_map(|topic| ongoing(image, topic, |_| true)).collect(),
        Some(asked) => asked
            .iter()
            .filter_map(|asked| {
                let is_asked = |number| asked.partition_indexes.contains(&number);
                ongoing(image, image.topic(&asked.name)?, is_asked)
            })
            .collect(),
    };
    ListPartitionReassignmentsResponse { topics, ..ListPartitionReassignmentsResponse::default() }
}

fn ongoing(
    image: &Image,
    topic: &Topic,
    is_asked: impl Fn(i32) -> bool,
) -> Option<OngoingTopicReassignment> {
    let partitions: Vec<_> = image
        .partitions_of(topic.id)
        .filter(|(number, partition)| partition.is_reassigning() && is_asked(*number))
        .map(|(number, partition)| under_way(number, partition))
        .collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: topic.name.as_str().into(),
        partitions,
        ..OngoingTopicReassignment::default()
    })
}

fn under_way(partition_index: i32, partition: &Partition) -> OngoingPartitionReassignment {
    OngoingPartitionReassignment {
        partition_index,
        replicas: partition.replicas.clone(),
        adding_replicas: partition.adding.clone(),
        removing_replicas: partition.removing.clone(),
        ..OngoingPartitionReassignment::default()
    }
}
