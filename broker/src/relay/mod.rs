//! The way to the active coordinator: requests that this broker does not decide, its heartbeats, and
//! blocks of producer ids.
//!
//! [`Relay`] is the handle. One task ([`Connector`]) finds the active coordinator in the image, connects,
//! introduces the broker and replaces the link when it breaks or another coordinator becomes active.
//! Nothing is sent twice: whether a request that got no answer was carried out is for its client to find out.

mod bounds;
mod client_link;
mod connector;
mod greeting;
mod heartbeat;
mod link;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::image::ImageReader;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::alter_partition_request::AlterPartitionRequest;
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_protocol::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use ottla_protocol::messages::assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
use ottla_protocol::messages::relay_request::RelayRequest;
use ottla_protocol::wire::{EncodeError, Encoder, Records};
use ottla_protocol::{ErrorCode, Request, RequestHeader, Str};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

pub use bounds::{Bounds, CallClass};
pub use client_link::StreamTransport;
pub use connector::{Connector, NodeIdentity};
pub use greeting::{GreetingError, greet};
pub use heartbeat::{BrokerState, Heartbeat, Standing};
pub use link::{CoordinatorLink, CoordinatorTransport, LinkError, LinkFuture};

use crate::handlers::RequestContext;
use crate::identity::Identity;

/// Sends requests to the active coordinator; cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    links: watch::Receiver<Option<Arc<dyn CoordinatorLink>>>,
    given_up: Arc<Notify>,
    bounds: Bounds,
    identity: Arc<Identity>,
    image: ImageReader,
}

/// A request in the form in which it goes to the coordinator.
#[derive(Debug)]
pub struct Sealed(Bytes);

/// How a request is to be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTerms {
    /// Whether it may be held for long.
    pub class: CallClass,
    /// How long its client waits.
    pub deadline: Duration,
    /// Shards of groups that this broker speaks for, as far as the request is about them.
    pub shards: Vec<i32>,
    /// The answer is held back until this broker's image shows what it says.
    pub awaits_image: bool,
}

