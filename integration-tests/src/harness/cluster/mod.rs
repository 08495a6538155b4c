//! A cluster of real processes: etcd, coordinators and brokers, each with a folder of its own.

mod conditions;
mod layout;

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{Links, Process, Role, binary, eventually, http_ok, metric};
use layout::Layout;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many brokers, up to eight; ids count from 1.
    pub brokers: u16,
    /// How many coordinators, up to five; ids count from 1.
    pub coordinators: u16,
    /// How many members of etcd, up to five; ids count from 1.
    pub etcds: u16,
    /// Lines for every broker's `server.properties`, after the harness's own.
    pub broker_settings: Vec<String>,
    /// Lines for every coordinator's properties, after the harness's own.
    pub coordinator_settings: Vec<String>,
    /// Whether the processes reach each other over [`Links`] that can be cut.
    pub linked: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            brokers: 1,
            coordinators: 1,
            etcds: 1,
            broker_settings: Vec::new(),
            coordinator_settings: Vec::new(),
            linked: false,
        }
    }
}

impl Shape {
    /// This many brokers; the rest as by default.
    #[must_use]
    pub fn of(brokers: u16) -> Self {
        Self { brokers, ..Self::default() }
    }
}

/// The running processes. Dropping it ends them and removes the folder, unless the test is failing.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    links: Option<Links>,
    folder: Option<TempDir>,
    shape: Shape,
    /// The store's members; member `id` stands at `id - 1`.
    pub etcds: Vec<Process>,
    /// The coordinators; coordinator `id` stands at `id - 1`.
    pub coordinators: Vec<Process>,
    /// The brokers; broker `id` stands at `id - 1`.
    pub brokers: Vec<Process>,
}

impl Cluster {
    /// Starts a cluster and waits until every broker is ready to serve.
    ///
    /// # Panics
    /// When a process does not start, or is not ready within a minute; its log is in the message.
    #[must_use]
    pub fn start(shape: &Shape) -> Self {
        assert!(shape.brokers <= layout::BROKERS, "at most {} brokers", layout::BROKERS);
        assert!(shape.coordinators.max(shape.etcds) <= layout::FEW, "at most {}", layout::FEW);
        let mut cluster = Self {
            layout: Layout::claim(),
            links: shape.linked.then(Links::new),
            folder: Some(
                tempfile::Builder::new().prefix("ottla-cluster-").tempdir().expect("a folder"),
            ),
            shape: shape.clone(),
            etcds: Vec::new(),
            coordinators: Vec::new(),
            brokers: Vec::new(),
        };
        cluster.etcds = (1..=shape.etcds).map(|id| cluster.spawn_etcd(id)).collect();
        cluster.await_etcd();
        for id in 1..=shape.coordinators {
            cluster.write_coordinator_properties(id);
            let coordinator = cluster.spawn_coordinator(id);
            cluster.coordinators.push(coordinator);
        }
        for id in 1..=shape.brokers {
            cluster.write_broker_properties(id);
            let broker = cluster.spawn_broker(id);
            cluster.brokers.push(broker);
        }
        cluster.await_ready();
        cluster
    }

    /// One broker with default settings.
    #[must_use]
    pub fn single() -> Self {
        Self::start(&Shape::default())
    }

