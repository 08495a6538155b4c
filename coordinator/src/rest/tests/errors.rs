use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::limits::{BODY_BYTES_MAX, REQUESTS_MAX};
use super::super::server::{self, Patience};
use super::super::state;
use super::*;

#[tokio::test]
async fn what_cannot_be_done_says_why_in_kafkas_terms() {
    let cluster = Cluster::start(2).await;
    cluster.topic("a.b", 1).await;
    let refused = [
        (json!({"name": "a.b"}), 409, "TOPIC_ALREADY_EXISTS"),
        (json!({"name": "a_b"}), 400, "INVALID_TOPIC_EXCEPTION"),
        (json!({"name": "a b"}), 400, "INVALID_TOPIC_EXCEPTION"),
        (json!({"name": ""}), 400, "INVALID_TOPIC_EXCEPTION"),
        (json!({"name": "t", "partitions": 0}), 400, "INVALID_PARTITIONS"),
        (json!({"name": "t", "replication_factor": 9}), 400, "INVALID_REPLICATION_FACTOR"),
        (json!({"name": "t", "configs": {"retention.ms": "x"}}), 400, "INVALID_CONFIG"),
        (json!({"name": "t", "configs": {"retenton.ms": "1"}}), 400, "INVALID_CONFIG"),
        (json!({"name": "t", "assignments": [[1, 1]]}), 400, "INVALID_REPLICA_ASSIGNMENT"),
        (json!({"name": "t", "partitions": 1, "assignments": [[1]]}), 400, "INVALID_REQUEST"),
    ];
    for (body, status, code) in refused {
        cluster.post("/v1/topics", body).await.assert_problem(status, Some(code));
    }
    let fewer = cluster.patch("/v1/topics/a.b", json!({"partitions": 1})).await;
    fewer.assert_problem(400, Some("INVALID_PARTITIONS"));
    for answer in [
        cluster.patch("/v1/topics/nope", json!({"partitions": 2})).await,
        cluster.delete("/v1/topics/nope").await,
        cluster.get("/v1/topics/nope/partitions").await,
        cluster.get("/v1/topics/nope/configs").await,
    ] {
        answer.assert_problem(404, Some("UNKNOWN_TOPIC_OR_PARTITION"));
    }
    let slip = json!({"name": "t", "configs": {"retenton.ms": "1"}});
    let slip = cluster.post("/v1/topics", slip).await;
    assert!(slip.detail().contains("did you mean retention.ms?"), "{slip:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_problems_too() {
    let cluster = Cluster::start(1).await;
    let send = async |body: &'static str, content_type: &'static str| {
        let request = cluster.http.post(cluster.url(0, "/v1/topics"));
        let request = request.header("content-type", content_type).body(body);
        read(request.send().await.unwrap()).await
    };
    send("{\"name\":", "application/json").await.assert_problem(400, None);
    send("{\"name\":1}", "application/json").await.assert_problem(422, None);
    send("{}", "application/json").await.assert_problem(422, None);
    send("{\"name\":\"t\"}", "text/plain").await.assert_problem(415, None);
    let unknown = send("{\"name\":\"t\",\"partition\":1}", "application/json").await;
    unknown.assert_problem(422, None);
    assert!(unknown.detail().contains("unknown field `partition`"), "{unknown:?}");

    cluster.get("/v1/nothing").await.assert_problem(404, None);
    cluster.get("/v1/brokers/x").await.assert_problem(400, None);
    cluster.get("/v1/topics/%ff").await.assert_problem(400, None);
    let method = cluster.ask(0, Method::PUT, "/v1/topics", None).await;
    method.assert_problem(405, None);
    let allow = method.headers["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let cluster = Cluster::start(1).await;
    let body = json!({"name": "x".repeat(BODY_BYTES_MAX)});
    let answer = cluster.post("/v1/topics", body).await;
    answer.assert_problem(413, None);
    assert!(answer.detail().contains("1048576"), "{answer:?}");
    assert_eq!(cluster.get("/v1/cluster").await.status, 200, "others are served");
    cluster.stop().await;
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_and_probes_are_not() {
    let cluster = Cluster::start(1).await;
    let services = cluster.nodes[0].services().clone();
    let stop = services.stop.clone();
    let rest = state::Rest::new(services);
    let held = rest.permits().clone().acquire_many_owned(REQUESTS_MAX as u32).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(server::serve(listener, rest, Patience::default(), stop));
    let get = async |path: &str| {
        read(cluster.http.get(format!("http://{address}{path}")).send().await.unwrap()).await
    };
    let busy = get("/v1/cluster").await;
    busy.assert_problem(503, None);
    assert_eq!(busy.headers["retry-after"], "1");
    assert_eq!(get("/health").await.status, 200);
    drop(held);
    assert_eq!(get("/v1/cluster").await.status, 200);
    cluster.stop().await;
    tokio::time::timeout(PATIENCE, served).await.unwrap().unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_http_close_the_connection_and_nothing_else() {
    let cluster = Cluster::start(1).await;
    let address = cluster.nodes[0].http_endpoint().unwrap().to_string();
    for bytes in [&b"\x00\x00\x00\x10\x00\x12\x00\x03"[..], b"GET\r\n\r\n", b"\r\n\xff\xff\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            end.is_err() || answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    assert_eq!(cluster.get("/health").await.status, 200);
    cluster.stop().await;
}

#[tokio::test]
async fn a_connection_that_dawdles_is_closed_and_others_are_served() {
    let cluster = Cluster::start(1).await;
    let services = cluster.nodes[0].services().clone();
    let stop = services.stop.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let short = Duration::from_millis(200);
    let patience = Patience { head: short, idle: short };
    let served = tokio::spawn(server::serve(listener, state::Rest::new(services), patience, stop));
    let unfinished_head = "GET /health HTTP/1.1\r\nhost: x\r\n";
    let unfinished_body = "POST /v1/topics HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    for begun in ["", unfinished_head, unfinished_body] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(PATIENCE, end).await.expect("the connection is closed");
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 2"), "{begun:?}");
    }
    let mut dripping = TcpStream::connect(address).await.unwrap();
    dripping.write_all(b"GET /health HTTP/1.1\r\na: ").await.unwrap();
    let drip = async {
        // Ends when the other end is closed.
        while dripping.write_all(b"x").await.is_ok() {
            tokio::time::sleep(short / 10).await;
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.expect("a byte at a time keeps nothing open");
    let url = format!("http://{address}/health");
    assert_eq!(read(cluster.http.get(url).send().await.unwrap()).await.status, 200);
    cluster.stop().await;
    tokio::time::timeout(PATIENCE, served).await.unwrap().unwrap();
}
