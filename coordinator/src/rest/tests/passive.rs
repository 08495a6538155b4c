use serde_json::json;

use super::super::proxy::FORWARDED_BY;
use super::*;

#[tokio::test]
async fn a_write_at_a_passive_coordinator_is_done_by_the_active_one() {
    let mut cluster = Cluster::start(1).await;
    let passive = cluster.add_node().await;
    let body = json!({"name": "t", "partitions": 2});
    let created = cluster.ask(passive, Method::POST, "/v1/topics", Some(body.clone())).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.headers["location"], "/v1/topics/t");
    let read = cluster.ask(passive, Method::GET, "/v1/topics/t", None).await;
    assert_eq!(read.body, created.body, "whoever wrote here reads it here");

    let again = cluster.ask(passive, Method::POST, "/v1/topics", Some(body)).await;
    again.assert_problem(409, Some("TOPIC_ALREADY_EXISTS"));
    let path = "/v1/topics/t/configs?validate_only=true";
    let change = json!({"changes": [{"name": "flush.ms", "value": "7"}]});
    let checked = cluster.ask(passive, Method::PATCH, path, Some(change)).await;
    assert_eq!(checked.status, 200, "{checked:?}");
    let gone = cluster.ask(passive, Method::DELETE, "/v1/topics/t", None).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    let read = cluster.ask(passive, Method::GET, "/v1/topics/t", None).await;
    assert_eq!(read.status, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn a_write_that_was_passed_on_once_is_not_passed_on_again() {
    let mut cluster = Cluster::start(1).await;
    let passive = cluster.add_node().await;
    let request = cluster.http.post(cluster.url(passive, "/v1/topics"));
    let request = request.header(FORWARDED_BY, "7").json(&json!({"name": "t"}));
    let answer = read(request.send().await.unwrap()).await;
    answer.assert_problem(503, Some("NOT_CONTROLLER"));
    assert!(answer.detail().contains("coordinator 7 took this one"), "{answer:?}");
    assert_eq!(cluster.get("/v1/topics/t").await.status, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn an_active_coordinator_that_cannot_be_reached_is_said_and_nothing_is_done() {
    let mut cluster = Cluster::start(1).await;
    // Claims to be active on a port that nobody listens on.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let first = cluster.nodes.remove(0);
    let mut announced = first.services().images.load().controller().unwrap().value.clone();
    first.stop(PATIENCE).await;
    announced.node_id = 7;
    announced.http.port = port;
    put(&cluster.store, Key::Controller, &announced).await;
    let passive = cluster.add_node().await;
    let mut leadership = cluster.nodes[passive].services().leadership.clone();
    let known = leadership.wait_for(|leadership| leadership.active.is_some());
    tokio::time::timeout(PATIENCE, known).await.unwrap().unwrap();
    let answer = cluster.ask(passive, Method::POST, "/v1/topics", Some(json!({"name": "t"}))).await;
    answer.assert_problem(502, None);
    assert!(answer.detail().contains("nothing was done"), "{answer:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_passive_coordinator_takes_over_and_then_writes_itself() {
    let mut cluster = Cluster::start(1).await;
    let heir = cluster.add_node().await;
    cluster.topic("t", 1).await;
    let first = cluster.nodes.remove(0);
    first.stop(PATIENCE).await;
    assert!(cluster.nodes[heir - 1].until_active(PATIENCE).await);
    assert_eq!(cluster.delete("/v1/topics/t").await.status, 204);
    cluster.stop().await;
}
