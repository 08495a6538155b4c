//! Links over byte streams, with the client's connection layer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::connection::{
    Address, CallError, CancelFrame, Connection, ConnectionOptions, Connector as StreamConnector,
};
use ottla_metadata::model::Endpoint;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_protocol::messages::alter_partition_request::AlterPartitionRequest;
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_protocol::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use ottla_protocol::messages::assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::cancel_relay_request::CancelRelayRequest;
use ottla_protocol::messages::node_hello_request::NodeHelloRequest;
use ottla_protocol::messages::node_hello_response::NodeHelloResponse;
use ottla_protocol::messages::relay_request::RelayRequest;
use ottla_protocol::messages::relay_response::RelayResponse;
use ottla_protocol::{Message, Request, frame};

use super::link::{CoordinatorLink, CoordinatorTransport, LinkError, LinkFuture};

/// Connects by whatever makes streams: TCP, or pipes within one process.
#[derive(Clone)]
pub struct StreamTransport {
    streams: Arc<dyn StreamConnector>,
}

/// A link over one stream.
#[derive(Debug)]
struct ClientLink {
    connection: Connection,
}

/// Calls in flight; the relay's own bounds are below it, so that it never waits here.
const CALLS_MAX: usize = 8192;
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

impl StreamTransport {
    /// Links over what `streams` connects to.
    pub fn new(streams: Arc<dyn StreamConnector>) -> Self {
        Self { streams }
    }
}

impl fmt::Debug for StreamTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTransport").finish_non_exhaustive()
    }
}

impl CoordinatorTransport for StreamTransport {
    fn connect(
        &self,
        endpoint: Endpoint,
    ) -> LinkFuture<'_, Result<Arc<dyn CoordinatorLink>, LinkError>> {
        Box::pin(async move {
            let address = Address { host: endpoint.host, port: endpoint.port };
            let stream = self.streams.connect(&address).await;
            let stream = stream.map_err(|error| LinkError::NotSent(error.to_string()))?;
            let options = ConnectionOptions {
                calls_max: CALLS_MAX,
                answer_bytes_max: ANSWER_BYTES_MAX,
                cancel_frame: Some(cancel_frame()),
                ..ConnectionOptions::default()
            };
            let link = ClientLink { connection: Connection::new(stream, options) };
            Ok(Arc::new(link) as Arc<dyn CoordinatorLink>)
        })
    }
}

impl ClientLink {
    /// All messages between nodes are spoken in their newest version: nodes of one cluster that do not
    /// know it refuse each other when they greet.
    async fn call<R: Request>(
        &self,
        request: R,
        deadline: Duration,
    ) -> Result<R::Response, LinkError> {
        if self.connection.is_closed() {
            return Err(LinkError::NotSent("the connection is closed".to_owned()));
        }
        let version = <R as Message>::MAX_VERSION;
        self.connection.call_within(version, &request, deadline).await.map_err(
            |error| match error {
                CallError::TimedOut(_) => LinkError::TimedOut,
                CallError::Closed(reason) => LinkError::Lost(reason.to_string()),
                CallError::Encode(_) | CallError::FrameTooShort | CallError::Decode(_) => {
                    LinkError::Malformed(error.to_string())
                }
            },
        )
    }
}

impl CoordinatorLink for ClientLink {
    fn hello(
        &self,
        request: NodeHelloRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<NodeHelloResponse, LinkError>> {
        Box::pin(self.call(request, deadline))
    }

    fn relay(
        &self,
        request: RelayRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<RelayResponse, LinkError>> {
        Box::pin(self.call(request, deadline))
    }

    fn heartbeat(
        &self,
        request: BrokerHeartbeatRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<BrokerHeartbeatResponse, LinkError>> {
        Box::pin(self.call(request, deadline))
    }

    fn allocate(
        &self,
        request: AllocateProducerIdsRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<AllocateProducerIdsResponse, LinkError>> {
        Box::pin(self.call(request, deadline))
    }

    fn alter_partition(
        &self,
        request: AlterPartitionRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<AlterPartitionResponse, LinkError>> {
        Box::pin(self.call(request, deadline))
    }

    fn assign_replicas_to_dirs(
        &self,
        request: AssignReplicasToDirsRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<AssignReplicasToDirsResponse, LinkError>> {
        Box::pin(self.call(request, deadline))
    }

    fn closed(&self) -> LinkFuture<'_, ()> {
        Box::pin(async {
            let reason = self.connection.closed().await;
            tracing::debug!(%reason, "link to the coordinator ended");
        })
    }
}

/// Tells the coordinator that nobody waits for a call any more.
fn cancel_frame() -> CancelFrame {
    Arc::new(|call, own| {
        let request = CancelRelayRequest { correlation_id: call, ..CancelRelayRequest::default() };
        frame::encode_request(own, None, 0, &request).ok()
    })
}
