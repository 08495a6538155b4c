//! The one table of what a listener serves.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use ottla_protocol::wire::{DecodeError, Decoder};
use ottla_protocol::{ApiKey, Message, Request};

use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Every API with its handler. What ApiVersions tells, the names of metrics and the reference page are
/// derived from it, so an API that is not built cannot be advertised.
#[derive(Debug, Default)]
pub struct Router {
    /// By key; private keys are not in it, so no client listener ever serves them.
    routes: Vec<Option<Route>>,
}

/// One API.
#[derive(Clone)]
pub struct Route {
    served: Served,
    run: Run,
}

/// What the table says about one API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The API.
    pub key: ApiKey,
    /// Versions that are handled.
    pub versions: RangeInclusive<i16>,
    /// Lowest version that ApiVersions tells.
    pub advertised_min: i16,
}

/// Why a request is not handled. The connection is closed without an answer, as the client could not
/// read one; the exception is ApiVersions in an unsupported version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such key, or one that is not built yet.
    #[error("API key {0} is not served")]
    NotServed(i16),
    /// Only Ottla's own nodes use it, and never here.
    #[error("{0} is for nodes of the cluster among each other and never served to clients")]
    Private(ApiKey),
    /// The client did not ask ApiVersions, or not this broker.
    #[error("{key} version {version} is not served, only {} to {}", served.start(), served.end())]
    Version {
        /// The API.
        key: ApiKey,
        /// What the client asked for.
        version: i16,
        /// What it may ask for.
        served: RangeInclusive<i16>,
    },
    /// The header or the body makes no sense.
    #[error("malformed request: {0}")]
    Malformed(#[from] DecodeError),
}

/// The ordered part of a decoded request.
pub(super) type Ordered<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

type Run = for<'a> fn(
    &'a Arc<Services>,
    &'a RequestContext,
    &mut Decoder,
) -> Result<Ordered<'a>, DecodeError>;

impl Router {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler.
    ///
    /// # Panics
    /// If its API has a handler already, is private, or its message lacks one of the versions: the
    /// table is made of constants, so this is found by whoever changes it.
    #[must_use]
    pub fn on<H: Handler>(mut self) -> Self {
        let key = <H::Request as Request>::KEY;
        assert!(!key.is_private(), "{key} must not be served to clients");
        let known = <H::Request as Message>::MIN_VERSION..=<H::Request as Message>::MAX_VERSION;
        let versions = H::VERSIONS;
        assert!(
            known.contains(versions.start()) && known.contains(versions.end()),
            "{key} has no message for some of its versions"
        );
        let index = usize::try_from(key.code()).expect("keys are not negative");
        if self.routes.len() <= index {
            self.routes.resize(index + 1, None);
        }
        assert!(self.routes[index].is_none(), "{key} has two handlers");
        let served = Served { key, versions, advertised_min: H::ADVERTISED_MIN };
        self.routes[index] = Some(Route { served, run: run::<H> });
        self
    }

    /// Everything that is served, by key.
    pub fn served(&self) -> impl Iterator<Item = &Served> {
        self.routes.iter().flatten().map(|route| &route.served)
    }

    /// Who handles this version of this key.
    pub fn route(&self, key: i16, version: i16) -> Result<&Route, Refusal> {
        let known = ApiKey::try_from(key).map_err(|_| Refusal::NotServed(key))?;
        if known.is_private() {
            return Err(Refusal::Private(known));
        }
        let index = usize::try_from(key).map_err(|_| Refusal::NotServed(key))?;
        let route = self.routes.get(index).and_then(Option::as_ref);
        let route = route.ok_or(Refusal::NotServed(key))?;
        let served = &route.served.versions;
        if served.contains(&version) {
            return Ok(route);
        }
        Err(Refusal::Version { key: known, version, served: served.clone() })
    }
}

impl Route {
    /// Decodes the body and begins the ordered part.
    pub(super) fn begin<'a>(
        &self,
        services: &'a Arc<Services>,
        context: &'a RequestContext,
        body: &mut Decoder,
    ) -> Result<Ordered<'a>, DecodeError> {
        (self.run)(services, context, body)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("served", &self.served).finish_non_exhaustive()
    }
}

/// Bytes behind the body are ignored, as Kafka does.
fn run<'a, H: Handler>(
    services: &'a Arc<Services>,
    context: &'a RequestContext,
    body: &mut Decoder,
) -> Result<Ordered<'a>, DecodeError> {
    let request = H::Request::decode(body, context.api_version)?;
    Ok(Box::pin(H::handle(services, context, request)))
}
