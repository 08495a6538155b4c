//! What a coordinator is started with.

use std::path::PathBuf;
use std::time::Duration;

use ottla_client::tls::PemFiles;
use ottla_metadata::config::ServerConfig;
use ottla_metadata::config::listeners;
use ottla_metadata::keys::KeySpace;
use ottla_metadata::model::Endpoint;

use crate::controller::decision::AdminSettings;
use crate::controller::liveness;
use crate::controller::preferred::Balance;

/// A coordinator's configuration, as the lib takes it; `coordinator.properties` is one source of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `node.id`: differs between all nodes of a cluster.
    pub node_id: i32,
    /// `etcd.prefix`: where the cluster is in the store. All nodes agree on it.
    pub keys: KeySpace,
    /// `http.listener`; port 0 lets the system choose; `None` serves no REST API.
    pub http: Option<Endpoint>,
    /// `http.advertised.listener`, where it is not `http`.
    pub http_advertised: Option<Endpoint>,
    /// `internode.listener`; port 0 lets the system choose; `None` opens no port, for a process in which
    /// brokers connect through memory.
    pub internode: Option<Endpoint>,
    /// `internode.advertised.listener`, where it is not `internode`.
    pub internode_advertised: Option<Endpoint>,
    /// `internode.ssl.…`: key, certificate and authorities for the inter-node listener, on which nodes then
    /// have to show certificates.
    pub internode_tls: Option<PemFiles>,
    /// `cluster.secret.file`: nodes have to prove that they know what is in it, and this one proves it to them.
    pub cluster_secret: Option<PathBuf>,
    /// `allow.insecure.listeners`: the inter-node listener may be off loopback although nodes prove nothing.
    pub allow_insecure_listeners: bool,
    /// `data.dir`: what must survive a restart; `None` remembers nothing.
    pub data_dir: Option<PathBuf>,
    /// How long the activity of a coordinator outlives it: `broker.session.timeout.ms`, 3 s by default.
    pub session_timeout: Duration,
    /// When brokers are fenced.
    pub liveness: liveness::Settings,
    /// Defaults and limits of topics.
    pub admin: AdminSettings,
}

impl Config {
    /// Everything at its default, and all ports chosen by the system.
    pub fn new(node_id: i32) -> Self {
        let any_port = || Some(Endpoint { host: LOOPBACK.to_owned(), port: 0 });
        Self {
            node_id,
            keys: KeySpace::default(),
            http: any_port(),
            http_advertised: None,
            internode: any_port(),
            internode_advertised: None,
            internode_tls: None,
            cluster_secret: None,
            allow_insecure_listeners: false,
            data_dir: None,
            session_timeout: Duration::from_secs(3),
            liveness: liveness::Settings::default(),
            admin: AdminSettings::default(),
        }
    }
}

impl From<&ServerConfig> for Config {
    fn from(config: &ServerConfig) -> Self {
        let session_timeout = config.millis("broker.session.timeout.ms");
        let endpoint = |name: &str| {
            let text = config.text(name).filter(|text| !text.is_empty())?;
            let (host, port) =
                listeners::split_host_port(&text).expect("checked when it was loaded");
            let host = if host.is_empty() { LOOPBACK.to_owned() } else { host };
            Some(Endpoint { host, port })
        };
        let seconds =
            |name: &str| Duration::from_secs(u64::try_from(config.long(name)).unwrap_or(u64::MAX));
        let path =
            |name: &str| config.text(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let count = |name: &str| usize::try_from(config.int(name)).unwrap_or(0);
        Self {
            node_id: config.node_id(),
            keys: KeySpace::new(&config.text("etcd.prefix").unwrap_or_default()),
            http: endpoint("http.listener"),
            http_advertised: endpoint("http.advertised.listener"),
            internode: endpoint("internode.listener"),
            internode_advertised: endpoint("internode.advertised.listener"),
            // Checked when it was loaded: there are both or none.
            internode_tls: path("internode.ssl.keystore.location")
                .zip(path("internode.ssl.truststore.location"))
                .map(|(keystore, truststore)| PemFiles { keystore, truststore }),
            cluster_secret: path("cluster.secret.file"),
            allow_insecure_listeners: config.boolean("allow.insecure.listeners"),
            data_dir: path("data.dir"),
            session_timeout,
            liveness: liveness::Settings {
                heartbeat_interval: config.millis("broker.heartbeat.interval.ms"),
                session_timeout,
            },
            admin: AdminSettings {
                num_partitions: config.int("num.partitions"),
                default_replication_factor: i16::try_from(config.int("default.replication.factor"))
                    .unwrap_or(i16::MAX),
                delete_topic_enable: config.boolean("delete.topic.enable"),
                partitions_per_request_max: count("max.partitions.per.request"),
                partitions_max: count("max.partitions.per.cluster"),
                balance: Balance {
                    enabled: config.boolean("auto.leader.rebalance.enable"),
                    interval: seconds("leader.imbalance.check.interval.seconds"),
                },
                file: config.values().clone(),
            },
        }
    }
}

/// What an absent host means.
const LOOPBACK: &str = "127.0.0.1";

#[cfg(test)]
mod tests {
    use ottla_metadata::config::{Role, load_server_properties};

    use super::*;

    fn load(text: &str) -> Config {
        let text = format!("data.dir=/tmp/never-made\n{text}");
        let loaded = load_server_properties(Role::Coordinator, "test", text.as_bytes(), &[]);
        Config::from(&loaded.unwrap().config)
    }

    #[test]
    fn file_with_an_id_and_a_folder_is_enough() {
        let config = load("node.id=7\n");
        assert_eq!(config.node_id, 7);
        let at = |port| Some(Endpoint { host: "127.0.0.1".to_owned(), port });
        assert_eq!((config.http, config.internode), (at(9080), at(9081)));
        assert_eq!(config.admin.partitions_per_request_max, 10_000);
        assert_eq!(config.session_timeout, Duration::from_secs(3));
    }

    #[test]
    fn how_nodes_prove_themselves_is_read() {
        let config = load(
            "node.id=1\ninternode.listener=10.0.0.1:9081\ncluster.secret.file=/s\n\
             internode.ssl.keystore.location=/k\ninternode.ssl.truststore.location=/t",
        );
        assert_eq!(config.cluster_secret, Some(PathBuf::from("/s")));
        let tls = PemFiles { keystore: "/k".into(), truststore: "/t".into() };
        assert_eq!(config.internode_tls, Some(tls));
        assert!(!config.allow_insecure_listeners);
    }

    #[test]
    fn limits_and_defaults_are_read() {
        let config =
            load("node.id=1\nnum.partitions=3\nmax.partitions.per.request=5\nhttp.listener=:0");
        assert_eq!(config.admin.num_partitions, 3);
        assert_eq!(config.admin.partitions_per_request_max, 5);
        assert_eq!(config.http.unwrap().port, 0);
        assert_eq!(config.admin.file.get("num.partitions").map(String::as_str), Some("3"));
    }
}
