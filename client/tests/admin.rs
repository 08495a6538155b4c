//! Administrative calls against a real cluster, Ottla or Apache Kafka: the one at `OTTLA_TEST_BOOTSTRAP`
//! (`host:port,…`). Without it there is nothing to test against, and the tests say so.

mod common;

use ottla_client::admin::{
    AlterConfig, ConfigChange, ConfigResource, ConfigSource, NewPartitions, NewTopic,
};
use ottla_client::protocol::types::{Offset, PartitionId};
use ottla_client::protocol::{ErrorCode, Str};
use ottla_client::{ClientError, OffsetAt};

use common::{TestTopic, admin};

#[tokio::test]
async fn topics_are_created_grown_described_and_deleted() {
    let Some(admin) = admin() else { return };
    let name: Str = common::unique("lifecycle").into();
    let new = NewTopic {
        name: name.clone(),
        partitions: Some(2),
        replication_factor: Some(1),
        configs: vec![(Str::from("retention.ms"), Str::from("86400000"))],
        ..NewTopic::default()
    };
    let new = [new];
    assert!(admin.create_topics(&new, true).await.unwrap()[0].is_ok());
    let absent = admin.describe_topics(std::slice::from_ref(&name)).await.unwrap();
    let code = absent[0].as_ref().unwrap_err().code();
    assert_eq!(code, Some(ErrorCode::UnknownTopicOrPartition), "only validated");

    let created = admin.create_topics(&new, false).await.unwrap()[0].clone().unwrap();
    assert_eq!((created.partitions, created.replication_factor), (2, 1));
    let again = admin.create_topics(&new, false).await.unwrap();
    assert_eq!(again[0].as_ref().unwrap_err().code(), Some(ErrorCode::TopicAlreadyExists));

    let grown = [NewPartitions { topic: name.clone(), total: 5, ..NewPartitions::default() }];
    admin.create_partitions(&grown, false).await.unwrap()[0].clone().unwrap();
    let described = common::eventually(async || {
        let names = std::slice::from_ref(&name);
        let topic = admin.describe_topics(names).await.unwrap()[0].clone().ok()?;
        let led = topic.partitions.iter().all(|partition| 0 <= partition.leader.0);
        (topic.partitions.len() == 5 && led).then_some(topic)
    });
    let described = described.await;
    assert_eq!(described.id, created.id);
    let listed = admin.list_topics().await.unwrap();
    assert!(listed.iter().any(|topic| topic.name == name && topic.id == created.id));

    let deleted = admin.delete_topics(std::slice::from_ref(&name)).await.unwrap();
    assert_eq!(deleted, [Ok(())]);
    common::eventually(async || {
        let listed = admin.list_topics().await.unwrap();
        (!listed.iter().any(|topic| topic.name == name)).then_some(())
    })
    .await;
    let again = admin.delete_topics(&[name]).await.unwrap();
    assert_eq!(again[0].as_ref().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn bad_topics_are_refused_with_their_reason() {
    let Some(admin) = admin() else { return };
    let topic = |name: &str, partitions, factor| NewTopic {
        name: name.into(),
        partitions: Some(partitions),
        replication_factor: Some(factor),
        ..NewTopic::default()
    };
    let bad = [
        topic("not a name", 1, 1),
        topic("no-partitions", 0, 1),
        topic("too-many-replicas", 1, 99),
    ];
    let results = admin.create_topics(&bad, false).await.unwrap();
    let codes: Vec<_> = results.iter().map(|result| result.as_ref().unwrap_err().code()).collect();
    let expected = [
        ErrorCode::InvalidTopicException,
        ErrorCode::InvalidPartitions,
        ErrorCode::InvalidReplicationFactor,
    ];
    assert_eq!(codes, expected.map(Some));
}

#[tokio::test]
async fn configs_are_set_described_and_reset() {
    let Some(topic) = TestTopic::create("configs", 1).await else { return };
    let resource = [ConfigResource::topic(topic.name.clone())];
    let entry = async || {
        let described = topic.admin.describe_configs(&resource, true).await.remove(0).unwrap();
        described.into_iter().find(|entry| entry.name == "max.message.bytes").unwrap()
    };
    let change = async |change| {
        let changes = vec![AlterConfig { name: Str::from("max.message.bytes"), change }];
        topic.admin.alter_configs(&[(resource[0].clone(), changes)], false).await.remove(0)
    };
    assert_eq!(entry().await.source, ConfigSource::Default);
    change(ConfigChange::Set("2000000".into())).await.unwrap();
    let set = common::eventually(async || {
        let entry = entry().await;
        (entry.source == ConfigSource::DynamicTopic).then_some(entry)
    });
    let set = set.await;
    assert_eq!(set.value.as_deref(), Some("2000000"));
    assert!(!set.synonyms.is_empty());
    let refused = change(ConfigChange::Set("many".into())).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::InvalidConfig));
    change(ConfigChange::Delete).await.unwrap();
    common::eventually(async || (entry().await.source == ConfigSource::Default).then_some(()))
        .await;
    topic.delete().await;
}

#[tokio::test]
async fn the_cluster_describes_itself() {
    let Some(admin) = admin() else { return };
    let cluster = admin.describe_cluster().await.unwrap();
    assert!(!cluster.cluster_id.is_empty());
    let ids: Vec<_> = cluster.brokers.iter().map(|broker| broker.id).collect();
    assert!(ids.contains(&cluster.controller));
    let configs = admin.describe_configs(&[ConfigResource::broker(ids[0])], false).await.remove(0);
    assert!(configs.unwrap().iter().any(|entry| entry.name == "log.retention.ms"));
    for dirs in admin.describe_log_dirs(&ids).await {
        let dirs = dirs.unwrap();
        assert!(dirs.iter().all(|dir| dir.error == ErrorCode::None));
        assert!(!dirs.is_empty());
    }
}

#[tokio::test]
async fn offsets_of_an_empty_partition_are_zero() {
    let Some(topic) = TestTopic::create("offsets", 2).await else { return };
    let ask = |partition, at| (topic.name.clone(), PartitionId(partition), at);
    let queries = [
        ask(0, OffsetAt::Earliest),
        ask(1, OffsetAt::Latest),
        ask(0, OffsetAt::Timestamp(0)),
        ask(0, OffsetAt::MaxTimestamp),
    ];
    let found: Vec<_> =
        topic.admin.list_offsets(&queries).await.into_iter().map(Result::unwrap).collect();
    let offsets: Vec<_> = found.iter().map(|found| found.offset).collect();
    assert_eq!(offsets, [Offset(0), Offset(0), Offset(-1), Offset(-1)]);
    let deleted =
        topic.admin.delete_records(&[(topic.name.clone(), PartitionId(0), Offset(0))]).await;
    assert_eq!(deleted, [Ok(Offset(0))]);
    let beyond =
        topic.admin.delete_records(&[(topic.name.clone(), PartitionId(0), Offset(9))]).await;
    assert_eq!(beyond[0].as_ref().unwrap_err().code(), Some(ErrorCode::OffsetOutOfRange));
    topic.delete().await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_said_to_be() {
    let config = ottla_client::ClientConfig {
        api_timeout: std::time::Duration::from_millis(300),
        ..ottla_client::ClientConfig::new("127.0.0.1:1").unwrap()
    };
    let admin = ottla_client::Admin::new(ottla_client::Client::new(config));
    let error = admin.list_topics().await.unwrap_err();
    assert!(matches!(error, ClientError::NoBroker(_) | ClientError::TimedOut { .. }), "{error}");
}
