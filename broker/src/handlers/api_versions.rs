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

/// One feature with levels that clients adapt to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest level that this software can run at.
    pub supported_min: i16,
    /// Highest.
    pub supported_max: i16,
    /// Level that is in force; 0 is told by leaving it out.
    pub finalized: i16,
}

/// Features that this version has. Levels of features that are not built stay away, so that no client
/// takes a path that ends nowhere: transactions, groups and share groups add theirs.
pub const FEATURES: [Feature; 1] = [
    // 4.3-IV0; tools read "how new is this cluster" from it, and need 3.3-IV3 at least.
    Feature { name: "metadata.version", supported_min: 7, supported_max: 30, finalized: 30 },
];

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
            answer(version, &services.apis)
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

fn answer(version: i16, served: &[Served]) -> ApiVersionsResponse {
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
        for feature in FEATURES.iter().filter(|f| 4 <= version || 0 < f.supported_min) {
            response.supported_features.push(SupportedFeatureKey {
                name: Str::from_static(feature.name),
                min_version: feature.supported_min,
                max_version: feature.supported_max,
                ..SupportedFeatureKey::default()
            });
        }
        // The levels are constants of this software so far, so their epoch never moves.
        response.finalized_features_epoch = 0;
        for feature in FEATURES.iter().filter(|f| 0 < f.finalized) {
            response.finalized_features.push(FinalizedFeatureKey {
                name: Str::from_static(feature.name),
                max_version_level: feature.finalized,
                min_version_level: feature.finalized,
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
        assert!(answer(2, &[]).finalized_features.is_empty());
        assert!(answer(3, &[]).supported_features.iter().all(|f| 0 < f.min_version));
        assert!(answer(4, &[]).supported_features.iter().any(|f| f.name == "metadata.version"));
    }
}
