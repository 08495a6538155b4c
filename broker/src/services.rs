//! What every handler can reach.

use std::sync::Arc;

use ottla_metadata::image::ImageReader;

use crate::auto_create::AutoCreate;
use crate::clock::Clock;
use crate::config::Config;
use crate::data_path::DataPath;
use crate::identity::Identity;
use crate::listener::Served;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::relay::Relay;

/// Shared by all connections of one broker. Each field is a handle that is cheap to use from many tasks.
#[derive(Debug)]
pub struct Services {
    /// The time; handlers that wait take their deadlines from here and `RequestContext::received`.
    pub clock: Arc<dyn Clock>,
    /// The settings.
    pub config: Arc<Config>,
    /// Who this broker is.
    pub identity: Arc<Identity>,
    /// The cluster.
    pub image: ImageReader,
    /// The way to the coordinator.
    pub relay: Relay,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// Topics that clients ask for and that do not exist.
    pub auto_create: AutoCreate,
    /// The way to the logs.
    pub data: Arc<DataPath>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the listeners serve, by key.
    pub apis: Arc<[Served]>,
}
