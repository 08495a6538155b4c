//! The stage that authorises whole requests. There are no access rules yet, so everything is allowed;
//! what depends on the topics of a request will be asked by its handler.

use crate::handlers::RequestContext;

/// Whether the principal may make this request at all.
pub(super) fn is_allowed(_context: &RequestContext) -> bool {
    true
}
