//! Consumer groups (KIP-848): the server assigns, members heartbeat.
//!
//! Nobody ever waits here: every request is answered in the step that it comes in. Members that speak the
//! classic protocol are served as well, while a group moves from one protocol to the other.

mod commit;
mod describe;
pub mod migration;

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_metadata::model::group::{ConsumerAssignment, ConsumerMember, ConsumerMeta};
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use ottla_protocol::time::Now;
use ottla_protocol::{ErrorCode, Uuid};

use super::{Client, Context, Effects, Response, Ticket};

pub use commit::CommitClaim;
pub use describe::ConsumerGroupState;
pub use migration::{ClassicMemberParts, ClassicParts};

/// One consumer group.
#[derive(Debug)]
pub struct ConsumerGroup {
    id: String,
    epoch: i32,
}

/// What the journal holds of a consumer group, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConsumerGroup {
    /// Below `meta`.
    pub meta: ConsumerMeta,
    /// Below `consumer-members`, by member id.
    pub members: Vec<(String, ConsumerMember)>,
    /// Below `consumer-assignments`, by member id.
    pub assignments: Vec<(String, ConsumerAssignment)>,
}

impl ConsumerGroup {
    /// A group that nobody has joined. It exists once somebody has: a group that is still
    /// [`is_new`](Self::is_new) after a request is to be dropped.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), epoch: 0 }
    }

    /// The group that the journal holds. Any prefix of its writes makes a valid group; what a crash left half
    /// done is finished by the first [`on_timer`](Self::on_timer), which is due at once.
    pub fn restore(id: &str, stored: StoredConsumerGroup, _now: Now) -> Self {
        Self { id: id.to_owned(), epoch: stored.meta.epoch }
    }

    /// True until somebody has joined.
    pub fn is_new(&self) -> bool {
        self.epoch == 0
    }

    /// ConsumerGroupHeartbeat: joining, leaving, and everything in between.
    pub fn heartbeat(
        &mut self,
        ticket: Ticket,
        _client: &Client,
        _request: &ConsumerGroupHeartbeatRequest,
        cx: &mut Context<'_>,
    ) {
        let error_code = ErrorCode::CoordinatorNotAvailable.code();
        let response = ConsumerGroupHeartbeatResponse { error_code, ..Default::default() };
        cx.out.answer_now(ticket, Response::ConsumerGroupHeartbeat(response));
    }

    /// JoinGroup of a member that speaks the classic protocol.
    pub fn join(
        &mut self,
        ticket: Ticket,
        _client: &Client,
        _request: &JoinGroupRequest,
        cx: &mut Context<'_>,
    ) {
        let error_code = ErrorCode::CoordinatorNotAvailable.code();
        let response = JoinGroupResponse { error_code, ..Default::default() };
        cx.out.answer_now(ticket, Response::JoinGroup(response));
    }

    /// SyncGroup of a member that speaks the classic protocol.
    pub fn sync(
        &mut self,
        ticket: Ticket,
        _client: &Client,
        _request: &SyncGroupRequest,
        cx: &mut Context<'_>,
    ) {
        let error_code = ErrorCode::CoordinatorNotAvailable.code();
        let response = SyncGroupResponse { error_code, ..Default::default() };
        cx.out.answer_now(ticket, Response::SyncGroup(response));
    }

    /// Heartbeat of a member that speaks the classic protocol.
    pub fn classic_heartbeat(
        &mut self,
        ticket: Ticket,
        _client: &Client,
        _request: &HeartbeatRequest,
        cx: &mut Context<'_>,
    ) {
        let error_code = ErrorCode::CoordinatorNotAvailable.code();
        let response = HeartbeatResponse { error_code, ..Default::default() };
        cx.out.answer_now(ticket, Response::Heartbeat(response));
    }

    /// LeaveGroup, for members that speak the classic protocol.
    pub fn leave(
        &mut self,
        ticket: Ticket,
        _client: &Client,
        _request: &LeaveGroupRequest,
        cx: &mut Context<'_>,
    ) {
        let error_code = ErrorCode::CoordinatorNotAvailable.code();
        let response = LeaveGroupResponse { error_code, ..Default::default() };
        cx.out.answer_now(ticket, Response::LeaveGroup(response));
    }

    /// When [`on_timer`](Self::on_timer) has something to do, in store-healthy time.
    pub fn next_deadline(&self) -> Option<Duration> {
        None
    }

    /// Expels who is silent or too slow, and computes an assignment that was put off.
    pub fn on_timer(&mut self, _cx: &mut Context<'_>) {}

    /// Topics came, grew or went: `changed` are their ids (`ImageDiff::topics`), `cx.image` is the image after it.
    pub fn image_changed(&mut self, _changed: &BTreeSet<Uuid>, _cx: &mut Context<'_>) {}

    /// What members have subscribed to, by name or by expression; also topics that do not exist.
    pub fn subscribed_topics(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Takes a classic group over because a member of the new protocol wants to join it. The caller then drops
    /// the classic group, answers whoever waits in it with REBALANCE_IN_PROGRESS, and deletes its keys but
    /// `meta`, all after this.
    ///
    /// # Errors
    /// The error to answer the new member with; the group stays classic.
    pub fn upgrade(_parts: &ClassicParts, _cx: &mut Context<'_>) -> Result<Self, ErrorCode> {
        Err(ErrorCode::GroupIdNotFound)
    }

    /// The classic group that this one has become, because the last member that spoke the new protocol went. To
    /// be asked after every step; the caller then drops this group. Its keys are deleted here, `meta` is for the
    /// classic group to write.
    pub fn take_downgrade(&mut self, _cx: &mut Context<'_>) -> Option<ClassicParts> {
        None
    }

    /// Deletes the group, which has to be empty, from the journal; not its offsets.
    pub fn delete(&self, out: &mut Effects) {
        out.delete(&self.id, ottla_metadata::keys::GroupKey::Meta);
    }
}
