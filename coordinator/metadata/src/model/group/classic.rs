//! What is stored of a classic group: its `meta`, and a member and an assignment for each member.
//!
//! `meta` is the commit point. Members and assignments are written before it, under the generation that it will
//! name; what is no longer needed is deleted after it. So whoever reads a value of a later generation than that
//! of `meta` sees a generation that was never completed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::{Rest, Value};
use super::binary;

/// The key `…/meta` of a classic group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassicGroupMeta {
    /// Always [`ClassicGroupMeta::TYPE`]; a group of another type has another value below the same key.
    #[serde(rename = "type")]
    pub group_type: String,
    /// The last generation that was completed, or became empty.
    pub generation: i32,
    /// What the members are: `consumer`, `connect`, `sr`, …; none if the group never had members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_type: Option<String>,
    /// The protocol that the generation chose; none if it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The *key* of the leader ([`ClassicGroupMember::key`]), which a static member keeps when its member id changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// When the group came into its state, Unix milliseconds: offsets of an empty group expire from here.
    pub state_since_ms: i64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

/// The key `…/members/<key>` of a classic group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassicGroupMember {
    /// The generation in which this value was written. It is not written again while nothing in it changes.
    pub generation: i32,
    /// The member id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// `client.id`; may be empty.
    #[serde(default)]
    pub client_id: String,
    /// The client's address, as Kafka shows it.
    #[serde(default)]
    pub client_host: String,
    /// Without a heartbeat for so long, it is removed, milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it, milliseconds.
    pub rebalance_timeout_ms: i32,
    /// What it speaks, best first.
    pub protocols: Vec<ClassicGroupProtocol>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A protocol that a member speaks, with what it says to the leader in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassicGroupProtocol {
    /// Such as `range`.
    pub name: String,
    /// The client's own bytes; a subscription for consumers.
    #[serde(with = "binary")]
    pub metadata: Bytes,
}

/// The key `…/assignments/<key>` of a classic group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassicGroupAssignment {
    /// The generation that it belongs to. Every member of a generation has one, if an empty one.
    pub generation: i32,
    /// The client's own bytes.
    #[serde(with = "binary")]
    pub assignment: Bytes,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl ClassicGroupMeta {
    /// What `type` says.
    pub const TYPE: &str = "classic";
}

impl ClassicGroupMember {
    /// The last part of its keys. A static member is kept under its instance id, so that a process that takes
    /// another's place replaces its value in one write, and its assignment and the leadership stay where they are.
    pub fn key(member_id: &str, instance_id: Option<&str>) -> String {
        match instance_id {
            Some(instance) => format!("{STATIC}{instance}"),
            None => format!("{DYNAMIC}{member_id}"),
        }
    }
}

impl Value for ClassicGroupMeta {}
impl Value for ClassicGroupMember {}
impl Value for ClassicGroupAssignment {}

const DYNAMIC: &str = "d-";
const STATIC: &str = "s-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{decode, encode};

    fn member() -> ClassicGroupMember {
        ClassicGroupMember {
            generation: 3,
            member_id: "c-1".to_owned(),
            instance_id: None,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 300_000,
            protocols: vec![ClassicGroupProtocol {
                name: "range".to_owned(),
                metadata: Bytes::from_static(&[0, 3, 255]),
            }],
            rest: Rest::new(),
        }
    }

    #[test]
    fn bytes_of_clients_are_base64_in_a_value_that_a_person_can_read() {
        let text = String::from_utf8(encode(&member()).to_vec()).unwrap();
        assert!(text.contains(r#""metadata":"AAP/""#), "{text}");
        assert_eq!(decode::<ClassicGroupMember>("k", text.as_bytes()).unwrap(), member());
    }

    #[test]
    fn keys_of_static_and_dynamic_members_are_never_the_same() {
        assert_ne!(ClassicGroupMember::key("s-a", None), ClassicGroupMember::key("x", Some("a")));
        assert_ne!(ClassicGroupMember::key("a", None), ClassicGroupMember::key("a", Some("a")));
        assert_eq!(
            ClassicGroupMember::key("1", Some("a")),
            ClassicGroupMember::key("2", Some("a"))
        );
    }
}
