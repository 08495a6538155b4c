//! What can be asked of a group.

use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetDeleteRequest, SyncGroupRequest,
};

/// A request about one group.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A classic member joins.
    JoinGroup(JoinGroupRequest),
    /// A classic member brings, or wants, the assignment.
    SyncGroup(SyncGroupRequest),
    /// A classic member lives.
    Heartbeat(HeartbeatRequest),
    /// Classic members leave.
    LeaveGroup(LeaveGroupRequest),
    /// A member of a consumer group joins, lives or leaves.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    /// Offsets are committed.
    OffsetCommit(OffsetCommitRequest),
    /// Committed offsets are asked for.
    OffsetFetch(OffsetFetchRequestGroup),
    /// Committed offsets are forgotten.
    OffsetDelete(OffsetDeleteRequest),
    /// The group is deleted.
    Delete,
    /// The group is described in the words of classic groups.
    Describe,
    /// The group is described in the words of consumer groups.
    DescribeConsumer,
}
