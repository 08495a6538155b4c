//! The key space: every key that Ottla writes to the store, formatted and parsed in one place.
//!
//! | key below the prefix | value | written by |
//! |---|---|---|
//! | `cluster` | [`Cluster`](crate::model::Cluster) | first controller |
//! | `controller` | [`Controller`](crate::model::Controller) | candidates, under their lease |
//! | `claims/brokers/<id>` | [`BrokerClaim`](crate::model::BrokerClaim) | the broker, under its lease |
//! | `claims/coordinators/<id>` | [`Controller`](crate::model::Controller) | the coordinator, under its lease |
//! | `brokers/<id>` | [`BrokerRecord`](crate::model::BrokerRecord) | controller |
//! | `topics/<name>` | [`Topic`](crate::model::Topic) | controller |
//! | `partitions/<topic-id>/<p>` | [`Partition`](crate::model::Partition) | controller |
//! | `deleted/<topic-id>` | [`DeletedTopic`](crate::model::DeletedTopic) | controller |
//! | `configs/brokers/default`, `configs/brokers/<id>`, `configs/groups/<g>`, `configs/client-metrics/<n>` | [`ConfigEntry`](crate::model::ConfigEntry) | controller |
//! | `producer-ids` | [`ProducerIds`](crate::model::ProducerIds) | controller |
//! | `acls/<id>`, `scram/<user>/<mechanism>`, `quotas/<entity>`, `tokens/<id>` | one entry each | controller |
//!
//! What shards own lies beside the prefix, not below it: `/ottla-shards/<n>/…` for the prefix `/ottla/`.
//! The image of the cluster is one contiguous range that way, so that one watch carries it, a transaction
//! arrives in one piece, and the busy keys of groups and transactions are never sent to a broker.
//!
//! Names that clients choose are percent-encoded, all but letters, digits, `.`, `_` and `-`. Parsing accepts exactly what
//! formatting writes.

use std::fmt;

use ottla_protocol::Uuid;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::store::KeyRange;

/// Formats and parses keys under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpace {
    prefix: String,
    shards_prefix: String,
}

/// A key, without its prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// What is decided once for a cluster.
    Cluster,
    /// The active coordinator.
    Controller,
    /// A broker's claim to be alive.
    BrokerClaim(i32),
    /// A coordinator's word that it is alive, whether or not it is the active one. Nothing is decided by it.
    CoordinatorClaim(i32),
    /// The controller's record of a broker.
    Broker(i32),
    /// A topic by name.
    Topic(String),
    /// A partition by topic id and number.
    Partition(Uuid, i32),
    /// A topic being collected.
    Deleted(Uuid),
    /// Dynamic configs of a resource.
    Config(ConfigResource),
    /// The supply of producer ids.
    ProducerIds,
    /// One access rule.
    Acl(String),
    /// One credential of one user.
    Scram {
        /// The user's name.
        user: String,
        /// The mechanism, such as `SCRAM-SHA-256`.
        mechanism: String,
    },
    /// The quotas of one entity.
    Quota(String),
    /// One delegation token.
    Token(String),
    /// Something that a coordination shard owns.
    Shard(i32, ShardKey),
}

/// What a [`ConfigEntry`](crate::model::ConfigEntry) belongs to. Topic configs are in the topic key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigResource {
    /// The cluster-wide default of all brokers.
    BrokerDefault,
    /// One broker.
    Broker(i32),
    /// A group.
    Group(String),
    /// A client metrics subscription.
    ClientMetrics(String),
}

/// A key below `shards/<n>/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShardKey {
    /// The fence of everything else in the shard.
    Head,
    /// Something of a group.
    Group(String, GroupKey),
    /// Something of a transactional id.
    Transaction(String, TransactionKey),
}

/// A key below `shards/<n>/groups/<group>/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKey {
    /// Generation, leader, protocol: the commit point of a rebalance.
    Meta,
    /// A member's subscription.
    Member(String),
    /// A member's assignment.
    Assignment(String),
    /// A member of a consumer group: who it is and what it wants to read. Not [`Member`](Self::Member), so that a
    /// group which changes its type is a valid group of either type at any moment.
    ConsumerMember(String),
    /// What a member of a consumer group has.
    ConsumerAssignment(String),
    /// Committed offsets of 32 partitions of a topic.
    Offsets(Uuid, i32),
    /// Offsets that wait for the transaction of a producer id.
    Pending(i64, Uuid, i32),
}

/// A key below `shards/<n>/transactions/<transactional id>/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionKey {
    /// Producer id and epoch, state.
    State,
    /// The partitions of one topic that take part.
    Partitions(Uuid),
    /// What pending offsets compare.
    Fence,
}

/// A key under the prefix that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is not a key that this version of ottla knows")]
pub struct UnknownKey {
    /// The key, lossily shown.
    pub key: String,
}

