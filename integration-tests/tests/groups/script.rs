//! The steps.

mod classic;
mod consumer;
mod offsets;
mod tools;

use ottla_integration_tests::harness::{eventually, produce_one};
use ottla_protocol::messages::{
    CreateTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
};

use crate::notes::{Notes, WITHIN, code};

/// Records in each partition of `orders`.
const RECORDS: usize = 4;

pub fn run(notes: &mut Notes) {
    topics(notes);
    coordinators(notes);
    classic::run(notes);
    offsets::run(notes);
    consumer::run(notes);
    tools::run(notes);
}

/// `orders` with three partitions and records, `users` with one and none.
fn topics(notes: &mut Notes) {
    // The records are old, and shall stay.
    let forever = CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("-1".into()),
        ..Default::default()
    };
    let topic = |name: &str, num_partitions| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: 1,
        configs: vec![forever.clone()],
        ..Default::default()
    };
    let topics = vec![topic("orders", 3), topic("users", 1)];
    let request = CreateTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
    let created = notes.call(7, &request);
    assert!(created.topics.iter().all(|topic| topic.error_code == 0), "{created:?}");
    for partition in 0..3 {
        for record in 0..RECORDS {
            let request = produce_one(("orders", partition), &record.to_string(), -1, 10_000);
            eventually("a record is written", WITHIN, || {
                let response = notes.call(9, &request);
                (response.responses[0].partition_responses[0].error_code == 0).then_some(())
            });
        }
    }
}

/// The first search for a group has the topic made; then each version answers in its way.
fn coordinators(notes: &mut Notes) {
    let many = |version, keys: &[&str], key_type| FindCoordinatorRequest {
        key: if version < 4 { keys[0].into() } else { "".into() },
        key_type,
        coordinator_keys: if version < 4 {
            vec![]
        } else {
            keys.iter().map(|key| (*key).into()).collect()
        },
        ..Default::default()
    };
    notes.until("a coordinator", |notes| {
        let found = notes.call(4, &many(4, &["first"], 0));
        (found.coordinators[0].error_code == 0).then_some(())
    });
    // Every shard has been taken up.
    let groups = (0..500).map(|group| format!("g{group}").into()).collect();
    let describe = DescribeGroupsRequest { groups, ..Default::default() };
    notes.until("every shard is there", |notes| {
        let described = notes.call(5, &describe);
        described.groups.iter().all(|group| group.error_code == 0).then_some(())
    });
    for version in 0..=6 {
        let found = notes.call(version, &many(version, &["a", "b"], 0));
        let outcome = if version < 4 {
            let message = found.error_message.as_deref().unwrap_or("null");
            format!("{} {:?} broker {}", code(found.error_code), message, found.node_id)
        } else {
            let each = found.coordinators.iter().map(|found| {
                let message = found.error_message.as_deref().unwrap_or_default();
                format!(
                    "{} {} {:?} broker {}",
                    &*found.key,
                    code(found.error_code),
                    message,
                    found.node_id
                )
            });
            each.collect::<Vec<_>>().join(", ")
        };
        notes.note(&format!("find v{version}"), &outcome);
    }
    let found = notes.call(3, &many(3, &["a"], 9));
    notes.note("find v3 of kind 9", code(found.error_code));
}
