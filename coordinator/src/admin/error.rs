//! Why one item of an admin request failed, and why a whole request was not even tried.

use ottla_protocol::ErrorCode;

use crate::leadership::ActiveController;

/// Why one topic, partition count or config was not changed. Other items of the same request are
/// not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .code.name())]
pub struct AdminError {
    /// What a Kafka client is told. Never `NONE`.
    pub code: ErrorCode,
    /// What happened, to what, and what to do. Goes to the client where the version has room for it.
    pub message: String,
}

impl AdminError {
    /// An error with a message of its own.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<ErrorCode> for AdminError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: code.message().to_owned() }
    }
}

/// Why a request was not carried out as a whole.
///
/// After `TimedOut` and `Deposed` parts of it may still be, or become, true: ask for the state
/// before trying again what must not happen twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Another node is the active coordinator, or none is at the moment (`None`). Nothing was done.
    #[error("this coordinator is not the active one")]
    NotActive(Option<ActiveController>),
    /// This node stopped being the active coordinator while the request was under way.
    #[error("this coordinator lost its activity while the request was under way")]
    Deposed(Option<ActiveController>),
    /// Too many requests wait already. Nothing was done.
    #[error("too many admin requests wait; try again later")]
    Busy,
    /// The metadata store did not answer before the request's deadline.
    #[error("the metadata store did not answer in time")]
    TimedOut,
    /// This process is stopping.
    #[error("this coordinator is stopping")]
    Stopping,
}

impl Unavailable {
    /// What a Kafka client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotActive(_) | Self::Deposed(_) | Self::Stopping => ErrorCode::NotController,
            Self::Busy | Self::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}
