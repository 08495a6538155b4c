//! Relayed requests, over sockets and through memory, and what must not pass.

use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_protocol::messages::{
    BrokerHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    EndTxnRequest, IncrementalAlterConfigsRequest, create_partitions_request,
};
use ottla_protocol::{ApiKey, ErrorCode, Uuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::broker::FakeBroker;
use crate::link::{Link, envelope, header_bytes, inner};
use crate::support::{partitions_seen, soon, start_active, stop, store, until};

fn creatable(name: &str, num_partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: -1,
        ..CreatableTopic::default()
    }
}

fn creation(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, timeout_ms: 10_000, ..CreateTopicsRequest::default() }
}

#[tokio::test]
async fn topics_are_created_grown_configured_and_deleted_in_every_version() {
    let handle = start_active(1, store()).await;
    let (_broker, _broker_link) = FakeBroker::start(1, &handle).await;
    for (name, mut link) in [("tcp", Link::tcp(&handle).await), ("memory", Link::memory(&handle))] {
        link.hello_as_tool().await;
        for version in 0..=7 {
            let topic = format!("{name}-{version}");
            let request = creation(vec![creatable(&topic, 2), creatable("..", 1)]);
            let (response, revision) = link.relay(version, &request).await;
            assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0]);
            assert_eq!(response.topics[1].error_code, ErrorCode::InvalidTopicException.code());
            let message = |at: usize| response.topics[at].error_message.as_deref().unwrap_or("");
            assert_eq!((message(0), message(1).is_empty()), ("", version < 1));
            assert_eq!(response.topics[0].topic_id.is_zero(), version < 7);
            let image = handle
                .services()
                .images
                .wait_for(revision, crate::support::PATIENCE)
                .await
                .unwrap();
            assert!(image.topic(&topic).is_some(), "the revision shows the topic");
        }
        for version in 0..=3 {
            let topic = create_partitions_request::CreatePartitionsTopic {
                name: format!("{name}-0").into(),
                count: 3 + i32::from(version),
                assignments: None,
                ..Default::default()
            };
            let request = CreatePartitionsRequest {
                topics: vec![topic],
                timeout_ms: 10_000,
                ..Default::default()
            };
            let (response, _) = link.relay(version, &request).await;
            assert_eq!(response.results[0].error_code, 0, "{:?}", response.results[0]);
        }
        until("it grew", || partitions_seen(&handle, &format!("{name}-0")) == Some(6)).await;
        for version in 0..=6 {
            let topic = format!("{name}-{version}");
            let mut request = DeleteTopicsRequest { timeout_ms: 10_000, ..Default::default() };
            if version < 6 {
                request.topic_names = vec![topic.as_str().into(), "no-such-topic".into()];
            } else {
                let id = handle.services().images.load().topic(&topic).unwrap().id;
                request.topics = vec![
                    DeleteTopicState { name: None, topic_id: id, ..Default::default() },
                    DeleteTopicState { name: Some("no-such-topic".into()), ..Default::default() },
                    DeleteTopicState {
                        name: Some("both".into()),
                        topic_id: Uuid::from_bytes([3; 16]),
                        ..Default::default()
                    },
                ];
            }
            let (response, _) = link.relay(version, &request).await;
            let mut codes: Vec<i16> =
                response.responses.iter().map(|response| response.error_code).collect();
            codes.sort_unstable();
            let mut expected = vec![0, ErrorCode::UnknownTopicOrPartition.code()];
            if version == 6 {
                expected.push(ErrorCode::InvalidRequest.code());
            }
            assert_eq!(codes, expected, "version {version}");
        }
    }
    stop(handle).await;
}

