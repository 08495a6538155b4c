//! Handlers that answer from the image, and those that pass requests on.

use std::sync::Arc;

use bytes::Bytes;
use ottla_metadata::image::Image;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicResult, CreateTopicsResponse,
};
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::relay_response::RelayResponse;
use ottla_protocol::wire::{Decoder, Records};
use ottla_protocol::{ErrorCode, Message, Request, RequestHeader, ResponseHeader, Str, frame};

use super::*;
use crate::listener::Router;
use crate::relay::{CoordinatorTransport, LinkError};
use crate::testing::{
    ImageBuilder, NoTransport, ScriptedCoordinator, ScriptedTransport, context, services, topic_id,
};

/// Brokers 1 and 2 on both listeners, 3 on one, 4 fenced.
fn image() -> Image {
    ImageBuilder::new()
        .broker(1, false, &["PLAINTEXT", "INTERNAL"])
        .broker(2, false, &["PLAINTEXT", "INTERNAL"])
        .broker(3, false, &["INTERNAL"])
        .broker(4, true, &["PLAINTEXT"])
        .topic("a", &[1, 2], &[1, 2])
        .topic("b", &[3, 4, -1], &[1, 3, 4])
        .topic("c", &[1], &[1])
        .build()
}

/// Runs a handler and decodes what it answers.
async fn ask<H: Handler>(
    transport: Arc<dyn CoordinatorTransport>,
    version: i16,
    request: H::Request,
) -> <H::Request as Request>::Response {
    let services = services(image(), transport, &Router::new());
    let context = context::<H::Request>(version, "PLAINTEXT");
    let reply = match H::handle(&services, &context, request).await {
        Answer::Ready(reply) => reply,
        Answer::Later(later) => later.await,
        other => panic!("no answer: {other:?}"),
    };
    let ReplyBody::Frame { pieces, .. } = reply.body else { panic!("no response: {reply:?}") };
    let mut decoder = Decoder::new(pieces.into_contiguous().unwrap());
    let length = usize::try_from(decoder.i32().unwrap()).unwrap();
    assert_eq!(length, decoder.remaining());
    let header = ResponseHeader::decode(&mut decoder, <H::Request as Request>::KEY, version);
    assert_eq!(header.unwrap().correlation_id, 42);
    let response = <H::Request as Request>::Response::decode(&mut decoder, version).unwrap();
    decoder.finish().unwrap();
    response
}

async fn ask_alone<H: Handler>(
    version: i16,
    request: H::Request,
) -> <H::Request as Request>::Response {
    ask::<H>(Arc::new(NoTransport), version, request).await
}

fn named(names: &[&'static str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic {
        name: Some(Str::from_static(name)),
        ..MetadataRequestTopic::default()
    });
    MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    }
}

#[tokio::test]
async fn metadata_tells_the_addresses_of_the_clients_listener() {
    let response = ask_alone::<Metadata>(9, named(&["a"])).await;
    let brokers: Vec<_> =
        response.brokers.iter().map(|b| (b.node_id, b.host.to_string(), b.port)).collect();
    assert_eq!(
        brokers,
        [(1, "plaintext.example".to_owned(), 9001), (2, "plaintext.example".to_owned(), 9002)]
    );
    assert_eq!(response.controller_id, 1);
    let [topic] = &response.topics[..] else { panic!("one topic") };
    let leaders: Vec<_> =
        topic.partitions.iter().map(|p| (p.partition_index, p.leader_id)).collect();
    assert_eq!(leaders, [(0, 1), (1, 2)]);
}

#[tokio::test]
async fn metadata_says_why_a_partition_has_no_leader() {
    for (version, unreachable) in
        [(5, ErrorCode::LeaderNotAvailable), (6, ErrorCode::ListenerNotFound)]
    {
        let response = ask_alone::<Metadata>(version, named(&["b"])).await;
        let partitions = &response.topics[0].partitions;
        let errors: Vec<_> =
            partitions.iter().map(|p| ErrorCode::from_code(p.error_code)).collect();
        let none = ErrorCode::LeaderNotAvailable;
        assert_eq!(errors, [unreachable, none, none], "version {version}");
        assert!(partitions.iter().all(|p| p.leader_id == -1));
        assert_eq!(partitions[0].offline_replicas, [3, 4]);
    }
}

