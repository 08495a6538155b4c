use serde_json::json;

use super::*;

#[tokio::test]
async fn a_broker_is_drained_and_put_back_to_work() {
    let cluster = Cluster::start(3).await;
    let body = json!({"name": "t", "assignments": [[1, 2], [2, 3], [3, 1]]});
    assert_eq!(cluster.post("/v1/topics", body).await.status, 201);
    let before = cluster.get("/v1/brokers/1").await;
    assert_eq!(before.body["state"], "active", "{before:?}");
    assert_eq!((&before.body["leaders"], &before.body["replicas"]), (&json!(1), &json!(2)));
    assert_eq!(cluster.get("/v1/health").await.body["status"], "green");

    let checked = cluster.post("/v1/brokers/1/drain?validate_only=true", json!(null)).await;
    assert_eq!((checked.status, &checked.body["state"]), (200, &json!("active")), "{checked:?}");
    let drained = cluster.post("/v1/brokers/1/drain", json!(null)).await;
    assert_eq!((drained.status, &drained.body["state"]), (200, &json!("draining")), "{drained:?}");
    cluster.until("/v1/brokers/1", |answer| answer.body["in_sync"] == 0).await;
    let emptied = cluster.get("/v1/brokers/1").await;
    assert_eq!((&emptied.body["leaders"], &emptied.body["replicas"]), (&json!(0), &json!(2)));
    let partition = cluster.get("/v1/topics/t/partitions/0").await;
    assert_eq!((&partition.body["leader"], &partition.body["isr"]), (&json!(2), &json!([2])));
    let health = cluster.get("/v1/health").await;
    assert_eq!(health.body["status"], "yellow", "{health:?}");
    assert_eq!(health.body["causes"][0]["kind"], "broker_draining");

    let needed = cluster.post("/v1/brokers/2/drain", json!(null)).await;
    needed.assert_problem(409, Some("ELIGIBLE_LEADERS_NOT_AVAILABLE"));
    assert!(needed.detail().contains("t-0"), "{needed:?}");
    let back = cluster.delete("/v1/brokers/1/drain").await;
    assert_eq!((back.status, &back.body["state"]), (200, &json!("active")), "{back:?}");
    cluster
        .post("/v1/brokers/9/drain", json!(null))
        .await
        .assert_problem(404, Some("BROKER_ID_NOT_REGISTERED"));
    cluster.stop().await;
}

#[tokio::test]
async fn partitions_of_all_topics_are_listed_by_state_and_in_pages() {
    let cluster = Cluster::start(3).await;
    for name in ["a", "b"] {
        let body = json!({"name": name, "assignments": [[1, 2], [2, 3], [3, 1]]});
        assert_eq!(cluster.post("/v1/topics", body).await.status, 201);
    }
    let page = cluster.get("/v1/partitions?limit=4").await;
    assert_eq!(page.column("topic"), ["a", "a", "a", "b"]);
    assert_eq!(page.body["next"], "b:0");
    let rest = cluster.get("/v1/partitions?limit=4&after=b:0").await;
    assert_eq!(rest.column("partition"), [1, 2]);
    assert!(rest.body["next"].is_null());
    let none = cluster.get("/v1/partitions?state=under_replicated").await;
    assert_eq!(none.column("topic").len(), 0);
    assert_eq!(cluster.post("/v1/brokers/1/drain", json!(null)).await.status, 200);
    let path = "/v1/partitions?state=under_replicated";
    let under = cluster.until(path, |answer| answer.column("topic").len() == 4).await;
    assert_eq!(under.column("partition"), [0, 2, 0, 2]);
    cluster.get("/v1/partitions?state=odd").await.assert_problem(400, None);
    cluster.get("/v1/partitions?after=x").await.assert_problem(400, None);
    cluster.stop().await;
}

