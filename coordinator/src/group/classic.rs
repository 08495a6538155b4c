//! Classic groups: the members agree among themselves, and the coordinator only carries their agreement
//! (JoinGroup, SyncGroup, Heartbeat, LeaveGroup in all versions).
//!
//! | state | what it waits for | next |
//! |---|---|---|
//! | `Empty` | a first member | `PreparingRebalance` |
//! | `PreparingRebalance` | every member's JoinGroup, at most the longest rebalance timeout; at first, more members | `CompletingRebalance`, or `Empty` if nobody is left |
//! | `CompletingRebalance` | the leader's SyncGroup | `Stable`; `PreparingRebalance` if a member comes, goes or changes |
//! | `Stable` | nothing | `PreparingRebalance` as above, or if the leader joins again |
//!
//! What members say to each other (`metadata`, `assignment`) is opaque here, so that consumers, Connect workers
//! and schema registries all form groups. The one exception are subscriptions, read to know the topics.
//!
//! **Stored**: a generation when its leader has assigned it, a static member that another process takes over,
//! and that a group became empty. Never heartbeats, nor members that only joined: a coordinator that takes over
//! finds the last generation that anybody was given.

mod answers;
mod commit;
mod convert;
mod describe;
mod expiry;
mod heartbeat;
mod join;
mod leave;
mod members;
mod protocols;
mod rebalance;
mod restore;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_metadata::model::Rest;
use ottla_protocol::{ErrorCode, Str};

use self::members::Members;
use self::rebalance::InitialDelay;
use self::timers::Timers;
use super::{Context, Effects, Ticket};

pub use self::answers::{
    describe_unknown, heartbeat_error, join_error, leave_error, leave_unknown, sync_error,
};
pub use self::commit::OffsetRetention;

/// Where a classic group is in its life. `Display` is Kafka's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClassicState {
    /// No members; offsets may be there.
    Empty,
    /// Members are being waited for.
    PreparingRebalance,
    /// The leader's assignment is being waited for.
    CompletingRebalance,
    /// Everybody may have its assignment.
    Stable,
}

/// A classic group: who is in it, what they agreed on, and whose requests wait.
#[derive(Debug)]
pub struct ClassicGroup {
    id: String,
    state: ClassicState,
    state_since_ms: i64,
    generation: i32,
    /// The latest generation that remains of an interrupted write name; the next one is later still.
    generation_seen: i32,
    protocol_type: Option<Str>,
    protocol: Option<Str>,
    members: Members,
    /// Ids that were given out and have not joined yet (KIP-394).
    pending: BTreeSet<Str>,
    /// Members of this generation that have not asked for their assignment yet.
    pending_syncs: BTreeSet<Str>,
    /// While a group that was empty waits for more members.
    initial: Option<InitialDelay>,
    /// What the consumers of this generation subscribe to, if that can be known.
    subscribed: Option<BTreeSet<String>>,
    timers: Timers,
    /// Keys of members and assignments that the journal may hold.
    stored_keys: BTreeSet<String>,
    /// The journal holds a `meta` of this group.
    has_meta: bool,
    meta_rest: Rest,
}

impl ClassicGroup {
    /// A group that nobody has joined.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: ClassicState::Empty,
            state_since_ms: -1,
            generation: 0,
            generation_seen: 0,
            protocol_type: None,
            protocol: None,
            members: Members::default(),
            pending: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            initial: None,
            subscribed: None,
            timers: Timers::default(),
            stored_keys: BTreeSet::new(),
            has_meta: false,
            meta_rest: Rest::new(),
        }
    }

    /// The group id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The state.
    pub fn state(&self) -> ClassicState {
        self.state
    }

    /// When it came into its state, Unix milliseconds; -1 if it was never in another.
    pub fn state_since_ms(&self) -> i64 {
        self.state_since_ms
    }

    /// The generation: 0 before the first.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// What its members are, such as `consumer`; `None` if it never had one.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// How many members it has, without those that were only given an id.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// True without members; some may be about to join.
    pub fn is_empty(&self) -> bool {
        self.state == ClassicState::Empty
    }

    /// True if nothing is lost by forgetting it: no members, nobody about to join.
    /// If it has no committed offsets either, its owner may [`delete`](Self::delete) it.
    pub fn can_be_deleted(&self) -> bool {
        self.is_empty() && self.pending.is_empty()
    }

    /// True if it was never more than a place for offsets: it has no stored values of its own.
    pub fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.can_be_deleted()
    }

    /// The topics that its consumers subscribe to, all of them since the last generation. `None` if that cannot be
    /// known: the members are no consumers, or speak a format that is not Kafka's.
    pub fn subscribed_topics(&self) -> Option<&BTreeSet<String>> {
        self.subscribed.as_ref()
    }

    /// Whether offsets of `topic` are in use. Where subscriptions cannot be read, those of consumers are.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.has_consumers(),
        }
    }

    /// Whether its members are consumers.
    pub fn has_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// When [`on_timer`](Self::on_timer) wants to be called, in store-healthy time.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// The client that sent the request `ticket` hung up: nobody waits for its answer any more.
    ///
    /// Its member counts as joined still, since it may come back over another connection, but has no longer than
    /// its session timeout for it. A member that cannot know its id yet leaves at once.
    pub fn abandon(&mut self, ticket: Ticket, cx: &mut Context<'_>) {
        let Some(member) = self.members.find_ticket(ticket) else { return };
        let id = member.id.clone();
        let is_lost = member.is_new && !member.knows_its_id();
        for parked in member.join.iter_mut().chain(member.sync.iter_mut()) {
            if parked.ticket == Some(ticket) {
                parked.ticket = None;
            }
        }
        if is_lost {
            self.remove_and_go_on(&id, "client of a new member hung up", cx);
        } else {
            self.restart_session(&id, cx);
        }
    }

    /// Answers everybody who waits with NOT_COORDINATOR: the group is loaded elsewhere, or anew.
    pub fn unload(&mut self, out: &mut Effects) {
        self.release(ErrorCode::NotCoordinator, out);
    }
}

impl ClassicState {
    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

impl std::fmt::Display for ClassicState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Values of a group as they were found, by the last part of their keys.
pub type StoredValues = BTreeMap<String, bytes::Bytes>;

/// The protocol type of consumers.
pub const CONSUMER: &str = "consumer";
