//! The broker's settings, read from `server.properties` with Kafka's names.
//!
//! Names, types and defaults are in the config table of `ottla-metadata`, which also checks what can be
//! wrong in a file. Here they become the types that the broker's parts take.

mod listeners;
mod store;

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_client::tls::PemFiles;
use ottla_metadata::config::{
    ConfigProblem, LoadError, Role, ServerConfig, load_server_properties,
};
use ottla_protocol::types::BrokerId;

pub use listeners::ListenerConfig;
pub use store::etcd;

use crate::listener::Limits;

/// Every setting that this half of the broker uses, typed and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// All settings as they were given, for whoever needs others than those below, and for DescribeConfigs.
    pub server: Arc<ServerConfig>,
    /// `node.id`.
    pub broker_id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `listeners`, with what clients are told of each; never empty.
    pub listeners: Vec<ListenerConfig>,
    /// Name of the listener that other brokers use.
    pub inter_broker_listener: String,
    /// Host (empty = loopback) and port of health checks and metrics; port 0 lets the system choose.
    pub http: (String, u16),
    /// `log.dirs`, in order.
    pub log_dirs: Vec<PathBuf>,
    /// Bounds of connections.
    pub network: NetworkConfig,
    /// How long the broker counts as alive without a sign of life (`broker.session.timeout.ms`).
    pub session_timeout: Duration,
    /// Time from one heartbeat to the coordinator to the next (`broker.heartbeat.interval.ms`).
    pub heartbeat_interval: Duration,
    /// File with the cluster's secret (`cluster.secret.file`).
    pub cluster_secret_file: Option<PathBuf>,
    /// Key, certificate and authorities for links to coordinators (`internode.ssl.…`).
    pub internode_tls: Option<PemFiles>,
    /// Topics are created when clients name them (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created so (`num.partitions`).
    pub num_partitions: i32,
    /// Replicas of each (`default.replication.factor`).
    pub default_replication_factor: i16,
    /// Partitions in one answer of DescribeTopicPartitions (`max.request.partition.size.limit`).
    pub request_partition_limit: i32,
}

/// Bounds of the listeners.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Of each connection.
    pub limits: Limits,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub per_address_max: usize,
    /// `max.connections.per.ip.overrides`.
    pub per_address_overrides: HashMap<IpAddr, usize>,
    /// `socket.listen.backlog.size`.
    pub backlog: i32,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Lines or values are wrong.
    #[error(transparent)]
    Wrong(#[from] LoadError),
    /// Right, but not built yet.
    #[error("{name}: {problem}")]
    Unsupported {
        /// The setting.
        name: &'static str,
        /// What is asked for, and what can be had instead.
        problem: String,
    },
}

impl Config {
    /// Reads a file and the overrides of the command line. Also returns what looks wrong, to be logged.
    pub fn load(
        path: &Path,
        overrides: &[(String, String)],
    ) -> Result<(Self, Vec<ConfigProblem>), ConfigError> {
        let text = std::fs::read(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text, overrides)
    }

    /// Reads the text of a file; `name` is for messages.
    pub fn parse(
        name: &str,
        text: &[u8],
        overrides: &[(String, String)],
    ) -> Result<(Self, Vec<ConfigProblem>), ConfigError> {
        let loaded = load_server_properties(Role::Broker, name, text, overrides)?;
        Ok((Self::new(loaded.config)?, loaded.warnings))
    }

    /// Types what was read already.
    pub fn new(server: ServerConfig) -> Result<Self, ConfigError> {
        let listeners = listeners::listeners(&server)?;
        let inter_broker_listener = listeners::inter_broker(&server, &listeners)?;
        let http = server.text("http.listener").unwrap_or_default();
        let http = ottla_metadata::config::listeners::split_host_port(&http)
            .map_err(|problem| ConfigError::Unsupported { name: "http.listener", problem })?;
        Ok(Self {
            broker_id: BrokerId(server.node_id()),
            rack: server.text("broker.rack"),
            listeners,
            inter_broker_listener,
            http,
            log_dirs: server.log_dirs().into_iter().map(PathBuf::from).collect(),
            network: network(&server)?,
            session_timeout: server.millis("broker.session.timeout.ms"),
            heartbeat_interval: server.millis("broker.heartbeat.interval.ms"),
            cluster_secret_file: path(&server, "cluster.secret.file"),
            // Checked when it was loaded: there are both or none.
            internode_tls: path(&server, "internode.ssl.keystore.location")
                .zip(path(&server, "internode.ssl.truststore.location"))
                .map(|(keystore, truststore)| PemFiles { keystore, truststore }),
            auto_create_topics: server.boolean("auto.create.topics.enable"),
            num_partitions: server.int("num.partitions"),
            default_replication_factor: i16::try_from(server.int("default.replication.factor"))
                .unwrap_or(i16::MAX),
            request_partition_limit: server.int("max.request.partition.size.limit"),
            server: Arc::new(server),
        })
    }
}