impl KeySpace {
    /// The prefix of a cluster that shares its etcd with no other.
    pub const DEFAULT_PREFIX: &'static str = "/ottla/";

    /// A key space under `prefix`, to which a final slash is added where it lacks one.
    pub fn new(prefix: &str) -> Self {
        let root = prefix.trim_end_matches('/');
        Self { prefix: format!("{root}/"), shards_prefix: format!("{root}-shards/") }
    }

    /// The prefix, with its final slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Everything that the image is made of.
    pub fn image(&self) -> KeyRange {
        KeyRange::prefix(&self.prefix)
    }

    /// All claims of brokers.
    pub fn claims(&self) -> KeyRange {
        KeyRange::prefix(&format!("{}claims/brokers/", self.prefix))
    }

    /// All partition keys of a topic.
    pub fn partitions_of(&self, topic: Uuid) -> KeyRange {
        KeyRange::prefix(&format!("{}partitions/{topic}/", self.prefix))
    }

    /// Everything that a shard owns.
    pub fn shard(&self, shard: i32) -> KeyRange {
        KeyRange::prefix(&format!("{}{shard}/", self.shards_prefix))
    }

    /// The fence of the controller's own writes: like a shard's head it is bumped by every one of them, and
    /// lies outside the image so that nobody is told.
    pub fn controller_head(&self) -> String {
        format!("{}controller/head", self.shards_prefix)
    }

    /// Who owns the shards, where they are in a store of their own.
    pub fn journal_owner(&self) -> String {
        format!("{}owner", self.shards_prefix)
    }

    /// The bytes of `key` in the store.
    pub fn format(&self, key: &Key) -> String {
        match key {
            Key::Shard(shard, key) => format!("{}{shard}/{key}", self.shards_prefix),
            key => format!("{}{key}", self.prefix),
        }
    }

    /// What a key of the store means.
    pub fn parse(&self, key: &[u8]) -> Result<Key, UnknownKey> {
        let parsed = std::str::from_utf8(key).ok().and_then(|text| {
            if let Some(rest) = text.strip_prefix(&self.shards_prefix) {
                return parse_shard(rest);
            }
            parse_image(text.strip_prefix(&self.prefix)?)
        });
        parsed.ok_or_else(|| UnknownKey { key: String::from_utf8_lossy(key).into_owned() })
    }
}

impl Default for KeySpace {
    fn default() -> Self {
        Self::new(Self::DEFAULT_PREFIX)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Controller => f.write_str("controller"),
            Self::BrokerClaim(id) => write!(f, "claims/brokers/{id}"),
            Self::CoordinatorClaim(id) => write!(f, "claims/coordinators/{id}"),
            Self::Broker(id) => write!(f, "brokers/{id}"),
            Self::Topic(name) => write!(f, "topics/{}", escaped(name)),
            Self::Partition(topic, partition) => write!(f, "partitions/{topic}/{partition}"),
            Self::Deleted(topic) => write!(f, "deleted/{topic}"),
            Self::Config(resource) => write!(f, "configs/{resource}"),
            Self::ProducerIds => f.write_str("producer-ids"),
            Self::Acl(id) => write!(f, "acls/{}", escaped(id)),
            Self::Scram { user, mechanism } => {
                write!(f, "scram/{}/{}", escaped(user), escaped(mechanism))
            }
            Self::Quota(entity) => write!(f, "quotas/{}", escaped(entity)),
            Self::Token(id) => write!(f, "tokens/{}", escaped(id)),
            Self::Shard(shard, key) => write!(f, "shards/{shard}/{key}"),
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokerDefault => f.write_str("brokers/default"),
            Self::Broker(id) => write!(f, "brokers/{id}"),
            Self::Group(group) => write!(f, "groups/{}", escaped(group)),
            Self::ClientMetrics(name) => write!(f, "client-metrics/{}", escaped(name)),
        }
    }
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("head"),
            Self::Group(group, key) => {
                write!(f, "groups/{}/", escaped(group))?;
                match key {
                    GroupKey::Meta => f.write_str("meta"),
                    GroupKey::Member(member) => write!(f, "members/{}", escaped(member)),
                    GroupKey::Assignment(member) => write!(f, "assignments/{}", escaped(member)),
                    GroupKey::ConsumerMember(member) => {
                        write!(f, "consumer-members/{}", escaped(member))
                    }
                    GroupKey::ConsumerAssignment(member) => {
                        write!(f, "consumer-assignments/{}", escaped(member))
                    }
                    GroupKey::Offsets(topic, chunk) => write!(f, "offsets/{topic}/{chunk}"),
                    GroupKey::Pending(producer, topic, chunk) => {
                        write!(f, "pending/{producer}/{topic}/{chunk}")
                    }
                }
            }
            Self::Transaction(id, key) => {
                write!(f, "transactions/{}/", escaped(id))?;
                match key {
                    TransactionKey::State => f.write_str("state"),
                    TransactionKey::Partitions(topic) => write!(f, "partitions/{topic}"),
                    TransactionKey::Fence => f.write_str("fence"),
                }
            }
        }
    }
}

