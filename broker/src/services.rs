//! What every handler can reach.

use std::sync::Arc;

use crate::clock::Clock;
use crate::listener::Served;
use crate::metrics::Metrics;

/// Shared by all connections of one broker. Each field is a handle that is cheap to use from many tasks.
#[derive(Debug)]
pub struct Services {
    /// The time; handlers that wait take their deadlines from here and `RequestContext::received`.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the listeners serve, by key.
    pub apis: Arc<[Served]>,
}
