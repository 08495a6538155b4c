//! The settings of groups, by Kafka's names.

mod table;

use std::time::Duration;

pub use table::SettingsTable;

/// What holds for one group: the coordinator's file, dynamic broker defaults, then what is set on the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`, for classic members.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`, for classic members.
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long an empty classic group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`: members of a classic group.
    pub size_max: usize,
    /// `group.consumer.session.timeout.ms`, or `consumer.session.timeout.ms` of the group.
    pub consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`, or `consumer.heartbeat.interval.ms` of the group.
    pub consumer_heartbeat_interval: Duration,
    /// `group.consumer.assignment.interval.ms`, or `consumer.assignment.interval.ms` of the group: the longest that
    /// an assignment is put off so that one serves several changes.
    pub consumer_assignment_interval: Duration,
    /// `group.consumer.max.size`: members of a consumer group.
    pub consumer_size_max: usize,
    /// `group.consumer.assignors`: names, the default first.
    pub consumer_assignors: Vec<String>,
    /// `group.consumer.migration.policy`: whether a group may become a consumer group.
    pub allows_upgrade: bool,
    /// `group.consumer.migration.policy`: whether a group may become a classic group again.
    pub allows_downgrade: bool,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub regex_refresh_interval: Duration,
    /// `offset.metadata.max.bytes`: text beside a committed offset.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// Largest value that a member may bring (metadata or assignment), bytes. The store takes no more in one value.
    pub member_value_max: usize,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_mins(30),
            initial_rebalance_delay: Duration::from_secs(3),
            size_max: i32::MAX as usize,
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_assignment_interval: Duration::from_secs(1),
            consumer_size_max: i32::MAX as usize,
            consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
            allows_upgrade: true,
            allows_downgrade: true,
            regex_refresh_interval: Duration::from_mins(10),
            offset_metadata_max: 4096,
            offsets_retention: Duration::from_hours(7 * 24),
            member_value_max: 1 << 20,
        }
    }
}
