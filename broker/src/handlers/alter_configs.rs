//! AlterConfigs, 0 to 2: the whole set of configs of a resource is replaced. Carried out by
//! the coordinator.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::alter_configs_request::AlterConfigsRequest;
use ottla_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{DEFAULT_TIMEOUT_MS, Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves AlterConfigs.
#[derive(Debug)]
pub struct AlterConfigs;

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: AlterConfigsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for AlterConfigsRequest {
    fn timeout_ms(&self) -> i32 {
        DEFAULT_TIMEOUT_MS
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> AlterConfigsResponse {
        let responses = self.resources.iter().map(|resource| AlterConfigsResourceResponse {
            error_code: error.code(),
            error_message: Some(message.clone()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..AlterConfigsResourceResponse::default()
        });
        AlterConfigsResponse { responses: responses.collect(), ..AlterConfigsResponse::default() }
    }
}
