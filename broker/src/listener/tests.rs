//! Raw bytes over real sockets.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::fetch_response::{
    FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use ottla_protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use ottla_protocol::wire::{Decoder, Records};
use ottla_protocol::{ApiKey, Message, Request, ResponseHeader, Str, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::handlers::api_versions::ApiVersions;
use crate::handlers::{Answer, FileSlice, Handler, Reply, RequestContext, SliceSource};
use crate::services::Services;
use crate::testing::{self, ImageBuilder, NoTransport};

/// Answers after as many milliseconds as the generation says, and tells it as the throttle time.
struct Delayed;

impl Handler for Delayed {
    type Request = HeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=4;

    async fn handle(
        _: &Arc<Services>,
        context: &RequestContext,
        request: HeartbeatRequest,
    ) -> Answer {
        let context = context.clone();
        let delay_ms = request.generation_id;
        let response =
            HeartbeatResponse { throttle_time_ms: delay_ms, ..HeartbeatResponse::default() };
        match u64::try_from(delay_ms) {
            Ok(0) => Answer::ready::<HeartbeatRequest>(&context, &response),
            Ok(delay_ms) => Answer::later(async move {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                Reply::new::<HeartbeatRequest>(&context, &response)
            }),
            Err(_) => Answer::Close,
        }
    }
}

/// Answers with 256 KiB at once, and counts.
struct Big;

static BIG_HANDLED: AtomicUsize = AtomicUsize::new(0);

impl Handler for Big {
    type Request = SaslAuthenticateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(
        _: &Arc<Services>,
        context: &RequestContext,
        _: SaslAuthenticateRequest,
    ) -> Answer {
        BIG_HANDLED.fetch_add(1, Ordering::Relaxed);
        let response = SaslAuthenticateResponse {
            auth_bytes: Bytes::from(vec![7; 256 * 1024]),
            ..SaslAuthenticateResponse::default()
        };
        Answer::ready::<SaslAuthenticateRequest>(context, &response)
    }
}

/// Answers with `max_bytes` from a file in which byte n is n mod 251; the file has 1 MiB.
struct FromFile;

struct Pattern {
    is_cached: bool,
}

const FILE_BYTES: u64 = 1024 * 1024;

impl SliceSource for Pattern {
    fn read_cached(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_cached && !position.is_multiple_of(3) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_cold(position, buffer)
    }

    fn read_cold(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(FILE_BYTES - position.min(FILE_BYTES)).unwrap();
        let len = rest.min(buffer.len()).min(100_001);
        for (i, byte) in buffer[..len].iter_mut().enumerate() {
            *byte = ((position + i as u64) % 251) as u8;
        }
        Ok(len)
    }
}

impl Handler for FromFile {
    type Request = FetchRequest;
    const VERSIONS: RangeInclusive<i16> = 4..=12;

    async fn handle(_: &Arc<Services>, context: &RequestContext, request: FetchRequest) -> Answer {
        let len = u32::try_from(request.max_bytes).unwrap();
        let partition = |id| PartitionData {
            records: Some(Records::External { id, len }),
            ..PartitionData::default()
        };
        let response = FetchResponse {
            responses: vec![FetchableTopicResponse {
                partitions: vec![partition(1), partition(2)],
                ..FetchableTopicResponse::default()
            }],
            ..FetchResponse::default()
        };
        let slice = |id, is_cached| FileSlice {
            id,
            source: Arc::new(Pattern { is_cached }),
            position: 0,
            len,
        };
        let slices = vec![slice(2, false), slice(1, true)];
        Answer::Ready(Reply::with_files::<FetchRequest>(context, &response, slices))
    }
}

struct Broker {
    network: Network,
    address: SocketAddr,
}

struct Client {
    stream: TcpStream,
}

const PATIENCE: Duration = Duration::from_secs(20);

fn router() -> Router {
    Router::new().on::<ApiVersions>().on::<Delayed>().on::<Big>().on::<FromFile>()
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        name: Str::from_static("PLAINTEXT"),
        protocol: SecurityProtocol::Plaintext,
        host: String::new(),
        port,
    }
}

