//! IncrementalAlterConfigs, 0 to 1: single configs are set, deleted, appended to or subtracted from. Carried out by
//! the coordinator.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{DEFAULT_TIMEOUT_MS, Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves IncrementalAlterConfigs.
#[derive(Debug)]
pub struct IncrementalAlterConfigs;

impl Handler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: IncrementalAlterConfigsRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for IncrementalAlterConfigsRequest {
    fn timeout_ms(&self) -> i32 {
        DEFAULT_TIMEOUT_MS
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> IncrementalAlterConfigsResponse {
        let responses = self.resources.iter().map(|resource| AlterConfigsResourceResponse {
            error_code: error.code(),
            error_message: Some(message.clone()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..AlterConfigsResourceResponse::default()
        });
        IncrementalAlterConfigsResponse {
            responses: responses.collect(),
            ..IncrementalAlterConfigsResponse::default()
        }
    }
}
