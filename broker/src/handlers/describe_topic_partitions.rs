//! DescribeTopicPartitions, 0: topics with their partitions, a page at a time, from the image.
//!
//! - Topics come in the order of their names. No topics means all.
//! - A page has at most as many partitions as the request says, and `max.request.partition.size.limit`;
//!   the cursor names the first partition of the next one.
//! - Unlike Metadata it also tells the replicas that are eligible to lead although not in sync.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_metadata::config::validate_topic_name;
use ottla_metadata::image::Versioned;
use ottla_metadata::model::Topic;
use ottla_protocol::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use ottla_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use ottla_protocol::{ErrorCode, Str};

use super::topology::{ALL_TOPIC_OPERATIONS, OPERATIONS_NOT_ASKED, Topology};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves DescribeTopicPartitions.
#[derive(Debug)]
pub struct DescribeTopicPartitions;

impl Handler for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DescribeTopicPartitionsRequest,
    ) -> Answer {
        let image = services.image.load();
        let topology = Topology { image: &image, listener: &context.connection.listener };
        let limit = request.response_partition_limit.min(services.config.request_partition_limit);
        let response = page(topology, &request, usize::try_from(limit).unwrap_or(0).max(1));
        Answer::ready::<DescribeTopicPartitionsRequest>(context, &response)
    }
}

fn page(
    topology: Topology<'_>,
    request: &DescribeTopicPartitionsRequest,
    limit: usize,
) -> DescribeTopicPartitionsResponse {
    let (from_name, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let asked: BTreeSet<&str> = if request.topics.is_empty() {
        topology.image.topics().map(|topic| topic.name.as_str()).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.as_str()).collect()
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut left = limit;
    for name in asked.range(from_name..).copied() {
        let Some(topic) = topology.image.topic(name) else {
            response.topics.push(missing(name));
            continue;
        };
        let first = if name == from_name { from_partition.max(0) } else { 0 };
        if left == 0 {
            response.next_cursor = Some(cursor(name, first));
            break;
        }
        let told = describe(topology, topic, first, left);
        left -= told.partitions.len();
        let next = told.partitions.last().map_or(first, |last| last.partition_index + 1);
        response.topics.push(told);
        if left == 0 && next < topic.partitions {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    response
}

fn describe(
    topology: Topology<'_>,
    topic: &Versioned<Topic>,
    first: i32,
    limit: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let numbered = topology.image.partitions_of(topic.id);
    let partitions = numbered.skip_while(|(number, _)| *number < first).take(limit).map(
        |(number, partition)| {
            let state = topology.partition(partition);
            DescribeTopicPartitionsResponsePartition {
                error_code: state.error.0.code(),
                partition_index: number,
                leader_id: state.leader,
                leader_epoch: state.leader_epoch,
                replica_nodes: state.replicas,
                isr_nodes: state.isr,
                eligible_leader_replicas: Some(partition.elr.clone()),
                last_known_elr: Some(partition.last_known_elr.clone()),
                offline_replicas: state.offline,
                ..DescribeTopicPartitionsResponsePartition::default()
            }
        },
    );
    DescribeTopicPartitionsResponseTopic {
        name: Some(Str::from(topic.name.as_str())),
        topic_id: topic.id,
        is_internal: topic.internal,
        partitions: partitions.collect(),
        topic_authorized_operations: ALL_TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn missing(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let error = if validate_topic_name(name).is_err() {
        ErrorCode::InvalidTopicException
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(Str::from(name)),
        topic_authorized_operations: OPERATIONS_NOT_ASKED,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn cursor(topic: &str, partition: i32) -> Cursor {
    Cursor { topic_name: Str::from(topic), partition_index: partition, ..Cursor::default() }
}
