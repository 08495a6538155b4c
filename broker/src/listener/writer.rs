//! Sends the answers of one connection, in the order of its requests.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use ottla_protocol::ApiKey;
use ottla_protocol::time::Now;
use ottla_protocol::wire::Piece;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::buffers::{self, BufferPool};
use super::cold_reads::ColdReads;
use super::limits::Limits;
use crate::clock::Clock;
use crate::handlers::{FileSlice, Later, Reply, ReplyBody};
use crate::metrics::Metrics;

/// A request whose ordered part is done.
pub(super) struct InFlight {
    pub(super) pending: Pending,
    pub(super) api_key: ApiKey,
    pub(super) received: Now,
    /// What the reply holds of [`Flow::unread`].
    pub(super) unread_units: u32,
}

/// Where the reply comes from.
pub(super) enum Pending {
    Ready(Reply),
    Later(Later),
}

/// What reader and writer share: how much of the connection's bounds is free.
#[derive(Debug)]
pub(super) struct Flow {
    /// Requests that may still begin.
    pub(super) slots: Semaphore,
    /// Memory that answers may still take, in units of [`UNREAD_UNIT`].
    pub(super) unread: Semaphore,
}

/// Bytes in one unit of [`Flow::unread`].
pub(super) const UNREAD_UNIT: usize = 1024;

/// Where file slices get their buffers and their bytes.
#[derive(Debug, Clone)]
pub(super) struct FileSource {
    pub(super) buffers: BufferPool,
    pub(super) cold_reads: ColdReads,
}

/// Why nothing more is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteEnd {
    /// Every answer that will ever be there is sent.
    #[error("all answers are sent")]
    Finished,
    /// A handler asked for it.
    #[error("a request was refused by closing the connection")]
    Refused,
    #[error("the client does not read its answers")]
    Stalled,
    #[error("writing failed: {0}")]
    Io(#[from] io::Error),
    /// The length was promised already, so the rest of the answer cannot be told as an error.
    #[error("records of an answer cannot be read: {0}")]
    File(io::Error),
}

/// The writer half of a connection.
pub(super) struct Writer<'a, W> {
    io: W,
    flow: &'a Flow,
    limits: &'a Limits,
    files: &'a FileSource,
    metrics: &'a Metrics,
    clock: &'a dyn Clock,
    outgoing: Outgoing,
    /// Answers whose bytes are in `outgoing`.
    staged: Vec<Staged>,
}

struct Staged {
    api_key: ApiKey,
    received: Now,
    unread_units: u32,
    bytes: usize,
}

/// Bytes that go out with the next write.
#[derive(Default)]
struct Outgoing {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

type Parallel = FuturesOrdered<InFlightFuture>;

struct InFlightFuture(Option<Box<InFlight>>);

/// Answers are gathered for one write up to about this size.
const GATHER_BYTES: usize = 256 * 1024;
/// Answers gathered for one write.
const GATHER_COUNT: usize = 64;
/// Slices handed to one system call.
const IO_SLICES: usize = 64;
/// A pooled buffer waits for the socket no longer than this.
const BUFFER_HOLD: Duration = Duration::from_millis(100);
/// What a stalled connection keeps in memory instead of a pooled buffer.
const STALLED_BYTES: usize = 4 * 1024;

impl<'a, W: AsyncWrite + Unpin> Writer<'a, W> {
    pub(super) fn new(io: W, flow: &'a Flow, connection: &'a super::connection::Shared) -> Self {
        Self {
            io,
            flow,
            limits: &connection.limits,
            files: &connection.files,
            metrics: &connection.services.metrics,
            clock: &*connection.services.clock,
            outgoing: Outgoing::default(),
            staged: Vec::new(),
        }
    }

    /// Drives parallel parts and sends answers until the queue ends or the connection does.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Box<InFlight>>) -> WriteEnd {
        let mut parallel = Parallel::new();
        let mut is_open = true;
        loop {
            let next = if parallel.is_empty() {
                match queue.recv().await {
                    Some(request) => take_if_ready(request, &mut parallel),
                    None => return WriteEnd::Finished,
                }
            } else {
                tokio::select! {
                    biased;
                    done = parallel.next() => done,
                    request = queue.recv(), if is_open => {
                        match request {
                            Some(request) => parallel.push_back(InFlightFuture(Some(request))),
                            None => is_open = false,
                        }
                        None
                    }
                }
            };
            let Some(first) = next else { continue };
            if let Err(end) = self.send(first, &mut queue, &mut parallel).await {
                return end;
            }
        }
    }

    /// Sends one answer, along with those behind it that are ready too.
    async fn send(
        &mut self,
        first: Box<InFlight>,
        queue: &mut mpsc::Receiver<Box<InFlight>>,
        parallel: &mut Parallel,
    ) -> Result<(), WriteEnd> {
        let mut next = Some(first);
        while let Some(done) = next {
            self.stage(*done).await?;
            let is_room = self.outgoing.bytes < GATHER_BYTES && self.staged.len() < GATHER_COUNT;
            next = if is_room { next_ready(queue, parallel) } else { None };
        }
        self.flush().await
    }

