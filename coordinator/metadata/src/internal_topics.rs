//! Topics that belong to the cluster itself.
//!
//! Kafka keeps the state of its coordinators in topics. Ottla keeps it in the store, and yet clients and tools
//! look for those topics: the leader of a partition of `__consumer_offsets` is the broker that speaks for the
//! groups of that shard. So they exist as metadata alone: they are placed, led and described like others, and
//! no broker has a log of them.

/// Its partition `n` is led by the broker that speaks for the groups of shard `n`.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// Its partition `n` is led by the broker that speaks for the transactional ids of shard `n`.
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// Where share groups keep their state; a topic with a log.
const SHARE_GROUP_STATE: &str = "__share_group_state";

/// True for names that clients do not write to and that tools show as internal.
pub fn is_internal(name: &str) -> bool {
    is_metadata_only(name) || name == SHARE_GROUP_STATE
}

/// True for topics of which no broker has a log: nothing is stored, copied or read.
pub fn is_metadata_only(name: &str) -> bool {
    name == CONSUMER_OFFSETS || name == TRANSACTION_STATE
}
