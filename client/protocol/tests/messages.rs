//! What generated messages promise beyond their bytes.

use bytes::Bytes;
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    CreateTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, NodeHelloRequest,
    ProduceRequest, RelayRequest, RelayResponse,
};
use ottla_protocol::wire::{DecodeError, Decoder, EncodeError, Encoder, Piece, Records};
use ottla_protocol::{ApiKey, Message, RequestHeader, Str, Uuid, frame};

fn produce(records: Records) -> ProduceRequest {
    let partition = PartitionProduceData { index: 3, records: Some(records), ..Default::default() };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: Str::from_static("orders"),
            partition_data: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn produced_records_are_pieces_on_the_way_out_and_slices_on_the_way_in() {
    let records = Bytes::from(vec![7; 1 << 20]);
    let pieces = frame::encode_request(
        9,
        Some(&Str::from_static("me")),
        12,
        &produce(records.clone().into()),
    )
    .unwrap();
    let length = pieces.len();
    let [Piece::Memory(_), Piece::Memory(middle), Piece::Memory(_)] = pieces.iter().as_slice()
    else {
        panic!("three pieces expected");
    };
    assert_eq!(middle.as_ptr(), records.as_ptr());

    let frame = pieces.into_contiguous().unwrap();
    assert_eq!(frame[..4], i32::try_from(length - 4).unwrap().to_be_bytes());
    let mut decoder = Decoder::new(frame.slice(4..));
    let header = RequestHeader::decode(&mut decoder).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (0, 12, 9));
    let request = ProduceRequest::decode(&mut decoder, header.api_version).unwrap();
    decoder.finish().unwrap();
    let Some(Records::Memory(read)) = &request.topic_data[0].partition_data[0].records else {
        panic!("records expected");
    };
    assert_eq!(read, &records);
    assert!(frame.as_ptr_range().contains(&read.as_ptr()));
    assert!(frame.as_ptr_range().contains(&request.topic_data[0].name.as_ptr()));
}

#[test]
fn fetched_records_may_be_promised_instead_of_held() {
    let partition = PartitionData {
        records: Some(Records::External { id: 42, len: 1000 }),
        ..Default::default()
    };
    let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    let pieces = frame::encode_response(ApiKey::Fetch, 17, 5, &response).unwrap();
    let all: Vec<_> = pieces.iter().collect();
    assert!(matches!(all[1], Piece::External { id: 42, len: 1000 }));
    let Piece::Memory(first) = all[0] else { panic!("memory expected") };
    assert_eq!(first[..4], i32::try_from(pieces.len() - 4).unwrap().to_be_bytes());
}

#[test]
fn defaults_are_those_of_kafka() {
    let fetch = FetchRequest::default();
    assert_eq!((fetch.replica_id, fetch.max_bytes, fetch.session_epoch), (-1, i32::MAX, -1));
    assert_eq!(FetchPartition::default().high_watermark, i64::MAX);
    assert_eq!(MetadataRequest::default().topics, Some(Vec::new()));
    assert!(MetadataRequest::default().allow_auto_topic_creation);
    assert_eq!(CreateTopicsRequest::default().timeout_ms, 60_000);
}

#[test]
fn ignorable_field_is_dropped_by_versions_without_it() {
    let request = FetchRequest { rack_id: "here".into(), ..Default::default() };
    let read = FetchRequest::decode_all(request.encode_all(10).unwrap(), 10).unwrap();
    assert_eq!(read.rack_id, "");
    let read = FetchRequest::decode_all(request.encode_all(11).unwrap(), 11).unwrap();
    assert_eq!(read.rack_id, "here");
}

#[test]
fn field_that_must_not_be_lost_makes_older_versions_fail() {
    let mut request = produce(Records::default());
    request.transactional_id = Some("t".into());
    let refused = request.encode_all(2);
    let expected = EncodeError::FieldNotInVersion { field: "TransactionalId", version: 2 };
    assert_eq!(refused, Err(expected));
    assert!(request.encode_all(3).is_ok());
}

