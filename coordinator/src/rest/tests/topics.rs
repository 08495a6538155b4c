use serde_json::json;

use super::*;

#[tokio::test]
async fn a_topic_is_created_grown_read_and_deleted() {
    let cluster = Cluster::start(3).await;
    let body = json!({"name": "orders", "partitions": 2, "replication_factor": 3,
        "configs": {"retention.ms": "5000"}});
    let created = cluster.post("/v1/topics", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.headers["location"], "/v1/topics/orders");
    assert_eq!(created.body["partitions"], 2);

    let topic = cluster.get("/v1/topics/orders").await;
    assert_eq!(topic.body, created.body, "what was answered is what is there");
    assert_eq!(topic.body["configs"], json!({"retention.ms": "5000"}));
    assert_eq!(topic.body["replication_factor"], 3);

    let grown = cluster.patch("/v1/topics/orders", json!({"partitions": 5})).await;
    assert_eq!((grown.status, &grown.body["partitions"]), (200, &json!(5)), "{grown:?}");

    let partitions = cluster.get("/v1/topics/orders/partitions").await;
    assert_eq!(partitions.column("partition"), [0, 1, 2, 3, 4]);
    for replicas in partitions.column("isr") {
        assert_eq!(replicas.as_array().unwrap().len(), 3);
    }
    let last = cluster.get("/v1/topics/orders/partitions/4").await;
    assert!(last.body["leader"].is_i64(), "{last:?}");
    cluster
        .get("/v1/topics/orders/partitions/5")
        .await
        .assert_problem(404, Some("UNKNOWN_TOPIC_OR_PARTITION"));

    let gone = cluster.delete("/v1/topics/orders").await;
    assert_eq!((gone.status, gone.body.as_str()), (204, Some("")), "{gone:?}");
    let missing = cluster.get("/v1/topics/orders").await;
    missing.assert_problem(404, Some("UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(missing.body["instance"], "/v1/topics/orders");
    cluster.stop().await;
}

#[tokio::test]
async fn replicas_placed_by_hand_stay_where_they_were_put() {
    let cluster = Cluster::start(3).await;
    let body = json!({"name": "t", "assignments": [[3, 1], [2, 3]]});
    assert_eq!(cluster.post("/v1/topics", body).await.status, 201);
    let partitions = cluster.get("/v1/topics/t/partitions").await;
    assert_eq!(partitions.column("replicas"), [&json!([3, 1]), &json!([2, 3])]);
    let grown = json!({"partitions": 3, "assignments": [[1, 2]]});
    assert_eq!(cluster.patch("/v1/topics/t", grown).await.status, 200);
    let last = cluster.get("/v1/topics/t/partitions/2").await;
    assert_eq!(last.body["replicas"], json!([1, 2]));
    cluster.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages_that_lead_to_each_other() {
    let cluster = Cluster::start(1).await;
    for name in ["a", "b", "c", "d", "e"] {
        cluster.topic(name, 3).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/topics?limit=2".to_owned();
    loop {
        let page = cluster.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        seen.extend(page.column("name").into_iter().cloned());
        let Some(next) = page.body["next"].as_str() else { break };
        path = format!("/v1/topics?limit=2&after={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let page = cluster.get("/v1/topics/a/partitions?limit=2&after=0").await;
    assert_eq!(page.column("partition"), [1, 2]);
    assert!(page.body["next"].is_null());
    for bad in ["limit=0", "limit=1001", "limit=x", "size=3"] {
        cluster.get(&format!("/v1/topics?{bad}")).await.assert_problem(400, None);
    }
    cluster.get("/v1/brokers?after=x").await.assert_problem(400, None);
    cluster.stop().await;
}

#[tokio::test]
async fn validation_alone_changes_nothing() {
    let cluster = Cluster::start(1).await;
    let body = json!({"name": "t", "partitions": 3});
    let valid = cluster.post("/v1/topics?validate_only=true", body.clone()).await;
    assert_eq!((valid.status, &valid.body["partitions"]), (200, &json!(3)), "{valid:?}");
    assert_eq!(cluster.get("/v1/topics/t").await.status, 404);
    assert_eq!(cluster.post("/v1/topics", body.clone()).await.status, 201);
    let again = cluster.post("/v1/topics?validate_only=true", body).await;
    again.assert_problem(409, Some("TOPIC_ALREADY_EXISTS"));
    let grown = cluster.patch("/v1/topics/t?validate_only=true", json!({"partitions": 4})).await;
    assert_eq!((grown.status, &grown.body["partitions"]), (200, &json!(3)), "{grown:?}");
    assert_eq!(cluster.delete("/v1/topics/t?validate_only=true").await.status, 204);
    assert_eq!(cluster.get("/v1/topics/t").await.status, 200);
    cluster.stop().await;
}
