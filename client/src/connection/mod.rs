//! One connection to a broker or coordinator: many calls at once, answers in any order.
//!
//! A [`Connection`] runs two tasks, a reader and a writer, over any byte stream. Calls are bounded in number and in
//! bytes; every call has a deadline; once the peer is gone every call fails at once. When the last handle and the last
//! [`Call`] are dropped the tasks end and the stream is closed.

mod call;
mod connect;
mod error;
mod shared;
mod tasks;
mod versions;

pub use call::{Call, RawCall};
pub use connect::{Address, BoxedStream, ConnectError, Connector, ParseAddressError, TcpConnector};
pub use error::{CallError, CloseReason};
pub use versions::{NegotiateError, Software, UnsupportedApi, Versions, negotiate};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::wire::{EncodeError, Piece, Pieces};
use ottla_protocol::{Request, Str, frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;

use shared::{Outgoing, Shared};
use tasks::Tasks;

/// Makes the frame that tells the peer not to bother about a call any more, from the call's correlation id and one for
/// the new frame. Nothing is awaited in answer to it.
pub type CancelFrame = Arc<dyn Fn(i32, i32) -> Option<Pieces> + Send + Sync>;

/// How a connection behaves.
#[derive(Clone)]
pub struct ConnectionOptions {
    /// What the connection calls itself in request headers: `client.id`. Default none.
    pub client_id: Option<Str>,
    /// How long a call may take from the start until its answer: `request.timeout.ms`. Default 30 s.
    pub request_timeout: Duration,
    /// Calls that may await their answers; further ones wait. Default 1024.
    pub calls_max: usize,
    /// Bytes of requests that may wait to be written; further ones wait. A larger request goes alone. Default 64 MiB.
    pub queued_bytes_max: usize,
    /// Bytes that an answer may have. Default 128 MiB, above the 55 MiB that a broker returns to a fetch by default.
    pub answer_bytes_max: usize,
    /// Sent when a call is dropped or times out before its answer. Default none.
    pub cancel_frame: Option<CancelFrame>,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: None,
            request_timeout: Duration::from_secs(30),
            calls_max: 1024,
            queued_bytes_max: 64 << 20,
            answer_bytes_max: 128 << 20,
            cancel_frame: None,
        }
    }
}

impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionOptions")
            .field("client_id", &self.client_id)
            .field("request_timeout", &self.request_timeout)
            .field("calls_max", &self.calls_max)
            .field("queued_bytes_max", &self.queued_bytes_max)
            .field("answer_bytes_max", &self.answer_bytes_max)
            .field("cancel_frame", &self.cancel_frame.is_some())
            .finish()
    }
}

/// A connection. Cloning gives another handle to the same one.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Outgoing>,
    /// Ends both tasks when the last handle is dropped.
    _tasks: Arc<Tasks>,
}

