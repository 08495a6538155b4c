//! Accepts connections and starts their tasks.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_protocol::Str;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::buffers::BufferPool;
use super::cold_reads::ColdReads;
use super::connection::{self, Shared};
use super::limits::Limits;
use super::memory::FrameMemory;
use super::per_address::AddressLimits;
use super::router::Router;
use super::sasl::Session;
use super::tls::SecurityProtocol;
use super::writer::FileSource;
use crate::handlers::{ConnectionInfo, Turns};
use crate::metrics::ListenerMetrics;
use crate::services::Services;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Kafka's listener name, such as `PLAINTEXT` or `INTERNAL`.
    pub name: Str,
    /// What its connections speak.
    pub protocol: SecurityProtocol,
    /// Host name or address to bind; empty means loopback.
    pub host: String,
    /// Port to bind; 0 lets the system choose.
    pub port: u16,
}

/// A bound socket that accepts nothing yet.
#[derive(Debug)]
pub struct Listener {
    name: Str,
    protocol: SecurityProtocol,
    socket: TcpListener,
    address: SocketAddr,
}

/// A listener cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The host name has no address.
    #[error(
        "the host {host:?} of listener {name} cannot be resolved: {source}; correct `listeners`"
    )]
    Resolve { name: String, host: String, source: io::Error },
    /// The port is taken.
    #[error(
        "port {} of listener {name} is in use; stop what uses it or change `listeners`", address.port()
    )]
    InUse { name: String, address: SocketAddr },
    /// Something else.
    #[error("listener {name} cannot be bound to {address}: {source}; correct `listeners`")]
    Bind { name: String, address: SocketAddr, source: io::Error },
}

/// All listeners and connections of a broker.
#[derive(Debug)]
pub struct Network {
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    addresses: AddressLimits,
    tasks: TaskTracker,
    kill: CancellationToken,
    ids: Arc<AtomicU64>,
}

/// Pause after a failure to accept that is not the fault of one connection, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that the system may hold before they are accepted (`socket.listen.backlog.size`).
pub const BACKLOG: i32 = 1024;
/// Threads for reads that miss the page cache.
const COLD_READ_THREADS: usize = 16;
/// Pieces of files in memory, for each core, at least [`BUFFERS_MIN`] together.
const BUFFERS_PER_CORE: usize = 4;
const BUFFERS_MIN: usize = 16;

impl Listener {
    /// Binds the socket, so that a port that is in use is found before anything else starts. Needs a
    /// tokio runtime.
    pub fn bind(endpoint: &Endpoint, backlog: i32) -> Result<Self, AcceptError> {
        let name = endpoint.name.to_string();
        let address = resolve(endpoint)?;
        let bound = bind_socket(address, backlog);
        let (socket, address) = bound.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => AcceptError::InUse { name: name.clone(), address },
            _ => AcceptError::Bind { name: name.clone(), address, source },
        })?;
        Ok(Self { name: endpoint.name.detach(), protocol: endpoint.protocol, socket, address })
    }

    /// Kafka's name of the listener.
    pub fn name(&self) -> &Str {
        &self.name
    }

    /// The address that it is bound to, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Network {
    /// Serves what `router` lists. `connections_max` is for all listeners together
    /// (`max.connections`): beyond it connections wait unaccepted.
    pub fn new(
        services: Arc<Services>,
        router: Router,
        limits: Limits,
        memory: FrameMemory,
        (connections_max, addresses): (usize, AddressLimits),
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let files = FileSource {
            buffers: BufferPool::new((cores * BUFFERS_PER_CORE).max(BUFFERS_MIN)),
            cold_reads: ColdReads::new(COLD_READ_THREADS),
        };
        let drain = CancellationToken::new();
        Self {
            shared: Arc::new(Shared { services, router, limits, memory, files, drain }),
            connections: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            addresses,
            tasks: TaskTracker::new(),
            kill: CancellationToken::new(),
            ids: Arc::default(),
        }
    }

    /// Starts to accept.
    pub fn start(&self, listener: Listener) {
        let metrics = self.shared.services.metrics.listener(&listener.name);
        let acceptor = Acceptor {
            listener,
            shared: Arc::clone(&self.shared),
            connections: Arc::clone(&self.connections),
            addresses: self.addresses.clone(),
            tasks: self.tasks.clone(),
            kill: self.kill.clone(),
            ids: Arc::clone(&self.ids),
            metrics,
        };
        self.tasks.spawn(acceptor.run());
    }

    #[cfg(test)]
    pub(super) fn shared_metrics_text(&self) -> String {
        self.shared.services.metrics.text().unwrap()
    }

    /// Stops accepting and reading, lets what is in flight finish for up to `grace`, then ends the rest.
    pub async fn stop(&self, grace: Duration) {
        self.shared.drain.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "ending connections that did not drain");
            self.kill.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Without [`Network::stop`], connections are cut as they would be if the process ended.
