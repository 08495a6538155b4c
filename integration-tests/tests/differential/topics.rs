//! Creating, growing, describing and deleting topics.

use ottla_protocol::{
    Str, Uuid,
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
        DescribeTopicPartitionsRequest, MetadataRequest,
        create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        describe_topic_partitions_request::{Cursor, TopicRequest},
        metadata_request::MetadataRequestTopic,
    },
};

use crate::session::{Session, code};

pub fn script(session: &mut Session) {
    create(session);
    create_with_configs(session);
    create_with_assignments(session);
    grow(session);
    describe(session);
    metadata(session);
    delete(session);
}

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..CreatableTopic::default()
    }
}

fn try_create(session: &mut Session, step: &str, topics: Vec<CreatableTopic>, validate_only: bool) {
    let request =
        CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only, ..Default::default() };
    let mut results = session.call(7, &request).topics;
    results.sort_by(|a, b| a.name.cmp(&b.name));
    let seen: Vec<_> = results
        .iter()
        .map(|r| {
            let id = if r.topic_id.is_zero() { "no id" } else { "id" };
            let counts = (r.num_partitions, r.replication_factor);
            format!("{} {} {id} {counts:?}", r.name, code(r.error_code))
        })
        .collect();
    session.note(step, seen.join("; "));
}

fn create(session: &mut Session) {
    try_create(session, "create", vec![topic("made", 2, 1)], false);
    try_create(session, "create once more", vec![topic("made", 2, 1)], false);
    try_create(session, "create with defaults", vec![topic("defaults", -1, -1)], false);
    try_create(session, "validate only", vec![topic("never", 2, 1)], true);
    try_create(session, "validate only an existing one", vec![topic("made", 2, 1)], true);
    try_create(session, "no partitions", vec![topic("zero", 0, 1)], false);
    try_create(session, "negative partitions", vec![topic("negative", -2, 1)], false);
    try_create(session, "no replicas", vec![topic("unreplicated", 1, 0)], false);
    try_create(session, "more replicas than brokers", vec![topic("wide", 1, 3)], false);
    try_create(
        session,
        "twice in a request",
        vec![topic("twice", 1, 1), topic("twice", 1, 1)],
        false,
    );
    try_create(session, "good and bad", vec![topic("good", 1, 1), topic("bad", 0, 1)], false);
    for name in ["", ".", "..", "a b", "a/b", "ä", "a:b", &"x".repeat(250)] {
        try_create(session, &format!("name {:.10}", name), vec![topic(name, 1, 1)], false);
    }
    try_create(session, "longest name", vec![topic(&"y".repeat(249), 1, 1)], false);
    try_create(session, "dotted", vec![topic("a.b", 1, 1)], false);
    try_create(session, "colliding", vec![topic("a_b", 1, 1)], false);
}

fn create_with_configs(session: &mut Session) {
    let configs = [
        ("retention.ms", Some("1000")),
        ("retention.ms", Some("soon")),
        ("no.such.config", Some("1")),
        ("cleanup.policy", Some("shred")),
        ("cleanup.policy", Some("compact,delete")),
        ("segment.bytes", Some("10")),
        ("min.cleanable.dirty.ratio", Some("1.5")),
        ("compression.type", Some("brotli")),
        ("max.message.bytes", None),
    ];
    for (index, (name, value)) in configs.into_iter().enumerate() {
        let mut topic = topic(&format!("configured-{index}"), 1, 1);
        let value = value.map(Str::from);
        topic.configs =
            vec![CreatableTopicConfig { name: name.into(), value, ..Default::default() }];
        try_create(session, &format!("config {name} {index}"), vec![topic], false);
    }
}

fn create_with_assignments(session: &mut Session) {
    let assigned = |name: &str, partitions: i32, replicas: i16, assignments: &[(i32, &[i32])]| {
        let mut topic = topic(name, partitions, replicas);
        let one = |(partition_index, ids): &(i32, &[i32])| CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: ids.to_vec(),
            ..Default::default()
        };
        topic.assignments = assignments.iter().map(one).collect();
        topic
    };
    let cases = [
        ("assigned", assigned("assigned", -1, -1, &[(0, &[1]), (1, &[1])])),
        ("assigned and counted", assigned("counted", 2, 1, &[(0, &[1]), (1, &[1])])),
        ("assigned to an unknown broker", assigned("unknown", -1, -1, &[(0, &[99])])),
        ("assigned with a gap", assigned("gap", -1, -1, &[(0, &[1]), (2, &[1])])),
        ("assigned twice to one broker", assigned("same", -1, -1, &[(0, &[1, 1])])),
        ("assigned to nobody", assigned("nobody", -1, -1, &[(0, &[])])),
    ];
    for (step, topic) in cases {
        try_create(session, step, vec![topic], false);
    }
}

