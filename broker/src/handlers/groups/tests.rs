use std::sync::Mutex;

use futures_util::FutureExt;
use ottla_metadata::image::Image;
use ottla_metadata::internal_topics::CONSUMER_OFFSETS;
use ottla_protocol::messages::{
    CreateTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
    JoinGroupRequest, ListGroupsRequest, OffsetFetchRequest, RelayRequest, RelayResponse,
};
use ottla_protocol::wire::{Decoder, Encoder, Records};
use ottla_protocol::{ApiKey, Message, RequestHeader, ResponseHeader, Str};

use super::*;
use crate::handlers::{FindCoordinator, Handler, ReplyBody};
use crate::listener::Router;
use crate::relay::{CoordinatorTransport, LinkError};
use crate::testing::{
    ImageBuilder, NoTransport, ScriptedCoordinator, ScriptedTransport, context, services,
};

/// Shards by turns of broker 1, broker 2 and nobody; "my-group" is in 12, "größe" in 7, "group" in 47.
fn image() -> Image {
    let leaders: Vec<i32> = (0..50).map(|shard| [1, 2, -1][shard % 3]).collect();
    ImageBuilder::new()
        .broker(1, false, &["PLAINTEXT"])
        .broker(2, false, &["PLAINTEXT"])
        .topic(CONSUMER_OFFSETS, &leaders, &[1, 2])
        .build()
}

type Seen = Arc<Mutex<Vec<RelayRequest>>>;

/// Services whose coordinator answers each request with `response` and notes its envelope.
fn answering<R: Request>(version: i16, response: R::Response) -> (Arc<Services>, Seen) {
    let mut encoder = Encoder::new();
    let header = ResponseHeader { correlation_id: 42, ..ResponseHeader::default() };
    header.encode(&mut encoder, R::KEY, version).unwrap();
    response.encode(&mut encoder, version).unwrap();
    let bytes = encoder.finish().into_contiguous().unwrap();
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let coordinator = ScriptedCoordinator::new(move |envelope| {
        noted.lock().unwrap().push(envelope.clone());
        Ok(RelayResponse {
            response: Some(Records::Memory(bytes.clone())),
            // Of a write that no image will ever show.
            store_cluster_id: 7,
            revision: 1_000_000,
            ..RelayResponse::default()
        })
    });
    (services(image(), Arc::new(ScriptedTransport(coordinator)), &Router::new()), seen)
}

fn with(transport: Arc<dyn CoordinatorTransport>, image: Image) -> Arc<Services> {
    services(image, transport, &Router::new())
}

async fn ask<H: Handler>(
    services: &Arc<Services>,
    version: i16,
    request: H::Request,
) -> <H::Request as Request>::Response {
    let context = context::<H::Request>(version, "PLAINTEXT");
    let reply = match H::handle(services, &context, request).await {
        Answer::Ready(reply) => reply,
        Answer::Later(later) => later.await,
        Answer::None | Answer::Close => panic!("no answer"),
    };
    let ReplyBody::Frame { pieces, .. } = reply.body else { panic!("no frame") };
    let mut decoder = Decoder::new(pieces.into_contiguous().unwrap().slice(4..));
    let key = <H::Request as Request>::KEY;
    ResponseHeader::decode(&mut decoder, key, version).unwrap();
    <H::Request as Request>::Response::decode(&mut decoder, version).unwrap()
}

