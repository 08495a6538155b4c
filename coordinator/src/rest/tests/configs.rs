use serde_json::json;

use super::*;

#[tokio::test]
async fn a_topics_configs_show_where_each_value_comes_from() {
    let cluster = Cluster::start(1).await;
    cluster.topic("t", 1).await;
    let path = "/v1/topics/t/configs";
    let before = cluster.get(path).await;
    assert_eq!(before.column("name").len(), 33);
    let retention = before.item("retention.ms");
    assert_eq!(retention["value"], "604800000");
    assert_eq!(retention["source"], "DEFAULT_CONFIG");
    assert_eq!(retention["type"], "long");
    let interval = before.item("index.interval.bytes");
    assert_eq!(interval["value"], "2048");
    assert_eq!(interval["source"], "STATIC_BROKER_CONFIG");

    let all = json!({"changes": [{"name": "log.retention.ms", "value": "111"}]});
    let set = cluster.patch("/v1/cluster/configs", all).await;
    assert_eq!(set.status, 200, "{set:?}");
    assert_eq!(set.item("log.retention.ms")["source"], "DYNAMIC_DEFAULT_BROKER_CONFIG");
    let inherited = cluster.get(path).await;
    assert_eq!(inherited.item("retention.ms")["value"], "111");
    assert_eq!(inherited.item("retention.ms")["source"], "DYNAMIC_DEFAULT_BROKER_CONFIG");

    let own = json!({"changes": [{"name": "retention.ms", "op": "set", "value": " 222 "},
        {"name": "cleanup.policy", "op": "append", "value": "compact"}]});
    let own = cluster.patch(path, own).await;
    assert_eq!(own.status, 200, "{own:?}");
    assert_eq!(own.item("retention.ms")["value"], "222");
    assert_eq!(own.item("retention.ms")["source"], "DYNAMIC_TOPIC_CONFIG");
    let synonyms = own.item("retention.ms")["synonyms"].as_array().unwrap();
    let values: Vec<&Value> = synonyms.iter().map(|synonym| &synonym["value"]).collect();
    assert_eq!(values, ["222", "111", "168"]);
    assert_eq!(own.item("cleanup.policy")["value"], "delete,compact");

    let undo = json!({"changes": [{"name": "retention.ms", "op": "delete"},
        {"name": "cleanup.policy", "op": "subtract", "value": "delete"}]});
    let undone = cluster.patch(path, undo).await;
    assert_eq!(undone.item("retention.ms")["value"], "111");
    assert_eq!(undone.item("cleanup.policy")["value"], "compact");
    let topic = cluster.get("/v1/topics/t").await;
    assert_eq!(topic.body["configs"], json!({"cleanup.policy": "compact"}));
    cluster.stop().await;
}

#[tokio::test]
async fn of_several_changes_all_are_made_or_none() {
    let cluster = Cluster::start(1).await;
    cluster.topic("t", 1).await;
    let path = "/v1/topics/t/configs";
    let changes = |name: &str, op: &str, value: Value| {
        json!({"changes": [{"name": "flush.ms", "value": "7"},
            {"name": name, "op": op, "value": value}]})
    };
    for (body, code) in [
        (changes("retention.ms", "set", json!("x")), "INVALID_CONFIG"),
        (changes("retention.ms", "append", json!("1")), "INVALID_CONFIG"),
        (changes("no.such", "set", json!("1")), "INVALID_CONFIG"),
        (changes("retention.ms", "set", Value::Null), "INVALID_REQUEST"),
        (changes("flush.ms", "delete", Value::Null), "INVALID_REQUEST"),
    ] {
        cluster.patch(path, body).await.assert_problem(400, Some(code));
    }
    let unknown = changes("retention.ms", "multiply", json!("2"));
    cluster.patch(path, unknown).await.assert_problem(422, None);
    assert_eq!(cluster.get("/v1/topics/t").await.body["configs"], json!({}));
    let valid = changes("retention.ms", "set", json!("1"));
    let checked = cluster.patch(&format!("{path}?validate_only=true"), valid).await;
    assert_eq!(checked.status, 200, "{checked:?}");
    assert_eq!(cluster.get("/v1/topics/t").await.body["configs"], json!({}));
    cluster.stop().await;
}

#[tokio::test]
async fn brokers_have_configs_of_their_own_and_common_ones() {
    let cluster = Cluster::start(2).await;
    let set = |name: &str, value: &str| json!({"changes": [{"name": name, "value": value}]});
    let common = cluster.patch("/v1/cluster/configs", set("max.connections", "100")).await;
    assert_eq!(common.status, 200, "{common:?}");
    let one = cluster.patch("/v1/brokers/1/configs", set("max.connections", "50")).await;
    assert_eq!(one.item("max.connections")["value"], "50", "{one:?}");
    assert_eq!(one.item("max.connections")["source"], "DYNAMIC_BROKER_CONFIG");
    let two = cluster.get("/v1/brokers/2/configs").await;
    assert_eq!(two.item("max.connections")["value"], "100");
    assert_eq!(two.column("name"), ["max.connections"], "only what is set");

    let secret = "listener.name.a.ssl.key.password";
    let secret = cluster.patch("/v1/brokers/1/configs", set(secret, "geheim")).await;
    assert_eq!(secret.status, 200, "{secret:?}");
    assert!(!secret.body.to_string().contains("geheim"), "{secret:?}");

    let fixed = cluster.patch("/v1/brokers/1/configs", set("node.id", "5")).await;
    fixed.assert_problem(400, Some("INVALID_REQUEST"));
    let single = cluster.patch("/v1/cluster/configs", set("listeners", "A://:1")).await;
    single.assert_problem(400, Some("INVALID_REQUEST"));
    let missing = cluster.patch("/v1/brokers/9/configs", set("max.connections", "5")).await;
    missing.assert_problem(404, Some("BROKER_ID_NOT_REGISTERED"));
    cluster
        .get("/v1/brokers/9/configs")
        .await
        .assert_problem(404, Some("BROKER_ID_NOT_REGISTERED"));
    cluster.stop().await;
}
