//! What members ask: each kind of group answers in its own way, and a group may change its kind for it.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupRequest,
};

use super::{Call, Group, Shard, World};
use crate::group::classic::leave_unknown;
use crate::group::membership::Membership;
use crate::group::{ClassicGroup, Client, ConsumerGroup, Request, Response, Ticket, refusal};

impl Shard {
    /// A request of a member, or of whoever wants to be one.
    pub(super) fn handle_member(&mut self, call: Call<'_>, world: &mut World<'_>) {
        let Call { ticket, client, group, request } = call;
        if let Some(error) = senseless(group, &request) {
            let refused = refusal(&request, client.version, error);
            return world.out.answer_now(ticket, refused);
        }
        match request {
            Request::JoinGroup(request) => self.join((ticket, client), group, &request, world),
            Request::ConsumerGroupHeartbeat(request) => {
                self.consumer_heartbeat((ticket, client), group, &request, world);
            }
            request => match self.groups.get_mut(group) {
                Some(found) => {
                    act(
                        &mut found.membership,
                        (ticket, client),
                        &request,
                        &mut world.context(group),
                    );
                }
                None => world.out.answer_now(ticket, unknown_member(&request, client.version)),
            },
        }
    }

    fn join(
        &mut self,
        asked: (Ticket, &Client),
        group: &str,
        request: &JoinGroupRequest,
        world: &mut World<'_>,
    ) {
        let (ticket, client) = asked;
        let found = self
            .groups
            .entry(Arc::from(group))
            .or_insert_with(|| Group::new(Membership::simple(group)));
        let mut cx = world.context(group);
        // Of an empty group of the other kind only the offsets remain.
        if let Membership::Consumer(consumers) = &found.membership
            && consumers.is_empty()
        {
            consumers.delete(cx.out);
            found.membership = Membership::simple(group);
        }
        match &mut found.membership {
            Membership::Classic(classic) => classic.join(ticket, client, request, &mut cx),
            Membership::Consumer(consumers) => consumers.join(ticket, client, request, &mut cx),
        }
        self.drop_blank(group);
    }

    fn consumer_heartbeat(
        &mut self,
        asked: (Ticket, &Client),
        group: &str,
        request: &ConsumerGroupHeartbeatRequest,
        world: &mut World<'_>,
    ) {
        let (ticket, client) = asked;
        let joins = request.member_epoch == 0;
        // No group comes to be, or changes its kind, for a request that is refused anyway.
        if let Some(refused) = ConsumerGroup::refusal_of(client, request, world.settings.of(group))
        {
            return world.out.answer_now(ticket, Response::ConsumerGroupHeartbeat(refused));
        }
        if !self.groups.contains_key(group) && joins {
            let consumers = Membership::Consumer(Box::new(ConsumerGroup::new(group)));
            self.groups.insert(Arc::from(group), Group::new(consumers));
        }
        let Some(found) = self.groups.get_mut(group) else {
            return refuse_heartbeat(ticket, group, "not found", world);
        };
        if matches!(found.membership, Membership::Classic(_))
            && (!joins || become_consumers(&mut found.membership, group, world).is_err())
        {
            return refuse_heartbeat(ticket, group, "is not a consumer group", world);
        }
        if let Membership::Consumer(consumers) = &mut found.membership {
            consumers.heartbeat(ticket, client, request, &mut world.context(group));
        }
        self.drop_blank(group);
    }

    /// Forgets a group of which a request made nothing.
    fn drop_blank(&mut self, name: &str) {
        let is_blank = |group: &Group| group.membership.is_blank() && group.offsets.is_empty();
        if self.groups.get(name).is_some_and(is_blank) {
            self.forget(name);
        }
    }
}

/// Makes consumers out of a classic group, since one that speaks the new protocol wants to join.
fn become_consumers(
    membership: &mut Membership,
    group: &str,
    world: &mut World<'_>,
) -> Result<(), ErrorCode> {
    let Membership::Classic(classic) = membership else { return Ok(()) };
    let mut cx = world.context(group);
    let consumers = if classic.is_empty() {
        classic.release(ErrorCode::RebalanceInProgress, cx.out);
        classic.delete(cx.out);
        ConsumerGroup::new(group)
    } else {
        if !cx.settings.allows_upgrade {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let parts = ClassicGroup::parts(classic).ok_or(ErrorCode::GroupIdNotFound)?;
        let consumers = ConsumerGroup::upgrade(&parts, &mut cx)?;
        classic.release(ErrorCode::RebalanceInProgress, cx.out);
        classic.delete_members(cx.out);
        consumers
    };
    *membership = Membership::Consumer(Box::new(consumers));
    Ok(())
}

/// A request of somebody who is a member already.
fn act(
    membership: &mut Membership,
    asked: (Ticket, &Client),
    request: &Request,
    cx: &mut crate::group::Context<'_>,
) {
    let (ticket, client) = asked;
    match (membership, request) {
        (Membership::Classic(group), Request::SyncGroup(request)) => {
            group.sync(ticket, client, request, cx);
        }
        (Membership::Classic(group), Request::Heartbeat(request)) => {
            group.heartbeat(ticket, client, request, cx);
        }
        (Membership::Classic(group), Request::LeaveGroup(request)) => {
            group.leave(ticket, client, request, cx);
        }
        (Membership::Consumer(group), Request::SyncGroup(request)) => {
            group.sync(ticket, client, request, cx);
        }
        (Membership::Consumer(group), Request::Heartbeat(request)) => {
            group.classic_heartbeat(ticket, client, request, cx);
        }
        (Membership::Consumer(group), Request::LeaveGroup(request)) => {
            group.leave(ticket, client, request, cx);
        }
        (_, request) => {
            let refused = refusal(request, client.version, ErrorCode::UnknownServerError);
            cx.out.answer_now(ticket, refused);
        }
    }
}

/// The answer where there is no group: it has no such member.
fn unknown_member(request: &Request, version: i16) -> Response {
    match request {
        Request::LeaveGroup(request) => Response::LeaveGroup(leave_unknown(request, version)),
        request => refusal(request, version, ErrorCode::UnknownMemberId),
    }
}

fn refuse_heartbeat(ticket: Ticket, group: &str, why: &str, world: &mut World<'_>) {
    let response = ConsumerGroupHeartbeatResponse {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(format!("Group {group} {why}.").into()),
        ..ConsumerGroupHeartbeatResponse::default()
    };
    world.out.answer_now(ticket, Response::ConsumerGroupHeartbeat(response));
}

/// What is wrong with a request in itself, before any group is looked for.
fn senseless(group: &str, request: &Request) -> Option<ErrorCode> {
    match request {
        Request::ConsumerGroupHeartbeat(request) => {
            let is_senseless = group.is_empty() || request.member_epoch < LOWEST_EPOCH;
            is_senseless.then_some(ErrorCode::InvalidRequest)
        }
        _ => group.is_empty().then_some(ErrorCode::InvalidGroupId),
    }
}

/// That of a static member that leaves for a while.
const LOWEST_EPOCH: i32 = -2;
