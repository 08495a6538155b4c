//! What a member speaks, and what consumers say in it.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_protocol::messages::ConsumerProtocolSubscription;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::wire::Decoder;
use ottla_protocol::{Message, Str};

/// A protocol that a member speaks, and what it says to the leader if that one is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Protocol {
    pub name: Str,
    pub metadata: Bytes,
}

/// Copies of what a request brought, each name once: the first counts.
pub(super) fn detached(from: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut seen = BTreeSet::new();
    let new = from.iter().filter(|protocol| seen.insert(protocol.name.clone()));
    new.map(|protocol| Protocol {
        name: protocol.name.detach(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    })
    .collect()
}

/// How many bytes a member brings.
pub(super) fn size(protocols: &[JoinGroupRequestProtocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}

/// The topics of a consumer's subscription; `None` if these bytes are none.
///
/// Read as version 0, which later versions only extend: so nothing here depends on what comes.
pub(super) fn subscribed_topics(metadata: &Bytes) -> Option<Vec<String>> {
    let mut decoder = Decoder::new(metadata.clone());
    let version = decoder.i16().ok()?;
    if version < 0 {
        return None;
    }
    let subscription = ConsumerProtocolSubscription::decode(&mut decoder, 0).ok()?;
    Some(subscription.topics.into_iter().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscription_of_any_version_is_read_and_other_bytes_are_not() {
        // Version, one topic "ab", no user data, and whatever a later version adds.
        let mut bytes = vec![0, 9, 0, 0, 0, 1, 0, 2, b'a', b'b', 255, 255, 255, 255, 7, 7];
        assert_eq!(subscribed_topics(&bytes.clone().into()), Some(vec!["ab".to_owned()]));
        bytes[5] = 9;
        assert_eq!(subscribed_topics(&bytes.into()), None);
        assert_eq!(subscribed_topics(&Bytes::new()), None);
        assert_eq!(subscribed_topics(&Bytes::from_static(b"connect")), None);
    }

    #[test]
    fn name_that_comes_twice_counts_once() {
        let one = |text: &'static str| JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(text.as_bytes()),
            ..JoinGroupRequestProtocol::default()
        };
        let kept = detached(&[one("a"), one("b")]);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].metadata, "a");
    }
}