fn parse_image(path: &str) -> Option<Key> {
    let parts: Vec<&str> = path.split('/').collect();
    Some(match parts.as_slice() {
        ["cluster"] => Key::Cluster,
        ["controller"] => Key::Controller,
        ["claims", "brokers", id] => Key::BrokerClaim(natural(id)?),
        ["claims", "coordinators", id] => Key::CoordinatorClaim(natural(id)?),
        ["brokers", id] => Key::Broker(natural(id)?),
        ["topics", name] => Key::Topic(unescaped(name)?),
        ["partitions", topic, partition] => Key::Partition(uuid(topic)?, natural(partition)?),
        ["deleted", topic] => Key::Deleted(uuid(topic)?),
        ["configs", "brokers", "default"] => Key::Config(ConfigResource::BrokerDefault),
        ["configs", "brokers", id] => Key::Config(ConfigResource::Broker(natural(id)?)),
        ["configs", "groups", group] => Key::Config(ConfigResource::Group(unescaped(group)?)),
        ["configs", "client-metrics", name] => {
            Key::Config(ConfigResource::ClientMetrics(unescaped(name)?))
        }
        ["producer-ids"] => Key::ProducerIds,
        ["acls", id] => Key::Acl(unescaped(id)?),
        ["scram", user, mechanism] => {
            Key::Scram { user: unescaped(user)?, mechanism: unescaped(mechanism)? }
        }
        ["quotas", entity] => Key::Quota(unescaped(entity)?),
        ["tokens", id] => Key::Token(unescaped(id)?),
        _ => return None,
    })
}

fn parse_shard(path: &str) -> Option<Key> {
    let parts: Vec<&str> = path.split('/').collect();
    let (shard, rest) = parts.split_first()?;
    let key = match rest {
        ["head"] => ShardKey::Head,
        ["groups", group, rest @ ..] => ShardKey::Group(unescaped(group)?, parse_group(rest)?),
        ["transactions", id, rest @ ..] => {
            let key = match rest {
                ["state"] => TransactionKey::State,
                ["partitions", topic] => TransactionKey::Partitions(uuid(topic)?),
                ["fence"] => TransactionKey::Fence,
                _ => return None,
            };
            ShardKey::Transaction(unescaped(id)?, key)
        }
        _ => return None,
    };
    Some(Key::Shard(natural(shard)?, key))
}

fn parse_group(parts: &[&str]) -> Option<GroupKey> {
    Some(match parts {
        ["meta"] => GroupKey::Meta,
        ["members", member] => GroupKey::Member(unescaped(member)?),
        ["assignments", member] => GroupKey::Assignment(unescaped(member)?),
        ["consumer-members", member] => GroupKey::ConsumerMember(unescaped(member)?),
        ["consumer-assignments", member] => GroupKey::ConsumerAssignment(unescaped(member)?),
        ["offsets", topic, chunk] => GroupKey::Offsets(uuid(topic)?, natural(chunk)?),
        ["pending", producer, topic, chunk] => {
            GroupKey::Pending(natural(producer)?, uuid(topic)?, natural(chunk)?)
        }
        _ => return None,
    })
}

fn escaped(name: &str) -> impl fmt::Display {
    utf8_percent_encode(name, ESCAPED)
}

/// The name behind an escaped part, if it is escaped exactly as [`escaped`] does it.
fn unescaped(part: &str) -> Option<String> {
    let name = percent_decode_str(part).decode_utf8().ok()?.into_owned();
    let canonical = escaped(&name).to_string() == part;
    canonical.then_some(name)
}

/// A number that is not negative, in the one form in which numbers are written.
fn natural<N: std::str::FromStr + fmt::Display>(part: &str) -> Option<N> {
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: N = part.parse().ok()?;
    (number.to_string() == part).then_some(number)
}