#[test]
fn null_is_refused_in_versions_that_do_not_allow_it() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let refused = request.encode_all(0);
    assert_eq!(refused, Err(EncodeError::NullNotAllowed { field: "Topics", version: 0 }));
    let bytes = request.encode_all(1).unwrap();
    assert_eq!(MetadataRequest::decode_all(bytes, 1).unwrap().topics, None);
    let refused = MetadataRequest::decode_all(Bytes::from_static(&[0xff; 4]), 0);
    assert_eq!(refused, Err(DecodeError::NullNotAllowed));
}

#[test]
fn trailing_bytes_are_an_error() {
    let mut bytes = FetchRequest::default().encode_all(4).unwrap().to_vec();
    bytes.push(0);
    let refused = FetchRequest::decode_all(bytes.into(), 4);
    assert_eq!(refused, Err(DecodeError::TrailingBytes(1)));
}

#[test]
fn topics_are_named_by_text_or_by_id_as_the_version_says() {
    let id = Uuid::from_bytes([9; 16]);
    let topic = FetchTopic { topic: "orders".into(), topic_id: id, ..Default::default() };
    let request = FetchRequest { topics: vec![topic], ..Default::default() };
    let by_name = FetchRequest::decode_all(request.encode_all(12).unwrap(), 12).unwrap();
    assert_eq!((&*by_name.topics[0].topic, by_name.topics[0].topic_id), ("orders", Uuid::ZERO));
    let by_id = FetchRequest::decode_all(request.encode_all(13).unwrap(), 13).unwrap();
    assert_eq!((&*by_id.topics[0].topic, by_id.topics[0].topic_id), ("", id));
}

#[test]
fn unknown_tagged_fields_survive_and_are_refused_by_versions_without_tags() {
    let mut topic = CreatableTopic { name: "a".into(), ..Default::default() };
    topic.unknown_tagged_fields.push(77, Bytes::from_static(b"new"));
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let read = CreateTopicsRequest::decode_all(request.encode_all(7).unwrap(), 7).unwrap();
    assert_eq!(read, request);
    assert!(matches!(request.encode_all(4), Err(EncodeError::FieldNotInVersion { .. })));
}

#[test]
fn relayed_request_and_its_answer_are_not_copied() {
    let inner = Bytes::from(vec![1; 5000]);
    let request = RelayRequest {
        principal_type: "User".into(),
        principal_name: "ANONYMOUS".into(),
        request: inner.clone().into(),
        ..Default::default()
    };
    let mut encoder = Encoder::new();
    request.encode(&mut encoder, 0).unwrap();
    let pieces = encoder.finish();
    let found = pieces
        .iter()
        .any(|piece| matches!(piece, Piece::Memory(m) if m.as_ptr() == inner.as_ptr()));
    assert!(found);
    let bytes = pieces.into_contiguous().unwrap();
    assert_eq!(RelayRequest::decode_all(bytes, 0).unwrap(), request);
    let refused = RelayResponse { error_code: 41, ..Default::default() };
    assert_eq!(RelayResponse::decode_all(refused.encode_all(0).unwrap(), 0).unwrap(), refused);
}

#[test]
fn first_greeting_between_nodes_round_trips() {
    let hello = NodeHelloRequest {
        node_id: 4,
        role: "broker".into(),
        boot_id: "b".into(),
        broker_epoch: 12,
        version: "0.1.0".into(),
        nonce: Some(Bytes::from_static(b"nonce")),
        secret_proof: Some(Bytes::from_static(b"proof")),
        ..Default::default()
    };
    assert_eq!(NodeHelloRequest::decode_all(hello.encode_all(0).unwrap(), 0).unwrap(), hello);
    assert_eq!(NodeHelloRequest::default().broker_epoch, -1);
}
