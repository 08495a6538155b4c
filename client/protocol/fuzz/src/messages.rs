//! What must hold for any bytes given to the decoders of messages. Run by the fuzz targets and, over the
//! kept corpus, by `cargo test`.

use bytes::Bytes;
use ottla_protocol::messages::{self, MessageInfo, MessageKind};
use ottla_protocol::wire::{Decoder, Encoder};
use ottla_protocol::{ApiKey, RequestHeader, ResponseHeader};

/// The first byte picks the message, the second its version, the rest is the message.
pub fn request(input: &[u8]) {
    message(MessageKind::Request, input);
}

/// The first byte picks the message, the second its version, the rest is the message. Also covers
/// what is stored in records, which is read as seldom.
pub fn response(input: &[u8]) {
    message(MessageKind::Response, input);
    message(MessageKind::Data, input);
}

/// A request's header, then the same bytes as a response's.
pub fn header(input: &[u8]) {
    let mut decoder = Decoder::new(Bytes::copy_from_slice(input));
    if let Ok(header) = RequestHeader::decode(&mut decoder) {
        let mut encoder = Encoder::new();
        header.encode(&mut encoder).expect("a decoded header encodes");
        let bytes = encoder.finish().into_contiguous().expect("headers hold no records");
        let again = RequestHeader::decode(&mut Decoder::new(bytes));
        assert_eq!(again.as_ref(), Ok(&header));
    }
    for version in [11, 12] {
        let mut decoder = Decoder::new(Bytes::copy_from_slice(input));
        let _ = ResponseHeader::decode(&mut decoder, ApiKey::Fetch, version);
    }
}

fn message(kind: MessageKind, input: &[u8]) {
    let [pick, version, body @ ..] = input else { return };
    let all: Vec<&MessageInfo> = messages::ALL.iter().filter(|info| info.kind == kind).collect();
    let info = all[usize::from(*pick) % all.len()];
    let count = info.version_max - info.version_min + 1;
    let version = info.version_min + i16::from(*version) % count;
    let Ok(bytes) = (info.recode)(Bytes::copy_from_slice(body), version) else { return };
    // Bytes that were not canonical, such as a bool of 2, are so after one round.
    let again = (info.recode)(bytes.clone(), version);
    assert_eq!(again.as_ref(), Ok(&bytes), "{} {version}", info.name);
}
