//! The other end of an inter-node connection, in its plainest form.

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use ottla_protocol::messages::{
    CancelRelayRequest, NodeHelloRequest, NodeHelloResponse, RelayRequest, RelayResponse,
};
use ottla_protocol::wire::{Decoder, Encoder, Records};
use ottla_protocol::{ApiKey, Message, Request, RequestHeader, ResponseHeader, frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::support::soon;
use ottla_coordinator::Handle;

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to a coordinator.
pub struct Link {
    frames: Framed<Box<dyn Stream>, LengthDelimitedCodec>,
    next: i32,
}

impl Link {
    /// Over TCP.
    pub async fn tcp(handle: &Handle) -> Self {
        let endpoint = handle.internode_endpoint().expect("it listens");
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
        Self::over(Box::new(stream.expect("it accepts")))
    }

    /// Through memory.
    pub fn memory(handle: &Handle) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        handle.serve_connection(theirs);
        Self::over(Box::new(ours))
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self { frames: Framed::new(stream, LengthDelimitedCodec::new()), next: 0 }
    }

    pub async fn hello(&mut self, hello: NodeHelloRequest) -> NodeHelloResponse {
        self.call(0, &hello).await
    }

    pub async fn hello_as_broker(&mut self, node_id: i32) -> NodeHelloResponse {
        let role = "broker".into();
        self.hello(NodeHelloRequest { node_id, role, ..NodeHelloRequest::default() }).await
    }

    /// As somebody whose end means nothing.
    pub async fn hello_as_tool(&mut self) -> NodeHelloResponse {
        let role = "tool".into();
        self.hello(NodeHelloRequest { role, ..NodeHelloRequest::default() }).await
    }

    /// Sends a request and returns its correlation id.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.next += 1;
        let pieces = frame::encode_request(self.next, None, version, request).expect("encodable");
        let whole = pieces.into_contiguous().expect("in memory");
        // The codec writes the length itself.
        self.frames.send(whole.slice(4..)).await.expect("the coordinator reads");
        self.next
    }

    /// Sends bytes as one frame.
    pub async fn send_frame(&mut self, bytes: &[u8]) {
        self.frames.send(Bytes::copy_from_slice(bytes)).await.expect("the coordinator reads");
    }

    /// The next answer: its correlation id and what follows; `None` when the connection is closed.
    pub async fn next_frame(&mut self) -> Option<BytesMut> {
        soon("a frame or the end", self.frames.next()).await.and_then(Result::ok)
    }

    pub async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let bytes = self.next_frame().await.expect("an answer");
        let mut decoder = Decoder::new(bytes.freeze());
        let header = ResponseHeader::decode(&mut decoder, R::KEY, version).expect("a header");
        let response = R::Response::decode(&mut decoder, version).expect("an answer");
        (header.correlation_id, response)
    }

    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let sent = self.send(version, request).await;
        let (answered, response) = self.receive::<R>(version).await;
        assert_eq!(answered, sent);
        response
    }

    pub async fn cancel(&mut self, correlation_id: i32) {
        self.send(0, &CancelRelayRequest { correlation_id, ..Default::default() }).await;
    }

    /// Relays a request and decodes its answer, which must be one.
    pub async fn relay<R: Request>(&mut self, version: i16, request: &R) -> (R::Response, i64) {
        let answer = self.call(0, &envelope(version, request)).await;
        let revision = answer.revision;
        (inner::<R>(version, &answer).expect("an answer of the API"), revision)
    }
}

/// A relayed request with a deadline of ten seconds, of a broker that speaks for all groups.
pub fn envelope<R: Request>(version: i16, request: &R) -> RelayRequest {
    let mut encoder = Encoder::new();
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version: version,
        correlation_id: 4711,
        client_id: Some("client".into()),
        ..RequestHeader::default()
    };
    header.encode(&mut encoder).expect("encodable");
    request.encode(&mut encoder, version).expect("encodable");
    RelayRequest {
        principal_type: "User".into(),
        principal_name: "alice".into(),
        client_address: "127.0.0.1:5000".into(),
        listener: "PLAINTEXT".into(),
        broker_id: 1,
        broker_epoch: i64::MAX,
        deadline_ms: 10_000,
        shards: (0..50).collect(),
        request: Records::Memory(encoder.finish().into_contiguous().expect("in memory")),
        ..RelayRequest::default()
    }
}

/// The API's own answer inside that of the relay.
pub fn inner<R: Request>(version: i16, answer: &RelayResponse) -> Option<R::Response> {
    let bytes = answer.response.as_ref()?.as_memory()?.clone();
    let mut decoder = Decoder::new(bytes);
    let header = ResponseHeader::decode(&mut decoder, R::KEY, version).ok()?;
    assert_eq!(header.correlation_id, 4711);
    let response = R::Response::decode(&mut decoder, version).ok()?;
    decoder.finish().ok()?;
    Some(response)
}

/// The first bytes of a request of `key`.
pub fn header_bytes(key: ApiKey, version: i16) -> Vec<u8> {
    let mut bytes = key.code().to_be_bytes().to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend(1i32.to_be_bytes());
    bytes.extend([0xff, 0xff, 0]);
    bytes
}