fn path(server: &ServerConfig, name: &str) -> Option<PathBuf> {
    server.text(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn network(server: &ServerConfig) -> Result<NetworkConfig, ConfigError> {
    let limits = Limits {
        request_bytes_max: u32::try_from(server.int("socket.request.max.bytes")).unwrap_or(0),
        idle_max: match server.long("connections.max.idle.ms") {
            ms if ms < 0 => Duration::MAX,
            _ => server.millis("connections.max.idle.ms"),
        },
        ..Limits::default()
    };
    let count = |name| usize::try_from(server.int(name)).unwrap_or(0);
    Ok(NetworkConfig {
        limits,
        connections_max: count("max.connections"),
        per_address_max: count("max.connections.per.ip"),
        per_address_overrides: overrides(server)?,
        backlog: server.int("socket.listen.backlog.size"),
    })
}

/// Names in the list are looked up once, when the broker starts.
fn overrides(server: &ServerConfig) -> Result<HashMap<IpAddr, usize>, ConfigError> {
    const NAME: &str = "max.connections.per.ip.overrides";
    let mut overrides = HashMap::new();
    let text = server.text(NAME).unwrap_or_default();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let wrong = |problem: String| ConfigError::Unsupported { name: NAME, problem };
        let (host, max) =
            item.rsplit_once(':').ok_or_else(|| wrong(format!("{item:?} is not host:number")))?;
        let max = max.trim().parse().map_err(|_| wrong(format!("{max:?} is no number")))?;
        let host = host.trim().trim_start_matches('[').trim_end_matches(']');
        let found = (host, 0).to_socket_addrs();
        let found =
            found.map_err(|error| wrong(format!("{host:?} cannot be resolved: {error}")))?;
        overrides.extend(found.map(|address| (address.ip().to_canonical(), max)));
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::SecurityProtocol;

    fn parse(text: &str) -> Result<Config, String> {
        let parsed = Config::parse("server.properties", text.as_bytes(), &[]);
        parsed.map(|(config, _)| config).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_serve_plaintext_on_loopback() {
        let config = parse("node.id=3").unwrap();
        assert_eq!(config.broker_id, BrokerId(3));
        let [listener] = &config.listeners[..] else { panic!("one listener") };
        assert_eq!(
            (listener.name.as_str(), listener.host.as_str(), listener.port),
            ("PLAINTEXT", "", 9092)
        );
        assert_eq!(listener.protocol, SecurityProtocol::Plaintext);
        assert_eq!(config.inter_broker_listener, "PLAINTEXT");
        assert_eq!(config.http, (String::new(), 9644));
        assert!(config.auto_create_topics);
        assert_eq!(config.network.limits.request_bytes_max, 100 * 1024 * 1024);
    }

    #[test]
    fn old_names_still_work() {
        let config = parse("broker.id=7\nport=19092\nhost.name=localhost\nlog.dir=/tmp/x").unwrap();
        assert_eq!(config.broker_id, BrokerId(7));
        assert_eq!(
            (config.listeners[0].host.as_str(), config.listeners[0].port),
            ("localhost", 19092)
        );
        assert_eq!(config.log_dirs, [PathBuf::from("/tmp/x")]);
    }

    #[test]
    fn named_listeners_have_protocols_and_advertised_addresses() {
        let config = parse(
            "node.id=1\nlisteners=INTERNAL://127.0.0.1:9092,CLIENT://0.0.0.0:9093\n\
             advertised.listeners=CLIENT://broker.example:19093\n\
             listener.security.protocol.map=INTERNAL:PLAINTEXT,CLIENT:PLAINTEXT\n\
             inter.broker.listener.name=INTERNAL\nallow.insecure.listeners=true",
        );
        let config = config.unwrap();
        assert_eq!(config.inter_broker_listener, "INTERNAL");
        let advertised: Vec<_> = config
            .listeners
            .iter()
            .map(|l| (l.advertised_host.as_str(), l.advertised_port))
            .collect();
        assert_eq!(advertised, [("127.0.0.1", 9092), ("broker.example", 19093)]);
    }

    #[test]
    fn what_is_not_built_or_not_safe_is_refused_before_anything_starts() {
        for (text, part) in [
            ("", "node.id"),
            ("node.id=1\nlisteners=SSL://:9093", "TLS"),
            ("node.id=1\nlisteners=SASL_PLAINTEXT://:9093", "SASL"),
            (
                "node.id=1\nlisteners=PLAINTEXT://0.0.0.0:9092\nadvertised.listeners=PLAINTEXT://a:1",
                "allow.insecure.listeners",
            ),
            ("node.id=1\nmax.connections.per.ip.overrides=127.0.0.1", "overrides"),
            ("node.id=1\nsocket.request.max.bytes=much", "socket.request.max.bytes"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn single_addresses_may_have_numbers_of_their_own() {
        let text =
            "node.id=1\nmax.connections.per.ip=5\nmax.connections.per.ip.overrides=127.0.0.1:9";
        let network = parse(text).unwrap().network;
        assert_eq!(network.per_address_max, 5);
        assert_eq!(network.per_address_overrides.get(&IpAddr::from([127, 0, 0, 1])), Some(&9));
    }
}
