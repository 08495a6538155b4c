//! FindCoordinator, 0 to 6: the broker that speaks for a group.
//!
//! - It is the leader of the partition of `__consumer_offsets` that the group's name leads to. Where nobody
//!   leads it, or its leader has no such listener, the answer is COORDINATOR_NOT_AVAILABLE; the first to ask
//!   for a group has the topic made, and is answered so meanwhile.
//! - A broker that reaches no coordinator names no broker of its own groups either: clients look elsewhere.
//! - Transactions are not built: a transactional id is refused for good
//!   (TRANSACTIONAL_ID_AUTHORIZATION_FAILED), so that its producer fails at once and does not ask for ever. So
//!   are share groups, and kinds that nobody knows (INVALID_REQUEST).
//! - From version 4 on many keys of one kind are looked for at a time.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_metadata::internal_topics::CONSUMER_OFFSETS;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_protocol::{ErrorCode, Str};

use super::topology::Topology;
use super::{Answer, Handler, RequestContext};
use crate::faces::Faces;
use crate::services::Services;

/// Serves FindCoordinator.
#[derive(Debug)]
pub struct FindCoordinator;

/// Kafka's kinds of keys.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// First version with many keys.
const MANY_FROM: i16 = 4;

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    id: i32,
    host: Str,
    port: i32,
}

impl Node {
    /// Kafka's "no node".
    const NONE: Self = Self { id: -1, host: Str::from_static(""), port: -1 };
}

impl Handler for FindCoordinator {
    type Request = FindCoordinatorRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: FindCoordinatorRequest,
    ) -> Answer {
        let kind = request.key_type;
        let response = if context.api_version < MANY_FROM {
            let (error, node) = find(services, context, (kind, &request.key));
            FindCoordinatorResponse {
                error_code: error.code(),
                // As Kafka does, also where there is none.
                error_message: Some(Str::from_static(match error {
                    ErrorCode::None => "NONE",
                    error => error.message(),
                })),
                node_id: node.id,
                host: node.host,
                port: node.port,
                ..FindCoordinatorResponse::default()
            }
        } else {
            let coordinators = request.coordinator_keys.iter().map(|key| {
                let (error, node) = find(services, context, (kind, key));
                Coordinator {
                    key: key.clone(),
                    node_id: node.id,
                    host: node.host,
                    port: node.port,
                    error_code: error.code(),
                    error_message: (error != ErrorCode::None)
                        .then(|| Str::from_static(error.message())),
                    ..Coordinator::default()
                }
            });
            FindCoordinatorResponse {
                coordinators: coordinators.collect(),
                ..FindCoordinatorResponse::default()
            }
        };
        Answer::ready::<FindCoordinatorRequest>(context, &response)
    }
}

fn find(
    services: &Services,
    context: &RequestContext,
    (kind, key): (i8, &str),
) -> (ErrorCode, Node) {
    let found = match kind {
        GROUP => of_group(services, context, key),
        TRANSACTION => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        _ => Err(ErrorCode::InvalidRequest),
    };
    match found {
        Ok(node) => (ErrorCode::None, node),
        Err(error) => (error, Node::NONE),
    }
}

fn of_group(services: &Services, context: &RequestContext, group: &str) -> Result<Node, ErrorCode> {
    let image = services.image.load();
    let Some(faces) = Faces::of(&image) else {
        if image.is_complete() {
            services.auto_create.request_internal(services, context, CONSUMER_OFFSETS);
        }
        return Err(ErrorCode::CoordinatorNotAvailable);
    };
    let broker = faces.broker(faces.shard(group)).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    if broker == services.identity.broker_id && !services.relay.is_connected() {
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    let topology = Topology { image: &image, listener: &context.connection.listener };
    let listener = topology.alive(broker.0).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok(Node { id: broker.0, host: Str::from(listener.host.as_str()), port: listener.port.into() })
}