fn start(limits: Limits, connections_max: usize, per_address_max: usize) -> Broker {
    let router = router();
    let services = testing::services(ImageBuilder::new().build(), Arc::new(NoTransport), &router);
    let memory = FrameMemory::new(16 * 1024 * 1024, 256 * 1024 * 1024);
    let addresses = AddressLimits::new(per_address_max, HashMap::new());
    let network = Network::new(services, router, limits, memory, (connections_max, addresses));
    let listener = Listener::bind(&endpoint(0), 128).unwrap();
    let address = listener.address();
    network.start(listener);
    Broker { network, address }
}

fn start_default() -> Broker {
    start(Limits::default(), 1000, 1000)
}

impl Broker {
    async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap() }
    }
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn ask<R: Request>(&mut self, correlation_id: i32, version: i16, request: &R) {
        let client_id = Str::from_static("test");
        let frame =
            frame::encode_request(correlation_id, Some(&client_id), version, request).unwrap();
        self.send(&frame.into_contiguous().unwrap()).await;
    }

    async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut frame = vec![0; length as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(Bytes::from(frame))
        };
        timeout(PATIENCE, read).await.expect("an answer or an end in time")
    }

    async fn answer<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let mut decoder = Decoder::new(self.frame().await.expect("an answer"));
        let header = ResponseHeader::decode(&mut decoder, R::KEY, version).unwrap();
        let response = R::Response::decode(&mut decoder, version).unwrap();
        decoder.finish().unwrap();
        (header.correlation_id, response)
    }

    async fn is_closed(&mut self) -> bool {
        self.frame().await.is_none()
    }
}

fn delayed(delay_ms: i32) -> HeartbeatRequest {
    HeartbeatRequest { generation_id: delay_ms, ..HeartbeatRequest::default() }
}

fn header(key: i16, version: i16) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 10];
    bytes.extend(key.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0xff, 0xff]);
    bytes
}

/// The broker still serves others.
async fn assert_alive(broker: &Broker) {
    let mut client = broker.client().await;
    client.ask(7, 0, &ApiVersionsRequest::default()).await;
    let (correlation_id, response) = client.answer::<ApiVersionsRequest>(0).await;
    assert_eq!((correlation_id, response.error_code), (7, 0));
    assert_eq!(response.api_keys.len(), 4);
}

#[tokio::test]
async fn bytes_that_are_no_request_close_the_connection_and_nothing_else() {
    let broker = start_default();
    let bad: [Vec<u8>; 9] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0xff, 0xff, 0xff, 0xff],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 7, 0, 18, 0, 0, 0, 0, 0],
        vec![0x7f, 0xff, 0xff, 0xff],
        header(93, 0),
        header(-1, 0),
        header(ApiKey::Heartbeat.code(), 0),
        header(ApiKey::Heartbeat.code(), 5),
    ];
    for bytes in bad {
        let mut client = broker.client().await;
        client.send(&bytes).await;
        assert!(client.is_closed().await, "{bytes:?}");
    }
    // A body that ends before its fields do.
    let mut client = broker.client().await;
    client.send(&header(ApiKey::Heartbeat.code(), 1)).await;
    assert!(client.is_closed().await);
    assert_alive(&broker).await;
}

#[tokio::test]
async fn apis_that_are_not_built_or_private_are_not_served() {
    let broker = start_default();
    for key in [ApiKey::Produce, ApiKey::ShareFetch, ApiKey::NodeHello, ApiKey::Relay] {
        let mut client = broker.client().await;
        client.send(&header(key.code(), 0)).await;
        assert!(client.is_closed().await, "{key}");
    }
    assert_alive(&broker).await;
}

#[tokio::test]
async fn api_versions_of_the_future_is_answered_in_version_0() {
    let broker = start_default();
    let mut client = broker.client().await;
    client.send(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0]).await;
    let (correlation_id, response) = client.answer::<ApiVersionsRequest>(0).await;
    assert_eq!((correlation_id, response.error_code), (5, 35));
    let keys: Vec<_> =
        response.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version)).collect();
    assert_eq!(keys, [(18, 0, 4)]);
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static("test"),
        client_software_version: Str::from_static("1.0"),
        ..ApiVersionsRequest::default()
    };
    client.ask(6, 3, &request).await;
    let (correlation_id, response) = client.answer::<ApiVersionsRequest>(3).await;
    assert_eq!((correlation_id, response.error_code), (6, 0));
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let broker = start_default();
    let mut client = broker.client().await;
    let delays = [80, 0, 20, 0, 0, 40, 1, 0];
    for (i, delay_ms) in delays.into_iter().enumerate() {
        client.ask(i32::try_from(i).unwrap(), 4, &delayed(delay_ms)).await;
    }
    for (i, delay_ms) in delays.into_iter().enumerate() {
        let (correlation_id, response) = client.answer::<HeartbeatRequest>(4).await;
        assert_eq!(
            (correlation_id, response.throttle_time_ms),
            (i32::try_from(i).unwrap(), delay_ms)
        );
    }
}