#[tokio::test]
async fn metadata_of_all_topics_is_asked_differently_in_version_0() {
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    assert_eq!(ask_alone::<Metadata>(1, all).await.topics.len(), 3);
    assert_eq!(ask_alone::<Metadata>(1, named(&[])).await.topics.len(), 0);
    let response = ask_alone::<Metadata>(0, named(&[])).await;
    assert_eq!(response.topics.len(), 3);
    // Version 0 hides what cannot be reached.
    let partition = &response.topics[1].partitions[0];
    assert_eq!(partition.replica_nodes, [1]);
}

#[tokio::test]
async fn metadata_names_topics_that_are_missing_or_impossible() {
    let response = ask_alone::<Metadata>(9, named(&["nope", "a", "a", "no/pe"])).await;
    let told: Vec<_> = response
        .topics
        .iter()
        .map(|t| (t.name.clone().unwrap().to_string(), ErrorCode::from_code(t.error_code)))
        .collect();
    assert_eq!(
        told,
        [
            ("nope".to_owned(), ErrorCode::UnknownTopicOrPartition),
            ("a".to_owned(), ErrorCode::None),
            ("no/pe".to_owned(), ErrorCode::InvalidTopicException),
        ]
    );
}

#[tokio::test]
async fn metadata_finds_topics_by_id() {
    let by_id = |id| MetadataRequestTopic { topic_id: id, ..MetadataRequestTopic::default() };
    let request = MetadataRequest {
        topics: Some(vec![by_id(topic_id("c")), by_id(topic_id("x"))]),
        ..MetadataRequest::default()
    };
    let response = ask_alone::<Metadata>(12, request).await;
    assert_eq!(response.topics[0].name.as_deref(), Some("c"));
    assert_eq!(response.topics[1].error_code, ErrorCode::UnknownTopicId.code());
    assert_eq!(
        (response.topics[1].name.as_deref(), response.topics[1].topic_id),
        (None, topic_id("x"))
    );
}

#[tokio::test]
async fn authorised_operations_are_told_only_if_asked() {
    let mut request = named(&["a"]);
    let response = ask_alone::<Metadata>(8, request.clone()).await;
    assert_eq!(response.topics[0].topic_authorized_operations, i32::MIN);
    assert_eq!(response.cluster_authorized_operations, i32::MIN);
    request.include_topic_authorized_operations = true;
    request.include_cluster_authorized_operations = true;
    let response = ask_alone::<Metadata>(8, request).await;
    assert_eq!(response.topics[0].topic_authorized_operations, 3576);
    assert_eq!(response.cluster_authorized_operations, 8096);
}

#[tokio::test]
async fn describe_cluster_tells_fenced_brokers_only_if_asked() {
    let ids = |response: &ottla_protocol::messages::describe_cluster_response::DescribeClusterResponse| {
        response.brokers.iter().map(|b| (b.broker_id, b.is_fenced)).collect::<Vec<_>>()
    };
    let mut request = DescribeClusterRequest::default();
    assert_eq!(
        ids(&ask_alone::<DescribeCluster>(2, request.clone()).await),
        [(1, false), (2, false)]
    );
    request.include_fenced_brokers = true;
    let response = ask_alone::<DescribeCluster>(2, request.clone()).await;
    assert_eq!(ids(&response), [(1, false), (2, false), (4, true)]);
    request.endpoint_type = 2;
    let response = ask_alone::<DescribeCluster>(2, request).await;
    assert_eq!(response.error_code, ErrorCode::MismatchedEndpointType.code());
}

