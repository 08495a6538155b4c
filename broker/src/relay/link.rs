//! One connection to one coordinator, and how it is made.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::model::Endpoint;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_protocol::messages::alter_partition_request::AlterPartitionRequest;
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_protocol::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use ottla_protocol::messages::assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::node_hello_request::NodeHelloRequest;
use ottla_protocol::messages::node_hello_response::NodeHelloResponse;
use ottla_protocol::messages::relay_request::RelayRequest;
use ottla_protocol::messages::relay_response::RelayResponse;

/// What a call comes to.
pub type LinkFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection to a coordinator. Many calls are in flight at a time and are answered in any order;
/// dropping a call's future gives it up.
pub trait CoordinatorLink: Debug + Send + Sync {
    /// Introduces the broker; the first call on every link.
    fn hello(
        &self,
        request: NodeHelloRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<NodeHelloResponse, LinkError>>;

    /// A client's request in its envelope. Giving it up sends a cancellation.
    fn relay(
        &self,
        request: RelayRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<RelayResponse, LinkError>>;

    /// Says that the broker lives.
    fn heartbeat(
        &self,
        request: BrokerHeartbeatRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<BrokerHeartbeatResponse, LinkError>>;

    /// Asks for producer ids.
    fn allocate(
        &self,
        request: AllocateProducerIdsRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<AllocateProducerIdsResponse, LinkError>>;

    /// Proposes changes of in-sync replicas.
    fn alter_partition(
        &self,
        request: AlterPartitionRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<AlterPartitionResponse, LinkError>>;

    /// Tells which log directories replicas are in.
    fn assign_replicas_to_dirs(
        &self,
        request: AssignReplicasToDirsRequest,
        deadline: Duration,
    ) -> LinkFuture<'_, Result<AssignReplicasToDirsResponse, LinkError>>;

    /// Ends when the link can no longer be used.
    fn closed(&self) -> LinkFuture<'_, ()>;
}

/// Makes links. A process with broker and coordinator in one connects them in memory; everybody else by TCP.
pub trait CoordinatorTransport: Debug + Send + Sync {
    /// Connects to the coordinator that listens at `endpoint`.
    fn connect(
        &self,
        endpoint: Endpoint,
    ) -> LinkFuture<'_, Result<Arc<dyn CoordinatorLink>, LinkError>>;
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing left this node, so nothing was done.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The link broke after the request was sent.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// There was no answer before the deadline.
    #[error("no answer in time")]
    TimedOut,
    /// Request or answer cannot be encoded or decoded.
    #[error("malformed: {0}")]
    Malformed(String),
}
