//! Takes frames off a connection.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_protocol::frame::{FrameError, FrameLength};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::limits::{Limits, SMALL_FRAME_BYTES};
use super::memory::{FrameMemory, FramePermit};

/// Splits what comes in into frames.
///
/// One read may bring several frames, which are then slices of one buffer. A frame that does not fit
/// in that buffer is received into one of its own size, without another copy, under a memory permit.
/// A connection that is silent holds no buffer at all.
#[derive(Debug)]
pub struct FrameReader<R> {
    io: R,
    /// What was read and not yet handed out. Without capacity while the connection is silent.
    buffer: BytesMut,
}

/// Why no further frame can be had; the connection is to be closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameReadError {
    /// The client hung up between two frames.
    #[error("end of stream")]
    Closed,
    /// The client hung up within a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// Nothing came for as long as `connections.max.idle.ms` says.
    #[error("idle for longer than connections.max.idle.ms")]
    Idle,
    /// The length is negative or above the limit.
    #[error("{0}; is this a Kafka client, and is socket.request.max.bytes large enough?")]
    Length(#[from] FrameError),
    /// Not even a header fits.
    #[error("frame of {0} bytes, which is too short for a request header; is this a Kafka client?")]
    TooShort(usize),
    /// A frame takes too long to come.
    #[error("a frame of {length} bytes came too slowly: {received} bytes so far")]
    TooSlow {
        /// Announced.
        length: usize,
        /// Come so far.
        received: usize,
    },
    /// The socket failed.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}

/// A frame and the right to hold it; the permit goes when the last slice does.
struct Frame {
    bytes: Vec<u8>,
    _permit: FramePermit,
}

/// Key, version and correlation id: what every request begins with.
const HEADER_BYTES_MIN: usize = 8;
/// Bytes of the length before a frame.
const PREFIX: usize = 4;
/// Size of the buffer that gathers small frames.
const BUFFER_BYTES: usize = 16 * 1024;
/// Frames up to this size are gathered in the buffer and need no permit: what they can hold is bounded
/// by the number of connections. Heartbeats and most other requests are below it.
const BUFFERED_FRAME_BYTES: usize = 8 * 1024;
/// What the first read after a silence can bring; it goes to the stack, so that waiting costs nothing.
const FIRST_READ_BYTES: usize = 8 * 1024;

const _: () = assert!(PREFIX + BUFFERED_FRAME_BYTES <= BUFFER_BYTES);
const _: () = assert!(FIRST_READ_BYTES <= BUFFER_BYTES);

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader at the start of a frame.
    pub fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new() }
    }

    /// The next frame, without its length. Waits for a memory permit before it receives a long one.
    ///
    /// Dropping the future at a frame's start loses nothing; in the middle of a long frame it does,
    /// so it may only be dropped then if the connection is given up.
    pub async fn next(
        &mut self,
        limits: &Limits,
        memory: &FrameMemory,
    ) -> Result<Bytes, FrameReadError> {
        self.wait_for_prefix(limits).await?;
        let prefix = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        let length = FrameLength::parse(prefix, limits.request_bytes_max)?.get();
        if length < HEADER_BYTES_MIN {
            return Err(FrameReadError::TooShort(length));
        }
        self.buffer.advance(PREFIX);
        if length <= BUFFERED_FRAME_BYTES || length <= self.buffer.len() {
            return self.gather(length, limits).await;
        }
        self.receive(length, limits, memory).await
    }

    /// Waits until the length is there.
    async fn wait_for_prefix(&mut self, limits: &Limits) -> Result<(), FrameReadError> {
        if self.buffer.is_empty() {
            // Frames that were handed out may still use the old buffer; a silent connection must not.
            self.buffer = BytesMut::new();
            let deadline = deadline_after(limits.idle_max);
            match timeout_at(deadline, self.first_read()).await {
                Err(_) => return Err(FrameReadError::Idle),
                Ok(read) => read?,
            }
        }
        let deadline = deadline_after(limits.small_frame_time_max);
        while self.buffer.len() < PREFIX {
            self.fill(deadline, PREFIX).await?;
        }
        Ok(())
    }

    /// Reads something while no buffer is held, then makes one.
    async fn first_read(&mut self) -> Result<(), FrameReadError> {
        let Self { io, buffer } = self;
        poll_fn(|context| {
            let mut stack = [MaybeUninit::<u8>::uninit(); FIRST_READ_BYTES];
            let mut read = ReadBuf::uninit(&mut stack);
            std::task::ready!(Pin::new(&mut *io).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return std::task::Poll::Ready(Err(FrameReadError::Closed));
            }
            buffer.reserve(read.filled().len().max(PREFIX));
            buffer.put_slice(read.filled());
            std::task::Poll::Ready(Ok(()))
        })
        .await
    }

    /// Completes a short frame in the buffer, along with whatever comes behind it.
    async fn gather(&mut self, length: usize, limits: &Limits) -> Result<Bytes, FrameReadError> {
        let deadline = deadline_after(limits.small_frame_time_max);
        while self.buffer.len() < length {
            if self.buffer.capacity() < length {
                self.buffer.reserve(BUFFER_BYTES - self.buffer.len());
            }
            self.fill(deadline, length).await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    /// Receives a frame into memory of its own.
    async fn receive(
        &mut self,
        length: usize,
        limits: &Limits,
        memory: &FrameMemory,
    ) -> Result<Bytes, FrameReadError> {
        let (permit, lane) = memory.acquire(length).await;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&self.buffer);
        self.buffer = BytesMut::new();
        let mut pace = Pace::start(length, bytes.len(), limits);
        while bytes.len() < length {
            let missing = length - bytes.len();
            let mut rest = (&mut bytes).limit(missing);
            match timeout_at(pace.deadline, self.io.read_buf(&mut rest)).await {
                Ok(Ok(0)) => return Err(FrameReadError::Truncated),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => pace.begin_window(bytes.len(), limits)?,
            }
        }
        drop(lane);
        Ok(Bytes::from_owner(Frame { bytes, _permit: permit }))
    }

    /// Reads what comes into the buffer; `length` is only for the error.
    async fn fill(&mut self, deadline: Instant, length: usize) -> Result<(), FrameReadError> {
        match timeout_at(deadline, self.io.read_buf(&mut self.buffer)).await {
            Ok(Ok(0)) => Err(FrameReadError::Truncated),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(FrameReadError::TooSlow { length, received: self.buffer.len() }),
        }
    }
}

