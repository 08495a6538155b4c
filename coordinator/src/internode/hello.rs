//! The first request on a connection: who is there, whether it knows the cluster's secret, and who is active.

use bytes::Bytes;
use ottla_client::internode::{ClusterSecret, Nonce, Proofs};
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

/// What a node is told. Without a peer the connection is closed once the answer is sent.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub answer: NodeHelloResponse,
    pub peer: Option<Peer>,
}

/// What follows the first greeting.
#[derive(Debug)]
pub(crate) enum Opening {
    /// That was all.
    Greeted(Greeting),
    /// The node has to greet again, and prove that it knows the secret; until then it learns nothing.
    Challenged(NodeHelloResponse),
}

/// Judges the first greeting; `nonce` was drawn for this connection.
pub(crate) fn open(services: &Services, hello: &NodeHelloRequest, nonce: Nonce) -> Opening {
    let who = describe(hello);
    let here = services.node_id;
    match (&services.secret, &hello.nonce) {
        (None, None) => Opening::Greeted(greet(services, hello)),
        (Some(_), Some(_)) => Opening::Challenged(NodeHelloResponse {
            nonce: Some(Bytes::copy_from_slice(&nonce)),
            ..NodeHelloResponse::default()
        }),
        (Some(_), None) => Opening::Greeted(refuse(format!(
            "coordinator {here} asks for the cluster's secret, and {who} has none: set cluster.secret.file on \
             all nodes"
        ))),
        (None, Some(_)) => Opening::Greeted(refuse(format!(
            "{who} asks for the cluster's secret, and coordinator {here} has none: set cluster.secret.file on \
             all nodes"
        ))),
    }
}

/// Judges the second greeting: the first one with a proof.
pub(crate) fn prove(
    services: &Services,
    first: &NodeHelloRequest,
    nonce: Nonce,
    second: &NodeHelloRequest,
) -> Greeting {
    let proven =
        services.secret.as_deref().and_then(|secret| verified(secret, first, &nonce, second));
    let Some(proofs) = proven else {
        return refuse(format!(
            "{} does not know the secret of coordinator {}: give all nodes the same cluster.secret.file and \
             restart them",
            describe(first),
            services.node_id
        ));
    };
    let mut greeting = greet(services, first);
    greeting.answer.secret_proof = proofs.of_answer(&greeting.answer);
    greeting
}

fn verified<'a>(
    secret: &'a ClusterSecret,
    first: &NodeHelloRequest,
    nonce: &'a Nonce,
    second: &NodeHelloRequest,
) -> Option<Proofs<'a>> {
    let proofs = Proofs::new(secret, first, nonce)?;
    proofs.verify_hello(second.secret_proof.as_ref()).then_some(proofs)
}

fn greet(services: &Services, hello: &NodeHelloRequest) -> Greeting {
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
        return Greeting { answer, peer: None };
    }
    let peer = match &*hello.role {
        "broker" if 0 <= hello.node_id => Peer { node_id: hello.node_id, is_broker: true },
        "coordinator" | "tool" => Peer { node_id: hello.node_id, is_broker: false },
        role => {
            answer.error_code = ErrorCode::InvalidRequest.code();
            let message = format!("{role:?} with node id {} is no node", hello.node_id);
            answer.error_message = Some(message.into());
            return Greeting { answer, peer: None };
        }
    };
    Greeting { answer, peer: Some(peer) }
}

/// Says no, and nothing else: whoever asks has proven nothing.
fn refuse(message: String) -> Greeting {
    let answer = NodeHelloResponse {
        error_code: ErrorCode::ClusterAuthorizationFailed.code(),
        error_message: Some(message.into()),
        ..NodeHelloResponse::default()
    };
    Greeting { answer, peer: None }
}

/// The node as it calls itself, fit for a line of a log.
fn describe(hello: &NodeHelloRequest) -> String {
    match &*hello.role {
        role @ ("broker" | "coordinator" | "tool") => format!("{role} {}", hello.node_id),
        _ => format!("node {} of an unknown role", hello.node_id),
    }
}