    /// Every broker's client address, comma-separated.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let advertised = |id| {
            let address = self.broker_address(id);
            let front = |links: &Links| links.front(Role::Broker(id), address);
            self.links.as_ref().map_or(address, front).to_string()
        };
        self.broker_ids().map(advertised).collect::<Vec<_>>().join(",")
    }

    /// Where broker `id` listens for clients.
    #[must_use]
    pub fn broker_address(&self, id: u16) -> SocketAddr {
        self.layout.broker(id)
    }

    /// Where broker `id` serves health and metrics.
    #[must_use]
    pub fn broker_http(&self, id: u16) -> SocketAddr {
        self.layout.broker_http(id)
    }

    /// Where the first coordinator serves the admin API.
    #[must_use]
    pub fn coordinator_http(&self) -> SocketAddr {
        self.layout.coordinator_http(1)
    }

    /// The sum of these series of the first coordinator, which must be there; see [`metric`].
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn coordinator_metric(&self, begins: &str) -> f64 {
        metric(self.coordinator_http(), begins).expect("a coordinator that answers")
    }

    /// Where the first coordinator listens for brokers.
    #[must_use]
    pub fn coordinator_internode(&self) -> SocketAddr {
        self.layout.coordinator_internode(1)
    }

    /// What can be cut and slowed down between the processes.
    ///
    /// # Panics
    /// When the shape did not ask for links.
    #[must_use]
    pub fn links(&self) -> &Links {
        self.links.as_ref().expect("a shape with linked: true")
    }

    /// The cluster's folder: `server-1.properties`, `broker-1/`, `broker-1.log`, …
    ///
    /// # Panics
    /// Never: the folder lives as long as the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("kept until drop").path()
    }

    /// Broker `id`'s log dir.
    #[must_use]
    pub fn broker_log_dir(&self, id: u16) -> PathBuf {
        self.folder().join(format!("broker-{id}"))
    }

    /// Where etcd's member `id` keeps its data.
    #[must_use]
    pub fn etcd_data_dir(&self, id: u16) -> PathBuf {
        self.folder().join(format!("etcd-{id}"))
    }

    /// Where etcd's member `id` listens for clients.
    #[must_use]
    pub fn etcd_address(&self, id: u16) -> SocketAddr {
        self.layout.etcd_client(id)
    }

    /// The ids of all brokers.
    pub fn broker_ids(&self) -> impl Iterator<Item = u16> + use<> {
        1..=self.shape.brokers
    }

    /// The process of broker `id`.
    pub fn broker(&mut self, id: u16) -> &mut Process {
        &mut self.brokers[usize::from(id) - 1]
    }

    /// The process of coordinator `id`.
    pub fn coordinator(&mut self, id: u16) -> &mut Process {
        &mut self.coordinators[usize::from(id) - 1]
    }

    /// The process of etcd's member `id`.
    pub fn etcd(&mut self, id: u16) -> &mut Process {
        &mut self.etcds[usize::from(id) - 1]
    }

    /// SIGKILL for a broker, then a new process with the same settings, ready again.
    pub fn crash_and_restart_broker(&mut self, id: u16) {
        self.broker(id).kill();
        self.restart_broker(id);
    }

    /// A new process for a broker that has ended; waits until it is ready.
    pub fn restart_broker(&mut self, id: u16) {
        self.start_broker(id);
        self.await_ready();
    }

    /// A new process for a broker that has ended; does not wait.
    ///
    /// # Panics
    /// When it still runs.
    pub fn start_broker(&mut self, id: u16) {
        assert!(!self.broker(id).is_running(), "broker {id} still runs");
        *self.broker(id) = self.spawn_broker(id);
    }

    /// A new process for a coordinator that has ended; waits until it is ready.
    ///
    /// # Panics
    /// When it still runs.
    pub fn restart_coordinator(&mut self, id: u16) {
        assert!(!self.coordinator(id).is_running(), "coordinator {id} still runs");
        *self.coordinator(id) = self.spawn_coordinator(id);
        self.await_ready();
    }

    /// A new process for a member of etcd that has ended; waits until it is healthy.
    ///
    /// # Panics
    /// When it still runs.
    pub fn restart_etcd(&mut self, id: u16) {
        assert!(!self.etcd(id).is_running(), "etcd {id} still runs");
        *self.etcd(id) = self.spawn_etcd(id);
        self.await_etcd();
    }

    /// Waits until every coordinator and broker says that it is ready, but for those that the test has ended or paused.
    ///
    /// # Panics
    /// When one has ended by itself or is not ready within a minute; its log is in the message.
    pub fn await_ready(&mut self) {
        for (id, process) in (1..).zip(&mut self.coordinators) {
            await_http(process, self.layout.coordinator_http(id), "/ready");
        }
        for (id, process) in (1..).zip(&mut self.brokers) {
            await_http(process, self.layout.broker_http(id), "/ready");
        }
    }

    /// Waits until every member of etcd is healthy, but for those that the test has ended or paused.
    ///
    /// # Panics
    /// As [`Self::await_ready`].
    pub fn await_etcd(&mut self) {
        for (id, process) in (1..).zip(&mut self.etcds) {
            await_http(process, self.layout.etcd_client(id), "/health");
        }
    }

    /// Starts broker `id` and returns at once.
    #[must_use]
    pub fn spawn_broker(&self, id: u16) -> Process {
        let mut command = Command::new(binary("ottla-broker"));
        command.arg("--config").arg(self.folder().join(format!("server-{id}.properties")));
        self.spawn(Role::Broker(id), &format!("broker-{id}"), command)
    }

    /// Starts coordinator `id` and returns at once.
    #[must_use]
    pub fn spawn_coordinator(&self, id: u16) -> Process {
        let mut command = Command::new(binary("ottla-coordinator"));
        command.arg("--config").arg(self.folder().join(format!("coordinator-{id}.properties")));
        self.spawn(Role::Coordinator(id), &format!("coordinator-{id}"), command)
    }

    fn spawn_etcd(&self, id: u16) -> Process {
        let name = |id| format!("etcd-{id}");
        let (client, peer) = (self.layout.etcd_client(id), self.layout.etcd_peer(id));
        let member = |id| format!("{}=http://{}", name(id), self.layout.etcd_peer(id));
        let members: Vec<_> = (1..=self.shape.etcds).map(member).collect();
        let program = env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
        let mut command = Command::new(program);
        command.args(["--name", &name(id), "--logger", "zap", "--log-level", "warn"]);
        command.arg("--data-dir").arg(self.folder().join(name(id)));
        // A short election makes a start quick; several members on a busy machine need more time to hear each other.
        let times = if self.shape.etcds == 1 { ["20", "200"] } else { ["50", "500"] };
        command.args(["--heartbeat-interval", times[0], "--election-timeout", times[1]]);
        command.args(["--listen-client-urls", &format!("http://{client}")]);
        command.args(["--advertise-client-urls", &format!("http://{client}")]);
        command.args(["--listen-peer-urls", &format!("http://{peer}")]);
        command.args(["--initial-advertise-peer-urls", &format!("http://{peer}")]);
        command.args(["--initial-cluster", &members.join(",")]);
        self.spawn(Role::Etcd(id), &name(id), command)
    }

    /// Starts a process of this role, with its log beside the others.
    pub(super) fn spawn(&self, role: Role, name: &str, command: Command) -> Process {
        let process = Process::spawn(name, &self.folder().join(format!("{name}.log")), command);
        if let Some(links) = &self.links {
            links.register(role, process.pid());
        }
        process
    }

    fn write_broker_properties(&self, id: u16) {
        let (dir, links) = (self.broker_log_dir(id), self.links.as_ref());
        let text = self.layout.broker_properties(id, &dir, &self.shape, links);
        let path = self.folder().join(format!("server-{id}.properties"));
        fs::write(path, text).expect("server.properties");
    }

    fn write_coordinator_properties(&self, id: u16) {
        let dir = self.folder().join(format!("coordinator-{id}"));
        let text = self.layout.coordinator_properties(id, &dir, &self.shape, self.links.as_ref());
        let path = self.folder().join(format!("coordinator-{id}.properties"));
        fs::write(path, text).expect("coordinator.properties");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the cluster's folder stays: {}", folder.keep().display());
        }
    }
}

fn await_http(process: &mut Process, http: SocketAddr, path: &str) {
    if !process.is_up() {
        return;
    }
    let what = format!("{} is ready", process.name());
    eventually(&what, READY_WITHIN, || {
        assert!(process.is_running(), "{} ended:\n{}", process.name(), process.log_text());
        http_ok(http, path).then_some(())
    });
}
