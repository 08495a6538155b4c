//! What a handler is told about the request beside its body.

use std::net::SocketAddr;
use std::sync::Arc;

use ottla_protocol::time::Now;
use ottla_protocol::{ApiKey, Str};
use tokio_util::sync::CancellationToken;

use super::Turns;

/// Who asks. On a listener without authentication it is [`Principal::anonymous`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Kafka's principal type, `User` unless another was configured.
    pub kind: Str,
    /// The name, such as `alice` or `ANONYMOUS`.
    pub name: Str,
    /// True if a delegation token was the credential.
    pub is_token_authenticated: bool,
}

/// One connection, as long as it lives.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Counts the connections of this process.
    pub id: u64,
    /// Name of the listener that accepted it, such as `PLAINTEXT`; answers name endpoints of this one.
    pub listener: Str,
    /// The other end.
    pub client_address: SocketAddr,
    /// Cancelled when the connection ends: work that only its answer needs can stop.
    pub closed: CancellationToken,
    /// The order of requests that must not overtake each other.
    pub turns: Turns,
}

/// One request. Cheap to clone, for the parallel part.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The API.
    pub api_key: ApiKey,
    /// Version of request and response; one that the handler serves.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself; a missing one is empty.
    pub client_id: Str,
    /// The connection.
    pub connection: Arc<ConnectionInfo>,
    /// Who asks.
    pub principal: Principal,
    /// When the last byte of the request had come.
    pub received: Now,
}

impl Principal {
    /// Who asks where nobody is authenticated: `User:ANONYMOUS`.
    pub const fn anonymous() -> Self {
        Self {
            kind: Str::from_static("User"),
            name: Str::from_static("ANONYMOUS"),
            is_token_authenticated: false,
        }
    }
}