    /// Puts an answer behind those that are going out; what is in files goes out at once.
    async fn stage(&mut self, done: InFlight) -> Result<(), WriteEnd> {
        let InFlight { pending, api_key, received, unread_units } = done;
        let Pending::Ready(reply) = pending else {
            unreachable!("only answers that are ready get here")
        };
        let bytes = reply.len();
        self.staged.push(Staged { api_key, received, unread_units, bytes });
        match reply.body {
            ReplyBody::None => Ok(()),
            ReplyBody::Close => {
                self.flush().await?;
                Err(WriteEnd::Refused)
            }
            ReplyBody::Frame { pieces, slices } => {
                for piece in pieces {
                    match piece {
                        Piece::Memory(bytes) => self.outgoing.push(bytes),
                        Piece::External { id, len } => {
                            let slice = slice_of(&slices, id, len)?;
                            self.write_outgoing().await?;
                            self.write_slice(slice).await?;
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// Sends everything that is staged and gives its share of the bounds back.
    async fn flush(&mut self) -> Result<(), WriteEnd> {
        self.write_outgoing().await?;
        let now = self.clock.now();
        for sent in self.staged.drain(..) {
            self.flow.slots.add_permits(1);
            self.flow.unread.add_permits(sent.unread_units as usize);
            self.metrics.answered(sent.api_key, sent.bytes, sent.received, now);
        }
        if GATHER_COUNT < self.staged.capacity() || self.outgoing.pieces.capacity() > IO_SLICES {
            self.staged = Vec::new();
            self.outgoing.pieces = VecDeque::new();
        }
        Ok(())
    }

    async fn write_outgoing(&mut self) -> Result<(), WriteEnd> {
        while !self.outgoing.pieces.is_empty() {
            let written = {
                let mut slices = [IoSlice::new(&[]); IO_SLICES];
                let count = self.outgoing.fill(&mut slices);
                let write = self.io.write_vectored(&slices[..count]);
                timeout(self.limits.idle_max, write).await.map_err(|_| WriteEnd::Stalled)??
            };
            if written == 0 {
                return Err(WriteEnd::Io(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(written);
        }
        Ok(())
    }

    /// Streams part of a file through one pooled buffer.
    async fn write_slice(&mut self, slice: &FileSlice) -> Result<(), WriteEnd> {
        let end = slice.position + u64::from(slice.len);
        let mut position = slice.position;
        while position < end {
            let rest = usize::try_from(end - position).unwrap_or(usize::MAX);
            let (buffer, read) = self.read(slice, position, rest).await?;
            let sent = self.write_while_held(&buffer[..read]).await?;
            position += sent as u64;
            if sent < read {
                // The client is slow: let others have the buffer, and go on with a little of it.
                let kept = buffer[sent..read.min(sent + STALLED_BYTES)].to_vec();
                drop(buffer);
                let write = self.io.write(&kept);
                let sent =
                    timeout(self.limits.idle_max, write).await.map_err(|_| WriteEnd::Stalled)??;
                position += sent as u64;
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        slice: &FileSlice,
        position: u64,
        len: usize,
    ) -> Result<(buffers::PooledBuffer, usize), WriteEnd> {
        let mut buffer = self.files.buffers.acquire().await;
        let len = len.min(buffer.len());
        let (buffer, read) = match slice.source.read_cached(position, &mut buffer[..len]) {
            Ok(read) => (buffer, read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let source = std::sync::Arc::clone(&slice.source);
                let read = self.files.cold_reads.read(source, position, len, buffer).await;
                read.map_err(WriteEnd::File)?
            }
            Err(error) => return Err(WriteEnd::File(error)),
        };
        if read == 0 {
            return Err(WriteEnd::File(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok((buffer, read))
    }

    /// Writes until the socket has been full for [`BUFFER_HOLD`]; returns how much went out.
    async fn write_while_held(&mut self, data: &[u8]) -> Result<usize, WriteEnd> {
        let mut sent = 0;
        while sent < data.len() {
            match timeout(BUFFER_HOLD, self.io.write(&data[sent..])).await {
                Ok(Ok(0)) => return Err(WriteEnd::Io(io::ErrorKind::WriteZero.into())),
                Ok(Ok(written)) => sent += written,
                Ok(Err(error)) => return Err(WriteEnd::Io(error)),
                Err(_) => break,
            }
        }
        Ok(sent)
    }
}

impl Flow {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            slots: Semaphore::new(limits.in_flight_max),
            unread: Semaphore::new(limits.unread_bytes_max.div_ceil(UNREAD_UNIT)),
        }
    }
}

impl Outgoing {
    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.pieces.push_back(bytes);
    }

    fn fill<'s>(&'s self, slices: &mut [IoSlice<'s>]) -> usize {
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop_front();
        }
    }
}

impl Future for InFlightFuture {
    type Output = Box<InFlight>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let request = self.0.as_mut().expect("a future is not polled after it is done");
        if let Pending::Later(later) = &mut request.pending {
            let reply = std::task::ready!(later.as_mut().poll(context));
            request.pending = Pending::Ready(reply);
        }
        Poll::Ready(self.0.take().expect("it was there above"))
    }
}

/// The request if it is answered already; otherwise it goes to the parallel ones.
fn take_if_ready(request: Box<InFlight>, parallel: &mut Parallel) -> Option<Box<InFlight>> {
    if parallel.is_empty() && matches!(request.pending, Pending::Ready(_)) {
        return Some(request);
    }
    parallel.push_back(InFlightFuture(Some(request)));
    None
}

/// The next answer in order, if it is there without waiting.
fn next_ready(
    queue: &mut mpsc::Receiver<Box<InFlight>>,
    parallel: &mut Parallel,
) -> Option<Box<InFlight>> {
    if parallel.is_empty() {
        return take_if_ready(queue.try_recv().ok()?, parallel);
    }
    // Whoever waits next polls these again, so that the lost waker of this one poll does not matter.
    parallel.next().now_or_never().flatten()
}

fn slice_of(slices: &[FileSlice], id: u32, len: u32) -> Result<&FileSlice, WriteEnd> {
    let found = slices.iter().find(|slice| slice.id == id && slice.len == len);
    found.ok_or_else(|| {
        WriteEnd::File(io::Error::other(format!("no slice of {len} bytes has id {id}")))
    })
}
