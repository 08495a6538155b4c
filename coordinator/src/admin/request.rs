//! What can be asked of [`super::Admin`], and what it answers.

use std::net::SocketAddr;
use std::time::Duration;

use ottla_protocol::Uuid;

/// Who asks. Every call carries one: it is what the authorise and audit stages judge and write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Kind of principal; `User` unless a plug-in says otherwise.
    pub principal_type: String,
    /// Name of the principal; `ANONYMOUS` on listeners without authentication.
    pub principal_name: String,
    /// Whether a delegation token stood in for a password.
    pub token_authenticated: bool,
    /// Where the client itself is, as far as it is known.
    pub client_address: Option<SocketAddr>,
    /// Name of the listener that the client came in on; `REST` for the admin API.
    pub listener: String,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl Caller {
    /// Somebody who did not authenticate.
    pub fn anonymous(listener: &str) -> Self {
        Self {
            principal_type: "User".to_owned(),
            principal_name: "ANONYMOUS".to_owned(),
            token_authenticated: false,
            client_address: None,
            listener: listener.to_owned(),
            client_id: None,
        }
    }
}

/// How a request is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// How long the caller waits. The work may still be done later when it passes.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { validate_only: false, timeout: Duration::from_secs(30) }
    }
}

/// A topic to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// 1 to 249 of `[a-zA-Z0-9._-]`.
    pub name: String,
    /// Partitions; `None` = the cluster's `num.partitions`. Must be `None` with `assignments`.
    pub partitions: Option<i32>,
    /// Replicas of each; `None` = `default.replication.factor`. Must be `None` with `assignments`.
    pub replication_factor: Option<i16>,
    /// Replicas chosen by hand, as (partition, broker ids with the preferred leader first); empty =
    /// the controller places them by rack and load.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Topic configs by name. A null value is an error.
    pub configs: Vec<(String, Option<String>)>,
}

/// What a creation made, or would have made under `validate_only` (then the id is zero).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its id, new for each creation of the same name.
    pub topic_id: Uuid,
    /// Partitions.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replication_factor: i16,
    /// Every config of the topic with the value that is in force.
    pub configs: Vec<EffectiveConfig>,
}

/// A config as it is in force for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveConfig {
    /// Its name.
    pub name: String,
    /// Its value; `None` if there is none or it must not be shown.
    pub value: Option<String>,
    /// Where the value comes from, as Kafka's `ConfigSource` numbers it (1 topic, 2 broker, 3 all
    /// brokers, 4 static, 5 default).
    pub source: i8,
    /// Whether it can be changed while the cluster runs.
    pub read_only: bool,
    /// Whether the value is a secret.
    pub is_sensitive: bool,
}

/// Names a topic, either way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(Uuid),
}

/// A topic that was found, and is deleted unless only validation was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub topic_id: Uuid,
}

/// How many partitions a topic shall have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub topic: String,
    /// Its partitions afterwards, more than it has now.
    pub count: i32,
    /// Replicas of each *added* partition, chosen by hand; empty = the controller places them.
    pub assignments: Vec<Vec<i32>>,
}

/// What has configs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// One broker, or every broker that has no value of its own (`None`).
    Broker(Option<i32>),
    /// A group, which need not exist.
    Group(String),
}

/// What to do to one config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigOp {
    /// Set it.
    Set,
    /// Forget it, so that the next wider value holds. Forgetting what is not set changes nothing.
    Delete,
    /// Add items to a list.
    Append,
    /// Remove items from a list.
    Subtract,
}

/// One change of one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its name.
    pub name: String,
    /// What to do.
    pub op: ConfigOp,
    /// The value, or the items; ignored by `Delete`.
    pub value: Option<String>,
}

/// Changes of one resource; all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigAlteration {
    /// Whose configs.
    pub resource: ConfigResource,
    /// The changes; a name may occur once.
    pub changes: Vec<ConfigChange>,
}

/// The whole new set of one resource: what is not in it is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigReplacement {
    /// Whose configs.
    pub resource: ConfigResource,
    /// Name and value of each.
    pub configs: Vec<(String, Option<String>)>,
}

/// Which leader is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionKind {
    /// The first replica, if it is in sync.
    Preferred,
    /// Anybody who lives, where nobody leads: acknowledged records may be lost.
    Unclean,
}

/// An election to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderElection {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Who shall lead.
    pub kind: ElectionKind,
}

/// A partition to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its replicas afterwards, the preferred leader first; `None` cancels what is under way.
    pub replicas: Option<Vec<i32>>,
    /// Whether there may be more or fewer replicas than before.
    pub allow_replication_factor_change: bool,
}

/// A broker to drain, or to put back to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerDrain {
    /// The broker.
    pub broker: i32,
    /// Whether it shall lead nothing and be in no ISR.
    pub draining: bool,
    /// Drain it even if partitions then have no leader, or too few replicas in sync.
    pub force: bool,
}

/// Levels of features to finalise, all of them or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeatureUpdates {
    /// The levels; a feature may occur once.
    pub updates: Vec<FeatureLevel>,
}

/// A level of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureLevel {
    /// Kafka's name of the feature.
    pub feature: String,
    /// The level; 0 switches the feature off.
    pub level: i16,
    /// What the caller takes it for.
    pub change: LevelChange,
}

/// Which way a level is meant to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelChange {
    /// Up.
    Upgrade,
    /// Down, if nothing is lost by it.
    SafeDowngrade,
    /// Down, whatever is lost by it.
    UnsafeDowngrade,
}