impl Connection {
    /// Runs a connection over `stream`. Must be called within a tokio runtime.
    pub fn new<S>(stream: S, options: ConnectionOptions) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        Self::from_halves(reader, writer, options)
    }

    /// Runs a connection over the two directions of a stream.
    pub fn from_halves<R, W>(reader: R, writer: W, options: ConnectionOptions) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let (outgoing, queue) = mpsc::channel(options.calls_max.max(1));
        let shared = Arc::new(Shared::new(options));
        let tasks = Tasks::spawn(reader, writer, queue, &shared);
        Self { shared, outgoing, _tasks: Arc::new(tasks) }
    }

    /// Sends `request` and awaits its answer, for at most the connection's request timeout. Dropping the future
    /// abandons the call.
    pub async fn call<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, CallError> {
        self.start(version, request).await?.response().await
    }

    /// Like [`call`](Self::call) with a timeout of its own.
    pub async fn call_within<R: Request>(
        &self,
        version: i16,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        self.start_within(version, request, timeout).await?.response().await
    }

    /// Puts `request` in the queue to be written and returns the call. Requests are written in the order in which these
    /// futures complete, so a caller that awaits one before it starts the next has its order kept.
    pub async fn start<R: Request>(&self, version: i16, request: &R) -> Result<Call<R>, CallError> {
        self.start_within(version, request, self.shared.options.request_timeout).await
    }

    /// Like [`start`](Self::start) with a timeout of its own, which spans the whole call.
    pub async fn start_within<R: Request>(
        &self,
        version: i16,
        request: &R,
        timeout: Duration,
    ) -> Result<Call<R>, CallError> {
        let client_id = self.shared.options.client_id.as_ref();
        let encode = |id| frame::encode_request(id, client_id, version, request);
        let call = self.start_encoded(encode, timeout).await?;
        Ok(Call::new(call, version))
    }

    /// Sends a whole request frame, given in pieces, length included, and awaits the whole answer, length excluded. The
    /// correlation id in the request is replaced by one of this connection's, with which the answer then begins.
    pub async fn call_raw(&self, frame: Vec<Bytes>, timeout: Duration) -> Result<Bytes, CallError> {
        let make = |id| replace_correlation_id(frame, id).ok_or(CallError::FrameTooShort);
        self.start_frame(make, timeout).await?.response().await
    }

    /// Like [`call_raw`](Self::call_raw) for a frame that `encode` makes, given its correlation id; returns once the
    /// request is in the queue.
    pub async fn start_encoded(
        &self,
        encode: impl FnOnce(i32) -> Result<Pieces, EncodeError>,
        timeout: Duration,
    ) -> Result<RawCall, CallError> {
        let make = |id| Ok(in_memory(encode(id)?)?);
        self.start_frame(make, timeout).await
    }

    async fn start_frame(
        &self,
        make: impl FnOnce(i32) -> Result<Vec<Bytes>, CallError>,
        timeout: Duration,
    ) -> Result<RawCall, CallError> {
        let deadline = Instant::now() + timeout;
        let queued = async {
            let permit = self.shared.call_permit().await?;
            let id = self.shared.next_correlation_id();
            let frame = make(id)?;
            let bytes = self.shared.bytes_permit(&frame).await?;
            let slot = self.outgoing.reserve().await.map_err(|_| self.shared.closed_error())?;
            let answer = self.shared.register(id, permit)?;
            slot.send(Outgoing { frame, _bytes: Some(bytes), written: None });
            Ok(RawCall::new(self.clone(), id, answer, (deadline, timeout)))
        };
        match tokio::time::timeout_at(deadline, queued).await {
            Ok(result) => result,
            Err(_) => Err(CallError::TimedOut(timeout)),
        }
    }

    /// Sends a request that has no answer (Produce with `acks=0`, CancelRelay) and returns once it is written.
    pub async fn send<R: Request>(&self, version: i16, request: &R) -> Result<(), CallError> {
        let timeout = self.shared.options.request_timeout;
        let sent = async {
            let id = self.shared.next_correlation_id();
            let client_id = self.shared.options.client_id.as_ref();
            let frame = in_memory(frame::encode_request(id, client_id, version, request)?)?;
            let bytes = self.shared.bytes_permit(&frame).await?;
            let (written, done) = tokio::sync::oneshot::channel();
            let outgoing = Outgoing { frame, _bytes: Some(bytes), written: Some(written) };
            let queued = self.outgoing.send(outgoing).await;
            queued.map_err(|_| self.shared.closed_error())?;
            done.await.map_err(|_| self.shared.closed_error())
        };
        match tokio::time::timeout(timeout, sent).await {
            Ok(result) => result,
            Err(_) => Err(CallError::TimedOut(timeout)),
        }
    }

    /// Why the connection is of no more use, if so.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.shared.close_reason()
    }

    /// Whether the connection is of no more use.
    pub fn is_closed(&self) -> bool {
        self.close_reason().is_some()
    }

    /// Completes once the connection is of no more use.
    pub async fn closed(&self) -> CloseReason {
        self.shared.closed.cancelled().await;
        self.close_reason().unwrap_or(CloseReason::Local)
    }

    /// Ends the connection: every call fails with [`CloseReason::Local`].
    pub fn close(&self) {
        self.shared.close(CloseReason::Local);
    }

    /// Calls that await their answers.
    pub fn calls_in_flight(&self) -> usize {
        self.shared.calls_in_flight()
    }

    /// When the peer last answered a call, if ever.
    pub fn answered_at(&self) -> Option<Instant> {
        self.shared.answered_at()
    }

    /// How long the peer has owed answers, be it to calls given up since, without giving any; zero if it owes none.
    pub fn silent_for(&self) -> Duration {
        self.shared.waiting_since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn cancel(&self, id: i32) {
        self.shared.forget(id);
        let Some(make) = &self.shared.options.cancel_frame else { return };
        let cancel_id = self.shared.next_correlation_id();
        let Some(frame) = make(id, cancel_id).and_then(|frame| in_memory(frame).ok()) else {
            return;
        };
        // A full queue means a peer that does not read: it would not read this either.
        let _ = self.outgoing.try_send(Outgoing { frame, _bytes: None, written: None });
    }
}

/// The pieces as bytes: a promise of bytes from elsewhere cannot be kept here.
fn in_memory(frame: Pieces) -> Result<Vec<Bytes>, EncodeError> {
    frame
        .into_iter()
        .map(|piece| match piece {
            Piece::Memory(bytes) => Ok(bytes),
            Piece::External { id, .. } => Err(EncodeError::External { id }),
        })
        .collect()
}

/// Bytes of a request frame before and with its correlation id: length, key, version, id.
const CORRELATION_ID: std::ops::Range<usize> = 8..12;

/// Replaces the correlation id, copying only what is in front of it; `None` if the first piece is too short.
fn replace_correlation_id(mut frame: Vec<Bytes>, id: i32) -> Option<Vec<Bytes>> {
    let first = frame.first_mut()?;
    let mut head = *first.first_chunk::<{ CORRELATION_ID.end }>()?;
    head[CORRELATION_ID].copy_from_slice(&id.to_be_bytes());
    let _ = first.split_to(head.len());
    frame.insert(0, Bytes::copy_from_slice(&head));
    Some(frame)
}

#[cfg(test)]
mod tests;
