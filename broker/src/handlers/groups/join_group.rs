//! JoinGroup, 0 to 9: a member of a classic group joins, and waits until the others have.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::{ErrorCode, Str};

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::relay::CallClass;
use crate::services::Services;

/// Serves JoinGroup.
#[derive(Debug)]
pub struct JoinGroup;

/// Beyond the members' own time: an empty group's first wait, and a coordinator that takes over.
const MARGIN: Duration = Duration::from_secs(30);
/// First version in which there may be no protocol.
const NO_PROTOCOL_FROM: i16 = 7;

impl Handler for JoinGroup {
    type Request = JoinGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=9;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: JoinGroupRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for JoinGroupRequest {
    const CLASS: CallClass = CallClass::Parked;

    fn groups(&self) -> Vec<&str> {
        vec![&self.group_id]
    }

    /// A rebalance lasts no longer than its members may take, and an empty group waits for a while before.
    fn patience(&self) -> Duration {
        // Version 0 has the one time for both.
        let longest = self.rebalance_timeout_ms.max(self.session_timeout_ms);
        let longest = Duration::from_millis(u64::try_from(longest).unwrap_or(0));
        longest.saturating_add(MARGIN)
    }

    fn strip(&mut self) {
        *self = Self::default();
    }

    fn refuse(&self, version: i16, error: ErrorCode) -> JoinGroupResponse {
        JoinGroupResponse {
            error_code: error.code(),
            protocol_name: (version < NO_PROTOCOL_FROM).then(Str::new),
            ..JoinGroupResponse::default()
        }
    }
}
