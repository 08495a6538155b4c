//! Consumer groups of KIP-848: the group, its members, and what each of them has.
//!
//! What the assignor wants is not stored: in a group that has settled it is what the members have, and one that
//! has not settled is assigned anew, from what they have, when it is read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::{Rest, Value};

/// The key `shards/<n>/groups/<g>/meta` of a consumer group, which makes the group exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerMeta {
    /// Always [`ConsumerMeta::TYPE`]; a group of another type has another value below the same key.
    #[serde(rename = "type")]
    pub group_type: String,
    /// Raised by every change of members, subscriptions or topics.
    pub epoch: i32,
    /// The group epoch that the last assignment was computed for.
    pub assignment_epoch: i32,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl ConsumerMeta {
    /// What `type` says.
    pub const TYPE: &str = "consumer";
}

impl Value for ConsumerMeta {}

/// The key `shards/<n>/groups/<g>/consumer-members/<id>`: who a member is and what it wants to read. A member
/// exists if it has a [`ConsumerAssignment`] too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerMember {
    /// `group.instance.id` of a static member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The member whose place this one took under the same instance id. It is gone, whatever else is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// `client.rack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// The client's address, as Kafka shows it.
    pub client_host: String,
    /// How long it may take to give partitions up, milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Topics by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Topics by a regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_regex: Option<String>,
    /// The assignor that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignor: Option<String>,
    /// What a member that speaks the classic protocol brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classic: Option<ClassicMember>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for ConsumerMember {}

/// A member of a consumer group that speaks the classic protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassicMember {
    /// Its session timeout, milliseconds.
    pub session_timeout_ms: i32,
    /// Its protocols, the preferred one first, with their metadata in base64.
    pub protocols: Vec<(String, String)>,
}

/// The key `shards/<n>/groups/<g>/consumer-assignments/<id>`: what a member has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerAssignment {
    /// The member's epoch; -2 while a static member is away.
    pub epoch: i32,
    /// The epoch before, for a member that did not get the last answer.
    pub previous_epoch: i32,
    /// Where it is on its way to what the assignor wants.
    #[serde(default, skip_serializing_if = "ReconciliationState::is_stable")]
    pub state: ReconciliationState,
    /// What it may read, by topic id: runs of partitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub assigned: BTreeMap<String, Vec<PartitionRun>>,
    /// What it was told to give up and has not yet, by topic id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revoking: BTreeMap<String, Vec<PartitionRun>>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for ConsumerAssignment {}

/// Where a member is on its way from what it has to what the assignor wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconciliationState {
    /// It has all that was wanted in its epoch.
    #[default]
    Stable,
    /// It has partitions to give up first.
    UnrevokedPartitions,
    /// It waits for partitions that others have to give up.
    UnreleasedPartitions,
}

impl ReconciliationState {
    fn is_stable(&self) -> bool {
        *self == Self::Stable
    }
}

/// Partitions in a row which were assigned in the same epoch: `[first, count, epoch]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRun(
    /// The first partition.
    pub i32,
    /// How many.
    pub i32,
    /// The member epoch in which they were assigned.
    pub i32,
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{decode, encode};

    #[test]
    fn values_are_short_and_keep_what_they_do_not_know() {
        let meta = br#"{"v":1,"type":"consumer","epoch":7,"assignment_epoch":6,"later":[1]}"#;
        let read: ConsumerMeta = decode("meta", meta).unwrap();
        assert_eq!((read.epoch, read.assignment_epoch), (7, 6));
        let again: serde_json::Value = serde_json::from_slice(&encode(&read)).unwrap();
        assert_eq!(again, serde_json::from_slice::<serde_json::Value>(meta).unwrap());

        let assignment = ConsumerAssignment {
            epoch: 7,
            previous_epoch: 6,
            assigned: [("t".to_owned(), vec![PartitionRun(0, 900, 3)])].into(),
            ..ConsumerAssignment::default()
        };
        let text = encode(&assignment);
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            r#"{"v":1,"epoch":7,"previous_epoch":6,"assigned":{"t":[[0,900,3]]}}"#
        );
        assert_eq!(decode::<ConsumerAssignment>("a", &text).unwrap(), assignment);
    }
}
