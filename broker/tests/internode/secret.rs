//! The secret of the cluster.

use bytes::Bytes;
use ottla_client::connection::{Connection, ConnectionOptions};
use ottla_client::internode::{ClusterSecret, NONCE_LEN, Proofs};
use ottla_coordinator::{Config, Coordinator, Handle, StartError};
use ottla_metadata::model::Endpoint;
use ottla_metadata::store::embedded::EmbeddedStore;
use ottla_protocol::messages::{
    BrokerHeartbeatRequest, NodeHelloRequest, NodeHelloResponse, RelayRequest,
};
use ottla_protocol::wire::Decoder;
use ottla_protocol::{ApiKey, ErrorCode, RequestHeader, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::certificates::{secret_file, write_private};
use crate::support::{
    Log, PATIENCE, Proof, assert_refused, config, coordinator, greet_at, greet_by, hello, stop,
};

#[tokio::test]
async fn nodes_with_the_same_secret_accept_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let proof = Proof::secret(secret_file(&folder, 'a'));
    let handle = coordinator(&proof).await;
    let greeting = greet_by(&proof, &handle).await.unwrap();
    assert_eq!(greeting.node_id, 100);
    stop(handle).await;
}

#[tokio::test]
async fn wrong_secret_is_refused_and_both_sides_say_so_without_telling_it() {
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (secret_file(&folder, 'a'), secret_file(&folder, 'b'));
    let (log, _guard) = Log::capture();
    let handle = coordinator(&Proof::secret(theirs)).await;
    let reason = greet_by(&Proof::secret(ours), &handle).await.unwrap_err();
    let words = "broker 1 does not know the secret of coordinator 100";
    assert!(reason.contains(words) && reason.contains("cluster.secret.file"), "{reason}");
    log.until_it_says(words).await;
    for secret in ["aaaa", "bbbb"] {
        assert!(
            !log.text().contains(secret) && !reason.contains(secret),
            "{reason}\n{}",
            log.text()
        );
    }
    stop(handle).await;
}

#[tokio::test]
async fn secret_on_one_side_only_is_refused_and_both_sides_say_where_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let secret = Proof::secret(secret_file(&folder, 'a'));
    let words = "coordinator 100 asks for the cluster's secret, and broker 1 has none";
    assert_refused(&Proof::none(), &secret, (words, words)).await;
    let words = "broker 1 asks for the cluster's secret, and coordinator 100 has none";
    assert_refused(&secret, &Proof::none(), (words, words)).await;
}

#[tokio::test]
async fn replayed_greeting_is_refused_and_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = secret_file(&folder, 'a');
    let handle = coordinator(&Proof::secret(path.clone())).await;
    let secret = ClusterSecret::read(&path).unwrap();
    let first = NodeHelloRequest { nonce: Some(Bytes::from_static(&[5; NONCE_LEN])), ..hello() };

    let good = connect(&handle).await;
    let challenge = good.call_within(0, &first, PATIENCE).await.unwrap();
    assert!(challenge.cluster_id.is_empty() && challenge.node_id == -1, "{challenge:?}");
    let nonce = challenge.nonce.unwrap();
    let proof = Proofs::new(&secret, &first, &nonce).unwrap().of_hello();
    let second = NodeHelloRequest { secret_proof: Some(proof), ..first.clone() };
    let accepted = good.call_within(0, &second, PATIENCE).await.unwrap();
    assert_eq!((accepted.error_code, accepted.node_id), (0, 100));

    // Word for word the same, on another connection.
    let replay = connect(&handle).await;
    let challenge = replay.call_within(0, &first, PATIENCE).await.unwrap();
    assert_ne!(challenge.nonce.unwrap(), nonce);
    let refused = replay.call_within(0, &second, PATIENCE).await.unwrap();
    assert_eq!(refused.error_code, ErrorCode::ClusterAuthorizationFailed.code());
    assert!(refused.cluster_id.is_empty() && refused.node_id == -1, "{refused:?}");
    tokio::time::timeout(PATIENCE, replay.closed()).await.expect("and it is closed");

    // The proof does not save the way through the challenge either.
    let hasty = connect(&handle).await;
    let challenge = hasty.call_within(0, &second, PATIENCE).await.unwrap();
    assert!(challenge.nonce.is_some() && challenge.node_id == -1, "{challenge:?}");
    stop(handle).await;
}

