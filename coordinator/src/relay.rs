//! Clients' requests that brokers relay: unwrapped, dispatched by API, answered in Kafka's own form.
//!
//! One table lists every API that is served here. A relayed request is never repeated by this side, and
//! its answer carries the revision that the broker's image must have reached before the client is told.

mod alter_configs;
mod alter_partition_reassignments;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod describe_quorum;
mod elect_leaders;
mod groups;
mod unregister_broker;
mod update_features;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteGroupsRequest, DeleteTopicsRequest, DescribeGroupsRequest, DescribeQuorumRequest,
    ElectLeadersRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, RelayRequest, RelayResponse, SyncGroupRequest, UnregisterBrokerRequest,
    UpdateFeaturesRequest,
};
use ottla_protocol::wire::{DecodeError, Decoder, EncodeError, Encoder, Records};
use ottla_protocol::{ApiKey, ErrorCode, Message, Request, RequestHeader, ResponseHeader, Str};

use crate::admin::{Admin, Caller, Unavailable};
use crate::coordinator::Services;
use crate::metrics::Metrics;

/// Why a relayed request got no answer of its own.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("it is not readable: {0}")]
    Decode(#[from] DecodeError),
    #[error("its answer cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error("{name} version {version} is not served by coordinators")]
    NotServed { name: &'static str, version: i16 },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("broker {0} relays in a life that is over")]
    StaleBroker(i32),
    #[error("it was not done before its deadline")]
    TimedOut,
}

/// An answer as it goes back, and the revision that it depends on.
struct Relayed<R> {
    response: R,
    revision: i64,
}

/// What a handler knows about its request.
struct Call<'a> {
    admin: &'a Admin,
    services: &'a Services,
    caller: Caller,
    /// The shards of groups that the broker speaks for.
    shards: &'a [i32],
    version: i16,
    /// How long the broker waits.
    deadline: Duration,
}

impl Call<'_> {
    /// How long to wait for the writer: the client's wish, but no longer than the broker waits.
    fn timeout(&self, timeout_ms: i32) -> Duration {
        Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).min(self.deadline)
    }
}

/// One API: how its request is answered.
trait Handler {
    type Request: Request;

    fn handle(
        call: &Call<'_>,
        request: Self::Request,
    ) -> impl Future<Output = Result<Relayed<<Self::Request as Request>::Response>, Unavailable>> + Send;
}

/// Answers a relayed request within its deadline.
pub(crate) async fn handle(services: &Services, request: RelayRequest) -> RelayResponse {
    let deadline = Duration::from_millis(u64::try_from(request.deadline_ms).unwrap_or(0));
    let deadline = deadline.min(DEADLINE_MAX);
    let handled = tokio::time::timeout(deadline, dispatch(services, request, deadline));
    let store_cluster_id = services.images.load().store_id() as i64;
    match handled.await.unwrap_or(Err(RelayError::TimedOut)) {
        Ok((response, revision)) => RelayResponse {
            store_cluster_id,
            revision,
            response: Some(Records::Memory(response)),
            ..RelayResponse::default()
        },
        Err(error) => {
            tracing::debug!(%error, "relayed request was not answered");
            RelayResponse { store_cluster_id, ..refusal(&error) }
        }
    }
}

/// The answer when the broker has too much under way already.
pub(crate) fn overloaded() -> RelayResponse {
    RelayResponse {
        error_code: ErrorCode::CoordinatorNotAvailable.code(),
        error_message: Some(Str::from_static("too many relayed requests are under way")),
        ..RelayResponse::default()
    }
}

async fn dispatch(
    services: &Services,
    request: RelayRequest,
    deadline: Duration,
) -> Result<(Bytes, i64), RelayError> {
    check_broker(services, &request)?;
    let body = request.request.as_memory().cloned().unwrap_or_default();
    let mut decoder = Decoder::new(body);
    let header = RequestHeader::decode(&mut decoder)?;
    let key =
        ApiKey::try_from(header.api_key).map_err(|_| DecodeError::UnknownApiKey(header.api_key))?;
    let version = header.api_version;
    let mut caller = caller(&request);
    if caller.client_id.is_none() {
        caller.client_id = header.client_id.as_ref().map(|id| id.as_str().to_owned());
    }
    let (admin, shards) = (&services.admin, &request.shards);
    let call = Call { admin, services, caller, shards, version, deadline };
    let run = route(key).ok_or(RelayError::NotServed { name: key.name(), version })?;
    run(&call, &header, decoder).await
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<(Bytes, i64), RelayError>> + Send + 'a>>;
type Run = for<'a> fn(&'a Call<'a>, &'a RequestHeader, Decoder) -> Answering<'a>;

