//! Which versions of which requests a peer takes, asked on every new connection.

use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::wire::Decoder;
use ottla_protocol::{ApiKey, ErrorCode, Message, Request, ResponseHeader, Str, frame};

use crate::connection::call::decode_response;
use crate::connection::{CallError, Connection};

/// What a client says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Its name: letters, digits, `-` and `.`.
    pub name: Str,
    /// Its version: letters, digits, `-` and `.`.
    pub version: Str,
}

impl Default for Software {
    fn default() -> Self {
        Self { name: Str::from("ottla-client"), version: Str::from(env!("CARGO_PKG_VERSION")) }
    }
}

/// The versions that a peer takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Key, lowest and highest version; ascending by key.
    ranges: Vec<(i16, i16, i16)>,
    /// Feature levels that the cluster has agreed on, such as `metadata.version`.
    features: Vec<(Str, i16)>,
}

/// A request in no version that both sides know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker serves {api:?} in versions {served:?}, this client needs {wanted:?}")]
pub struct UnsupportedApi {
    /// Of the request.
    pub api: ApiKey,
    /// Lowest and highest version of the peer; none if it does not serve the request.
    pub served: Option<(i16, i16)>,
    /// Lowest and highest version of this side.
    pub wanted: (i16, i16),
}

/// Why a peer's versions are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiateError {
    /// The call failed.
    #[error("cannot ask for API versions: {0}")]
    Call(#[from] CallError),
    /// The peer refuses to say.
    #[error("the broker answers a request for API versions with {}", .0.name())]
    Refused(ErrorCode),
}

impl Versions {
    /// As an answer to ApiVersions tells them.
    pub fn from_response(response: &ApiVersionsResponse) -> Self {
        let mut ranges: Vec<_> = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        ranges.sort_unstable();
        let features = &response.finalized_features;
        let features = features.iter().map(|f| (f.name.detach(), f.max_version_level)).collect();
        Self { ranges, features }
    }

    /// Lowest and highest version that the peer takes of a request.
    pub fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        let at = self.ranges.binary_search_by_key(&api.code(), |&(key, ..)| key).ok()?;
        let (_, min, max) = self.ranges[at];
        Some((min, max))
    }

    /// The highest version of `R` that both sides know.
    pub fn pick<R: Request>(&self) -> Result<i16, UnsupportedApi> {
        self.pick_between::<R>(R::MIN_VERSION, R::MAX_VERSION)
    }

    /// The highest version of `R` from `min` to `max` that both sides know.
    pub fn pick_between<R: Request>(&self, min: i16, max: i16) -> Result<i16, UnsupportedApi> {
        let wanted = (min.max(R::MIN_VERSION), max.min(R::MAX_VERSION));
        let served = self.range(R::KEY);
        let unsupported = UnsupportedApi { api: R::KEY, served, wanted };
        let (served_min, served_max) = served.ok_or(unsupported)?;
        let version = served_max.min(wanted.1);
        if version < served_min.max(wanted.0) {
            return Err(unsupported);
        }
        Ok(version)
    }

    /// The level of a feature; none if the cluster does not have it.
    pub fn feature(&self, name: &str) -> Option<i16> {
        self.features.iter().find(|(feature, _)| feature == name).map(|&(_, level)| level)
    }
}

/// Asks the peer for its versions. A peer that does not know the version of this request answers in version 0 with
/// those that it knows, and is asked again.
pub async fn negotiate(
    connection: &Connection,
    software: &Software,
) -> Result<Versions, NegotiateError> {
    let mut version = ApiVersionsRequest::MAX_VERSION;
    loop {
        let response = ask(connection, software, version).await?;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => return Ok(Versions::from_response(&response)),
            ErrorCode::UnsupportedVersion if 0 < version => {
                let known = Versions::from_response(&response).range(ApiKey::ApiVersions);
                version = known.map_or(0, |(_, max)| max.clamp(0, version - 1));
            }
            error => return Err(NegotiateError::Refused(error)),
        }
    }
}

async fn ask(
    connection: &Connection,
    software: &Software,
    version: i16,
) -> Result<ApiVersionsResponse, CallError> {
    let request = ApiVersionsRequest {
        client_software_name: software.name.clone(),
        client_software_version: software.version.clone(),
        ..ApiVersionsRequest::default()
    };
    let options = &connection.shared.options;
    let encode = |id| frame::encode_request(id, options.client_id.as_ref(), version, &request);
    let call = connection.start_encoded(encode, options.request_timeout).await?;
    let answer = call.response().await?;
    let mut decoder = Decoder::new(answer.clone());
    ResponseHeader::decode(&mut decoder, ApiKey::ApiVersions, 0)?;
    let error = ErrorCode::from_code(decoder.i16()?);
    let answered_in = if error == ErrorCode::UnsupportedVersion { 0 } else { version };
    decode_response::<ApiVersionsRequest>(answer, answered_in)
}
