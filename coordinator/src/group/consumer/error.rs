//! Why a heartbeat is refused.

use ottla_protocol::ErrorCode;

use super::topic_pattern::PatternError;

/// Why a ConsumerGroupHeartbeat is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// A field that has to be set, or must not be.
    #[error("{0}")]
    Invalid(&'static str),
    /// What the member brings is too large to be stored.
    #[error("the member's subscription is larger than {0} bytes")]
    Large(usize),
    /// An assignor that is not configured.
    #[error("assignor {name} is not one of {}", known.join(", "))]
    Assignor {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An expression that cannot be used.
    #[error("{pattern:?} is not a usable regular expression: {error}")]
    Pattern {
        /// The expression.
        pattern: String,
        /// Why not.
        error: PatternError,
    },
    /// Only a member that joins makes a group.
    #[error("group {0} does not exist")]
    NoGroup(String),
    /// As many members as may be.
    #[error("the group has its {0} members")]
    Full(usize),
    /// No such member.
    #[error("{0} is not a member")]
    UnknownMember(String),
    /// No member has this instance id.
    #[error("no member has the instance id {0}")]
    UnknownInstance(String),
    /// The member is not where it thinks.
    #[error(
        "the member says epoch {received} and has {known}: it has to give up all and join anew"
    )]
    FencedEpoch {
        /// What the member says.
        received: i32,
        /// What it has.
        known: i32,
    },
    /// Another member has the instance id and did not say that it would go.
    #[error("instance id {instance} is in use by member {owner}")]
    Unreleased {
        /// The instance id.
        instance: String,
        /// Who has it.
        owner: String,
    },
    /// Another member took over.
    #[error("instance id {instance} belongs to member {owner} now")]
    FencedInstance {
        /// The instance id.
        instance: String,
        /// Who has it.
        owner: String,
    },
}

impl HeartbeatError {
    /// Kafka's code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Large(_) => ErrorCode::InvalidRequest,
            Self::Assignor { .. } => ErrorCode::UnsupportedAssignor,
            Self::Pattern { .. } => ErrorCode::InvalidRegularExpression,
            Self::NoGroup(_) => ErrorCode::GroupIdNotFound,
            Self::Full(_) => ErrorCode::GroupMaxSizeReached,
            Self::UnknownMember(_) | Self::UnknownInstance(_) => ErrorCode::UnknownMemberId,
            Self::FencedEpoch { .. } => ErrorCode::FencedMemberEpoch,
            Self::Unreleased { .. } => ErrorCode::UnreleasedInstanceId,
            Self::FencedInstance { .. } => ErrorCode::FencedInstanceId,
        }
    }
}
