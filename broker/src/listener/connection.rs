//! One connection, from its first byte to its last.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::wire::Decoder;
use ottla_protocol::{ApiKey, RequestHeader, Str};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::frame::{FrameReadError, FrameReader};
use super::limits::Limits;
use super::memory::FrameMemory;
use super::router::{Refusal, Router};
use super::sasl::Session;
use super::writer::{FileSource, Flow, InFlight, Pending, UNREAD_UNIT, WriteEnd, Writer};
use super::{acl, quota};
use crate::handlers::{Answer, ConnectionInfo, Reply, ReplyBody, RequestContext, api_versions};
use crate::services::Services;

/// What all connections of a broker share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) services: Arc<Services>,
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) memory: FrameMemory,
    pub(super) files: FileSource,
    /// Cancelled when no further request is to be read.
    pub(super) drain: CancellationToken,
}

/// Why no further request is read.
#[derive(Debug, thiserror::Error)]
enum ReadEnd {
    #[error(transparent)]
    Frame(#[from] FrameReadError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0} was asked before the client had authenticated")]
    Unauthenticated(ApiKey),
    #[error("{0} is not allowed to this client")]
    Forbidden(ApiKey),
    /// A handler asked for it.
    #[error("a request was refused by closing the connection")]
    Handler,
    #[error("the broker is stopping")]
    Drained,
    /// The writer half ended first.
    #[error("the answers cannot be sent")]
    WriterGone,
}

/// The reader half.
struct Reader<'a, R> {
    frames: FrameReader<R>,
    session: Session,
    shared: &'a Shared,
    flow: &'a Flow,
    info: &'a Arc<ConnectionInfo>,
    /// What the client called itself last, apart from any frame: what waits for its answer must not keep
    /// the memory of its request.
    client_id: Str,
    queue: mpsc::Sender<Box<InFlight>>,
}

/// Serves a connection until either side ends it. Errors are logged here and nowhere else.
pub(super) async fn serve<R, W>(
    shared: &Shared,
    read_half: R,
    write_half: W,
    info: Arc<ConnectionInfo>,
    session: Session,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let flow = Flow::new(&shared.limits);
    // Never full: a request takes a slot before it gets here.
    let (queue, queued) = mpsc::channel(shared.limits.in_flight_max);
    let reader = Reader {
        frames: FrameReader::new(read_half),
        session,
        shared,
        flow: &flow,
        info: &info,
        client_id: Str::new(),
        queue,
    };
    let writer = Writer::new(write_half, &flow, shared);
    let reading = reader.run();
    let writing = writer.run(queued);
    tokio::pin!(reading, writing);
    tokio::select! {
        read_end = &mut reading => {
            log_read_end(&info, &read_end);
            // What is answered already still goes out; what would have to be waited for is given up.
            let linger = if matches!(read_end, ReadEnd::Drained) {
                shared.limits.idle_max
            } else {
                shared.limits.linger
            };
            if let Ok(write_end) = timeout(linger, &mut writing).await {
                log_write_end(&info, &write_end);
            }
        }
        write_end = &mut writing => log_write_end(&info, &write_end),
    }
    info.closed.cancel();
}