/// Watches that a long frame comes at the least rate, in windows; one that is not long has one window.
#[derive(Debug)]
struct Pace {
    length: usize,
    deadline: Instant,
    received_before: usize,
}

impl Pace {
    fn start(length: usize, received: usize, limits: &Limits) -> Self {
        let window = if length <= SMALL_FRAME_BYTES {
            limits.small_frame_time_max
        } else {
            limits.rate_window
        };
        Self { length, deadline: deadline_after(window), received_before: received }
    }

    /// The window ended before the frame did.
    fn begin_window(&mut self, received: usize, limits: &Limits) -> Result<(), FrameReadError> {
        let length = self.length;
        let came = received - self.received_before;
        if length <= SMALL_FRAME_BYTES || came < limits.rate_bytes_min {
            return Err(FrameReadError::TooSlow { length, received });
        }
        self.received_before = received;
        self.deadline = deadline_after(limits.rate_window);
        Ok(())
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn deadline_after(duration: Duration) -> Instant {
    // Far enough for "never", and short of what the timer could not hold.
    const FAR: Duration = Duration::from_hours(24 * 365);
    Instant::now() + duration.min(FAR)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn frame_of(body: &[u8]) -> Vec<u8> {
        let mut frame = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        frame
    }

    fn limits() -> Limits {
        Limits { request_bytes_max: 1024 * 1024, ..Limits::default() }
    }

    fn memory() -> FrameMemory {
        FrameMemory::new(1024 * 1024, 4 * 1024 * 1024)
    }

    /// Sends `bytes` and hangs up; returns all frames and how it ended.
    async fn read_all(bytes: Vec<u8>) -> (Vec<Bytes>, FrameReadError) {
        let (mut client, server) = duplex(64 * 1024);
        let sender = tokio::spawn(async move {
            client.write_all(&bytes).await.ok();
        });
        let mut reader = FrameReader::new(server);
        let mut frames = Vec::new();
        let end = loop {
            match reader.next(&limits(), &memory()).await {
                Ok(frame) => frames.push(frame),
                Err(end) => break end,
            }
        };
        drop(reader);
        sender.await.unwrap();
        (frames, end)
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_out_as_they_went_in() {
        let sizes = [8, 100, 8191, 8192, 8193, 20_000, 65_536, 65_537, 500_000, 9];
        let bodies: Vec<Vec<u8>> =
            sizes.iter().map(|size| (0..*size).map(|i| (i % 251) as u8).collect()).collect();
        let (frames, end) = read_all(bodies.iter().flat_map(|body| frame_of(body)).collect()).await;
        assert_eq!(frames.len(), bodies.len());
        assert!(frames.iter().zip(&bodies).all(|(frame, body)| frame[..] == body[..]));
        assert!(matches!(end, FrameReadError::Closed));
    }

    #[tokio::test]
    async fn impossible_lengths_end_the_connection() {
        let (_, end) = read_all(vec![0xff, 0xff, 0xff, 0xff, 0]).await;
        assert!(matches!(end, FrameReadError::Length(FrameError::Negative(-1))), "{end}");
        let (_, end) = read_all(vec![0x7f, 0xff, 0xff, 0xff, 0]).await;
        assert!(matches!(end, FrameReadError::Length(FrameError::TooLong { .. })), "{end}");
        let (_, end) = read_all(frame_of(&[0; 7])).await;
        assert!(matches!(end, FrameReadError::TooShort(7)), "{end}");
    }

    #[tokio::test]
    async fn half_a_frame_ends_the_connection() {
        for cut in [2, 6, 30_000] {
            let mut bytes = frame_of(&[1; 60_000]);
            bytes.truncate(cut);
            let (frames, end) = read_all(bytes).await;
            assert!(frames.is_empty() && matches!(end, FrameReadError::Truncated), "{cut}: {end}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_a_second_is_too_slow() {
        for (length, window) in [(1_000, 30), (60_000, 30), (500_000, 10)] {
            let (mut client, server) = duplex(64 * 1024);
            let mut reader = FrameReader::new(server);
            let started = Instant::now();
            let sender = tokio::spawn(async move {
                let bytes = frame_of(&vec![0; length]);
                for byte in bytes {
                    if client.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
            let end = reader.next(&limits(), &memory()).await.unwrap_err();
            assert!(matches!(end, FrameReadError::TooSlow { .. }), "{end}");
            assert!(started.elapsed() < Duration::from_secs(window + 35));
            sender.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn steady_sender_of_a_long_frame_is_let_be() {
        let (mut client, server) = duplex(64 * 1024);
        let mut reader = FrameReader::new(server);
        tokio::spawn(async move {
            for part in frame_of(&vec![0; 1_000_000]).chunks(100_000) {
                client.write_all(part).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(reader.next(&limits(), &memory()).await.unwrap().len(), 1_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_connection_and_holds_no_buffer() {
        let (mut client, server) = duplex(1024);
        let mut reader = FrameReader::new(server);
        client.write_all(&frame_of(&[0; 100])).await.unwrap();
        reader.next(&limits(), &memory()).await.unwrap();
        let end = reader.next(&limits(), &memory()).await.unwrap_err();
        assert!(matches!(end, FrameReadError::Idle), "{end}");
        assert_eq!(reader.buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn memory_of_a_long_frame_comes_back_with_its_last_slice() {
        let (mut client, server) = duplex(64 * 1024);
        let memory = memory();
        let before = memory.available_bytes();
        let mut reader = FrameReader::new(server);
        tokio::spawn(async move {
            client.write_all(&frame_of(&vec![7; 300_000])).await.unwrap();
            std::future::pending::<()>().await;
        });
        let frame = reader.next(&limits(), &memory).await.unwrap();
        assert!(memory.available_bytes().1 < before.1);
        let slice = frame.slice(1000..1010);
        drop(frame);
        assert!(memory.available_bytes().1 < before.1, "a slice still holds the frame");
        drop(slice);
        assert_eq!(memory.available_bytes(), before);
    }
}