#[tokio::test]
async fn topics_are_described_page_by_page() {
    let mut request = DescribeTopicPartitionsRequest {
        response_partition_limit: 2,
        ..DescribeTopicPartitionsRequest::default()
    };
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let response = ask_alone::<DescribeTopicPartitions>(0, request.clone()).await;
        pages += 1;
        for topic in response.topics {
            let name = topic.name.unwrap().to_string();
            seen.extend(topic.partitions.iter().map(|p| (name.clone(), p.partition_index)));
        }
        let Some(next) = response.next_cursor else { break };
        request.cursor = Some(Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
            ..Cursor::default()
        });
    }
    let expected: Vec<_> = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]
        .map(|(name, number)| (name.to_owned(), number))
        .into();
    assert_eq!((seen, pages), (expected, 3));
    let request = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: Str::from_static("nope"), ..TopicRequest::default() }],
        ..DescribeTopicPartitionsRequest::default()
    };
    let response = ask_alone::<DescribeTopicPartitions>(0, request).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn configs_come_with_their_sources() {
    let resource = |kind, name| DescribeConfigsResource {
        resource_type: kind,
        resource_name: Str::from_static(name),
        configuration_keys: None,
        ..DescribeConfigsResource::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![
            resource(2, "a"),
            resource(2, "nope"),
            resource(4, "1"),
            resource(4, "2"),
            resource(4, ""),
            resource(8, "1"),
        ],
        include_synonyms: true,
        include_documentation: true,
        ..DescribeConfigsRequest::default()
    };
    let response = ask_alone::<DescribeConfigs>(4, request).await;
    let errors: Vec<_> =
        response.results.iter().map(|r| ErrorCode::from_code(r.error_code)).collect();
    let (none, invalid) = (ErrorCode::None, ErrorCode::InvalidRequest);
    assert_eq!(errors, [none, ErrorCode::UnknownTopicOrPartition, none, invalid, none, invalid]);
    let topic = &response.results[0].configs;
    let retention = topic.iter().find(|config| &*config.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1000"), 1));
    assert!(retention.documentation.is_some() && !retention.read_only);
    let broker = &response.results[2].configs;
    let partitions = broker.iter().find(|config| &*config.name == "num.partitions").unwrap();
    assert_eq!((partitions.value.as_deref(), partitions.config_source), (Some("3"), 4));
    assert!(partitions.synonyms.len() == 2);
}

fn idempotent() -> InitProducerIdRequest {
    InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() }
}

