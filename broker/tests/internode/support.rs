//! A coordinator that listens, a broker's side of the link to it, and what both log.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_broker::relay::{CoordinatorTransport, StreamTransport, greet};
use ottla_client::connection::{Connector, TcpConnector};
use ottla_client::internode::ClusterSecret;
use ottla_client::tls::{NodeTls, PemFiles, TlsConnector};
use ottla_coordinator::{Config, Coordinator, Handle};
use ottla_metadata::model::Endpoint;
use ottla_metadata::store::embedded::EmbeddedStore;
use ottla_protocol::messages::{NodeHelloRequest, NodeHelloResponse};
use tracing::subscriber::DefaultGuard;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a node proves itself.
#[derive(Clone, Default)]
pub struct Proof {
    pub secret: Option<PathBuf>,
    pub tls: Option<PemFiles>,
}

impl Proof {
    pub fn none() -> Self {
        Self::default()
    }

    pub fn secret(path: PathBuf) -> Self {
        Self { secret: Some(path), tls: None }
    }

    pub fn tls(files: PemFiles) -> Self {
        Self { secret: None, tls: Some(files) }
    }

    fn read_secret(&self) -> Option<ClusterSecret> {
        self.secret.as_deref().map(|path| ClusterSecret::read(path).unwrap())
    }

    pub fn transport(&self) -> StreamTransport {
        let tcp = TcpConnector::default();
        let streams: Arc<dyn Connector> = match &self.tls {
            None => Arc::new(tcp),
            Some(files) => {
                Arc::new(TlsConnector::new(tcp, NodeTls::load(files).unwrap(), PATIENCE))
            }
        };
        StreamTransport::new(streams)
    }
}

pub fn config(proof: &Proof) -> Config {
    Config {
        http: None,
        internode_advertised: None,
        cluster_secret: proof.secret.clone(),
        internode_tls: proof.tls.clone(),
        ..Config::new(100)
    }
}

pub async fn coordinator(proof: &Proof) -> Handle {
    let store = Arc::new(EmbeddedStore::in_memory(7));
    Coordinator::start(config(proof), store).await.expect("it starts")
}

pub async fn stop(handle: Handle) {
    handle.stop(Duration::from_secs(5)).await;
}

pub fn hello() -> NodeHelloRequest {
    NodeHelloRequest { node_id: 1, role: "broker".into(), ..NodeHelloRequest::default() }
}

/// Greets the coordinator as broker 1 does; the error is what the broker would log.
pub async fn greet_by(proof: &Proof, to: &Handle) -> Result<NodeHelloResponse, String> {
    let port = to.internode_endpoint().expect("it listens").port;
    greet_at(proof, Endpoint { host: "localhost".to_owned(), port }).await
}

pub async fn greet_at(proof: &Proof, at: Endpoint) -> Result<NodeHelloResponse, String> {
    let greeting = async {
        let transport = proof.transport();
        let link = transport.connect(at).await.map_err(|error| error.to_string())?;
        let secret = proof.read_secret();
        let secret = secret.as_ref().map(|secret| (secret, rand::random()));
        greet(&*link, hello(), secret, PATIENCE).await.map_err(|error| error.to_string())
    };
    tokio::time::timeout(PATIENCE, greeting).await.expect("an answer or a reason")
}

/// What this thread logs while it is kept.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn capture() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    pub async fn until_it_says(&self, words: &str) {
        let waiting = async {
            while !self.text().contains(words) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(said.is_ok(), "nothing of {words:?} in:\n{}", self.text());
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The broker is refused; it is told `here`, and the coordinator logs `there`.
pub async fn assert_refused(node: &Proof, coordinator_has: &Proof, (here, there): (&str, &str)) {
    let (log, _guard) = Log::capture();
    let handle = coordinator(coordinator_has).await;
    let reason = greet_by(node, &handle).await.expect_err("it is refused");
    assert!(reason.contains(here), "nothing of {here:?} in: {reason}");
    log.until_it_says(there).await;
    stop(handle).await;
}
