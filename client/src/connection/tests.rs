//! A connection against a scripted peer at the other end of an in-process stream.

use bytes::BytesMut;
use ottla_protocol::messages::api_versions_response::ApiVersion;
use ottla_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CancelRelayRequest, HeartbeatRequest,
    HeartbeatResponse, MetadataRequest,
};
use ottla_protocol::wire::Decoder;
use ottla_protocol::{ApiKey, ErrorCode, Message, RequestHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

struct Peer(DuplexStream);

impl Peer {
    /// The next request's header and body.
    async fn request(&mut self) -> (RequestHeader, Bytes) {
        let len = self.0.read_u32().await.unwrap();
        let mut frame = vec![0; len as usize];
        self.0.read_exact(&mut frame).await.unwrap();
        let mut decoder = Decoder::new(frame.into());
        let header = RequestHeader::decode(&mut decoder).unwrap();
        (header, decoder.rest())
    }

    async fn answer<M: Message>(&mut self, header: &RequestHeader, version: i16, response: &M) {
        let key = ApiKey::try_from(header.api_key).unwrap();
        let frame = frame::encode_response(key, version, header.correlation_id, response).unwrap();
        self.0.write_all(&frame.into_contiguous().unwrap()).await.unwrap();
    }

    /// Answers a heartbeat so that the caller can tell by whose throttle time it is which one it was.
    async fn answer_heartbeat(&mut self, header: &RequestHeader) {
        let (_, generation) = (header.api_key, header.correlation_id);
        let response =
            HeartbeatResponse { throttle_time_ms: generation, ..HeartbeatResponse::default() };
        self.answer(header, header.api_version, &response).await;
    }
}

fn connected(options: ConnectionOptions) -> (Connection, Peer) {
    let (ours, theirs) = duplex(1 << 16);
    (Connection::new(ours, options), Peer(theirs))
}

fn heartbeat() -> HeartbeatRequest {
    HeartbeatRequest { group_id: Str::from("group"), ..HeartbeatRequest::default() }
}

const VERSION: i16 = 4;

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(connection.start(VERSION, &heartbeat()).await.unwrap());
    }
    let mut headers = Vec::new();
    for _ in 0..20 {
        headers.push(peer.request().await.0);
    }
    let ids: Vec<_> = headers.iter().map(|header| header.correlation_id).collect();
    assert!(ids.is_sorted(), "written in the order of starting: {ids:?}");
    for header in headers.iter().rev() {
        peer.answer_heartbeat(header).await;
    }
    for (call, id) in calls.into_iter().zip(ids) {
        assert_eq!(call.response().await.unwrap().throttle_time_ms, id);
    }
    assert_eq!(connection.calls_in_flight(), 0);
}

#[tokio::test]
async fn headers_carry_the_client_id() {
    let client_id = Some(Str::from("me"));
    let options = ConnectionOptions { client_id, ..ConnectionOptions::default() };
    let (connection, mut peer) = connected(options);
    let _call = connection.start(VERSION, &heartbeat()).await.unwrap();
    assert_eq!(peer.request().await.0.client_id.as_deref(), Some("me"));
}

#[tokio::test]
async fn calls_fail_at_once_when_the_peer_goes() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    let call = connection.start(VERSION, &heartbeat()).await.unwrap();
    peer.request().await;
    drop(peer);
    assert_eq!(call.response().await, Err(CallError::Closed(CloseReason::Peer)));
    assert_eq!(connection.closed().await, CloseReason::Peer);
    let later = connection.call(VERSION, &heartbeat()).await;
    assert_eq!(later, Err(CallError::Closed(CloseReason::Peer)));
}

