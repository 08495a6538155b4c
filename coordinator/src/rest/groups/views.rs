//! What the API shows of groups.

use ottla_metadata::image::Image;
use ottla_metadata::internal_topics::CONSUMER_OFFSETS;
use ottla_protocol::messages::list_groups_response::ListedGroup;
use serde::Serialize;

use crate::shards::Groups;

/// A group in a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in super::super) struct GroupView {
    /// Its id.
    pub group: String,
    /// `classic` groups assign partitions among themselves, to `consumer` groups the coordinator does.
    #[serde(rename = "type")]
    #[schema(example = "consumer")]
    pub kind: String,
    /// What it is at.
    #[schema(example = "Stable")]
    pub state: String,
    /// What its members are, such as `consumer` or `connect`; empty if it never had any.
    pub protocol_type: String,
    /// Its shard.
    pub shard: Option<i32>,
    /// The broker that speaks for it; null while none does.
    pub coordinator: Option<i32>,
}

/// One page of groups, by name.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in super::super) struct GroupList {
    /// The groups.
    pub items: Vec<GroupView>,
    /// What to give as `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// A group as a whole.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in super::super) struct GroupDetail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub group: GroupView,
    /// The protocol (classic) or assignor (consumer) in use; empty if none is.
    pub assignor: String,
    /// Grows with every rebalance; null for classic groups.
    pub epoch: Option<i32>,
    /// The members.
    pub members: Vec<MemberView>,
    /// Every partition that is committed or assigned, by topic and number.
    pub offsets: Vec<OffsetView>,
    /// How many records are behind what was committed, over all partitions of which that is known.
    pub lag: i64,
}

/// A member of a group.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(in super::super) struct MemberView {
    /// Its id.
    pub id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// `client.rack`.
    pub rack: Option<String>,
    /// Its epoch; null in classic groups.
    pub epoch: Option<i32>,
    /// What it may read, as far as that can be told.
    pub assignment: Vec<TopicAssignment>,
}

/// Partitions of a topic.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(in super::super) struct TopicAssignment {
    /// The topic.
    pub topic: String,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// How far a group is in a partition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in super::super) struct OffsetView {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next record to read; null if nothing was committed.
    pub committed: Option<i64>,
    /// What the client wrote beside it.
    pub metadata: String,
    /// The first record that can be read; null if the leader does not answer.
    pub log_start: Option<i64>,
    /// The offset behind the last record; null if the leader does not answer.
    pub log_end: Option<i64>,
    /// Records from the committed one to the end; null if either is not known.
    pub lag: Option<i64>,
    /// The member that reads it.
    pub member: Option<String>,
}

/// A group as a list shows it.
pub(super) fn listed(listed: &ListedGroup, groups: &Groups, image: &Image) -> GroupView {
    let shard = groups.shard_of(&listed.group_id);
    GroupView {
        group: listed.group_id.as_str().to_owned(),
        kind: listed.group_type.to_lowercase(),
        state: listed.group_state.as_str().to_owned(),
        protocol_type: listed.protocol_type.as_str().to_owned(),
        coordinator: shard.and_then(|shard| coordinator(image, shard)),
        shard,
    }
}

/// The broker that speaks for a shard.
pub(super) fn coordinator(image: &Image, shard: i32) -> Option<i32> {
    let topic = image.topic(CONSUMER_OFFSETS)?;
    image.partition(topic.id, shard)?.leader()
}
