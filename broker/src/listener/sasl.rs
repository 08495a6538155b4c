//! The stage that authenticates. Without SASL everybody is anonymous, and every request passes.

use ottla_protocol::ApiKey;

use super::tls::SecurityProtocol;
use crate::handlers::Principal;

/// What one connection has proved so far.
#[derive(Debug)]
pub(super) enum Session {
    /// Nothing more is asked of it.
    Authenticated(Principal),
    /// The listener asks for SASL, which is not built: only ApiVersions is answered.
    Unauthenticated,
}

impl Session {
    /// A fresh connection to a listener of this protocol.
    pub(super) fn start(protocol: SecurityProtocol) -> Self {
        if protocol.authenticates() {
            Self::Unauthenticated
        } else {
            Self::Authenticated(Principal::anonymous())
        }
    }

    /// Who makes this request, or `None` if it must not be made yet.
    pub(super) fn admit(&self, key: ApiKey) -> Option<Principal> {
        match self {
            Self::Authenticated(principal) => Some(principal.clone()),
            Self::Unauthenticated => matches!(key, ApiKey::ApiVersions).then(Principal::anonymous),
        }
    }
}
