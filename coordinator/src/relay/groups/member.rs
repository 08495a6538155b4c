//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup and ConsumerGroupHeartbeat: one request, one group, one answer.

use std::marker::PhantomData;

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    SyncGroupRequest,
};
use ottla_protocol::{ErrorCode, Request as WireRequest, Str};

use super::super::{Call, Handler, Relayed, Unavailable};
use super::ask;
use crate::admin::stages::Operation;
use crate::group::{Request, Response, refusal};

/// A request about one group, as it travels to it.
pub(in super::super) trait Membered: WireRequest + Send {
    /// The group.
    fn group(&self) -> Str;

    /// The request as groups take it.
    fn asked(self) -> Request;

    /// The answer, if it is one to such a request.
    fn answered(response: Response) -> Option<Self::Response>;
}

/// Handles a request about one group.
pub(in super::super) struct OneGroup<R>(PhantomData<R>);

impl<R> Handler for OneGroup<R>
where
    R: Membered,
    R::Response: Send,
{
    type Request = R;

    async fn handle(
        call: &Call<'_>,
        request: R,
    ) -> Result<Relayed<<R as WireRequest>::Response>, Unavailable> {
        let group = request.group();
        let asked = request.asked();
        let broken = refusal(&asked, call.version, ErrorCode::UnknownServerError);
        let response = ask(call, &group, Operation::ReadGroup, asked).await?;
        let response = R::answered(response).or_else(|| R::answered(broken)).unwrap_or_default();
        Ok(Relayed { response, revision: NOTHING_OF_THE_IMAGE })
    }
}

macro_rules! membered {
    ($($request:ident => $variant:ident),+) => {$(
        impl Membered for $request {
            fn group(&self) -> Str {
                self.group_id.clone()
            }

            fn asked(self) -> Request {
                Request::$variant(self)
            }

            fn answered(response: Response) -> Option<Self::Response> {
                match response {
                    Response::$variant(response) => Some(response),
                    _ => None,
                }
            }
        }
    )+};
}

membered!(
    JoinGroupRequest => JoinGroup,
    SyncGroupRequest => SyncGroup,
    HeartbeatRequest => Heartbeat,
    LeaveGroupRequest => LeaveGroup,
    ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeat
);

/// What groups write is in no image, so no broker has to wait for its own.
pub(super) const NOTHING_OF_THE_IMAGE: i64 = 0;
