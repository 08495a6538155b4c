//! DescribeQuorum, versions 0 to 2: what Kafka's tools know as the quorum of controllers are here the
//! coordinators that live, of which the active one leads, and the brokers, which observe.
//!
//! The metadata "log" is the store's: offsets are its revisions, the leader's epoch is the term. A coordinator
//! that is not active copies nothing from the active one: whatever is committed it reads from the store before
//! it takes over. So none of them lags, and when it last fetched means nothing (-1).

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
        nodes: image.controller().map(|active| nodes(image, active)).unwrap_or_default(),
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
    let standby = |id: i32| ReplicaState {
        replica_id: id,
        log_end_offset: image.revision(),
        ..ReplicaState::default()
    };
    let others = image.coordinators().map(|(id, _)| id).filter(|id| *id != leader_id);
    let voters = std::iter::once(leader).chain(others.map(standby));
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
        current_voters: voters.collect(),
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

/// The active one first.
fn nodes(image: &Image, active: &Controller) -> Vec<Node> {
    let others = image.coordinators().filter(|(id, _)| *id != active.node_id);
    std::iter::once(node(active)).chain(others.map(|(_, other)| node(other))).collect()
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

#[cfg(test)]
mod tests {
    use ottla_metadata::keys::Key;
    use ottla_metadata::model::{Endpoint, Rest};
    use ottla_protocol::messages::describe_quorum_request::{
        PartitionData as Asked, TopicData as Topic,
    };

    use super::*;
    use crate::controller::testing::World;

    fn coordinator(node_id: i32) -> Controller {
        let at = |port| Endpoint { host: "127.0.0.1".into(), port };
        Controller {
            node_id,
            boot_id: String::new(),
            http: at(1),
            internode: at(2),
            version: "test".into(),
            rest: Rest::new(),
        }
    }

    #[test]
    fn all_coordinators_that_live_vote_and_the_active_one_leads() {
        let mut world = World::new();
        let term = world.put(Key::Controller, &coordinator(7));
        for id in [5, 7, 9] {
            world.put(Key::CoordinatorClaim(id), &coordinator(id));
        }
        let asked = Topic {
            topic_name: METADATA_TOPIC.into(),
            partitions: vec![Asked::default()],
            ..Topic::default()
        };
        let request = DescribeQuorumRequest { topics: vec![asked], ..Default::default() };
        let response = describe(world.image(), &request, &[], 1000);
        let quorum = &response.topics[0].partitions[0];
        assert_eq!((quorum.leader_id, i64::from(quorum.leader_epoch)), (7, term));
        let voters: Vec<_> =
            quorum.current_voters.iter().map(|v| (v.replica_id, v.last_fetch_timestamp)).collect();
        assert_eq!(voters, [(7, 1000), (5, -1), (9, -1)]);
        let nodes: Vec<i32> = response.nodes.iter().map(|node| node.node_id).collect();
        assert_eq!(nodes, [7, 5, 9]);
        world.delete(Key::CoordinatorClaim(9));
        let response = describe(world.image(), &request, &[], 1000);
        assert_eq!(response.nodes.len(), 2);
    }
}
