//! A cluster of real processes: etcd, a coordinator and brokers, each with a folder of its own.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{PortBlock, Process, binary, eventually};

const READY_WITHIN: Duration = Duration::from_secs(60);

const ETCD_CLIENT: u16 = 0;
const ETCD_PEER: u16 = 1;
const COORDINATOR_HTTP: u16 = 2;
const COORDINATOR_INTERNODE: u16 = 3;
const BROKER_FIRST: u16 = 4;
const BROKER_HTTP_FIRST: u16 = 12;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many brokers, up to eight; ids count from 1.
    pub brokers: u16,
    /// Lines for every broker's `server.properties`, after the harness's own.
    pub broker_settings: Vec<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { brokers: 1, broker_settings: Vec::new() }
    }
}

/// The running processes. Dropping it ends them and removes the folder, unless the test is failing.
#[derive(Debug)]
pub struct Cluster {
    ports: PortBlock,
    folder: Option<TempDir>,
    /// The store.
    pub etcd: Process,
    /// The coordinator.
    pub coordinator: Process,
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
        let ports = PortBlock::claim();
        let folder = tempfile::Builder::new().prefix("ottla-cluster-").tempdir().expect("a folder");
        let etcd = start_etcd(folder.path(), &ports);
        write_coordinator_properties(folder.path(), &ports);
        let coordinator = start_coordinator(folder.path());
        let mut cluster =
            Self { ports, folder: Some(folder), etcd, coordinator, brokers: Vec::new() };
        for id in 1..=shape.brokers {
            cluster.write_broker_properties(id, &shape.broker_settings);
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
        let count = u16::try_from(self.brokers.len()).expect("few brokers");
        let addresses: Vec<_> = (1..=count).map(|id| self.broker_address(id).to_string()).collect();
        addresses.join(",")
    }

    /// Where broker `id` listens for clients.
    #[must_use]
    pub fn broker_address(&self, id: u16) -> SocketAddr {
        loopback(self.ports.port(BROKER_FIRST + id - 1))
    }

    /// Where broker `id` serves health and metrics.
    #[must_use]
    pub fn broker_http(&self, id: u16) -> SocketAddr {
        loopback(self.ports.port(BROKER_HTTP_FIRST + id - 1))
    }

    /// Where the coordinator serves the admin API.
    #[must_use]
    pub fn coordinator_http(&self) -> SocketAddr {
        loopback(self.ports.port(COORDINATOR_HTTP))
    }

    /// Where the coordinator listens for brokers.
    #[must_use]
    pub fn coordinator_internode(&self) -> SocketAddr {
        loopback(self.ports.port(COORDINATOR_INTERNODE))
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

    /// SIGKILL for a broker, then a new process with the same settings, ready again.
    pub fn crash_and_restart_broker(&mut self, id: u16) {
        self.brokers[usize::from(id) - 1].kill();
        self.restart_broker(id);
    }

    /// A new process for a broker that has ended; waits until it is ready.
    pub fn restart_broker(&mut self, id: u16) {
        let index = usize::from(id) - 1;
        assert!(!self.brokers[index].is_running(), "broker {id} still runs");
        self.brokers[index] = self.spawn_broker(id);
        self.await_ready();
    }

    /// A new process for a coordinator that has ended; waits until it is ready.
    pub fn restart_coordinator(&mut self) {
        assert!(!self.coordinator.is_running(), "the coordinator still runs");
        self.coordinator = start_coordinator(self.folder());
        self.await_ready();
    }

    /// Waits until the coordinator and every running broker say that they are ready.
    ///
    /// # Panics
    /// When one has ended or is not ready within a minute; its log is in the message.
    pub fn await_ready(&mut self) {
        let http = self.coordinator_http();
        await_ready(&mut self.coordinator, http);
        for index in 0..self.brokers.len() {
            let id = u16::try_from(index + 1).expect("few brokers");
            let http = self.broker_http(id);
            await_ready(&mut self.brokers[index], http);
        }
    }

    /// Starts broker `id` and returns at once.
    #[must_use]
    pub fn spawn_broker(&self, id: u16) -> Process {
        let mut command = Command::new(binary("ottla-broker"));
        command.arg("--config").arg(self.folder().join(format!("server-{id}.properties")));
        Process::spawn(
            &format!("broker {id}"),
            &self.folder().join(format!("broker-{id}.log")),
            command,
        )
    }

    fn write_broker_properties(&self, id: u16, more: &[String]) {
        let mut text = format!(
            "broker.id={id}\nlisteners=PLAINTEXT://{}\nlog.dirs={}\nhttp.listener={}\n\
             etcd.endpoints=http://{}\n",
            self.broker_address(id),
            self.broker_log_dir(id).display(),
            self.broker_http(id),
            loopback(self.ports.port(ETCD_CLIENT)),
        );
        for line in more {
            text.push_str(line);
            text.push('\n');
        }
        let path = self.folder().join(format!("server-{id}.properties"));
        fs::write(path, text).expect("server.properties");
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

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn start_etcd(folder: &Path, ports: &PortBlock) -> Process {
    let (client, peer) = (loopback(ports.port(ETCD_CLIENT)), loopback(ports.port(ETCD_PEER)));
    let program = env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
    let mut command = Command::new(program);
    command.args(["--name", "test", "--logger", "zap", "--log-level", "warn"]);
    command.arg("--data-dir").arg(folder.join("etcd"));
    // A short election makes a start quick; the data of a test need not survive the machine.
    command.args(["--heartbeat-interval", "20", "--election-timeout", "200"]);
    command.args(["--listen-client-urls", &format!("http://{client}")]);
    command.args(["--advertise-client-urls", &format!("http://{client}")]);
    command.args(["--listen-peer-urls", &format!("http://{peer}")]);
    command.args(["--initial-advertise-peer-urls", &format!("http://{peer}")]);
    command.args(["--initial-cluster", &format!("test=http://{peer}")]);
    let mut etcd = Process::spawn("etcd", &folder.join("etcd.log"), command);
    eventually("etcd is healthy", READY_WITHIN, || {
        assert!(etcd.is_running(), "etcd ended:\n{}", etcd.log_text());
        http_ok(client, "/health").then_some(())
    });
    etcd
}

fn write_coordinator_properties(folder: &Path, ports: &PortBlock) {
    let text = format!(
        "node.id=1\nhttp.listener={}\ninternode.listener={}\netcd.endpoints=http://{}\ndata.dir={}\n",
        loopback(ports.port(COORDINATOR_HTTP)),
        loopback(ports.port(COORDINATOR_INTERNODE)),
        loopback(ports.port(ETCD_CLIENT)),
        folder.join("coordinator").display(),
    );
    fs::write(folder.join("coordinator.properties"), text).expect("coordinator.properties");
}

fn start_coordinator(folder: &Path) -> Process {
    let mut command = Command::new(binary("ottla-coordinator"));
    command.arg("--config").arg(folder.join("coordinator.properties"));
    Process::spawn("coordinator", &folder.join("coordinator.log"), command)
}

fn await_ready(process: &mut Process, http: SocketAddr) {
    eventually("a process is ready", READY_WITHIN, || {
        assert!(process.is_running(), "it ended:\n{}", process.log_text());
        http_ok(http, "/ready").then_some(())
    });
}

/// Whether a GET answers 200; a plain socket will do for that.
fn http_ok(address: SocketAddr, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answer = || -> std::io::Result<[u8; 12]> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request.as_bytes())?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    answer().is_ok_and(|start| start.ends_with(b" 200"))
}
