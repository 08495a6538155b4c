//! Genuine Apache Kafka on this machine, beside ours: see `apache-kafka/README.md`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

use super::{PortBlock, Signal, Skipped, apache_kafka};

/// A cluster of Apache Kafka's brokers, each a controller as well; stopped when dropped. Ids count from 1.
#[derive(Debug)]
pub struct ApacheKafka {
    folder: TempDir,
    ports: PortBlock,
    brokers: u16,
}

impl ApacheKafka {
    /// One broker or three, each with this much heap and these settings (`name=value`); returns when they answer.
    ///
    /// # Errors
    /// [`Skipped`] where there is no Java, outside CI.
    ///
    /// # Panics
    /// When they do not start.
    pub fn start(brokers: u16, heap: &str, settings: &[&str]) -> Result<Self, Skipped> {
        let folder = tempfile::tempdir().expect("a folder");
        let kafka = Self { folder, ports: PortBlock::claim(), brokers };
        let (count, port) = (brokers.to_string(), kafka.ports.port(0).to_string());
        let mut arguments = vec!["up", "--brokers", &count, "--dir", kafka.dir(), "--port", &port];
        arguments.extend(["--heap", heap]);
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        apache_kafka(&arguments)?;
        Ok(kafka)
    }

    /// Its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a broker listens.
    #[must_use]
    pub fn address(&self, id: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.port(id - 1)))
    }

    /// Every broker's address, comma-separated.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses = (1..=self.brokers).map(|id| self.address(id).to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// A broker's log directory.
    #[must_use]
    pub fn log_dir(&self, id: u16) -> PathBuf {
        self.home(id).join("data")
    }

    /// SIGKILL.
    pub fn kill(&self, id: u16) {
        self.order("kill", id);
    }

    /// An orderly stop.
    pub fn stop(&self, id: u16) {
        self.order("stop", id);
    }

    /// Starts a broker that has ended; returns when it answers.
    pub fn restart(&self, id: u16) {
        self.order("start", id);
    }

    /// SIGSTOP or SIGCONT.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, id: u16, signal: Signal) {
        let pid = self.pid(id).expect("a broker that was started");
        kill_process(pid, signal).expect("a broker that runs");
    }

    fn pid(&self, id: u16) -> Option<Pid> {
        let text = fs::read_to_string(self.home(id).join("pid")).ok()?;
        text.trim().parse().ok().and_then(Pid::from_raw)
    }

    fn home(&self, id: u16) -> PathBuf {
        self.folder().join(format!("node-{id}"))
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().expect("a path in UTF-8")
    }

    fn order(&self, order: &str, id: u16) {
        let node = id.to_string();
        apache_kafka(&[order, "--dir", self.dir(), "--node", &node]).expect("Java");
    }
}

impl Drop for ApacheKafka {
    fn drop(&mut self) {
        // One that stands still would never stop.
        for pid in (1..=self.brokers).filter_map(|id| self.pid(id)) {
            let _ = kill_process(pid, Signal::CONT);
        }
        let _ = apache_kafka(&["down", "--dir", self.dir()]);
    }
}
