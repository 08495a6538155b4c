//! Produce and Fetch copy no record and allocate a fixed handful, however large the records are.

#[path = "support/counting.rs"]
mod counting;
#[path = "support/hot.rs"]
mod hot;

use counting::counted;
use ottla_protocol::wire::{Piece, Pieces};
use ottla_protocol::{ApiKey, Message, frame};

fn holds(pieces: &Pieces, address: *const u8) -> bool {
    pieces.iter().any(|piece| matches!(piece, Piece::Memory(bytes) if bytes.as_ptr() == address))
}

#[test]
fn produce_is_encoded_and_decoded_without_a_copy() {
    let records = hot::records();
    let request = hot::produce(&records);
    let encode = || frame::encode_request(1, None, hot::PRODUCE_VERSION, &request);
    let (pieces, encoding) = counted(encode);
    assert!(holds(pieces.as_ref().unwrap(), records.as_ptr()));
    assert!(encoding.calls <= 4 && encoding.bytes < 1024, "{encoding:?}");

    let body = request.encode_all(hot::PRODUCE_VERSION).unwrap();
    let (read, decoding) = counted(|| {
        hot::produced_at(&decode_produce(&body)).map(|at| body.as_ptr_range().contains(&at))
    });
    assert_eq!(read, Some(true));
    assert!(decoding.calls <= 3 && decoding.bytes < 1024, "{decoding:?}");
}

#[test]
fn fetch_is_encoded_and_decoded_without_a_copy() {
    let records = hot::records();
    let response = hot::fetched(&records);
    let encode = || frame::encode_response(ApiKey::Fetch, hot::FETCH_VERSION, 1, &response);
    let (pieces, encoding) = counted(encode);
    assert!(holds(pieces.as_ref().unwrap(), records.as_ptr()));
    assert!(encoding.calls <= 4 && encoding.bytes < 1024, "{encoding:?}");

    let body = response.encode_all(hot::FETCH_VERSION).unwrap();
    let (read, decoding) = counted(|| {
        hot::fetched_at(&decode_fetch(&body)).map(|at| body.as_ptr_range().contains(&at))
    });
    assert_eq!(read, Some(true));
    assert!(decoding.calls <= 3 && decoding.bytes < 1024, "{decoding:?}");
}

fn decode_produce(body: &bytes::Bytes) -> ottla_protocol::messages::ProduceRequest {
    Message::decode_all(body.clone(), hot::PRODUCE_VERSION).expect("it was encoded above")
}

fn decode_fetch(body: &bytes::Bytes) -> ottla_protocol::messages::FetchResponse {
    Message::decode_all(body.clone(), hot::FETCH_VERSION).expect("it was encoded above")
}
