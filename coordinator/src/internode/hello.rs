//! The first request on a connection: who is there, and who is active.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{NodeHelloRequest, NodeHelloResponse};

use crate::coordinator::Services;

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its node id; -1 for tools.
    pub node_id: i32,
    /// Whether its heartbeats count.
    pub is_broker: bool,
}

/// Judges a greeting. Without a peer the connection is closed once the answer is sent.
pub(crate) fn greet(
    services: &Services,
    hello: &NodeHelloRequest,
) -> (NodeHelloResponse, Option<Peer>) {
    let image = services.images.load();
    let cluster_id = image.cluster().map(|cluster| cluster.cluster_id.clone()).unwrap_or_default();
    let leadership = services.leadership.borrow().clone();
    let mut answer = NodeHelloResponse {
        cluster_id: cluster_id.as_str().into(),
        node_id: services.node_id,
        controller_term: leadership.active.as_ref().map_or(-1, |active| active.term),
        is_active: leadership.is_me,
        active_endpoint: leadership
            .active
            .as_ref()
            .map(|active| active.internode_endpoint.as_str().into()),
        ..NodeHelloResponse::default()
    };
    // A cluster that is not founded yet is nobody's.
    if let Some(theirs) = &hello.cluster_id
        && !cluster_id.is_empty()
        && **theirs != *cluster_id
    {
        answer.error_code = ErrorCode::InconsistentClusterId.code();
        let message = format!("this is cluster {cluster_id}, not {theirs}");
        answer.error_message = Some(message.into());
        return (answer, None);
    }
    let peer = match &*hello.role {
        "broker" if 0 <= hello.node_id => Peer { node_id: hello.node_id, is_broker: true },
        "coordinator" | "tool" => Peer { node_id: hello.node_id, is_broker: false },
        role => {
            answer.error_code = ErrorCode::InvalidRequest.code();
            let message = format!("{role:?} with node id {} is no node", hello.node_id);
            answer.error_message = Some(message.into());
            return (answer, None);
        }
    };
    (answer, Some(peer))
}
