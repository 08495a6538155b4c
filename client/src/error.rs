//! What can go wrong between a client and its cluster.

use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::BrokerId;

use crate::connection::{CallError, ConnectError, NegotiateError, UnsupportedApi};

/// Why a call to the cluster has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A broker cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A broker does not say which requests it serves.
    #[error(transparent)]
    Negotiate(#[from] NegotiateError),
    /// The connection failed during the call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The broker does not serve the request in a version that this client knows.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedApi),
    /// No broker of the cluster can be reached.
    #[error("no broker can be reached; the last one tried: {0}")]
    NoBroker(Box<ClientError>),
    /// A broker that the cluster's metadata does not list.
    #[error("the cluster has no broker {0}")]
    UnknownBroker(BrokerId),
    /// The cluster answered with an error.
    #[error("{}: {message}", .code.name())]
    Server {
        /// Which.
        code: ErrorCode,
        /// What the broker says, or what the code means.
        message: String,
    },
    /// It took too long, retries included.
    #[error("{what} took longer than {after:?}; last: {last}")]
    TimedOut {
        /// What was tried.
        what: &'static str,
        /// The time allowed.
        after: Duration,
        /// How the last attempt ended.
        last: String,
    },
}

impl ClientError {
    /// The error for a code, with the broker's own words where it has some.
    pub fn server(code: ErrorCode, message: Option<&str>) -> Self {
        let message = message.unwrap_or(code.message()).to_owned();
        Self::Server { code, message }
    }

    /// The code that the cluster answered with, if it did.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same call may do better later. The caller judges whether it may be repeated.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::NoBroker(_) | Self::UnknownBroker(_) => true,
            Self::Negotiate(NegotiateError::Call(error)) | Self::Call(error) => {
                error.is_retriable()
            }
            Self::Server { code, .. } => code.is_retriable(),
            Self::Negotiate(_) | Self::Unsupported(_) | Self::TimedOut { .. } => false,
        }
    }
}

/// `Ok` without an error code, the error otherwise.
pub(crate) fn check(code: i16, message: Option<&str>) -> Result<(), ClientError> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        error => Err(ClientError::server(error, message)),
    }
}
