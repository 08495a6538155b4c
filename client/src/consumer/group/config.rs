//! How a member behaves.

use std::time::Duration;

use ottla_protocol::Str;

use super::Assignor;
use crate::consumer::ConsumerConfig;

/// How a group divides its partitions: `group.protocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One member assigns them to all, by one of these, the preferred one first: `partition.assignment.strategy`.
    Classic {
        /// Either all cooperative or all not.
        assignors: Vec<Assignor>,
    },
    /// The coordinator does (KIP-848).
    Consumer {
        /// Which of its assignors: `group.remote.assignor`. Its default if none.
        assignor: Option<Str>,
    },
}

/// How a member of a group behaves. Names in `code` and defaults are those of Kafka's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.id`. No default.
    pub group_id: Str,
    /// Topics to read. No default.
    pub topics: Vec<Str>,
    /// Makes it a static member: `group.instance.id`. Default none.
    pub instance_id: Option<Str>,
    /// Default classic, with `cooperative-sticky`.
    pub protocol: GroupProtocol,
    /// Silent for so long, it is removed: `session.timeout.ms`, for the classic protocol. Default 45 s.
    pub session_timeout: Duration,
    /// Between heartbeats of the classic protocol: `heartbeat.interval.ms`. Default 3 s.
    pub heartbeat_interval: Duration,
    /// How long the application may take between polls before the member leaves, and a rebalance may wait for it:
    /// `max.poll.interval.ms`. Default 5 min.
    pub max_poll_interval: Duration,
    /// How often poll commits what it has returned: `auto.commit.interval.ms`, none for `enable.auto.commit=false`.
    /// Default 5 s.
    pub auto_commit: Option<Duration>,
    /// How records are read.
    pub consumer: ConsumerConfig,
}

impl GroupConfig {
    /// Defaults, for a member of `group_id` that reads `topics`.
    pub fn new(group_id: impl Into<Str>, topics: Vec<Str>) -> Self {
        Self {
            group_id: group_id.into(),
            topics,
            instance_id: None,
            protocol: GroupProtocol::Classic { assignors: vec![Assignor::CooperativeSticky] },
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_mins(5),
            auto_commit: Some(Duration::from_secs(5)),
            consumer: ConsumerConfig::default(),
        }
    }
}