impl<R: AsyncRead + Unpin> Reader<'_, R> {
    async fn run(mut self) -> ReadEnd {
        loop {
            let end = match self.step().await {
                Ok(()) => continue,
                Err(end) => end,
            };
            // Another request is being answered: that is no idleness, whatever comes in.
            let in_flight = self.shared.limits.in_flight_max - self.flow.slots.available_permits();
            if matches!(end, ReadEnd::Frame(FrameReadError::Idle)) && 0 < in_flight {
                continue;
            }
            return end;
        }
    }

    /// Takes one request off the socket and through its stages, up to the ordered part.
    async fn step(&mut self) -> Result<(), ReadEnd> {
        let slot = self.flow.slots.acquire().await.map_err(|_| ReadEnd::WriterGone)?;
        let frame = {
            let next = self.frames.next(&self.shared.limits, &self.shared.memory);
            tokio::select! {
                biased;
                () = self.shared.drain.cancelled() => return Err(ReadEnd::Drained),
                frame = next => frame?,
            }
        };
        let request_bytes = frame.len();
        let (context, answer) = self.handle(frame).await?;
        let mute = quota::mute_time(&context, request_bytes);
        let pending = match answer {
            Answer::Ready(reply) => Pending::Ready(reply),
            Answer::Later(later) => Pending::Later(later),
            Answer::None => {
                let now = self.shared.services.clock.now();
                self.shared.services.metrics.answered(context.api_key, 0, context.received, now);
                return Ok(());
            }
            Answer::Close => return Err(ReadEnd::Handler),
        };
        // The next request waits until the client has read enough of the earlier answers.
        let unread_units = unread_units(&pending, &self.shared.limits);
        let unread = self.flow.unread.acquire_many(unread_units).await;
        unread.map_err(|_| ReadEnd::WriterGone)?.forget();
        slot.forget();
        let (api_key, received) = (context.api_key, context.received);
        let request = Box::new(InFlight { pending, api_key, received, unread_units });
        self.queue.try_send(request).map_err(|_| ReadEnd::WriterGone)?;
        if !mute.is_zero() {
            tokio::time::sleep(mute).await;
        }
        Ok(())
    }

    /// Decodes a request and runs its stages.
    async fn handle(&mut self, frame: Bytes) -> Result<(RequestContext, Answer), ReadEnd> {
        let services = &self.shared.services;
        let received = services.clock.now();
        let request_bytes = frame.len();
        let mut decoder = Decoder::new(frame);
        let header = RequestHeader::decode(&mut decoder).map_err(Refusal::from)?;
        let api_key =
            ApiKey::try_from(header.api_key).map_err(|_| Refusal::NotServed(header.api_key))?;
        let client_id = header.client_id.unwrap_or_default();
        if client_id != self.client_id {
            self.client_id = client_id.detach();
        }
        drop(client_id);
        let principal = self.session.admit(api_key).ok_or(ReadEnd::Unauthenticated(api_key))?;
        let context = RequestContext {
            api_key,
            api_version: header.api_version,
            correlation_id: header.correlation_id,
            // The context outlives the frame, whose memory is counted, by as long as the answer waits.
            client_id: self.client_id.clone(),
            connection: Arc::clone(self.info),
            principal,
            received,
        };
        let route = match self.shared.router.route(header.api_key, header.api_version) {
            Ok(route) => route,
            Err(Refusal::Version { key: ApiKey::ApiVersions, served, .. }) => {
                let reply = api_versions::unsupported_version(&context, &served);
                return Ok((context, Answer::Ready(reply)));
            }
            Err(refusal) => return Err(refusal.into()),
        };
        services.metrics.asked(api_key, request_bytes);
        if !acl::is_allowed(&context) {
            return Err(ReadEnd::Forbidden(api_key));
        }
        let ordered = route.begin(services, &context, &mut decoder).map_err(Refusal::from)?;
        // What was decoded holds the frame as far as it needs it.
        drop(decoder);
        let answer = ordered.await;
        Ok((context, answer))
    }
}

/// What an answer that is there holds of the memory for unread answers; files are not in memory.
fn unread_units(pending: &Pending, limits: &Limits) -> u32 {
    let Pending::Ready(Reply { body: ReplyBody::Frame { pieces, slices } }) = pending else {
        return 0;
    };
    let in_files: usize = slices.iter().map(|slice| slice.len as usize).sum();
    let bytes = pieces.len().saturating_sub(in_files).min(limits.unread_bytes_max);
    u32::try_from(bytes / UNREAD_UNIT).unwrap_or(u32::MAX)
}

fn log_read_end(info: &ConnectionInfo, end: &ReadEnd) {
    let (listener, client) = (info.listener.as_str(), info.client_address);
    match end {
        ReadEnd::Frame(FrameReadError::Closed | FrameReadError::Idle | FrameReadError::Io(_))
        | ReadEnd::Drained
        | ReadEnd::WriterGone => {
            tracing::debug!(listener, %client, reason = %end, "connection ends");
        }
        ReadEnd::Frame(_)
        | ReadEnd::Refused(_)
        | ReadEnd::Unauthenticated(_)
        | ReadEnd::Forbidden(_)
        | ReadEnd::Handler => {
            tracing::warn!(listener, %client, reason = %end, "closing the connection");
        }
    }
}

fn log_write_end(info: &ConnectionInfo, end: &WriteEnd) {
    let (listener, client) = (info.listener.as_str(), info.client_address);
    match end {
        WriteEnd::Finished | WriteEnd::Io(_) => {
            tracing::debug!(listener, %client, reason = %end, "connection ends");
        }
        WriteEnd::Refused | WriteEnd::Stalled | WriteEnd::File(_) => {
            tracing::warn!(listener, %client, reason = %end, "closing the connection");
        }
    }
}
