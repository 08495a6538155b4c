//! A blocking client of bare frames, for what a well-behaved client never sends.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use ottla_protocol::{
    Message, Request, ResponseHeader,
    frame::encode_request,
    wire::{Decoder, Pieces},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection. Frames may be pipelined: send several, then read the answers in order.
#[derive(Debug)]
pub struct WireClient {
    stream: TcpStream,
    correlation_id: i32,
}

impl WireClient {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address, PATIENCE).unwrap_or_else(|e| panic!("{address}: {e}"))
    }

    /// Connects to a server that may be gone. Each answer, too, is waited for no longer than `patience`.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn try_connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        Ok(Self::of(stream, patience))
    }

    /// A client of a connection that is there.
    ///
    /// # Panics
    /// When the system refuses a time-out.
    #[must_use]
    pub fn of(stream: TcpStream, patience: Duration) -> Self {
        stream.set_read_timeout(Some(patience)).expect("a time-out above zero");
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request and returns its correlation id.
    ///
    /// # Panics
    /// When it cannot be encoded or sent.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.try_send(version, request).expect("the server reads")
    }

    fn try_send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        self.correlation_id += 1;
        let pieces = encode_request(self.correlation_id, Some(&"wire".into()), version, request);
        let frame =
            pieces.and_then(Pieces::into_contiguous).expect("a request that can be encoded");
        self.stream.write_all(&frame)?;
        Ok(self.correlation_id)
    }

    /// Reads the answer to the request with this correlation id, which must be the next one.
    ///
    /// # Panics
    /// When the connection ends, or the answer is another's or cannot be decoded.
    pub fn receive<R: Request>(&mut self, version: i16, correlation_id: i32) -> R::Response {
        let frame = self.read_frame().expect("a frame").expect("an answer, not the end");
        Self::decode::<R>(frame, version, correlation_id)
    }

    fn decode<R: Request>(frame: Bytes, version: i16, correlation_id: i32) -> R::Response {
        let mut decoder = Decoder::new(frame);
        let header = ResponseHeader::decode(&mut decoder, R::KEY, version).expect("a header");
        assert_eq!(header.correlation_id, correlation_id, "answers come in request order");
        let response = R::Response::decode(&mut decoder, version).expect("a response");
        decoder.finish().expect("nothing behind the response");
        response
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Panics
    /// As [`Self::send`] and [`Self::receive`].
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let correlation_id = self.send(version, request);
        self.receive::<R>(version, correlation_id)
    }

    /// As [`Self::call`], with a server that may die meanwhile.
    ///
    /// # Errors
    /// When no answer comes.
    ///
    /// # Panics
    /// When an answer comes that is another's or cannot be decoded.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        let correlation_id = self.try_send(version, request)?;
        let frame = self.read_frame()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Self::decode::<R>(frame, version, correlation_id))
    }

    /// Sends bytes as they are; false where the server has closed the connection.
    pub fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame without its length; None where the server has closed the connection.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn read_frame(&mut self) -> io::Result<Option<Bytes>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(e) if is_closed(&e) => return Ok(None),
            Err(e) => return Err(e),
        }
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(Some(frame.into()))
    }

    /// Asserts that the server closes the connection without another answer.
    ///
    /// # Panics
    /// When it answers, or keeps the connection open.
    pub fn assert_closed(&mut self, why: &str) {
        match self.read_frame() {
            Ok(None) => {}
            Ok(Some(frame)) => panic!("{why}: expected a closed connection, got {frame:?}"),
            Err(e) => panic!("{why}: expected a closed connection: {e}"),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}
