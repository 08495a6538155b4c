//! SyncGroup, 0 to 5: a member of a classic group gets its share once the leader has sent all shares.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;

use super::{GroupRequest, PATIENCE_MAX, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::relay::CallClass;
use crate::services::Services;

/// Serves SyncGroup.
#[derive(Debug)]
pub struct SyncGroup;

impl Handler for SyncGroup {
    type Request = SyncGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: SyncGroupRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for SyncGroupRequest {
    const CLASS: CallClass = CallClass::Parked;

    fn groups(&self) -> Vec<&str> {
        vec![&self.group_id]
    }

    /// Only the group knows how long its leader may take.
    fn patience(&self) -> Duration {
        PATIENCE_MAX
    }

    fn strip(&mut self) {
        *self = Self::default();
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> SyncGroupResponse {
        SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() }
    }
}
