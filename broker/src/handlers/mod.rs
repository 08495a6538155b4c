//! One handler for each API, one file for each handler; what they have in common is here.
//!
//! A handler has two parts. The *ordered part* is [`Handler::handle`]: the connection awaits it before
//! it looks at the next request, so whatever it does takes effect in the order of the requests. The
//! *parallel part* is the future in [`Answer::Later`]: it is driven beside those of later requests, and
//! its result is sent in the order of the requests all the same.

mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod answer;
pub mod api_versions;
mod context;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod file_slice;
mod find_coordinator;
mod groups;
mod incremental_alter_configs;
mod init_producer_id;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod relayed;
mod topology;
mod turns;
mod unregister_broker;
mod update_features;

#[cfg(test)]
mod empty_log_tests;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::Request;

pub use alter_configs::AlterConfigs;
pub use alter_partition_reassignments::AlterPartitionReassignments;
pub use alter_replica_log_dirs::AlterReplicaLogDirs;
pub use answer::{Answer, Later, Reply, ReplyBody};
pub use context::{ConnectionInfo, Principal, RequestContext};
pub use create_partitions::CreatePartitions;
pub use create_topics::CreateTopics;
pub use delete_records::DeleteRecords;
pub use delete_topics::DeleteTopics;
pub use describe_cluster::DescribeCluster;
pub use describe_configs::DescribeConfigs;
pub use describe_log_dirs::DescribeLogDirs;
pub use describe_producers::DescribeProducers;
pub use describe_quorum::DescribeQuorum;
pub use describe_topic_partitions::DescribeTopicPartitions;
pub use elect_leaders::ElectLeaders;
pub use fetch::Fetch;
pub use file_slice::{FileSlice, SliceSource};
pub use find_coordinator::FindCoordinator;
pub use groups::{
    ConsumerGroupDescribe, ConsumerGroupHeartbeat, DeleteGroups, DescribeGroups, Heartbeat,
    JoinGroup, LeaveGroup, ListGroups, OffsetCommit, OffsetDelete, OffsetFetch, SyncGroup,
};
pub use incremental_alter_configs::IncrementalAlterConfigs;
pub use init_producer_id::InitProducerId;
pub use list_offsets::ListOffsets;
pub use list_partition_reassignments::ListPartitionReassignments;
pub use metadata::Metadata;
pub use offset_for_leader_epoch::OffsetForLeaderEpoch;
pub use produce::Produce;
pub use turns::{Turn, Turns};
pub use unregister_broker::UnregisterBroker;
pub use update_features::UpdateFeatures;

use crate::services::Services;

/// Serves one API. The type is never made: it names the functions that the router lists.
pub trait Handler: 'static {
    /// What is decoded before `handle` is called; its key and response follow from it.
    type Request: Request + Send + 'static;

    /// Versions that are served. A request in another version closes the connection.
    const VERSIONS: RangeInclusive<i16>;

    /// Lowest version that ApiVersions tells, where clients want to see more than is served.
    const ADVERTISED_MIN: i16 = *Self::VERSIONS.start();

    /// The ordered part. Never waits for a disk or another node, unless the order of requests on this
    /// one connection is worth it: the connection reads nothing meanwhile.
    fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: Self::Request,
    ) -> impl Future<Output = Answer> + Send;
}
