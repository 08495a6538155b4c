//! A member of a consumer group.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ottla_metadata::model::Rest;
use ottla_metadata::model::group::{ClassicMember, ConsumerMember, ReconciliationState};

use super::partitions::{Owned, Partitions};

/// A member: what it said of itself, what it has, and what it is to have.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id.
    pub id: Arc<str>,
    /// What it said of itself, as it is stored. Topics are sorted, none twice.
    pub about: ConsumerMember,
    /// What a member that speaks the classic protocol brought.
    pub classic: Option<Classic>,
    /// What it has.
    pub current: Current,
    /// What it is to have, as of the group's assignment epoch.
    pub target: Arc<Partitions>,
    /// When it will have been silent or slow for too long.
    pub deadlines: Deadlines,
}

/// What a member that speaks the classic protocol brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classic {
    /// Its session timeout.
    pub session_timeout: Duration,
    /// Its protocols with their metadata, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
}

/// What a member has, and where it is on its way to its target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Current {
    /// Its epoch: 0 while it joins, [`AWAY`] while a static member is away.
    pub epoch: i32,
    /// The epoch before this one.
    pub previous_epoch: i32,
    /// Where it is on its way.
    pub state: ReconciliationState,
    /// What it may read.
    pub assigned: Owned,
    /// What it was told to give up and has not yet.
    pub revoking: Owned,
    /// Stored fields of later versions.
    pub rest: Rest,
}

/// When something has to happen, in store-healthy time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// The next heartbeat has to come.
    pub session: Option<Duration>,
    /// It has to have given up what it was told to.
    pub rebalance: Option<Duration>,
    /// A classic member has to join anew.
    pub join: Option<Duration>,
    /// A classic member has to ask for its assignment.
    pub sync: Option<Duration>,
    /// The earliest entry in the group's queue of timers that is meant for this member.
    pub armed: Option<Duration>,
}

impl Deadlines {
    /// The first of them.
    pub fn first(&self) -> Option<Duration> {
        [self.session, self.rebalance, self.join, self.sync].into_iter().flatten().min()
    }
}

/// The epoch of a static member that is away and may come back.
pub const AWAY: i32 = -2;

impl Member {
    /// A member that has nothing yet.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            about: ConsumerMember::default(),
            classic: None,
            current: Current::default(),
            target: Arc::default(),
            deadlines: Deadlines::default(),
        }
    }

    /// True for a static member that said it would be back.
    pub fn is_away(&self) -> bool {
        self.current.epoch == AWAY
    }

    /// True if it has all that was wanted in this epoch.
    pub fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.current.state == ReconciliationState::Stable && self.current.epoch == assignment_epoch
    }

    /// The time that it may take to give partitions up, or to join anew.
    pub fn rebalance_timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.about.rebalance_timeout_ms).unwrap_or(0))
    }
}

impl Classic {
    /// As it is stored.
    pub fn to_stored(&self) -> ClassicMember {
        let protocol =
            |(name, metadata): &(String, Bytes)| (name.clone(), STANDARD.encode(metadata));
        ClassicMember {
            session_timeout_ms: i32::try_from(self.session_timeout.as_millis()).unwrap_or(i32::MAX),
            protocols: self.protocols.iter().map(protocol).collect(),
        }
    }

    /// From what is stored. Metadata that is not base64 is as good as none: the member joins anew.
    pub fn from_stored(stored: &ClassicMember) -> Self {
        let protocol = |(name, metadata): &(String, String)| {
            (name.clone(), STANDARD.decode(metadata).unwrap_or_default().into())
        };
        let timeout = u64::try_from(stored.session_timeout_ms).unwrap_or(0);
        Self {
            session_timeout: Duration::from_millis(timeout),
            protocols: stored.protocols.iter().map(protocol).collect(),
        }
    }
}
