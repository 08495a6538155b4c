//! UnregisterBroker, 0. Carried out by the coordinator.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{DEFAULT_TIMEOUT_MS, Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves UnregisterBroker.
#[derive(Debug)]
pub struct UnregisterBroker;

impl Handler for UnregisterBroker {
    type Request = UnregisterBrokerRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: UnregisterBrokerRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for UnregisterBrokerRequest {
    fn timeout_ms(&self) -> i32 {
        DEFAULT_TIMEOUT_MS
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> UnregisterBrokerResponse {
        UnregisterBrokerResponse {
            error_code: error.code(),
            error_message: Some(message.clone()),
            ..UnregisterBrokerResponse::default()
        }
    }
}