fn uuid(part: &str) -> Option<Uuid> {
    let id: Uuid = part.parse().ok()?;
    (id.to_string() == part).then_some(id)
}

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-zA-Z0-9._-]{1,20}",
            prop::collection::vec(any::<char>(), 0..12).prop_map(|c| c.into_iter().collect()),
            Just("../a%2Fb".to_owned()),
        ]
    }

    fn id() -> impl Strategy<Value = Uuid> {
        any::<[u8; 16]>().prop_map(Uuid::from_bytes)
    }

    fn natural() -> impl Strategy<Value = i32> {
        prop_oneof![0..100, 0..=i32::MAX]
    }

    fn group_key() -> impl Strategy<Value = GroupKey> {
        prop_oneof![
            Just(GroupKey::Meta),
            name().prop_map(GroupKey::Member),
            name().prop_map(GroupKey::Assignment),
            name().prop_map(GroupKey::ConsumerMember),
            name().prop_map(GroupKey::ConsumerAssignment),
            (id(), natural()).prop_map(|(t, c)| GroupKey::Offsets(t, c)),
            (0..=i64::MAX, id(), natural()).prop_map(|(p, t, c)| GroupKey::Pending(p, t, c)),
        ]
    }

    fn transaction_key() -> impl Strategy<Value = TransactionKey> {
        prop_oneof![
            Just(TransactionKey::State),
            id().prop_map(TransactionKey::Partitions),
            Just(TransactionKey::Fence),
        ]
    }

    fn shard_key() -> impl Strategy<Value = ShardKey> {
        prop_oneof![
            Just(ShardKey::Head),
            (name(), group_key()).prop_map(|(g, k)| ShardKey::Group(g, k)),
            (name(), transaction_key()).prop_map(|(t, k)| ShardKey::Transaction(t, k)),
        ]
    }

    fn resource() -> impl Strategy<Value = ConfigResource> {
        prop_oneof![
            Just(ConfigResource::BrokerDefault),
            natural().prop_map(ConfigResource::Broker),
            name().prop_map(ConfigResource::Group),
            name().prop_map(ConfigResource::ClientMetrics),
        ]
    }

    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![
            Just(Key::Cluster),
            Just(Key::Controller),
            natural().prop_map(Key::BrokerClaim),
            natural().prop_map(Key::CoordinatorClaim),
            natural().prop_map(Key::Broker),
            name().prop_map(Key::Topic),
            (id(), natural()).prop_map(|(t, p)| Key::Partition(t, p)),
            id().prop_map(Key::Deleted),
            resource().prop_map(Key::Config),
            Just(Key::ProducerIds),
            name().prop_map(Key::Acl),
            (name(), name()).prop_map(|(user, mechanism)| Key::Scram { user, mechanism }),
            name().prop_map(Key::Quota),
            name().prop_map(Key::Token),
            (natural(), shard_key()).prop_map(|(s, k)| Key::Shard(s, k)),
        ]
    }

    proptest! {
        #[test]
        fn every_key_parses_to_itself(key in key(), prefix in prop_oneof!["/ottla/", "/a/b", "x/", ""]) {
            let space = KeySpace::new(&prefix);
            let text = space.format(&key);
            prop_assert_eq!(space.parse(text.as_bytes()), Ok(key.clone()));
            let in_image = space.image().contains(text.as_bytes());
            prop_assert_eq!(in_image, !matches!(key, Key::Shard(..)), "{}", text);
        }

        #[test]
        fn what_parses_is_what_formatting_writes(text in "/ottla(-shards)?/[a-z0-9/%+.A-F-]{0,30}") {
            let space = KeySpace::default();
            if let Ok(key) = space.parse(text.as_bytes()) {
                prop_assert_eq!(space.format(&key), text);
            }
        }
    }

    #[test]
    fn keys_are_the_documented_ones() {
        let space = KeySpace::new("/ottla");
        let one = Uuid::ONE;
        for (key, text) in [
            (Key::BrokerClaim(7), "/ottla/claims/brokers/7"),
            (Key::Topic("a.b_c-d".into()), "/ottla/topics/a.b_c-d"),
            (Key::Partition(one, 12), "/ottla/partitions/AAAAAAAAAAAAAAAAAAAAAQ/12"),
            (Key::Config(ConfigResource::BrokerDefault), "/ottla/configs/brokers/default"),
            (Key::Shard(7, ShardKey::Head), "/ottla-shards/7/head"),
            (
                Key::Shard(0, ShardKey::Group("a/b %".into(), GroupKey::Offsets(one, 3))),
                "/ottla-shards/0/groups/a%2Fb%20%25/offsets/AAAAAAAAAAAAAAAAAAAAAQ/3",
            ),
        ] {
            assert_eq!(space.format(&key), text);
        }
    }

    #[test]
    fn other_spellings_of_a_key_are_unknown() {
        let space = KeySpace::default();
        for text in [
            "/ottla/brokers/07",
            "/ottla/brokers/+7",
            "/ottla/brokers/-1",
            "/ottla/brokers/4294967296",
            "/ottla/topics/a/b",
            "/ottla/topics/%41",
            "/ottla/topics/%2f",
            "/ottla/partitions/AAAAAAAAAAAAAAAAAAAAAR/0",
            "/ottla/",
            "/ottla",
            "/other/cluster",
        ] {
            assert!(space.parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(space.parse(b"/ottla/topics/\xff").is_err());
    }
}
