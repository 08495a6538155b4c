//! The golden vectors: messages as Apache Kafka's own classes write them.
#![allow(dead_code, reason = "each test file uses a part")]

use bytes::Bytes;
use ottla_protocol::messages::{self, MessageInfo};

pub struct Vector {
    pub name: String,
    pub version: i16,
    pub bytes: Bytes,
}

/// What Kafka 4.3.1 wrote, what 3.9.1 wrote in the versions that 4.0 removed, and vectors of larger
/// runs that once failed.
pub fn sample() -> Vec<Vector> {
    let mut vectors = parse(include_str!("../golden/current.txt"));
    vectors.extend(parse(include_str!("../golden/old.txt")));
    vectors.extend(parse(include_str!("../golden/found.txt")));
    vectors
}

pub fn parse(text: &str) -> Vec<Vector> {
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (name, version, hex) = (words.next(), words.next(), words.next());
            Vector {
                name: name.expect("a line starts with a name").to_owned(),
                version: version.and_then(|text| text.parse().ok()).expect("the version is second"),
                bytes: unhex(hex.unwrap_or_default()),
            }
        })
        .collect()
}

/// The codec of a message; none for headers, which are no messages.
pub fn codec(name: &str) -> Option<&'static MessageInfo> {
    messages::ALL.iter().find(|info| info.name == name)
}

pub fn is_header(name: &str) -> bool {
    name == "RequestHeader" || name == "ResponseHeader"
}

fn unhex(text: &str) -> Bytes {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two hex digits"))
        .collect()
}