/// Every API that is served here.
fn route(key: ApiKey) -> Option<Run> {
    match key {
        CreateTopicsRequest::KEY => Some(run::<create_topics::CreateTopics>),
        DeleteTopicsRequest::KEY => Some(run::<delete_topics::DeleteTopics>),
        CreatePartitionsRequest::KEY => Some(run::<create_partitions::CreatePartitions>),
        IncrementalAlterConfigsRequest::KEY => Some(run::<alter_configs::IncrementalAlterConfigs>),
        AlterConfigsRequest::KEY => Some(run::<alter_configs::AlterConfigs>),
        ElectLeadersRequest::KEY => Some(run::<elect_leaders::ElectLeaders>),
        AlterPartitionReassignmentsRequest::KEY => {
            Some(run::<alter_partition_reassignments::AlterPartitionReassignments>)
        }
        UnregisterBrokerRequest::KEY => Some(run::<unregister_broker::UnregisterBroker>),
        UpdateFeaturesRequest::KEY => Some(run::<update_features::UpdateFeatures>),
        DescribeQuorumRequest::KEY => Some(run::<describe_quorum::DescribeQuorum>),
        _ => route_group(key),
    }
}

/// Those of them that are about groups.
fn route_group(key: ApiKey) -> Option<Run> {
    match key {
        OffsetCommitRequest::KEY => Some(run::<groups::OffsetCommit>),
        OffsetFetchRequest::KEY => Some(run::<groups::OffsetFetch>),
        OffsetDeleteRequest::KEY => Some(run::<groups::OffsetDelete>),
        JoinGroupRequest::KEY => Some(run::<groups::OneGroup<JoinGroupRequest>>),
        SyncGroupRequest::KEY => Some(run::<groups::OneGroup<SyncGroupRequest>>),
        HeartbeatRequest::KEY => Some(run::<groups::OneGroup<HeartbeatRequest>>),
        LeaveGroupRequest::KEY => Some(run::<groups::OneGroup<LeaveGroupRequest>>),
        ConsumerGroupHeartbeatRequest::KEY => {
            Some(run::<groups::OneGroup<ConsumerGroupHeartbeatRequest>>)
        }
        ListGroupsRequest::KEY => Some(run::<groups::ListGroups>),
        DescribeGroupsRequest::KEY => Some(run::<groups::DescribeGroups>),
        ConsumerGroupDescribeRequest::KEY => Some(run::<groups::ConsumerGroupDescribe>),
        DeleteGroupsRequest::KEY => Some(run::<groups::DeleteGroups>),
        _ => None,
    }
}

fn run<'a, H: Handler>(
    call: &'a Call<'a>,
    header: &'a RequestHeader,
    mut decoder: Decoder,
) -> Answering<'a>
where
    H::Request: Send,
    <H::Request as Request>::Response: Send,
{
    Box::pin(async move {
        let version = header.api_version;
        let known = H::Request::MIN_VERSION..=H::Request::MAX_VERSION;
        if !known.contains(&version) {
            return Err(RelayError::NotServed { name: H::Request::KEY.name(), version });
        }
        let request = H::Request::decode(&mut decoder, version)?;
        decoder.finish()?;
        let relayed = H::handle(call, request).await?;
        let mut encoder = Encoder::new();
        let correlation_id = header.correlation_id;
        ResponseHeader { correlation_id, ..ResponseHeader::default() }.encode(
            &mut encoder,
            H::Request::KEY,
            version,
        )?;
        relayed.response.encode(&mut encoder, version)?;
        Ok((encoder.finish().into_contiguous()?, relayed.revision))
    })
}

/// A broker whose id was claimed anew speaks for nobody any more.
fn check_broker(services: &Services, request: &RelayRequest) -> Result<(), RelayError> {
    let image = services.images.load();
    let claimed = image.claim(request.broker_id).map(|claim| claim.create_revision);
    if claimed.is_some_and(|epoch| request.broker_epoch < epoch) {
        return Err(RelayError::StaleBroker(request.broker_id));
    }
    Ok(())
}

fn caller(request: &RelayRequest) -> Caller {
    let address = &*request.client_address;
    let client_address = address.parse::<SocketAddr>().ok().or_else(|| {
        let address: IpAddr = address.parse().ok()?;
        Some(SocketAddr::new(address, 0))
    });
    Caller {
        principal_type: request.principal_type.as_str().to_owned(),
        principal_name: request.principal_name.as_str().to_owned(),
        token_authenticated: request.token_authenticated,
        client_address,
        listener: request.listener.as_str().to_owned(),
        client_id: request.client_id.as_ref().map(|id| id.as_str().to_owned()),
    }
}

fn refusal(error: &RelayError) -> RelayResponse {
    let code = match error {
        RelayError::Decode(_) => ErrorCode::InvalidRequest,
        RelayError::Encode(_) => ErrorCode::UnknownServerError,
        RelayError::NotServed { .. } => ErrorCode::UnsupportedVersion,
        RelayError::Unavailable(why) => why.code(),
        RelayError::StaleBroker(_) => ErrorCode::StaleBrokerEpoch,
        RelayError::TimedOut => ErrorCode::RequestTimedOut,
    };
    let message = match error {
        RelayError::Unavailable(
            Unavailable::NotActive(Some(active)) | Unavailable::Deposed(Some(active)),
        ) => format!("{error}; it is node {} at {}", active.node_id, active.internode_endpoint),
        error => error.to_string(),
    };
    RelayResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..RelayResponse::default()
    }
}

/// Counts a call while it is under way, however it ends.
pub(crate) struct Counted(Metrics);

impl Counted {
    pub fn new(metrics: Metrics) -> Self {
        metrics.internode_calls.inc();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.internode_calls.dec();
    }
}

/// No call is kept longer, whatever the broker says.
const DEADLINE_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
