//! What can go wrong with a call.

use std::io;
use std::time::Duration;

use ottla_protocol::wire::{DecodeError, EncodeError};

/// Why a connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer closed it.
    #[error("the peer closed the connection")]
    Peer,
    /// This side closed it.
    #[error("the connection was closed on this side")]
    Local,
    /// Reading or writing failed.
    #[error("{message}")]
    Io {
        /// The kind of failure.
        kind: io::ErrorKind,
        /// What the system says.
        message: String,
    },
    /// The peer sent what makes no sense, after which nothing can be understood.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The connection ended. The peer may or may not have acted on the request.
    #[error("connection lost: {0}")]
    Closed(CloseReason),
    /// No answer within this time. The peer may or may not have acted on the request.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The request cannot be written; nothing was sent.
    #[error("cannot encode the request: {0}")]
    Encode(#[from] EncodeError),
    /// The frame to send has no room for a header; nothing was sent.
    #[error("a request frame is too short")]
    FrameTooShort,
    /// The answer cannot be read.
    #[error("cannot decode the answer: {0}")]
    Decode(#[from] DecodeError),
}

impl CallError {
    /// Whether the same call may do better, possibly on another connection. The caller judges whether it may be
    /// repeated: the peer may have acted on it.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::TimedOut(_))
    }
}

impl From<io::Error> for CloseReason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionAborted => Self::Peer,
            io::ErrorKind::InvalidData => Self::Protocol(error.to_string()),
            kind => Self::Io { kind, message: error.to_string() },
        }
    }
}
