//! A call that was sent and not yet answered.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::wire::Decoder;
use ottla_protocol::{Message, Request, ResponseHeader};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::connection::{CallError, Connection};

/// A request in the queue or beyond, whose answer comes as bytes. Dropping it abandons the call.
#[derive(Debug)]
pub struct RawCall {
    guard: Guard,
    answer: oneshot::Receiver<Bytes>,
    deadline: Instant,
    timeout: Duration,
}

/// Gives the call up unless it was answered.
#[derive(Debug)]
struct Guard {
    connection: Connection,
    id: i32,
    answered: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.cancel(self.id);
        }
    }
}

impl RawCall {
    pub(super) fn new(
        connection: Connection,
        id: i32,
        answer: oneshot::Receiver<Bytes>,
        (deadline, timeout): (Instant, Duration),
    ) -> Self {
        Self { guard: Guard { connection, id, answered: false }, answer, deadline, timeout }
    }

    /// The correlation id of the request on this connection.
    pub fn correlation_id(&self) -> i32 {
        self.guard.id
    }

    /// Awaits the answer: a whole frame without its length.
    pub async fn response(mut self) -> Result<Bytes, CallError> {
        match tokio::time::timeout_at(self.deadline, &mut self.answer).await {
            Ok(Ok(frame)) => {
                self.guard.answered = true;
                Ok(frame)
            }
            Ok(Err(_)) => {
                self.guard.answered = true;
                Err(self.guard.connection.shared.closed_error())
            }
            Err(_) => Err(CallError::TimedOut(self.timeout)),
        }
    }
}

/// A request in the queue or beyond. Dropping it abandons the call.
#[derive(Debug)]
pub struct Call<R> {
    raw: RawCall,
    version: i16,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Call<R> {
    pub(super) fn new(raw: RawCall, version: i16) -> Self {
        Self { raw, version, request: PhantomData }
    }

    /// Awaits the answer.
    pub async fn response(self) -> Result<R::Response, CallError> {
        let version = self.version;
        decode_response::<R>(self.raw.response().await?, version)
    }
}

/// Reads a whole answer to version `version` of a request.
pub(super) fn decode_response<R: Request>(
    frame: Bytes,
    version: i16,
) -> Result<R::Response, CallError> {
    let mut decoder = Decoder::new(frame);
    ResponseHeader::decode(&mut decoder, R::KEY, version)?;
    let response = R::Response::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok(response)
}
