//! The broker that a group's requests go to, found and found again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_protocol::types::BrokerId;
use ottla_protocol::{ErrorCode, Request, Str};

use crate::client::Client;
use crate::error::{ClientError, check};
use crate::node::{Link, Node};

/// The coordinator of one group. Clones share what they know.
#[derive(Clone, Debug)]
pub(crate) struct Coordinator {
    client: Client,
    group: Str,
    /// Over a connection of its own: a JoinGroup waits for the other members, and whatever follows it on the same
    /// connection waits with it.
    is_apart: bool,
    known: Arc<Mutex<Option<Arc<Known>>>>,
}

#[derive(Debug)]
struct Known {
    id: BrokerId,
    /// Its own connection, if it has one.
    apart: Option<Node>,
}

/// The first version that names groups in a list.
const LIST_VERSION: i16 = 4;

impl Coordinator {
    pub(crate) fn new(client: Client, group: Str) -> Self {
        Self { client, group, is_apart: false, known: Arc::default() }
    }

    /// One whose calls go over a connection of their own.
    pub(crate) fn apart(client: Client, group: Str) -> Self {
        Self { is_apart: true, ..Self::new(client, group) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn group(&self) -> &Str {
        &self.group
    }

    /// Which broker it is.
    pub(crate) async fn id(&self) -> Result<BrokerId, ClientError> {
        Ok(self.find().await?.id)
    }

    /// Asks for it if it is not known, once.
    async fn find(&self) -> Result<Arc<Known>, ClientError> {
        let known = self.known().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let link = self.client.any_broker().await?;
        let version = link.pick_from::<FindCoordinatorRequest>(0)?;
        let request = if LIST_VERSION <= version {
            FindCoordinatorRequest {
                coordinator_keys: vec![self.group.clone()],
                ..FindCoordinatorRequest::default()
            }
        } else {
            FindCoordinatorRequest { key: self.group.clone(), ..FindCoordinatorRequest::default() }
        };
        let response = link.judge(link.connection.call(version, &request).await)?;
        let id = found(&response, LIST_VERSION <= version)?;
        let mut metadata = self.client.metadata();
        if !metadata.brokers.contains_key(&id) {
            metadata = self.client.refresh_metadata(&[]).await?;
        }
        let broker = metadata.brokers.get(&id).ok_or(ClientError::UnknownBroker(id))?;
        let config = Arc::new(self.client.config().clone());
        let apart = self.is_apart.then(|| Node::new(broker.address.clone(), config));
        let known = Arc::new(Known { id, apart });
        *self.known() = Some(known.clone());
        Ok(known)
    }

    /// A connection to it.
    async fn link(&self) -> Result<Link, ClientError> {
        let known = self.find().await?;
        let link = match &known.apart {
            Some(node) => node.link().await,
            None => self.client.broker(known.id).await,
        };
        link.inspect_err(|_| self.forget())
    }

    /// Sends one request in the highest common version between `min` and `max`. Whatever shows that another broker is
    /// the coordinator makes the next call look for it: an error of the connection, or one that `code` finds.
    pub(crate) async fn call<R: Request>(
        &self,
        versions: (i16, i16),
        timeout: Duration,
        make: impl FnOnce(i16) -> R,
        code: impl FnOnce(&R::Response) -> i16,
    ) -> Result<R::Response, ClientError> {
        let link = self.link().await?;
        let version = link.versions.pick_between::<R>(versions.0, versions.1)?;
        let request = make(version);
        let called = link.connection.call_within(version, &request, timeout).await;
        let response = link.judge(called).inspect_err(|_| self.forget())?;
        self.notice(ErrorCode::from_code(code(&response)));
        Ok(response)
    }

    /// As [`call`](Self::call), again until it is answered without an error that may pass, or for good.
    pub(crate) async fn call_until_done<R: Request>(
        &self,
        what: &'static str,
        versions: (i16, i16),
        make: impl Fn(i16) -> R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, ClientError> {
        let timeout = self.client.config().request_timeout;
        let (make, code) = (&make, &code);
        self.client
            .retry(what, self.client.config().api_timeout, || async move {
                let response = self.call(versions, timeout, make, code).await?;
                let error = ErrorCode::from_code(code(&response));
                if error.is_retriable() {
                    return Err(ClientError::server(error, None));
                }
                Ok(response)
            })
            .await
    }

    /// Learns from an error of the coordinator.
    pub(crate) fn notice(&self, error: ErrorCode) {
        if matches!(error, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) {
            self.forget();
        }
    }

    /// Looks for it anew at the next call, and over another connection.
    pub(crate) fn forget(&self) {
        *self.known() = None;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(response: &FindCoordinatorResponse, is_list: bool) -> Result<BrokerId, ClientError> {
    if !is_list {
        check(response.error_code, response.error_message.as_deref())?;
        return Ok(BrokerId(response.node_id));
    }
    let Some(found) = response.coordinators.first() else {
        return Err(ClientError::server(ErrorCode::CoordinatorNotAvailable, None));
    };
    check(found.error_code, found.error_message.as_deref())?;
    Ok(BrokerId(found.node_id))
}