#[tokio::test]
async fn parallel_parts_run_beside_each_other() {
    let broker = start_default();
    let mut client = broker.client().await;
    // Thirty waits of two seconds, one after the other, would outlast the patience of the test.
    for i in 0..30 {
        client.ask(i, 4, &delayed(2000)).await;
    }
    for i in 0..30 {
        assert_eq!(client.answer::<HeartbeatRequest>(4).await.0, i);
    }
}

#[tokio::test]
async fn refused_request_is_closed_after_earlier_answers() {
    let broker = start_default();
    let mut client = broker.client().await;
    client.ask(1, 4, &delayed(50)).await;
    client.ask(2, 4, &delayed(-1)).await;
    assert_eq!(client.answer::<HeartbeatRequest>(4).await.0, 1);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn several_requests_in_one_segment_and_one_in_many() {
    let broker = start_default();
    let mut client = broker.client().await;
    let mut bytes = Vec::new();
    for i in 0..100 {
        let frame = frame::encode_request(i, None, 4, &delayed(0)).unwrap();
        bytes.extend_from_slice(&frame.into_contiguous().unwrap());
    }
    let (first, rest) = bytes.split_at(61);
    for byte in first {
        client.send(&[*byte]).await;
    }
    client.send(rest).await;
    for i in 0..100 {
        assert_eq!(client.answer::<HeartbeatRequest>(4).await.0, i);
    }
}

#[tokio::test]
async fn client_that_never_reads_is_bounded_and_harms_nobody() {
    // So many that only the bytes of the answers are a bound.
    let limits = Limits { in_flight_max: 300, ..Limits::default() };
    let broker = start(limits, 1000, 1000);
    let mut deaf = broker.client().await;
    let frame = frame::encode_request(1, None, 0, &SaslAuthenticateRequest::default()).unwrap();
    let frame = frame.into_contiguous().unwrap();
    let sending = async {
        loop {
            deaf.stream.write_all(&frame).await.unwrap();
        }
    };
    // The broker stops reading, so that at last the client cannot send.
    let mut handled = 0;
    let mut sending = std::pin::pin!(sending);
    for _ in 0..100 {
        assert!(timeout(Duration::from_millis(100), &mut sending).await.is_err());
        let before = std::mem::replace(&mut handled, BIG_HANDLED.load(Ordering::Relaxed));
        if before == handled && 0 < handled {
            break;
        }
    }
    // What fits: 4 MiB unread in the broker, and what the kernel takes.
    assert!(handled < 100, "{handled} answers of 256 KiB were made for a client that reads none");
    assert_alive(&broker).await;
}

#[tokio::test]
async fn stalled_client_is_closed() {
    let limits = Limits { idle_max: Duration::from_millis(300), ..Limits::default() };
    let broker = start(limits, 10, 10);
    let mut deaf = broker.client().await;
    let request = FetchRequest { max_bytes: 1_000_000, ..FetchRequest::default() };
    for i in 0..20 {
        deaf.ask(i, 12, &request).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Reading begins only after the broker gave up; what was in flight still comes, then the end.
    let open = "kafka_server_socket_server_metrics_connection_count{listener=\"PLAINTEXT\"} 0";
    let is_gone = async {
        while !broker.network.shared_metrics_text().contains(open) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_gone).await.expect("the connection is given up");
}

#[tokio::test]
async fn records_are_streamed_from_files() {
    let broker = start_default();
    let mut client = broker.client().await;
    let request = FetchRequest { max_bytes: 1_000_000, ..FetchRequest::default() };
    for version in [4, 12] {
        client.ask(3, version, &request).await;
        client.ask(4, 4, &delayed(0)).await;
        let (_, response) = client.answer::<FetchRequest>(version).await;
        for partition in &response.responses[0].partitions {
            let Some(Records::Memory(bytes)) = &partition.records else { panic!("no records") };
            assert_eq!(bytes.len(), 1_000_000);
            assert!(bytes.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i % 251));
        }
        assert_eq!(client.answer::<HeartbeatRequest>(4).await.0, 4);
    }
}

#[tokio::test]
async fn file_that_is_shorter_than_promised_closes_the_connection() {
    let broker = start_default();
    let mut client = broker.client().await;
    let request = FetchRequest { max_bytes: 1_100_000, ..FetchRequest::default() };
    client.ask(3, 12, &request).await;
    assert!(client.is_closed().await);
    assert_alive(&broker).await;
}

#[tokio::test]
async fn slow_senders_and_silent_clients_are_closed() {
    let limits = Limits {
        small_frame_time_max: Duration::from_millis(200),
        rate_window: Duration::from_millis(200),
        idle_max: Duration::from_millis(400),
        ..Limits::default()
    };
    let broker = start(limits, 100, 100);
    for start_of_frame in
        [vec![], vec![0, 0], vec![0, 0, 1, 0, 1], vec![0, 1, 0, 0, 1], vec![1, 0, 0, 0, 1]]
    {
        let mut client = broker.client().await;
        client.send(&start_of_frame).await;
        assert!(client.is_closed().await, "{start_of_frame:?}");
    }
    // A request that takes longer than the idle time is no idleness.
    let mut client = broker.client().await;
    client.ask(1, 4, &delayed(1000)).await;
    assert_eq!(client.answer::<HeartbeatRequest>(4).await.0, 1);
}

#[tokio::test]
async fn connections_above_the_limits_wait_or_are_refused() {
    let broker = start(Limits::default(), 2, 100);
    let mut clients = [broker.client().await, broker.client().await];
    for client in &mut clients {
        client.ask(1, 4, &delayed(0)).await;
        client.answer::<HeartbeatRequest>(4).await;
    }
    let mut third = broker.client().await;
    third.ask(1, 4, &delayed(0)).await;
    assert!(timeout(Duration::from_millis(200), third.stream.read_u8()).await.is_err());
    drop(clients);
    assert_eq!(third.answer::<HeartbeatRequest>(4).await.0, 1);

    let broker = start(Limits::default(), 100, 1);
    let mut first = broker.client().await;
    first.ask(1, 4, &delayed(0)).await;
    first.answer::<HeartbeatRequest>(4).await;
    assert!(broker.client().await.is_closed().await);
}

#[tokio::test]
async fn stopping_finishes_what_is_in_flight() {
    let broker = start_default();
    let mut client = broker.client().await;
    client.ask(1, 4, &delayed(300)).await;
    client.ask(2, 4, &delayed(0)).await;
    let text = "kafka_network_requestmetrics_requests_total{request=\"Heartbeat\"} 2";
    while !broker.network.shared_metrics_text().contains(text) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    broker.network.stop(PATIENCE).await;
    assert_eq!(client.answer::<HeartbeatRequest>(4).await.0, 1);
    assert_eq!(client.answer::<HeartbeatRequest>(4).await.0, 2);
    assert!(client.is_closed().await);
    assert!(TcpStream::connect(broker.address).await.is_err());
}

#[tokio::test]
async fn port_in_use_is_an_error_that_names_the_listener() {
    let broker = start_default();
    let error = Listener::bind(&endpoint(broker.address.port()), 128).unwrap_err();
    assert!(matches!(error, AcceptError::InUse { .. }));
    assert!(error.to_string().contains("PLAINTEXT"), "{error}");
}

#[test]
#[should_panic(expected = "two handlers")]
fn an_api_has_one_handler() {
    drop(Router::new().on::<ApiVersions>().on::<ApiVersions>());
}

#[test]
fn the_table_says_what_is_served() {
    let router = router();
    let keys: Vec<_> = router.served().map(|api| api.key).collect();
    assert_eq!(
        keys,
        [ApiKey::Fetch, ApiKey::Heartbeat, ApiKey::ApiVersions, ApiKey::SaslAuthenticate]
    );
    assert!(router.route(12, 4).is_ok());
    assert_eq!(
        router.route(12, 5).unwrap_err().to_string(),
        "Heartbeat version 5 is not served, only 1 to 4"
    );
    assert_eq!(router.route(0, 0).unwrap_err(), Refusal::NotServed(0));
    assert_eq!(router.route(30_001, 0).unwrap_err(), Refusal::Private(ApiKey::Relay));
}
