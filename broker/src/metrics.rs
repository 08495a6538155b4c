//! Figures for Prometheus, with the names that Kafka's have where its JMX beans are exported.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use ottla_protocol::ApiKey;
use ottla_protocol::time::Now;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Everything that is counted. Parts of the broker register their own figures with
/// [`Metrics::register`] and keep the handles.
pub struct Metrics {
    registry: RwLock<Registry>,
    /// By key; made at once so that counting a request looks nothing up.
    apis: Vec<Option<ApiMetrics>>,
    open: Family<ListenerLabel, Gauge>,
    accepted: Family<ListenerLabel, Counter>,
}

/// Figures of one API.
#[derive(Clone)]
struct ApiMetrics {
    requests: Counter,
    request_bytes: Counter,
    response_bytes: Counter,
    time_ms: Histogram,
}

/// Figures of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    open: Gauge,
    accepted: Counter,
}

/// One connection that is counted as open.
#[derive(Debug)]
pub struct OpenConnection {
    open: Gauge,
}

/// Label of figures per API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    request: &'static str,
}

/// Label of figures per listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: String,
}

/// Label of figures per partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabel {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

/// Upper bounds of the request times, ms.
const TIME_BUCKETS_MS: [f64; 15] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0, 30_000.0,
];

impl Metrics {
    /// Figures for the APIs that are served.
    pub fn new(served: impl IntoIterator<Item = ApiKey>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabel, Counter>::default();
        let request_bytes = Family::<RequestLabel, Counter>::default();
        let response_bytes = Family::<RequestLabel, Counter>::default();
        let time_ms = Family::<RequestLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(TIME_BUCKETS_MS)
        });
        let mut apis = Vec::new();
        for key in served {
            let Ok(index) = usize::try_from(key.code()) else { continue };
            let label = RequestLabel { request: key.name() };
            let metrics = ApiMetrics {
                requests: requests.get_or_create(&label).clone(),
                request_bytes: request_bytes.get_or_create(&label).clone(),
                response_bytes: response_bytes.get_or_create(&label).clone(),
                time_ms: time_ms.get_or_create(&label).clone(),
            };
            if apis.len() <= index {
                apis.resize(index + 1, None);
            }
            apis[index] = Some(metrics);
        }
        let prefix = "kafka_network_requestmetrics";
        registry.register(format!("{prefix}_requests"), "Requests that came in", requests);
        registry.register(format!("{prefix}_requestbytes"), "Bytes of requests", request_bytes);
        registry.register(format!("{prefix}_responsebytes"), "Bytes of answers", response_bytes);
        let help = "Time from the last byte of a request to the last byte of its answer, ms";
        registry.register(format!("{prefix}_totaltimems"), help, time_ms);
        let open = Family::default();
        let accepted = Family::default();
        let prefix = "kafka_server_socket_server_metrics";
        registry.register(format!("{prefix}_connection_count"), "Open connections", open.clone());
        let name = format!("{prefix}_connection_creation");
        registry.register(name, "Connections that were accepted", accepted.clone());
        Self { registry: RwLock::new(registry), apis, open, accepted }
    }

    /// Adds figures of another part of the broker; called once by each, when it starts.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.registry.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything, in the text form that Prometheus scrapes.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.read().unwrap_or_else(PoisonError::into_inner))?;
        Ok(out)
    }

    /// Handles to the figures of a listener.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let label = ListenerLabel { listener: name.to_owned() };
        ListenerMetrics {
            open: self.open.get_or_create(&label).clone(),
            accepted: self.accepted.get_or_create(&label).clone(),
        }
    }

    /// A request of `bytes` came in.
    pub(crate) fn asked(&self, key: ApiKey, bytes: usize) {
        if let Some(api) = self.api(key) {
            api.requests.inc();
            api.request_bytes.inc_by(bytes as u64);
        }
    }

    /// The answer of `bytes` is on its way.
    pub(crate) fn answered(&self, key: ApiKey, bytes: usize, received: Now, now: Now) {
        if let Some(api) = self.api(key) {
            api.response_bytes.inc_by(bytes as u64);
            let time: Duration = now.monotonic.saturating_sub(received.monotonic);
            api.time_ms.observe(time.as_secs_f64() * 1000.0);
        }
    }

    fn api(&self, key: ApiKey) -> Option<&ApiMetrics> {
        self.apis.get(usize::try_from(key.code()).ok()?)?.as_ref()
    }
}

impl ListenerMetrics {
    /// Counts a connection, as open until the value is dropped.
    pub fn open_connection(&self) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection { open: self.open.clone() }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