impl Drop for Network {
    fn drop(&mut self) {
        self.shared.drain.cancel();
        self.kill.cancel();
    }
}

/// Accepts on one listener.
struct Acceptor {
    listener: Listener,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    addresses: AddressLimits,
    tasks: TaskTracker,
    kill: CancellationToken,
    ids: Arc<AtomicU64>,
    metrics: ListenerMetrics,
}

impl Acceptor {
    async fn run(self) {
        let Listener { name, address, .. } = &self.listener;
        tracing::info!(listener = %name, %address, "accepting connections");
        let drain = self.shared.drain.clone();
        tokio::select! {
            () = drain.cancelled() => {}
            () = self.accept_all() => {}
        }
        tracing::debug!(listener = %self.listener.name, "no longer accepting connections");
    }

    async fn accept_all(&self) {
        loop {
            let permit = Arc::clone(&self.connections).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            match self.listener.socket.accept().await {
                Ok((stream, client)) => self.admit(stream, client, permit),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(
                        listener = %self.listener.name, %error,
                        "cannot accept connections; is the limit of open files (ulimit -n) high enough?"
                    );
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, client: SocketAddr, permit: OwnedSemaphorePermit) {
        let address_permit = match self.addresses.admit(client.ip()) {
            Ok(address_permit) => address_permit,
            Err(max) => {
                tracing::warn!(
                    listener = %self.listener.name, %client, max,
                    "refusing a connection: its address has as many as max.connections.per.ip allows"
                );
                return;
            }
        };
        if let Err(error) = set_options(&stream) {
            tracing::debug!(listener = %self.listener.name, %client, %error, "connection ends");
            return;
        }
        let info = Arc::new(ConnectionInfo {
            id: self.ids.fetch_add(1, Ordering::Relaxed),
            listener: self.listener.name.clone(),
            client_address: client,
            closed: CancellationToken::new(),
            turns: Turns::default(),
        });
        let session = Session::start(self.listener.protocol);
        let shared = Arc::clone(&self.shared);
        let kill = self.kill.clone();
        let open = self.metrics.open_connection();
        self.tasks.spawn(async move {
            let _held = (permit, address_permit, open);
            let (read_half, write_half) = stream.into_split();
            tokio::select! {
                () = kill.cancelled() => {}
                () = connection::serve(&shared, read_half, write_half, info, session) => {}
            }
        });
    }
}

fn resolve(endpoint: &Endpoint) -> Result<SocketAddr, AcceptError> {
    let host = if endpoint.host.is_empty() { "127.0.0.1" } else { endpoint.host.as_str() };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let error = |source| AcceptError::Resolve {
        name: endpoint.name.to_string(),
        host: host.to_owned(),
        source,
    };
    let mut found: Vec<_> = (host, endpoint.port).to_socket_addrs().map_err(error)?.collect();
    // `localhost` often means both; clients that try the other one first fall back.
    found.sort_by_key(SocketAddr::is_ipv6);
    let none = || error(io::ErrorKind::NotFound.into());
    found.first().copied().ok_or_else(none)
}

fn bind_socket(address: SocketAddr, backlog: i32) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted broker must not wait for connections of its former life to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_mins(2));
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Errors that accept(2) reports for a connection that ended before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
