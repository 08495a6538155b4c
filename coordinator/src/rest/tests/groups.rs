//! `/v1/groups`.

use ottla_protocol::messages::OffsetCommitRequest;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use serde_json::json;

use super::{Answer, Cluster};
use crate::group::{Client, Request, Response};

impl Cluster {
    async fn get_from(&self, node: usize, path: &str) -> Answer {
        self.ask(node, reqwest::Method::GET, path, None).await
    }

    /// Commits an offset for partition 0 of a topic, once the group's shard is loaded.
    async fn commit(&self, group: &str, topic: &str, offset: i64) {
        let partition = OffsetCommitRequestPartition {
            committed_offset: offset,
            committed_metadata: Some("note".into()),
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![partition],
            ..OffsetCommitRequestTopic::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.into(),
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        let client = Client { id: "c".to_owned(), host: "/h".to_owned(), version: 9 };
        let committed = async {
            loop {
                let groups = &self.nodes[0].services().groups;
                let asked = groups.ask(&client, group, Request::OffsetCommit(request.clone()));
                match asked.await {
                    Response::OffsetCommit(answer)
                        if answer.topics[0].partitions[0].error_code == 0 =>
                    {
                        return;
                    }
                    _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(super::PATIENCE, committed).await.expect("it is committed in time");
    }
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted_on_any_coordinator() {
    let mut cluster = Cluster::start(1).await;
    let passive = cluster.add_node().await;
    cluster.topic("t", 2).await;
    cluster.until("/v1/topics/t", |answer| answer.status == 200).await;
    for group in ["b", "a", "c/d"] {
        cluster.commit(group, "t", 7).await;
    }
    cluster.until("/v1/groups", |answer| answer.status == 200).await;
    for node in [0, passive] {
        let page = cluster.get_from(node, "/v1/groups?limit=2").await;
        assert_eq!(page.column("group"), ["a", "b"], "{page:?}");
        assert_eq!(
            (page.column("type")[0], page.column("state")[0]),
            (&json!("classic"), &json!("Empty"))
        );
        let rest = cluster.get_from(node, "/v1/groups?after=b").await;
        assert_eq!((rest.column("group"), &rest.body["next"]), (vec![&json!("c/d")], &json!(null)));
        let none = cluster.get_from(node, "/v1/groups?state=stable").await;
        assert!(none.column("group").is_empty());
        let group = cluster.get_from(node, "/v1/groups/c%2Fd").await;
        assert_eq!((group.status, &group.body["state"]), (200, &json!("Empty")), "{group:?}");
        let offset = &group.body["offsets"][0];
        assert_eq!((&offset["topic"], &offset["committed"]), (&json!("t"), &json!(7)));
        // Nobody listens where the broker is said to be, so nobody knows where the log ends.
        assert_eq!((&offset["lag"], &offset["metadata"]), (&json!(null), &json!("note")));
        let missing = cluster.get_from(node, "/v1/groups/nobody").await;
        missing.assert_problem(404, Some("GROUP_ID_NOT_FOUND"));
    }
    let deleted = cluster.delete("/v1/groups/a").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    cluster.delete("/v1/groups/a").await.assert_problem(404, Some("GROUP_ID_NOT_FOUND"));
    let page = cluster.get("/v1/groups").await;
    assert_eq!(page.column("group"), ["b", "c/d"]);
    cluster.stop().await;
}

#[tokio::test]
async fn reset_says_what_it_did_and_names_what_is_wrong() {
    let cluster = Cluster::start(1).await;
    cluster.topic("t", 1).await;
    cluster.until("/v1/topics/t", |answer| answer.status == 200).await;
    cluster.commit("g", "t", 7).await;
    let earliest = json!({"to": {"kind": "earliest"}});
    let answer = cluster.post("/v1/groups/g/reset", earliest.clone()).await;
    let expected = json!([{"topic": "t", "partition": 0, "before": 7, "after": null}]);
    assert_eq!((answer.status, &answer.body["items"]), (200, &expected), "{answer:?}");
    assert_eq!(answer.body["applied"], false, "a leader that does not answer");
    for (body, status, code) in [
        (json!({"to": {"kind": "nowhere"}}), 422, None),
        (json!({"to": {"kind": "offset", "offset": 1, "more": 2}}), 422, None),
        (
            json!({"to": {"kind": "latest"}, "topics": [{"topic": "u"}]}),
            404,
            Some("UNKNOWN_TOPIC_OR_PARTITION"),
        ),
        (
            json!({"to": {"kind": "latest"}, "topics": [{"topic": "t", "partitions": [1]}]}),
            404,
            Some("UNKNOWN_TOPIC_OR_PARTITION"),
        ),
    ] {
        cluster.post("/v1/groups/g/reset", body).await.assert_problem(status, code);
    }
    cluster.stop().await;
}