fn grow(session: &mut Session) {
    session.create_topic("growing", 2, &[]);
    type Case<'a> = (&'a str, &'a str, i32, Option<&'a [&'a [i32]]>);
    let cases: [Case<'_>; 8] = [
        ("grow to fewer", "growing", 1, None),
        ("grow to the same", "growing", 2, None),
        ("grow to none", "growing", 0, None),
        ("grow", "growing", 3, None),
        ("grow an unknown topic", "missing", 3, None),
        ("grow with an assignment", "growing", 4, Some(&[&[1]])),
        ("grow with too many assignments", "growing", 5, Some(&[&[1], &[1]])),
        ("grow with an unknown broker", "growing", 5, Some(&[&[42]])),
    ];
    for (step, name, count, assignments) in cases {
        let assignments = assignments.map(|list| {
            let one = |ids: &&[i32]| CreatePartitionsAssignment {
                broker_ids: ids.to_vec(),
                ..Default::default()
            };
            list.iter().map(one).collect()
        });
        let topic =
            CreatePartitionsTopic { name: name.into(), count, assignments, ..Default::default() };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let response = session.call(3, &request);
        session.note(step, code(response.results[0].error_code));
    }
}

fn describe(session: &mut Session) {
    session.create_topic("described", 5, &[]);
    session.create_topic("described-too", 2, &[]);
    let ask = |limit: i32, cursor: Option<(&str, i32)>| DescribeTopicPartitionsRequest {
        topics: ["described", "described-too", "missing"]
            .map(|name| TopicRequest { name: name.into(), ..Default::default() })
            .to_vec(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, partition_index)| Cursor {
            topic_name: name.into(),
            partition_index,
            ..Default::default()
        }),
        ..Default::default()
    };
    for (step, limit, cursor) in [
        ("describe all", 2000, None),
        ("describe the first three", 3, None),
        ("describe from a cursor", 3, Some(("described", 3))),
        ("describe from the second topic", 2000, Some(("described-too", 1))),
    ] {
        let response = session.call(0, &ask(limit, cursor));
        let topics: Vec<_> = response
            .topics
            .iter()
            .map(|t| {
                let partitions: Vec<_> =
                    t.partitions.iter().map(|p| (p.partition_index, p.leader_id)).collect();
                let name = t.name.as_deref().unwrap_or("null");
                format!("{name} {} {partitions:?}", code(t.error_code))
            })
            .collect();
        let next = response.next_cursor.map(|c| (c.topic_name.to_string(), c.partition_index));
        session.note(step, format!("{} next {next:?}", topics.join("; ")));
    }
}

fn metadata(session: &mut Session) {
    session.create_topic("seen", 2, &[]);
    let by_name =
        |name: &str| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let request = |topics| MetadataRequest { topics, ..Default::default() };
    for version in [1, 4, 5, 7, 9, 10, 12, 13] {
        // Before version 4 to ask for a topic is to create it, some time later: it is asked for once.
        let unknown = if version < 4 { "unseen-before" } else { "unseen" };
        let asked = MetadataRequest {
            allow_auto_topic_creation: version < 4,
            ..request(Some(vec![by_name("seen"), by_name(unknown)]))
        };
        let response = session.call(version, &asked);
        let mut topics: Vec<_> = response
            .topics
            .iter()
            .map(|t| {
                let partitions: Vec<_> = t
                    .partitions
                    .iter()
                    .map(|p| (p.error_code, p.leader_id, &p.replica_nodes, &p.isr_nodes))
                    .collect();
                format!("{:?} {} {partitions:?}", t.name.as_deref(), code(t.error_code))
            })
            .collect();
        topics.sort();
        let brokers: Vec<_> =
            response.brokers.iter().map(|b| (b.node_id, b.rack.clone())).collect();
        session.note(&format!("metadata v{version}"), format!("{brokers:?} {}", topics.join("; ")));
    }
    let none = session.call(9, &request(Some(Vec::new()))).topics.len();
    session.note("metadata of none", none);
    for (step, id) in [("known id", session.id("seen")), ("unknown id", Uuid::from_bytes([7; 16]))]
    {
        let topic = MetadataRequestTopic { topic_id: id, ..Default::default() };
        let response = session.call(12, &request(Some(vec![topic])));
        let topic = &response.topics[0];
        session.note(step, format!("{:?} {}", topic.name.as_deref(), code(topic.error_code)));
    }
    let invalid = session.call(9, &request(Some(vec![by_name("a b")])));
    session.note("metadata of an invalid name", code(invalid.topics[0].error_code));
}

fn delete(session: &mut Session) {
    session.create_topic("doomed", 1, &[]);
    session.create_topic("doomed-by-id", 1, &[]);
    let id = session.id("doomed-by-id");
    let by_name = |name: &str| DeleteTopicState { name: Some(name.into()), ..Default::default() };
    let by_id = |topic_id| DeleteTopicState { name: None, topic_id, ..Default::default() };
    let both = DeleteTopicState { topic_id: id, ..by_name("doomed") };
    for (step, topic) in [
        ("delete by name and id", both),
        ("delete", by_name("doomed")),
        ("delete once more", by_name("doomed")),
        ("delete by id", by_id(id)),
        ("delete by an unknown id", by_id(Uuid::from_bytes([9; 16]))),
    ] {
        let request =
            DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = session.call(6, &request);
        let result = &response.responses[0];
        session.note(step, format!("{:?} {}", result.name.as_deref(), code(result.error_code)));
    }
    let request = DeleteTopicsRequest {
        topic_names: vec!["made".into(), "missing".into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let mut results = session.call(5, &request).responses;
    results.sort_by(|a, b| a.name.cmp(&b.name));
    let seen: Vec<_> = results.iter().map(|r| code(r.error_code)).collect();
    session.note("delete two", seen.join("; "));
}
