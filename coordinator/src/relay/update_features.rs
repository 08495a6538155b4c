//! UpdateFeatures, versions 0 to 2: 1 tells safe from unsafe downgrades and can only check, 2 answers for
//! the request as a whole, which is how it is carried out in every version.

use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::messages::update_features_response::UpdatableFeatureResult;
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_protocol::{ErrorCode, Str};

use super::{Call, Handler, Relayed};
use crate::admin::{FeatureLevel, FeatureUpdates, LevelChange, Options, Unavailable};

pub(super) struct UpdateFeatures;

impl Handler for UpdateFeatures {
    type Request = UpdateFeaturesRequest;

    async fn handle(
        call: &Call<'_>,
        request: UpdateFeaturesRequest,
    ) -> Result<Relayed<UpdateFeaturesResponse>, Unavailable> {
        let options = Options {
            validate_only: request.validate_only,
            timeout: call.timeout(request.timeout_ms),
        };
        let wanted: Option<Vec<FeatureLevel>> =
            request.feature_updates.iter().map(|update| level(call.version, update)).collect();
        let Some(updates) = wanted else {
            let message = Str::from_static("an update names a kind of change that does not exist");
            let response = response(&request, ErrorCode::InvalidRequest, Some(message));
            return Ok(Relayed { response, revision: 0 });
        };
        let updates = FeatureUpdates { updates };
        let answer = call.admin.update_features(&call.caller, updates, options).await?;
        let (code, message) = match answer.results.into_iter().next() {
            Some(Err(error)) => (error.code, Some(error.message.into())),
            Some(Ok(())) | None => (ErrorCode::None, None),
        };
        let response = response(&request, code, message);
        Ok(Relayed { response, revision: answer.revision })
    }
}

fn level(version: i16, update: &FeatureUpdateKey) -> Option<FeatureLevel> {
    let change = match update.upgrade_type {
        _ if version == 0 && update.allow_downgrade => LevelChange::SafeDowngrade,
        _ if version == 0 => LevelChange::Upgrade,
        1 => LevelChange::Upgrade,
        2 => LevelChange::SafeDowngrade,
        3 => LevelChange::UnsafeDowngrade,
        _ => return None,
    };
    Some(FeatureLevel {
        feature: update.feature.as_str().to_owned(),
        level: update.max_version_level,
        change,
    })
}

fn response(
    request: &UpdateFeaturesRequest,
    code: ErrorCode,
    message: Option<Str>,
) -> UpdateFeaturesResponse {
    let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature.clone(),
        ..UpdatableFeatureResult::default()
    };
    let results = match code {
        ErrorCode::None => request.feature_updates.iter().map(result).collect(),
        _ => Vec::new(),
    };
    UpdateFeaturesResponse {
        error_code: code.code(),
        error_message: message,
        results,
        ..UpdateFeaturesResponse::default()
    }
}
