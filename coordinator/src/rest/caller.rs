//! Who asks over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{FromRequestParts, Request};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;

use crate::admin::Caller;

/// The address of the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub SocketAddr);

/// Somebody who did not authenticate: the API has no authentication yet, which is why it is bound to
/// loopback unless the operator allows otherwise by name.
#[derive(Debug)]
pub(super) struct RestCaller(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for RestCaller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ClientAddress>();
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let mut caller = Caller::anonymous("REST");
        caller.client_address = address.map(|ClientAddress(address)| *address);
        caller.client_id = agent.map(|agent| agent.chars().take(AGENT_CHARS_MAX).collect());
        Ok(Self(caller))
    }
}

const AGENT_CHARS_MAX: usize = 200;

/// What a request shows of itself in a log line.
pub(super) fn describe(request: &Request) -> String {
    format!("{} {}", request.method(), request.uri().path())
}