#[tokio::test]
async fn configs_are_altered_and_answered_once_per_resource() {
    let handle = start_active(1, store()).await;
    let (_broker, mut link) = FakeBroker::start(1, &handle).await;
    let config = CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("5".into()),
        ..Default::default()
    };
    let configured = CreatableTopic { configs: vec![config], ..creatable("t", 1) };
    let (created, _) = link.relay(7, &creation(vec![configured])).await;
    let configs = created.topics[0].configs.as_ref().unwrap();
    let retention = configs.iter().find(|config| &*config.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
    let resource = |resource_type: i8, name: &str, value: &str| AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: vec![AlterableConfig {
            name: "retention.ms".into(),
            config_operation: 0,
            value: Some(value.into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![
            resource(2, "t", "7"),
            resource(2, "u", "7"),
            resource(99, "t", "7"),
            resource(4, "one", "7"),
        ],
        ..Default::default()
    };
    let (response, _) = link.relay(1, &request).await;
    let codes: Vec<ErrorCode> = response
        .responses
        .iter()
        .map(|response| ErrorCode::from_code(response.error_code))
        .collect();
    let expected = [
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidRequest,
    ];
    assert_eq!(codes, expected);
    until("it is set", || {
        let image = handle.services().images.load();
        image.topic("t").unwrap().configs.get("retention.ms").is_some_and(|value| value == "7")
    })
    .await;
    stop(handle).await;
}

#[tokio::test]
async fn prompt_calls_overtake_relayed_ones_and_cancelled_calls_are_forgotten() {
    let store = store();
    let handle = start_active(1, store.clone()).await;
    let (broker, mut link) = FakeBroker::start(1, &handle).await;
    store.set_paused(true);
    let waiting = link.send(0, &envelope(7, &creation(vec![creatable("t", 1)]))).await;
    let heartbeat = BrokerHeartbeatRequest {
        broker_id: 1,
        broker_epoch: broker.epoch,
        ..BrokerHeartbeatRequest::default()
    };
    let sent = link.send(1, &heartbeat).await;
    let (answered, _) = link.receive::<BrokerHeartbeatRequest>(1).await;
    assert_eq!(answered, sent, "the heartbeat is answered first");
    let under_way = |count: i64| {
        let line = format!("ottla_coordinator_internode_calls {count}");
        handle.services().metrics.text().contains(&line)
    };
    assert!(under_way(1));
    link.cancel(waiting).await;
    until("the cancelled call is gone", || under_way(0)).await;
    let again = link.send(1, &heartbeat).await;
    let (answered, _) = link.receive::<BrokerHeartbeatRequest>(1).await;
    assert_eq!(answered, again, "and it is not answered any more");
    store.set_paused(false);
    stop(handle).await;
}

#[tokio::test]
async fn deadline_of_the_envelope_holds() {
    let store = store();
    let handle = start_active(1, store.clone()).await;
    let (_broker, mut link) = FakeBroker::start(1, &handle).await;
    store.set_paused(true);
    let mut request = envelope(7, &creation(vec![creatable("t", 1)]));
    request.deadline_ms = 200;
    let answer = link.call(0, &request).await;
    assert_eq!(answer.error_code, ErrorCode::RequestTimedOut.code());
    assert!(answer.response.is_none());
    store.set_paused(false);
    stop(handle).await;
}

#[tokio::test]
async fn requests_that_are_not_served_or_not_readable_get_an_error_of_the_relay() {
    let handle = start_active(1, store()).await;
    let (broker, mut link) = FakeBroker::start(1, &handle).await;
    let answer = link.call(0, &envelope(0, &EndTxnRequest::default())).await;
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    let mut broken = envelope(7, &creation(vec![creatable("t", 1)]));
    broken.request = ottla_protocol::wire::Records::Memory(vec![0, 19, 0, 7, 0].into());
    let answer = link.call(0, &broken).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRequest.code());
    let mut stale = envelope(7, &creation(vec![creatable("t", 1)]));
    stale.broker_epoch = broker.epoch - 1;
    let answer = link.call(0, &stale).await;
    assert_eq!(answer.error_code, ErrorCode::StaleBrokerEpoch.code());
    let healthy = link.call(0, &envelope(7, &creation(vec![creatable("t", 1)]))).await;
    assert!(inner::<CreateTopicsRequest>(7, &healthy).is_some(), "the connection goes on");
    stop(handle).await;
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_no_other() {
    let handle = start_active(1, store()).await;
    let (broker, mut healthy) = FakeBroker::start(1, &handle).await;
    let endpoint = handle.internode_endpoint().unwrap().clone();
    // Lengths that are negative or beyond every limit.
    for length in [-1i32, i32::MIN, i32::MAX, 100_000] {
        let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset: either way it ends.
        let _ = soon("it is closed", stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
    // Frames that are no greeting.
    let relay = header_bytes(ApiKey::Relay, 0);
    let unknown = [0x7f, 0xff, 0, 0, 0, 0, 0, 1];
    for frame in [&b""[..], b"\0", b"GET / HTTP/1.1\r\n", &relay, &unknown] {
        let mut link = Link::tcp(&handle).await;
        link.send_frame(frame).await;
        assert!(link.next_frame().await.is_none(), "{frame:?}");
    }
    // Frames that are no request, after a greeting.
    let produce = header_bytes(ApiKey::Produce, 9);
    for frame in [&relay[..], &produce, &unknown] {
        let mut link = Link::tcp(&handle).await;
        link.hello_as_tool().await;
        link.send_frame(frame).await;
        assert!(link.next_frame().await.is_none(), "{frame:?}");
    }
    let answer = broker.heartbeat(&handle, &mut healthy, false).await;
    assert_eq!(answer.error_code, 0);
    stop(handle).await;
}

#[tokio::test]
async fn nobody_sends_heartbeats_for_another_broker() {
    let handle = start_active(1, store()).await;
    let (broker, _link) = FakeBroker::start(1, &handle).await;
    let mut other = Link::memory(&handle);
    other.hello_as_broker(2).await;
    let answer = broker.heartbeat(&handle, &mut other, false).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRequest.code());
    stop(handle).await;
}
