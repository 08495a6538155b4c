//! ApiVersions, 0 to 4: what the broker can do.
//!
//! - Answered before authentication, with an old header in every version.
//! - A version that is not served is no reason to hang up: the answer is in version 0, says
//!   UNSUPPORTED_VERSION, and lists only ApiVersions itself, so that the client can ask again (KIP-511).
//! - From version 3 on, the client names its software; a name of wrong form is INVALID_REQUEST.
//! - Below version 4, supported features with a lowest level of 0 are left out, because older Java
//!   clients fail on them (KAFKA-17492).

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_metadata::features::{self, FEATURES};
use ottla_metadata::image::Image;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_protocol::{ApiKey, ErrorCode, Str, frame};

use super::{Answer, Handler, Reply, RequestContext};
use crate::listener::Served;
use crate::services::Services;

/// Serves ApiVersions.
#[derive(Debug)]
pub struct ApiVersions;

impl Handler for ApiVersions {
    type Request = ApiVersionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: ApiVersionsRequest,
    ) -> Answer {
        let version = context.api_version;
        let is_valid = version < 3
            || is_software_name(&request.client_software_name)
                && is_software_name(&request.client_software_version);
        let response = if is_valid {
            answer(version, &services.apis, &services.image.load())
        } else {
            ApiVersionsResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                ..ApiVersionsResponse::default()
            }
        };
        Answer::ready::<ApiVersionsRequest>(context, &response)
    }
}

/// The answer to a version that is not served.
pub(crate) fn unsupported_version(context: &RequestContext, served: &RangeInclusive<i16>) -> Reply {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![ApiVersion {
            api_key: ApiKey::ApiVersions.code(),
            min_version: *served.start(),
            max_version: *served.end(),
            ..ApiVersion::default()
        }],
        ..ApiVersionsResponse::default()
    };
    match frame::encode_response(ApiKey::ApiVersions, 0, context.correlation_id, &response) {
        Ok(pieces) => Reply::from_frame(pieces),
        Err(_) => Reply::close(),
    }
}

fn answer(version: i16, served: &[Served], image: &Image) -> ApiVersionsResponse {
    let api_keys = served
        .iter()
        .map(|api| ApiVersion {
            api_key: api.key.code(),
            min_version: api.advertised_min,
            max_version: *api.versions.end(),
            ..ApiVersion::default()
        })
        .collect();
    let mut response = ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() };
    if 3 <= version {
        for feature in FEATURES.iter().filter(|f| 4 <= version || 0 < f.supported.min) {
            response.supported_features.push(SupportedFeatureKey {
                name: Str::from_static(feature.name),
                min_version: feature.supported.min,
                max_version: feature.supported.max,
                ..SupportedFeatureKey::default()
            });
        }
        let Some((levels, epoch)) = features::finalized(image) else { return response };
        response.finalized_features_epoch = epoch;
        for (name, level) in levels {
            response.finalized_features.push(FinalizedFeatureKey {
                name: name.into(),
                max_version_level: level,
                min_version_level: level,
                ..FinalizedFeatureKey::default()
            });
        }
    }
    response
}

/// Letters and digits, with `-` and `.` allowed inside.
fn is_software_name(text: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric)) && bytes.iter().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_have_kafkas_form() {
        for good in ["a", "librdkafka", "apache-kafka-java", "4.3.1", "v1.0-rc.2"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "a_b", "é"] {
            assert!(!is_software_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn older_versions_hear_of_no_feature_that_they_cannot_parse() {
        let image = Image::default();
        assert!(answer(2, &[], &image).finalized_features.is_empty());
        let supported = |version| answer(version, &[], &image).supported_features;
        assert!(supported(3).iter().all(|f| 0 < f.min_version));
        assert!(supported(4).iter().any(|f| f.name == "metadata.version"));
        assert!(supported(4).iter().any(|f| f.min_version == 0));
    }
}
