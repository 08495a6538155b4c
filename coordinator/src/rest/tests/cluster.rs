use std::collections::BTreeSet;

use serde_json::json;

use super::super::openapi;
use super::*;

#[tokio::test]
async fn the_cluster_and_its_brokers_are_shown() {
    let cluster = Cluster::start(3).await;
    cluster.topic("t", 4).await;
    let shown = cluster.get("/v1/cluster").await;
    assert_eq!(shown.body["active_brokers"], 3, "{shown:?}");
    assert_eq!(shown.body["fenced_brokers"], 0);
    assert_eq!(shown.body["offline_partitions"], 0);
    assert_eq!(shown.body["controller"]["node_id"], 100);
    assert!(4 <= shown.body["partitions"].as_i64().unwrap());
    let endpoint = cluster.nodes[0].http_endpoint().unwrap().to_string();
    assert_eq!(shown.body["controller"]["http"], json!(endpoint));

    let alone = json!([{"node_id": 100, "active": true, "http": endpoint}]);
    let coordinators = shown.body["coordinators"].as_array().unwrap();
    assert_eq!(coordinators.len(), 1, "{shown:?}");
    for name in ["node_id", "active", "http"] {
        assert_eq!(coordinators[0][name], alone[0][name]);
    }

    let brokers = cluster.get("/v1/brokers?limit=2").await;
    assert_eq!(brokers.column("id"), [1, 2]);
    let rest = cluster.get("/v1/brokers?after=2").await;
    assert_eq!(rest.column("id"), [3]);
    let one = cluster.get("/v1/brokers/3").await;
    assert_eq!(one.body["listeners"][0]["port"], 9095);
    assert_eq!(one.body["listeners"][0]["security_protocol"], "PLAINTEXT");
    cluster.get("/v1/brokers/4").await.assert_problem(404, Some("BROKER_ID_NOT_REGISTERED"));
    cluster.stop().await;
}

#[tokio::test]
async fn probes_tell_life_from_readiness() {
    let store = Arc::new(EmbeddedStore::in_memory(1));
    store.set_paused(true);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut cluster = Cluster { store, nodes: Vec::new(), http };
    let node = Coordinator::start(Config::new(1), cluster.store.clone()).await.unwrap();
    cluster.nodes.push(node);
    assert_eq!(cluster.get("/health").await.status, 200);
    cluster.get("/ready").await.assert_problem(503, None);
    cluster.get("/v1/topics").await.assert_problem(503, None);
    cluster
        .post("/v1/topics", json!({"name": "t"}))
        .await
        .assert_problem(503, Some("NOT_CONTROLLER"));

    cluster.store.set_paused(false);
    assert!(cluster.nodes[0].until_active(PATIENCE).await);
    let ready = cluster.get("/ready").await;
    assert_eq!((ready.status, &ready.body["active"]), (200, &json!(true)), "{ready:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_not_by_name() {
    let cluster = Cluster::start(1).await;
    cluster.topic("a-name-of-its-own", 1).await;
    cluster.get("/v1/topics/a-name-of-its-own").await;
    cluster.get("/v1/topics/another").await;
    let metrics = cluster.get("/metrics").await;
    assert!(metrics.content_type.starts_with("application/openmetrics-text"), "{metrics:?}");
    let text = metrics.body.as_str().unwrap();
    for (status, count) in [(200, 1), (404, 1)] {
        let line = format!(
            "ottla_coordinator_rest_requests_total{{method=\"GET\",route=\"/v1/topics/{{topic}}\",\
             status=\"{status}\"}} {count}"
        );
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("a-name-of-its-own"), "{text}");
    assert!(text.contains("ottla_coordinator_active_controller 1"), "{text}");
    cluster.stop().await;
}

#[tokio::test]
async fn the_document_describes_what_is_served() {
    let cluster = Cluster::start(1).await;
    let served = cluster.get("/v1/openapi.json").await;
    assert_eq!((served.status, served.content_type.as_str()), (200, "application/json"));
    assert_eq!(served.body, serde_json::to_value(openapi()).unwrap());
    let paths = served.body["paths"].as_object().unwrap();
    let mut operations = 0;
    for (path, methods) in paths {
        let path = path.replace("{topic}", "t").replace("{id}", "1").replace("{partition}", "0");
        for method in methods.as_object().unwrap().keys() {
            operations += 1;
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = cluster.ask(0, method.clone(), &path, None).await;
            let leads_somewhere =
                answer.status != 405 && !answer.detail().contains("nothing is at");
            assert!(leads_somewhere, "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(operations, 33, "{:?}", paths.keys());
    for reference in references(&served.body) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(served.body.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    cluster.stop().await;
}

/// Every `$ref` in a document.
fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value {
                Value::String(text) if name == "$ref" => BTreeSet::from([text.clone()]),
                value => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}
