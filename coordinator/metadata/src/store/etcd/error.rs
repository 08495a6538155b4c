//! What an error of the client says about the call: whether it can have been executed.

use std::error::Error as _;
use std::io;

use etcd_client::Error;
use tonic::Code;

use crate::store::{LeaseId, StoreError};

/// What is known about a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Never executed; another member may.
    Unsent(String),
    /// Executed or not, now or later.
    Ambiguous(String),
    /// Never executed, and it would fail the same on every member.
    Definite(StoreError),
}

impl Failure {
    /// The error of a call that is given up.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Unsent(reason) | Self::Ambiguous(reason) => StoreError::Unavailable { reason },
            Self::Definite(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::GRpcStatus(status) => from_status(status),
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::Utf8Error(_) => {
                Self::Definite(StoreError::Invalid { reason: error.to_string() })
            }
            Error::LeaseKeepAliveError(reason) if reason == "lease not found" => {
                Self::Definite(StoreError::LeaseNotFound(LeaseId(0)))
            }
            Error::TransportError(transport) if is_refused(transport.source()) => {
                Self::Unsent(error.to_string())
            }
            _ => Self::Ambiguous(error.to_string()),
        }
    }
}

fn from_status(status: &tonic::Status) -> Failure {
    let said = status.message();
    let text = || said.to_owned();
    let is = |part: &str| said.contains(part);
    match status.code() {
        Code::Unavailable if is_refused(status.source()) => Failure::Unsent(text()),
        Code::ResourceExhausted if is("database space exceeded") => {
            Failure::Definite(StoreError::NoSpace)
        }
        // Refused before it entered the log of the members.
        Code::ResourceExhausted if is("too many requests") => Failure::Unsent(text()),
        Code::InvalidArgument if is("revision of auth store is old") => Failure::Unsent(text()),
        Code::InvalidArgument if is("authentication failed") || is("user name is empty") => {
            Failure::Definite(StoreError::Denied { reason: text() })
        }
        Code::PermissionDenied | Code::Unauthenticated => {
            Failure::Definite(StoreError::Denied { reason: text() })
        }
        Code::FailedPrecondition if is("authentication is not enabled") => {
            let reason = "a user is configured, but this etcd has no authentication".into();
            Failure::Definite(StoreError::Denied { reason })
        }
        Code::NotFound if is("lease not found") => {
            Failure::Definite(StoreError::LeaseNotFound(LeaseId(0)))
        }
        Code::OutOfRange if is("compacted") => {
            Failure::Definite(StoreError::Compacted { compacted: 0 })
        }
        Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound | Code::OutOfRange => {
            Failure::Definite(StoreError::Invalid { reason: text() })
        }
        _ => Failure::Ambiguous(format!("{:?}: {said}", status.code())),
    }
}

/// True if the answer was longer than the client decodes; the call itself was executed.
pub(super) fn is_answer_too_long(failure: &Failure) -> bool {
    matches!(failure, Failure::Definite(StoreError::Invalid { reason }) if reason.contains("message length too large"))
}

/// True if the lease id that was asked for is taken: by the earlier attempt of the same call.
pub(super) fn is_lease_taken(failure: &Failure) -> bool {
    matches!(failure, Failure::Definite(StoreError::Invalid { reason }) if reason.contains("lease already exists"))
}

/// A refused connection carried no request.
fn is_refused(mut source: Option<&(dyn std::error::Error + 'static)>) -> bool {
    while let Some(error) = source {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_been_executed_is_definite() {
        let failure =
            |code, text: &str| Failure::from(Error::GRpcStatus(tonic::Status::new(code, text)));
        for (code, text) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "transport is closing"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::Unknown, "h2 protocol error"),
            (Code::Cancelled, "Timeout expired"),
            (Code::Internal, "x"),
        ] {
            assert!(matches!(failure(code, text), Failure::Ambiguous(_)), "{code:?} {text}");
        }
        assert_eq!(
            failure(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Failure::Definite(StoreError::NoSpace)
        );
        assert!(matches!(
            failure(
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password"
            ),
            Failure::Definite(StoreError::Denied { .. })
        ));
    }
}
