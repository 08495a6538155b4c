//! DescribeQuorum, versions 0 to 2: what Kafka's tools know as the quorum of controllers is here the active
//! coordinator, which alone votes on anything, and the brokers, which observe.
//!
//! The metadata "log" is the store's: offsets are its revisions, the leader's epoch is the term.

use ottla_metadata::image::Image;
use ottla_metadata::model::Controller;
use ottla_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_protocol::{ErrorCode, Str};

use super::{Call, Handler, Relayed};
use crate::admin::Unavailable;
use crate::heartbeats::Heard;

pub(super) struct DescribeQuorum;

impl Handler for DescribeQuorum {
    type Request = DescribeQuorumRequest;

    async fn handle(
        call: &Call<'_>,
        request: DescribeQuorumRequest,
    ) -> Result<Relayed<DescribeQuorumResponse>, Unavailable> {
        let leadership = call.admin.leadership();
        if !leadership.is_me {
            return Err(Unavailable::NotActive(leadership.active));
        }
        let image = call.services.images.load();
        let heard = call.services.heartbeats.heard();
        let now_ms = call.services.clock.now().wall_ms;
        let mut response = describe(&image, &request, &heard, now_ms);
        if call.version < 2 {
            response.nodes.clear();
        }
        Ok(Relayed { response, revision: 0 })
    }
}

fn describe(
    image: &Image,
    request: &DescribeQuorumRequest,
    heard: &[Heard],
    now_ms: i64,
) -> DescribeQuorumResponse {
    let is_known = |topic: &str, partition: i32| topic == METADATA_TOPIC && partition == 0;
    let partition = |topic: &str, partition_index: i32| match image.controller() {
        Some(active) if is_known(topic, partition_index) => {
            quorum(image, (active.node_id, active.create_revision), heard, now_ms)
        }
        Some(_) => refused(partition_index, ErrorCode::UnknownTopicOrPartition),
        None => refused(partition_index, ErrorCode::LeaderNotAvailable),
    };
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|asked| partition(&topic.topic_name, asked.partition_index))
            .collect(),
        ..TopicData::default()
    });
    DescribeQuorumResponse {
        topics: topics.collect(),
        nodes: image.controller().map(|active| node(active)).into_iter().collect(),
        ..DescribeQuorumResponse::default()
    }
}

fn quorum(
    image: &Image,
    (leader_id, term): (i32, i64),
    heard: &[Heard],
    now_ms: i64,
) -> PartitionData {
    let leader = ReplicaState {
        replica_id: leader_id,
        log_end_offset: image.revision(),
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
        ..ReplicaState::default()
    };
    let observers = heard.iter().filter(|heard| image.broker(heard.broker).is_some());
    let observer = |heard: &Heard| ReplicaState {
        replica_id: heard.broker,
        log_end_offset: heard.image_revision.min(image.revision()),
        last_fetch_timestamp: heard.at_ms,
        last_caught_up_timestamp: heard.caught_up_ms,
        ..ReplicaState::default()
    };
    PartitionData {
        partition_index: 0,
        leader_id,
        // Terms are revisions; a wire epoch has 31 bits of them.
        leader_epoch: (term & i64::from(i32::MAX)) as i32,
        high_watermark: image.revision(),
        current_voters: vec![leader],
        observers: observers.map(observer).collect(),
        ..PartitionData::default()
    }
}

fn refused(partition_index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: code.code(),
        error_message: Some(Str::from(code.message())),
        ..PartitionData::default()
    }
}

fn node(active: &Controller) -> Node {
    let listener = Listener {
        name: Str::from_static("CONTROLLER"),
        host: active.internode.host.as_str().into(),
        port: active.internode.port,
        ..Listener::default()
    };
    Node { node_id: active.node_id, listeners: vec![listener], ..Node::default() }
}

/// What Kafka calls the log of its controllers.
const METADATA_TOPIC: &str = "__cluster_metadata";