#[tokio::test]
async fn nothing_is_served_before_the_proof() {
    let folder = tempfile::tempdir().unwrap();
    let handle = coordinator(&Proof::secret(secret_file(&folder, 'a'))).await;
    let early = connect(&handle).await;
    let first = NodeHelloRequest { nonce: Some(Bytes::from_static(&[5; NONCE_LEN])), ..hello() };
    early.call_within(0, &first, PATIENCE).await.unwrap();
    let heartbeat = BrokerHeartbeatRequest { broker_id: 1, ..BrokerHeartbeatRequest::default() };
    assert!(early.call_within(1, &heartbeat, PATIENCE).await.is_err());
    let relay = RelayRequest::default();
    assert!(connect(&handle).await.call_within(0, &relay, PATIENCE).await.is_err());
    stop(handle).await;
}

#[tokio::test]
async fn broker_does_not_talk_to_an_impostor() {
    let folder = tempfile::tempdir().unwrap();
    let proof = Proof::secret(secret_file(&folder, 'a'));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let impostor = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let accept = NodeHelloResponse { node_id: 100, is_active: true, ..Default::default() };
        let nonce = Some(Bytes::from_static(&[6; NONCE_LEN]));
        let challenge = NodeHelloResponse { nonce, ..Default::default() };
        answer(&mut stream, &challenge).await;
        let guess = Some(Bytes::from_static(&[0; 32]));
        answer(&mut stream, &NodeHelloResponse { secret_proof: guess, ..accept.clone() }).await;
        // Whatever the broker says to one that it believes in.
        stream.read(&mut [0; 16]).await.unwrap_or(0)
    });
    let at = Endpoint { host: "127.0.0.1".to_owned(), port };
    let reason = greet_at(&proof, at).await.unwrap_err();
    assert!(reason.contains("impostor"), "{reason}");
    assert_eq!(impostor.await.unwrap(), 0, "it hears nothing more");
}

#[tokio::test]
async fn secret_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short");
    write_private(&path, "short");
    let refused = Coordinator::start(
        config(&Proof::secret(path)),
        std::sync::Arc::new(EmbeddedStore::in_memory(7)),
    );
    let error = refused.await.unwrap_err();
    assert!(matches!(error, StartError::Secret(_)), "{error}");
    assert!(error.to_string().starts_with("cluster.secret.file: "), "{error}");
}

#[tokio::test]
async fn off_loopback_the_listener_opens_with_a_proof_or_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let secret = Proof::secret(secret_file(&folder, 'a'));
    let open = |config: Config| Config {
        internode: Some(Endpoint { host: "0.0.0.0".to_owned(), port: 0 }),
        ..config
    };
    let start = |config: Config| {
        Coordinator::start(config, std::sync::Arc::new(EmbeddedStore::in_memory(7)))
    };
    let (log, _guard) = Log::capture();
    let refused = start(open(config(&Proof::none()))).await.unwrap_err();
    assert!(refused.to_string().contains("cluster.secret.file"), "{refused}");
    let by_secret = start(open(config(&secret))).await.unwrap();
    log.until_it_says("use TLS (internode.ssl.*) on networks you do not trust").await;
    stop(by_secret).await;
    let by_name = Config { allow_insecure_listeners: true, ..open(config(&Proof::none())) };
    let by_name = start(by_name).await.unwrap();
    log.until_it_says("can act as any node and any user").await;
    stop(by_name).await;
}

async fn connect(handle: &Handle) -> Connection {
    let port = handle.internode_endpoint().unwrap().port;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    Connection::new(stream, ConnectionOptions::default())
}

/// Reads one greeting and answers it.
async fn answer(stream: &mut TcpStream, answer: &NodeHelloResponse) {
    let length = stream.read_u32().await.unwrap();
    let mut request = vec![0; length as usize];
    stream.read_exact(&mut request).await.unwrap();
    let header = RequestHeader::decode(&mut Decoder::new(request.into())).unwrap();
    let frame = frame::encode_response(ApiKey::NodeHello, 0, header.correlation_id, answer);
    stream.write_all(&frame.unwrap().into_contiguous().unwrap()).await.unwrap();
}