#[tokio::test]
async fn half_an_answer_and_then_nothing_is_a_lost_connection() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    let call = connection.start(VERSION, &heartbeat()).await.unwrap();
    peer.request().await;
    peer.0.write_all(&[0, 0, 0, 100, 0, 0]).await.unwrap();
    drop(peer);
    assert!(matches!(call.response().await, Err(CallError::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_deadline_and_its_late_answer_is_dropped() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    let timeout = Duration::from_secs(30);
    let late = connection.call(VERSION, &heartbeat()).await;
    assert_eq!(late, Err(CallError::TimedOut(timeout)));
    let header = peer.request().await.0;
    peer.answer_heartbeat(&header).await;
    let call = connection.start(VERSION, &heartbeat()).await.unwrap();
    let header = peer.request().await.0;
    peer.answer_heartbeat(&header).await;
    assert_eq!(call.response().await.unwrap().throttle_time_ms, header.correlation_id);
}

#[tokio::test(start_paused = true)]
async fn further_calls_wait_when_too_many_are_in_flight() {
    let options = ConnectionOptions { calls_max: 2, ..ConnectionOptions::default() };
    let (connection, mut peer) = connected(options);
    let first = connection.start(VERSION, &heartbeat()).await.unwrap();
    let _second = connection.start(VERSION, &heartbeat()).await.unwrap();
    let wait = Duration::from_secs(1);
    let third = connection.start_within(VERSION, &heartbeat(), wait).await;
    assert!(matches!(third, Err(CallError::TimedOut(_))));
    let header = peer.request().await.0;
    peer.answer_heartbeat(&header).await;
    first.response().await.unwrap();
    assert!(connection.start_within(VERSION, &heartbeat(), wait).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn further_calls_wait_when_too_many_bytes_are_queued() {
    let (ours, theirs) = duplex(64);
    let options = ConnectionOptions { queued_bytes_max: 1000, ..ConnectionOptions::default() };
    let connection = Connection::new(ours, options);
    let large = HeartbeatRequest { group_id: "g".repeat(5000).into(), ..heartbeat() };
    let _large = connection.start(VERSION, &large).await.unwrap();
    let small = connection.start_within(VERSION, &heartbeat(), Duration::from_secs(1)).await;
    assert!(matches!(small, Err(CallError::TimedOut(_))), "the peer does not read");
    let mut peer = Peer(theirs);
    let request = heartbeat();
    let (_, small) = tokio::join!(peer.request(), connection.start(VERSION, &request));
    assert!(small.is_ok());
}

#[tokio::test]
async fn a_dropped_call_makes_room_and_tells_the_peer() {
    let cancel_frame: CancelFrame = Arc::new(|correlation_id, id| {
        let cancel = CancelRelayRequest { correlation_id, ..CancelRelayRequest::default() };
        frame::encode_request(id, None, 0, &cancel).ok()
    });
    let options = ConnectionOptions {
        calls_max: 1,
        cancel_frame: Some(cancel_frame),
        ..ConnectionOptions::default()
    };
    let (connection, mut peer) = connected(options);
    let call = connection.start(VERSION, &heartbeat()).await.unwrap();
    let abandoned = peer.request().await.0;
    drop(call);
    let (header, body) = peer.request().await;
    assert_eq!(header.api_key, ApiKey::CancelRelay.code());
    let cancel = CancelRelayRequest::decode_all(body, 0).unwrap();
    assert_eq!(cancel.correlation_id, abandoned.correlation_id);

    peer.answer_heartbeat(&abandoned).await;
    let call = connection.start(VERSION, &heartbeat()).await.unwrap();
    let header = peer.request().await.0;
    peer.answer_heartbeat(&header).await;
    call.response().await.unwrap();
}

#[tokio::test]
async fn an_answer_to_no_call_ends_the_connection() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    let call = connection.start(VERSION, &heartbeat()).await.unwrap();
    let mut header = peer.request().await.0;
    header.correlation_id += 1;
    peer.answer_heartbeat(&header).await;
    let lost = call.response().await;
    assert!(matches!(lost, Err(CallError::Closed(CloseReason::Protocol(_)))), "{lost:?}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_ends_the_connection() {
    for prefix in [[0, 0, 4, 1], [0xff, 0xff, 0xff, 0xff]] {
        let options = ConnectionOptions { answer_bytes_max: 1024, ..ConnectionOptions::default() };
        let (connection, mut peer) = connected(options);
        let call = connection.start(VERSION, &heartbeat()).await.unwrap();
        peer.request().await;
        peer.0.write_all(&prefix).await.unwrap();
        let lost = call.response().await;
        assert!(matches!(lost, Err(CallError::Closed(CloseReason::Protocol(_)))), "{lost:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_fails_its_call_only() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    let bad = connection.start(VERSION, &heartbeat()).await.unwrap();
    let good = connection.start(VERSION, &heartbeat()).await.unwrap();
    let header = peer.request().await.0;
    let mut frame = BytesMut::from(&[0, 0, 0, 5][..]);
    frame.extend_from_slice(&header.correlation_id.to_be_bytes());
    frame.extend_from_slice(&[0]);
    peer.0.write_all(&frame).await.unwrap();
    assert!(matches!(bad.response().await, Err(CallError::Decode(_))));
    let header = peer.request().await.0;
    peer.answer_heartbeat(&header).await;
    good.response().await.unwrap();
}

#[tokio::test]
async fn raw_frames_are_passed_on_with_another_correlation_id() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    connection.start(VERSION, &heartbeat()).await.unwrap();
    peer.request().await;
    let frame = frame::encode_request(4711, None, VERSION, &heartbeat()).unwrap();
    let frame = frame.into_contiguous().unwrap();
    let pieces = vec![frame.slice(..20), frame.slice(20..)];
    let call = connection.call_raw(pieces, Duration::from_secs(5));
    let serve = async {
        let (header, body) = peer.request().await;
        assert_ne!(header.correlation_id, 4711);
        assert_eq!(HeartbeatRequest::decode_all(body, VERSION).unwrap(), heartbeat());
        peer.answer_heartbeat(&header).await;
        header
    };
    let (answer, header) = tokio::join!(call, serve);
    let answer = call::decode_response::<HeartbeatRequest>(answer.unwrap(), VERSION).unwrap();
    assert_eq!(answer.throttle_time_ms, header.correlation_id);

    let short = connection.call_raw(vec![Bytes::from_static(b"short")], Duration::from_secs(5));
    assert_eq!(short.await, Err(CallError::FrameTooShort));
}

#[tokio::test]
async fn requests_without_an_answer_are_sent() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    connection.send(VERSION, &heartbeat()).await.unwrap();
    assert_eq!(peer.request().await.0.api_key, ApiKey::Heartbeat.code());
    assert_eq!(connection.calls_in_flight(), 0);
    connection.close();
    let closed = connection.send(VERSION, &heartbeat()).await;
    assert_eq!(closed, Err(CallError::Closed(CloseReason::Local)));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_connection() {
    let (connection, mut peer) = connected(ConnectionOptions::default());
    let other = connection.clone();
    let call = connection.start(VERSION, &heartbeat()).await.unwrap();
    drop((connection, other));
    let header = peer.request().await.0;
    peer.answer_heartbeat(&header).await;
    call.response().await.expect("a call keeps its connection");
    assert!(peer.0.read_u8().await.is_err(), "the stream is closed");
}

async fn negotiated(
    peer: &mut Peer,
    connection: &Connection,
    highest: i16,
) -> (Versions, Vec<i16>) {
    let serve = async {
        let mut asked = Vec::new();
        loop {
            let header = peer.request().await.0;
            asked.push(header.api_version);
            let refused = highest < header.api_version;
            let error = if refused { ErrorCode::UnsupportedVersion } else { ErrorCode::None };
            let api = |key: ApiKey, min_version, max_version| ApiVersion {
                api_key: key.code(),
                min_version,
                max_version,
                ..ApiVersion::default()
            };
            let response = ApiVersionsResponse {
                error_code: error.code(),
                api_keys: vec![api(ApiKey::ApiVersions, 0, highest), api(ApiKey::Metadata, 2, 99)],
                ..ApiVersionsResponse::default()
            };
            peer.answer(&header, if refused { 0 } else { header.api_version }, &response).await;
            if !refused {
                return asked;
            }
        }
    };
    let software = Software::default();
    let (versions, asked) = tokio::join!(negotiate(connection, &software), serve);
    (versions.unwrap(), asked)
}

#[tokio::test]
async fn versions_are_negotiated_with_old_and_new_peers() {
    let newest = ApiVersionsRequest::MAX_VERSION;
    for highest in 0..=newest {
        let (connection, mut peer) = connected(ConnectionOptions::default());
        let (versions, asked) = negotiated(&mut peer, &connection, highest).await;
        let expected = if highest == newest { vec![newest] } else { vec![newest, highest] };
        assert_eq!(asked, expected);
        assert_eq!(versions.pick::<MetadataRequest>(), Ok(MetadataRequest::MAX_VERSION));
        assert_eq!(versions.pick_between::<MetadataRequest>(0, 5), Ok(5));
        let too_old = versions.pick_between::<MetadataRequest>(0, 1).unwrap_err();
        assert_eq!((too_old.served, too_old.wanted), (Some((2, 99)), (0, 1)));
        assert_eq!(versions.pick::<HeartbeatRequest>().unwrap_err().served, None);
    }
}
