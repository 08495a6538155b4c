//! The codec against Apache Kafka's: the same bytes, the same facts.
//!
//! The vectors come from `integration-tests/interop/java-golden`. `GOLDEN=FILE` checks the vectors in a
//! file as well.

#[path = "support/vectors.rs"]
mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::{self, MessageKind};
use ottla_protocol::wire::{Decoder, Encoder};
use ottla_protocol::{ApiKey, ErrorCode, RequestHeader, ResponseHeader};
use support::{Vector, codec, is_header, sample};

#[test]
fn every_vector_is_decoded_without_rest_and_encoded_to_the_same_bytes() {
    let mut vectors = sample();
    if let Ok(path) = std::env::var("GOLDEN") {
        vectors.extend(support::parse(&std::fs::read_to_string(path).unwrap()));
    }
    let failures: Vec<_> = vectors.iter().filter_map(mismatch).collect();
    let (failed, all) = (failures.len(), vectors.len());
    assert!(failures.is_empty(), "{failed} of {all}:\n{}", failures[..failed.min(40)].join("\n"));
    println!("{all} vectors agree");
}

fn mismatch(vector: &Vector) -> Option<String> {
    if is_header(&vector.name) {
        return None;
    }
    let Some(info) = codec(&vector.name) else { return Some(format!("no {}", vector.name)) };
    let found = (info.recode)(vector.bytes.clone(), vector.version);
    let place = format!("{} {}", vector.name, vector.version);
    match found {
        Err(error) => Some(format!("{place}: {error}")),
        Ok(bytes) if bytes != vector.bytes => Some(format!(
            "{place}:\n  Kafka {:02x?}\n  Ottla {:02x?}",
            &vector.bytes[..],
            &bytes[..]
        )),
        Ok(_) => None,
    }
}

#[test]
fn every_version_of_every_message_of_kafka_has_a_vector() {
    let mut versions: BTreeMap<String, Vec<i16>> = BTreeMap::new();
    for vector in sample() {
        versions.entry(vector.name).or_default().push(vector.version);
    }
    for info in messages::ALL {
        if info.api_key().is_some_and(ApiKey::is_private) {
            continue;
        }
        let mut covered = versions.remove(info.name).unwrap_or_default();
        covered.sort_unstable();
        covered.dedup();
        let expected: Vec<_> = (info.version_min..=info.version_max).collect();
        assert_eq!(covered, expected, "{}", info.name);
    }
    versions.retain(|name, _| !is_header(name));
    assert!(versions.is_empty(), "not in the codec: {versions:?}");
}

/// The vectors hold random keys; a key and version that ask for this header version are put in.
#[test]
fn request_headers_agree() {
    let mut checked = 0;
    for vector in sample().iter().filter(|vector| vector.name == "RequestHeader") {
        let start: [u8; 4] = match vector.version {
            0 => [0, 7, 0, 0],
            1 => [0, 1, 0, 11],
            _ => [0, 1, 0, 12],
        };
        let bytes: Bytes = [&start[..], &vector.bytes[4..]].concat().into();
        let mut decoder = Decoder::new(bytes.clone());
        let header = RequestHeader::decode(&mut decoder).unwrap();
        decoder.finish().unwrap();
        let mut encoder = Encoder::new();
        header.encode(&mut encoder).unwrap();
        assert_eq!(encoder.finish().into_contiguous().unwrap(), bytes);
        checked += 1;
    }
    assert_eq!(checked, 9);
}

#[test]
fn response_headers_agree() {
    let mut checked = 0;
    for vector in sample().iter().filter(|vector| vector.name == "ResponseHeader") {
        let version = if vector.version == 0 { 11 } else { 12 };
        let mut decoder = Decoder::new(vector.bytes.clone());
        let header = ResponseHeader::decode(&mut decoder, ApiKey::Fetch, version).unwrap();
        decoder.finish().unwrap();
        let mut encoder = Encoder::new();
        header.encode(&mut encoder, ApiKey::Fetch, version).unwrap();
        assert_eq!(encoder.finish().into_contiguous().unwrap(), vector.bytes);
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn error_codes_and_header_versions_agree() {
    let (mut errors, mut apis) = (0, 0);
    for line in include_str!("golden/facts.txt").lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["error", code, name, is_retriable] => {
                let error = ErrorCode::from_code(code.parse().unwrap());
                assert_eq!(error.name(), name);
                assert_eq!(error.is_retriable().to_string(), is_retriable, "{name}");
                errors += 1;
            }
            ["api", key, name, version, request, response] => {
                let key = ApiKey::try_from(key.parse::<i16>().unwrap()).unwrap();
                let version = version.parse().unwrap();
                assert_eq!(key.name(), name);
                assert_eq!(key.request_header_version(version).to_string(), request, "{line}");
                assert_eq!(key.response_header_version(version).to_string(), response, "{line}");
                apis += 1;
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!(errors, ErrorCode::ALL.len());
    assert_eq!(apis, 356);
}

#[test]
fn requests_and_responses_of_an_api_have_the_same_versions() {
    for key in ApiKey::ALL.iter().filter(|key| !key.is_removed()) {
        let of = |kind| {
            let mut all = messages::ALL.iter();
            let info = all.find(|info| info.kind == kind && info.api_key() == Some(*key)).unwrap();
            (info.version_min, info.version_max, info.flexible_from)
        };
        let (request, response) = (of(MessageKind::Request), of(MessageKind::Response));
        assert_eq!(request, response, "{key}");
        assert_eq!(request.2, key.flexible_from(), "{key}");
    }
}
