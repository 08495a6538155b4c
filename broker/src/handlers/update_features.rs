//! UpdateFeatures, 0 to 2. Carried out by the coordinator.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;
use ottla_protocol::{ErrorCode, Str};

use super::relayed::{Relayed, relay};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves UpdateFeatures.
#[derive(Debug)]
pub struct UpdateFeatures;

impl Handler for UpdateFeatures {
    type Request = UpdateFeaturesRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: UpdateFeaturesRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl Relayed for UpdateFeaturesRequest {
    fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    fn refuse(&self, error: ErrorCode, message: &Str) -> UpdateFeaturesResponse {
        UpdateFeaturesResponse {
            error_code: error.code(),
            error_message: Some(message.clone()),
            ..UpdateFeaturesResponse::default()
        }
    }
}