fn create(name: &'static str) -> CreateTopicsRequest {
    let topic = CreatableTopic { name: Str::from_static(name), ..CreatableTopic::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 100, ..CreateTopicsRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn without_a_coordinator_admin_requests_are_refused_and_can_be_repeated() {
    let response = ask_alone::<CreateTopics>(7, create("x")).await;
    let [topic] = &response.topics[..] else { panic!("one topic") };
    assert_eq!((topic.name.as_str(), topic.error_code), ("x", ErrorCode::NotController.code()));
    let response = ask_alone::<InitProducerId>(4, idempotent()).await;
    assert_eq!(response.error_code, ErrorCode::CoordinatorNotAvailable.code());
}

#[tokio::test]
async fn admin_requests_are_carried_out_by_the_coordinator() {
    let coordinator = ScriptedCoordinator::new(|envelope| {
        assert_eq!((&*envelope.principal_name, &*envelope.listener), ("ANONYMOUS", "PLAINTEXT"));
        assert_eq!((envelope.broker_id, envelope.broker_epoch), (1, 100));
        assert_eq!(&*envelope.client_address, "127.0.0.1");
        let Records::Memory(request) = envelope.request.clone() else { panic!("no request") };
        let mut decoder = Decoder::new(request);
        let header = RequestHeader::decode(&mut decoder).unwrap();
        assert_eq!((header.api_version, header.correlation_id), (6, 42));
        let request = CreateTopicsRequest::decode(&mut decoder, header.api_version).unwrap();
        let results = request.topics.iter().map(|topic| CreatableTopicResult {
            name: topic.name.clone(),
            num_partitions: 3,
            ..CreatableTopicResult::default()
        });
        let response =
            CreateTopicsResponse { topics: results.collect(), ..CreateTopicsResponse::default() };
        let response = frame::encode_response(
            CreateTopicsRequest::KEY,
            header.api_version,
            header.correlation_id,
            &response,
        );
        let response = response.unwrap().into_contiguous().unwrap().slice(4..);
        Ok(RelayResponse {
            response: Some(Records::Memory(response)),
            revision: 1000,
            store_cluster_id: 7,
            ..RelayResponse::default()
        })
    });
    let transport = Arc::new(ScriptedTransport(coordinator));
    let response = ask::<CreateTopics>(transport, 6, create("x")).await;
    assert_eq!((response.topics[0].error_code, response.topics[0].num_partitions), (0, 3));
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again() {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let coordinator = ScriptedCoordinator::new(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Err(LinkError::Lost("cut".into()))
    });
    let transport = Arc::new(ScriptedTransport(coordinator));
    let response = ask::<CreateTopics>(transport, 7, create("x")).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::RequestTimedOut.code());
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn coordinators_refusal_and_foreign_answers_are_told_apart() {
    let coordinator = ScriptedCoordinator::new(|_| {
        Ok(RelayResponse {
            error_code: ErrorCode::ClusterAuthorizationFailed.code(),
            ..RelayResponse::default()
        })
    });
    let response =
        ask::<CreateTopics>(Arc::new(ScriptedTransport(coordinator)), 7, create("x")).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::ClusterAuthorizationFailed.code());

    let coordinator = ScriptedCoordinator::new(|_| {
        let response = Some(Records::Memory(Bytes::from_static(&[0, 0, 0, 1, 0, 0])));
        Ok(RelayResponse { response, ..RelayResponse::default() })
    });
    let services = services(image(), Arc::new(ScriptedTransport(coordinator)), &Router::new());
    let context = context::<CreateTopicsRequest>(7, "PLAINTEXT");
    let Answer::Later(later) = CreateTopics::handle(&services, &context, create("x")).await else {
        panic!("relayed")
    };
    assert!(matches!(later.await.body, ReplyBody::Close));
}

#[tokio::test]
async fn producer_ids_come_from_blocks_and_never_twice() {
    let coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    let services =
        services(image(), Arc::new(ScriptedTransport(Arc::clone(&coordinator))), &Router::new());
    let mut ids = Vec::new();
    for _ in 0..25 {
        ids.push(services.producer_ids.next().await.unwrap());
    }
    assert_eq!(ids, (0..25).collect::<Vec<i64>>());
    assert_eq!(*coordinator.blocks.lock().unwrap(), 3);
}

#[tokio::test]
async fn transactional_ids_are_refused_for_good() {
    for (id, error) in
        [("", ErrorCode::InvalidRequest), ("t", ErrorCode::TransactionalIdAuthorizationFailed)]
    {
        let request = InitProducerIdRequest {
            transactional_id: Some(Str::from_static(id)),
            ..InitProducerIdRequest::default()
        };
        let response = ask_alone::<InitProducerId>(5, request).await;
        assert_eq!((response.error_code, response.producer_id), (error.code(), -1));
    }
}

#[tokio::test]
async fn named_topics_are_created_once_while_clients_repeat_themselves() {
    let names = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    let coordinator = ScriptedCoordinator::new(move |envelope| {
        let Records::Memory(request) = envelope.request.clone() else { panic!("no request") };
        let mut decoder = Decoder::new(request);
        let header = RequestHeader::decode(&mut decoder).unwrap();
        let request = CreateTopicsRequest::decode(&mut decoder, header.api_version).unwrap();
        let topic = &request.topics[0];
        assert_eq!(
            (topic.num_partitions, topic.replication_factor),
            (3, 1),
            "this broker's defaults"
        );
        seen.lock().unwrap().push(topic.name.to_string());
        Err(LinkError::TimedOut)
    });
    let services = services(image(), Arc::new(ScriptedTransport(coordinator)), &Router::new());
    let context = context::<MetadataRequest>(9, "PLAINTEXT");
    let mut request = named(&["new", "__consumer_offsets"]);
    // Not allowed by the request: nothing happens.
    drop(Metadata::handle(&services, &context, request.clone()).await);
    request.allow_auto_topic_creation = true;
    for _ in 0..3 {
        drop(Metadata::handle(&services, &context, request.clone()).await);
    }
    while names.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*names.lock().unwrap(), ["new"]);
}