/// Why there is no answer. [`RelayError::code`] is what a client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The request was not sent, so it can be repeated at will.
    #[error("no coordinator can be reached")]
    NoCoordinator,
    /// The request was not sent: too much is waiting for answers already.
    #[error("too many requests wait for the coordinator")]
    Overloaded,
    /// The request may have been carried out.
    #[error("the coordinator did not answer: {0}")]
    NoAnswer(String),
    /// The coordinator refused the envelope; the request was not carried out.
    #[error("the coordinator refused: {}: {message}", code.name())]
    Refused {
        /// Why.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// The request cannot be sent, or its answer makes no sense; a defect of ours.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// How long a request waits for a link, if there is none at the moment: a change of coordinators, or a
/// restart, usually takes less.
const LINK_WAIT: Duration = Duration::from_secs(1);
/// How long an answer is held back until this broker knows what it says.
const IMAGE_WAIT: Duration = Duration::from_secs(1);
/// Time for small calls of the broker itself.
const OWN_CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl Relay {
    /// A handle on what `connector` keeps connected.
    pub fn new(
        connector: &Connector,
        bounds: Bounds,
        identity: Arc<Identity>,
        image: ImageReader,
    ) -> Self {
        let (links, given_up) = (connector.links(), connector.given_up());
        Self { links, given_up, bounds, identity, image }
    }

    /// Has the active coordinator carry out a client's request, in the client's version. Returns the
    /// response with its header (but no length), once this broker's image has caught up with it.
    ///
    /// Dropping the future tells the coordinator that nobody waits any more.
    pub async fn forward<R: Request>(
        &self,
        context: &RequestContext,
        request: &R,
        deadline: Duration,
    ) -> Result<Bytes, RelayError> {
        let sealed = self.seal(context, request)?;
        let terms = CallTerms {
            class: CallClass::Prompt,
            deadline,
            shards: Vec::new(),
            awaits_image: true,
        };
        self.send(context, sealed, terms).await
    }

    /// A client's request as it goes into its envelope: header and body as the client sent them, but for tags
    /// of the header that are unknown here.
    pub fn seal<R: Request>(
        &self,
        context: &RequestContext,
        request: &R,
    ) -> Result<Sealed, RelayError> {
        let frame = encode(context, request).map_err(|e| RelayError::Malformed(e.to_string()))?;
        Ok(Sealed(frame))
    }

    /// As [`Relay::forward`], on terms of the caller's.
    pub async fn send(
        &self,
        context: &RequestContext,
        Sealed(frame): Sealed,
        terms: CallTerms,
    ) -> Result<Bytes, RelayError> {
        let deadline = terms.deadline;
        let admitted = self.bounds.admit(terms.class, frame.len());
        let _permit = admitted.ok_or(RelayError::Overloaded)?;
        let link = self.link(deadline.min(LINK_WAIT)).await?;
        let deadline_ms = i32::try_from(deadline.as_millis()).unwrap_or(i32::MAX);
        let envelope = RelayRequest {
            principal_type: context.principal.kind.clone(),
            principal_name: context.principal.name.clone(),
            token_authenticated: context.principal.is_token_authenticated,
            client_address: Str::from(context.connection.client_address.ip().to_string()),
            listener: context.connection.listener.clone(),
            client_id: Some(context.client_id.clone()),
            broker_id: self.identity.broker_id.0,
            broker_epoch: self.identity.broker_epoch(),
            deadline_ms,
            request: Records::Memory(frame),
            shards: terms.shards,
            ..RelayRequest::default()
        };
        let answer = tokio::select! {
            biased;
            answer = link.relay(envelope, deadline) => answer.map_err(no_answer)?,
            () = self.replaced(&link) => {
                let reason = "another coordinator takes over".to_owned();
                return Err(RelayError::NoAnswer(reason));
            }
        };
        let code = ErrorCode::from_code(answer.error_code);
        if code != ErrorCode::None {
            let message = answer.error_message.unwrap_or_default().to_string();
            return Err(RelayError::Refused { code, message });
        }
        let Some(Records::Memory(response)) = answer.response else {
            return Err(RelayError::Malformed("an answer without a response".to_owned()));
        };
        if terms.awaits_image {
            self.catch_up(answer.store_cluster_id, answer.revision).await;
        }
        Ok(response)
    }

    /// Whether there is a link to the active coordinator now.
    pub fn is_connected(&self) -> bool {
        self.links.borrow().is_some()
    }

    /// A fresh block of producer ids: the first, and how many.
    pub async fn allocate_producer_ids(&self) -> Result<(i64, i32), RelayError> {
        let link = self.link(LINK_WAIT).await?;
        let request = AllocateProducerIdsRequest {
            broker_id: self.identity.broker_id.0,
            broker_epoch: self.identity.broker_epoch(),
            ..AllocateProducerIdsRequest::default()
        };
        let answer = link.allocate(request, OWN_CALL_TIMEOUT).await.map_err(no_answer)?;
        let code = ErrorCode::from_code(answer.error_code);
        if code != ErrorCode::None {
            return Err(RelayError::Refused {
                code,
                message: "no block of producer ids".to_owned(),
            });
        }
        Ok((answer.producer_id_start, answer.producer_id_len))
    }

    /// Proposes changes of in-sync replicas. The error of the whole request is in the answer.
    pub async fn alter_partition(
        &self,
        request: AlterPartitionRequest,
    ) -> Result<AlterPartitionResponse, RelayError> {
        let link = self.link(LINK_WAIT).await?;
        link.alter_partition(request, OWN_CALL_TIMEOUT).await.map_err(no_answer)
    }

    /// Tells the controller which log directories replicas here are in. The error of the whole request is
    /// in the answer.
    pub async fn assign_replicas_to_dirs(
        &self,
        request: AssignReplicasToDirsRequest,
    ) -> Result<AssignReplicasToDirsResponse, RelayError> {
        let link = self.link(LINK_WAIT).await?;
        link.assign_replicas_to_dirs(request, OWN_CALL_TIMEOUT).await.map_err(no_answer)
    }

    /// The link to the active coordinator, if there is one or comes one in time.
    pub(crate) async fn link(
        &self,
        patience: Duration,
    ) -> Result<Arc<dyn CoordinatorLink>, RelayError> {
        let mut links = self.links.clone();
        let found = timeout(patience, links.wait_for(Option::is_some)).await;
        let link = found.ok().and_then(Result::ok).and_then(|link| link.clone());
        link.ok_or(RelayError::NoCoordinator)
    }

    /// Has the link in use replaced: nothing comes back over it, although it is not broken.
    pub(crate) fn give_up_link(&self) {
        self.given_up.notify_waiters();
    }

    /// Ends when `link` is not the one to use any more. A coordinator that merely stands still never answers what
    /// was sent to it, and a client that waits for that misses its heartbeats.
    async fn replaced(&self, link: &Arc<dyn CoordinatorLink>) {
        let mut links = self.links.clone();
        let is_other = |current: &Option<Arc<dyn CoordinatorLink>>| {
            current.as_ref().is_none_or(|current| !Arc::ptr_eq(current, link))
        };
        // Its sender ends with the broker.
        let _ = links.wait_for(is_other).await;
    }

    /// A client that was told of a change must find it here when it asks next.
    async fn catch_up(&self, store_id: i64, revision: i64) {
        if self.image.load().store_id().cast_signed() != store_id {
            return;
        }
        if let Err(error) = self.image.wait_for(revision, IMAGE_WAIT).await {
            tracing::warn!(%error, "answering before this broker's image shows the change");
        }
    }
}

impl RelayError {
    /// What the client of an admin request is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            // Clients look for the controller anew and ask again.
            Self::NoCoordinator => ErrorCode::NotController,
            Self::Overloaded => ErrorCode::CoordinatorNotAvailable,
            Self::NoAnswer(_) => ErrorCode::RequestTimedOut,
            Self::Refused { code, .. } => *code,
            Self::Malformed(_) => ErrorCode::UnknownServerError,
        }
    }
}

fn no_answer(error: LinkError) -> RelayError {
    match error {
        LinkError::NotSent(_) => RelayError::NoCoordinator,
        LinkError::Lost(reason) => RelayError::NoAnswer(reason),
        LinkError::TimedOut => RelayError::NoAnswer("its time is over".to_owned()),
        LinkError::Malformed(reason) => RelayError::Malformed(reason),
    }
}

fn encode<R: Request>(context: &RequestContext, request: &R) -> Result<Bytes, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version: context.api_version,
        correlation_id: context.correlation_id,
        client_id: Some(context.client_id.clone()),
        ..RequestHeader::default()
    };
    let mut encoder = Encoder::new();
    header.encode(&mut encoder)?;
    request.encode(&mut encoder, context.api_version)?;
    encoder.finish().into_contiguous()
}