fn heartbeat(group: &'static str) -> HeartbeatRequest {
    HeartbeatRequest { group_id: Str::from_static(group), ..HeartbeatRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn request_about_a_group_goes_to_the_coordinator_with_its_shard() {
    let response =
        ottla_protocol::messages::HeartbeatResponse { error_code: 27, ..Default::default() };
    let (services, seen) = answering::<HeartbeatRequest>(4, response);
    let began = tokio::time::Instant::now();
    let answer = ask::<super::Heartbeat>(&services, 4, heartbeat("my-group")).await;
    assert_eq!(answer.error_code, ErrorCode::RebalanceInProgress.code());
    assert!(began.elapsed() < Duration::from_millis(500), "no image is waited for");
    let seen = seen.lock().unwrap();
    let [envelope] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(envelope.shards, [12]);
    let Records::Memory(request) = envelope.request.clone() else { panic!("no request") };
    let mut decoder = Decoder::new(request);
    assert_eq!(RequestHeader::decode(&mut decoder).unwrap().api_key, ApiKey::Heartbeat.code());
    assert_eq!(HeartbeatRequest::decode(&mut decoder, 4).unwrap(), heartbeat("my-group"));
}

#[tokio::test(start_paused = true)]
async fn group_of_another_broker_or_of_nobody_is_not_passed_on() {
    let (services, seen) = answering::<HeartbeatRequest>(4, Default::default());
    for group in ["größe", "group"] {
        let answer = ask::<super::Heartbeat>(&services, 4, heartbeat(group)).await;
        assert_eq!(answer.error_code, ErrorCode::NotCoordinator.code(), "{group}");
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn groups_of_a_broker_are_those_of_its_shards() {
    let (services, seen) = answering::<ListGroupsRequest>(4, Default::default());
    ask::<ListGroups>(&services, 4, ListGroupsRequest::default()).await;
    let expected: Vec<i32> = (0..50).filter(|shard| shard % 3 == 0).collect();
    assert_eq!(seen.lock().unwrap()[0].shards, expected);
    // One that speaks for no shard lists nothing, and nobody has to be asked.
    let leaders = [2; 50];
    let image = ImageBuilder::new().topic(CONSUMER_OFFSETS, &leaders, &[2]).build();
    let services = with(Arc::new(NoTransport), image);
    let answer = ask::<ListGroups>(&services, 4, ListGroupsRequest::default()).await;
    assert_eq!((answer.error_code, answer.groups.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn several_groups_go_with_the_shards_that_are_fronted_here() {
    let (services, seen) = answering::<DescribeGroupsRequest>(5, Default::default());
    let groups = ["my-group", "größe"].map(Str::from_static).to_vec();
    let request = DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() };
    ask::<DescribeGroups>(&services, 5, request).await;
    assert_eq!(seen.lock().unwrap()[0].shards, [12]);
}

#[tokio::test(start_paused = true)]
async fn without_a_coordinator_clients_are_told_what_they_all_repeat_themselves_after() {
    let services = with(Arc::new(NoTransport), image());
    let beat = ask::<super::Heartbeat>(&services, 4, heartbeat("my-group")).await;
    assert_eq!(beat.error_code, ErrorCode::NotCoordinator.code());
    let request = JoinGroupRequest { group_id: Str::from_static("my-group"), ..Default::default() };
    for version in [5, 9] {
        let joined = ask::<JoinGroup>(&services, version, request.clone()).await;
        assert_eq!((joined.error_code, joined.generation_id), (16, -1));
        assert_eq!(joined.protocol_name.is_none(), version == 9);
    }
    let request =
        OffsetFetchRequest { group_id: Str::from_static("my-group"), ..Default::default() };
    let fetched = ask::<OffsetFetch>(&services, 7, request).await;
    assert_eq!(fetched.error_code, ErrorCode::NotCoordinator.code());
    let listed = ask::<ListGroups>(&services, 4, ListGroupsRequest::default()).await;
    assert_eq!(listed.error_code, ErrorCode::CoordinatorNotAvailable.code());
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_connection_take_turns() {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let coordinator = ScriptedCoordinator::new(move |envelope| {
        noted.lock().unwrap().push(envelope.clone());
        Err(LinkError::TimedOut)
    });
    let services = with(Arc::new(ScriptedTransport(coordinator)), image());
    services.relay.link(Duration::from_secs(1)).await.unwrap();
    let context = context::<HeartbeatRequest>(4, "PLAINTEXT");
    let mut answers = Vec::new();
    for _ in 0..2 {
        let answer = super::Heartbeat::handle(&services, &context, heartbeat("my-group")).await;
        let Answer::Later(later) = answer else { panic!("{answer:?}") };
        answers.push(later);
    }
    let (mut second, first) = (answers.pop().unwrap(), answers.pop().unwrap());
    assert!((&mut second).now_or_never().is_none(), "the first has not had its turn");
    assert!(seen.lock().unwrap().is_empty());
    first.await;
    assert_eq!(seen.lock().unwrap().len(), 1);
    second.await;
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn consumer_protocol_needs_its_feature() {
    let services = with(Arc::new(NoTransport), image());
    let group_id = Str::from_static("my-group");
    let request =
        ottla_protocol::messages::ConsumerGroupHeartbeatRequest { group_id, ..Default::default() };
    let answer = ask::<ConsumerGroupHeartbeat>(&services, 1, request).await;
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
}

fn find(kind: i8, keys: &[&'static str]) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key: keys.first().copied().map(Str::from_static).unwrap_or_default(),
        key_type: kind,
        coordinator_keys: keys.iter().copied().map(Str::from_static).collect(),
        ..FindCoordinatorRequest::default()
    }
}

#[tokio::test(start_paused = true)]
async fn coordinator_of_a_group_is_the_leader_of_its_partition() {
    let (services, _) = answering::<HeartbeatRequest>(4, Default::default());
    services.relay.link(Duration::from_secs(1)).await.unwrap();
    let request =
        FindCoordinatorRequest { key: Str::new(), ..find(0, &["my-group", "größe", "group"]) };
    let found = ask::<FindCoordinator>(&services, 6, request).await;
    let told: Vec<_> = found
        .coordinators
        .iter()
        .map(|it| (&*it.key, it.error_code, it.node_id, &*it.host, it.port))
        .collect();
    assert_eq!(
        told,
        [
            ("my-group", 0, 1, "plaintext.example", 9001),
            ("größe", 0, 2, "plaintext.example", 9002),
            ("group", 15, -1, "", -1),
        ]
    );
    let request = FindCoordinatorRequest { coordinator_keys: Vec::new(), ..find(0, &["größe"]) };
    let found = ask::<FindCoordinator>(&services, 2, request).await;
    assert_eq!((found.error_code, found.node_id, found.port), (0, 2, 9002));
    assert_eq!(found.error_message.as_deref(), Some("NONE"));
}

#[tokio::test(start_paused = true)]
async fn broker_without_a_coordinator_does_not_name_itself() {
    let services = with(Arc::new(NoTransport), image());
    let request = FindCoordinatorRequest { key: Str::new(), ..find(0, &["my-group", "größe"]) };
    let found = ask::<FindCoordinator>(&services, 4, request).await;
    let codes: Vec<_> = found.coordinators.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [15, 0]);
}

#[tokio::test(start_paused = true)]
async fn transactional_ids_and_unknown_kinds_are_refused_for_good() {
    let services = with(Arc::new(NoTransport), image());
    for (kind, code) in [
        (1, ErrorCode::TransactionalIdAuthorizationFailed),
        (2, ErrorCode::InvalidRequest),
        (9, ErrorCode::InvalidRequest),
    ] {
        let request = FindCoordinatorRequest { key: Str::new(), ..find(kind, &["x"]) };
        let found = ask::<FindCoordinator>(&services, 6, request).await;
        assert_eq!(found.coordinators[0].error_code, code.code(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn first_search_for_a_group_has_the_topic_made() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let coordinator = ScriptedCoordinator::new(move |envelope| {
        let Records::Memory(request) = envelope.request.clone() else { panic!("no request") };
        let mut decoder = Decoder::new(request);
        let header = RequestHeader::decode(&mut decoder).unwrap();
        let request = CreateTopicsRequest::decode(&mut decoder, header.api_version).unwrap();
        let topic = &request.topics[0];
        let shape = (topic.num_partitions, topic.replication_factor);
        noted.lock().unwrap().push((topic.name.to_string(), shape));
        Err(LinkError::TimedOut)
    });
    let image = ImageBuilder::new().broker(1, false, &["PLAINTEXT"]).build();
    let services = with(Arc::new(ScriptedTransport(coordinator)), image);
    let request = FindCoordinatorRequest { coordinator_keys: Vec::new(), ..find(0, &["my-group"]) };
    for _ in 0..3 {
        let found = ask::<FindCoordinator>(&services, 3, request.clone()).await;
        assert_eq!(found.error_code, ErrorCode::CoordinatorNotAvailable.code());
    }
    while asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*asked.lock().unwrap(), [(CONSUMER_OFFSETS.to_owned(), (-1, -1))]);
}
