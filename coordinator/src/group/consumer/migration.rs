//! What a group takes along when it changes its protocol.

use std::time::Duration;

use bytes::Bytes;

/// A classic group of the protocol type `consumer`, as data: what becomes of one becomes the other.
///
/// A classic group that cannot be expressed so (another protocol type) is never upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicParts {
    /// The group's id.
    pub id: String,
    /// Its generation.
    pub generation: i32,
    /// The protocol (assignor) that was chosen for this generation, if one was.
    pub protocol: Option<String>,
    /// Everybody who is a member, by member id. Members that only were given an id are not.
    pub members: Vec<ClassicMemberParts>,
    /// After a downgrade: the members have to join anew at once, since one of them left.
    pub rebalance: bool,
}

/// One member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMemberParts {
    /// Its id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Its address, as Kafka shows it.
    pub client_host: String,
    /// Its session timeout.
    pub session_timeout: Duration,
    /// How long it may take to join anew.
    pub rebalance_timeout: Duration,
    /// Its protocols with their metadata, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
    /// Its assignment in this generation; empty if it has none.
    pub assignment: Bytes,
}
