//! Three brokers, of either make.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ottla_integration_tests::harness::{Cluster, PortBlock, apache_kafka};

/// Brokers 1 to 3.
pub trait Servers {
    /// Where a broker listens.
    fn address(&self, id: u16) -> SocketAddr;
    /// A broker's log directory.
    fn log_dir(&self, id: u16) -> PathBuf;
    /// SIGKILL.
    fn kill(&mut self, id: u16);
    /// Waits until nothing claims any more that a broker which was killed is alive.
    fn await_lapse(&self, id: u16);
    /// Starts a broker that was killed; returns when it answers.
    fn start(&mut self, id: u16);
}

impl Servers for Cluster {
    fn address(&self, id: u16) -> SocketAddr {
        self.broker_address(id)
    }

    fn log_dir(&self, id: u16) -> PathBuf {
        self.broker_log_dir(id)
    }

    fn kill(&mut self, id: u16) {
        self.broker(id).kill();
    }

    fn await_lapse(&self, id: u16) {
        self.await_claim_lapsed(id);
    }

    fn start(&mut self, id: u16) {
        self.restart_broker(id);
    }
}

/// Genuine Apache Kafka; stopped when dropped.
pub struct ApacheKafka {
    folder: tempfile::TempDir,
    ports: PortBlock,
}

impl ApacheKafka {
    /// With the defaults of a broker whose file says nothing.
    pub fn start() -> Self {
        let kafka =
            Self { folder: tempfile::tempdir().expect("a folder"), ports: PortBlock::claim() };
        let (dir, port) = (kafka.dir().to_owned(), kafka.ports.port(0).to_string());
        let mut arguments = vec!["up", "--brokers", "3", "--dir", &dir, "--port", &port];
        arguments.extend(["--heap", "400m", "--set", "min.insync.replicas=1"]);
        arguments.extend(["--set", "default.replication.factor=1"]);
        apache_kafka(&arguments).expect("Java");
        kafka
    }

    /// Its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().expect("a path in UTF-8")
    }

    fn order(&self, order: &str, id: u16) {
        let node = id.to_string();
        apache_kafka(&[order, "--dir", self.dir(), "--node", &node]).expect("Java");
    }
}

impl Servers for ApacheKafka {
    fn address(&self, id: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.port(id - 1)))
    }

    fn log_dir(&self, id: u16) -> PathBuf {
        self.folder().join(format!("node-{id}/data"))
    }

    fn kill(&mut self, id: u16) {
        self.order("kill", id);
    }

    fn await_lapse(&self, _id: u16) {}

    fn start(&mut self, id: u16) {
        self.order("start", id);
    }
}

impl Drop for ApacheKafka {
    fn drop(&mut self) {
        let _ = apache_kafka(&["down", "--dir", self.dir()]);
    }
}
