//! The connection to a leader.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::connection::{
    Address, CallError, ConnectError, Connection, ConnectionOptions, Connector, NegotiateError,
    Software, UnsupportedApi, negotiate,
};
use ottla_metadata::image::ImageReader;
use ottla_protocol::messages::fetch_request::{FetchRequest, ReplicaState};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};
use ottla_protocol::{ErrorCode, Message, Str};

use super::answer::Answer;
use super::follower::Bounds;
use crate::identity::Identity;

/// How other brokers are reached, and who asks.
#[derive(Clone)]
pub struct Transport {
    /// Makes connections.
    pub connector: Arc<dyn Connector>,
    /// Says where brokers are.
    pub image: ImageReader,
    /// This broker.
    pub identity: Arc<Identity>,
    /// `replica.socket.timeout.ms`: how long an answer may take beyond the time that the leader may wait.
    /// Default 30 s.
    pub timeout: Duration,
}

/// A connection to a leader, and the versions that it understands.
#[derive(Debug)]
pub(super) struct Link {
    connection: Connection,
    fetch: i16,
    list_offsets: i16,
}

/// Why a leader does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The cluster does not say where it is.
    #[error("broker {0} has no address on its listener for brokers")]
    NoAddress(BrokerId),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Negotiate(#[from] NegotiateError),
    #[error(transparent)]
    Unsupported(#[from] UnsupportedApi),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Topics by id.
const FETCH_MIN: i16 = 13;
/// From here on a replica says its broker epoch.
const FETCH_WITH_EPOCH: i16 = 15;
/// From here on the leader epoch is compared.
const LIST_OFFSETS_MIN: i16 = 4;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// An answer holds what was asked for, and one batch whatever its size.
const ANSWER_BYTES_MAX: usize = 256 << 20;

impl Transport {
    /// Connects to the leader's listener for brokers.
    pub(super) async fn connect(&self, leader: BrokerId) -> Result<Link, LinkError> {
        let address = self.address(leader).ok_or(LinkError::NoAddress(leader))?;
        let stream = self.connector.connect(&address).await?;
        let name = format!("broker-{}-fetcher", self.identity.broker_id);
        let options = ConnectionOptions {
            client_id: Some(Str::from(name)),
            request_timeout: self.timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
            ..ConnectionOptions::default()
        };
        let connection = Connection::new(stream, options);
        let versions = negotiate(&connection, &Software::default()).await?;
        let fetch = versions.pick_between::<FetchRequest>(FETCH_MIN, FetchRequest::MAX_VERSION)?;
        let max = ListOffsetsRequest::MAX_VERSION;
        let list_offsets = versions.pick_between::<ListOffsetsRequest>(LIST_OFFSETS_MIN, max)?;
        tracing::info!(%leader, %address, "connected to a leader to follow");
        Ok(Link { connection, fetch, list_offsets })
    }

    fn address(&self, leader: BrokerId) -> Option<Address> {
        let image = self.image.load();
        let record = image.broker(leader.0)?;
        let listener = record.listener(&record.inter_broker_listener)?;
        Some(Address { host: listener.host.clone(), port: listener.port })
    }

    /// Fetches, and reads the answer.
    pub(super) async fn fetch(
        &self,
        link: &Link,
        mut request: FetchRequest,
    ) -> Result<Answer, LinkError> {
        let replica_id = self.identity.broker_id.0;
        if FETCH_WITH_EPOCH <= link.fetch {
            let replica_epoch = self.identity.broker_epoch();
            request.replica_state =
                ReplicaState { replica_id, replica_epoch, ..ReplicaState::default() };
        } else {
            request.replica_id = replica_id;
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let timeout = self.timeout + wait;
        let response = link.connection.call_within(link.fetch, &request, timeout).await?;
        Ok(Answer::read(response))
    }

    /// Asks for the bounds of a log.
    pub(super) async fn bounds(
        &self,
        link: &Link,
        (topic, index): (Str, i32),
        leader_epoch: LeaderEpoch,
    ) -> Result<Result<Bounds, ErrorCode>, LinkError> {
        let ask = |timestamp| ListOffsetsRequest {
            replica_id: self.identity.broker_id.0,
            topics: vec![ListOffsetsTopic {
                name: topic.clone(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: index,
                    current_leader_epoch: leader_epoch.0,
                    timestamp,
                    ..ListOffsetsPartition::default()
                }],
                ..ListOffsetsTopic::default()
            }],
            ..ListOffsetsRequest::default()
        };
        let mut found = [Offset::NONE; 2];
        for (found, timestamp) in found.iter_mut().zip([EARLIEST, LATEST]) {
            let response = link.connection.call(link.list_offsets, &ask(timestamp)).await?;
            let partition = response.topics.first().and_then(|topic| topic.partitions.first());
            let Some(partition) = partition else { return Ok(Err(ErrorCode::UnknownServerError)) };
            match ErrorCode::from_code(partition.error_code) {
                ErrorCode::None if 0 <= partition.offset => *found = Offset(partition.offset),
                ErrorCode::None => return Ok(Err(ErrorCode::UnknownServerError)),
                error => return Ok(Err(error)),
            }
        }
        let [start, end] = found;
        Ok(Ok(Bounds { start, end }))
    }
}

impl Link {
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("broker", &self.identity.broker_id)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