#[tokio::test]
async fn a_plan_changes_nothing_and_can_be_run_and_cancelled() {
    let cluster = Cluster::start(4).await;
    let body = json!({"name": "t", "assignments": [[1, 2], [2, 3], [3, 1]]});
    assert_eq!(cluster.post("/v1/topics", body).await.status, 201);
    let planned = cluster.post("/v1/reassignments/plan", json!({"empty_brokers": [1]})).await;
    assert_eq!(planned.status, 200, "{planned:?}");
    assert_eq!(planned.body["replicas_to_copy"], 2);
    let partitions = planned.body["partitions"].as_array().unwrap();
    for partition in partitions {
        assert!(!partition["replicas"].as_array().unwrap().contains(&json!(1)), "{planned:?}");
    }
    assert_eq!(cluster.get("/v1/reassignments").await.column("topic").len(), 0);

    let run = cluster.post("/v1/reassignments", json!({"partitions": partitions})).await;
    assert_eq!((run.status, &run.body["failed"]), (200, &json!(0)), "{run:?}");
    let ongoing = cluster.get("/v1/reassignments?limit=1").await;
    assert_eq!(ongoing.column("partition"), [0]);
    assert_eq!(ongoing.body["next"], "t:0");
    assert_eq!(ongoing.column("removing_replicas"), [&json!([1])]);
    let next = cluster.get("/v1/reassignments?after=t:0").await;
    assert_eq!(next.column("partition"), [2]);

    let cancelled = cluster.delete("/v1/reassignments?topic=t&partition=0").await;
    assert_eq!(cancelled.column("partition"), [0], "{cancelled:?}");
    assert_eq!(cluster.get("/v1/reassignments").await.column("partition"), [2]);
    assert_eq!(cluster.delete("/v1/reassignments").await.body["failed"], 0);
    assert_eq!(cluster.get("/v1/reassignments").await.column("partition").len(), 0);
    // As with Kafka, those that were to go come last.
    let back = cluster.get("/v1/topics/t/partitions/0").await;
    assert_eq!(back.body["replicas"], json!([2, 1]));

    cluster.delete("/v1/reassignments?partition=0").await.assert_problem(400, None);
    cluster.post("/v1/reassignments/plan", json!({})).await.assert_problem(400, None);
    let order = json!({"topics": ["t"], "brokers": [4]});
    let refused = cluster.post("/v1/reassignments/plan", order).await;
    refused.assert_problem(400, Some("INVALID_REPLICATION_FACTOR"));
    let order = json!({"topics": ["nothing"]});
    let refused = cluster.post("/v1/reassignments/plan", order).await;
    refused.assert_problem(404, Some("UNKNOWN_TOPIC_OR_PARTITION"));
    cluster.stop().await;
}

#[tokio::test]
async fn leaders_are_elected_and_each_partition_has_its_answer() {
    let cluster = Cluster::start(3).await;
    let body = json!({"name": "t", "assignments": [[1, 2, 3]]});
    assert_eq!(cluster.post("/v1/topics", body).await.status, 201);
    let order = json!({"kind": "preferred",
        "partitions": [{"topic": "t", "partition": 0}, {"topic": "t", "partition": 7}]});
    let answer = cluster.post("/v1/elections", order).await;
    assert_eq!((answer.status, &answer.body["failed"]), (200, &json!(2)), "{answer:?}");
    let codes = ["ELECTION_NOT_NEEDED", "UNKNOWN_TOPIC_OR_PARTITION"];
    assert_eq!(answer.column("code"), codes);

    // A mere change of order is done at once, and makes another leader the preferred one.
    let order = json!({"partitions": [{"topic": "t", "partition": 0, "replicas": [2, 1, 3]}]});
    assert_eq!(cluster.post("/v1/reassignments", order).await.body["failed"], 0);
    let answer = cluster.post("/v1/elections", json!({"kind": "preferred"})).await;
    assert_eq!((answer.column("partition"), &answer.body["failed"]), (vec![&json!(0)], &json!(0)));
    assert_eq!(cluster.get("/v1/topics/t/partitions/0").await.body["leader"], 2);
    cluster.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_gone_is_forgotten() {
    let cluster = Cluster::start(2).await;
    let gone = cluster.delete("/v1/brokers/9").await;
    gone.assert_problem(404, Some("BROKER_ID_NOT_REGISTERED"));
    assert_eq!(cluster.delete("/v1/brokers/2").await.status, 204);
    // It still claims to be alive, and does not come back for that: nobody has heard it since.
    cluster
        .until("/v1/health", |answer| {
            let causes = answer.body["causes"].as_array().unwrap();
            causes.iter().any(|cause| cause["kind"] == "broker_unheard")
        })
        .await;
    cluster.get("/v1/brokers/2").await.assert_problem(404, Some("BROKER_ID_NOT_REGISTERED"));
    cluster.stop().await;
}
