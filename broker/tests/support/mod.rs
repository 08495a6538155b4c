//! What the tests of whole brokers in one process share.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ottla_broker::relay::StreamTransport;
use ottla_client::connection::{Address, BoxedStream, ConnectError, Connector};
use ottla_coordinator::Coordinator;
use ottla_metadata::store::embedded::EmbeddedStore;

/// Connects to a coordinator of this process, whatever the address.
struct InProcess(Arc<ottla_coordinator::Handle>);

impl Connector for InProcess {
    fn connect<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, Result<BoxedStream, ConnectError>> {
        let (mine, theirs) = tokio::io::duplex(64 * 1024);
        self.0.serve_connection(theirs);
        async move { Ok(Box::new(mine) as BoxedStream) }.boxed()
    }
}

/// A store in memory and a coordinator that is reached without a socket.
pub struct Controller {
    pub store: EmbeddedStore,
    coordinator: Arc<ottla_coordinator::Handle>,
}

impl Controller {
    pub async fn start() -> Self {
        let store = EmbeddedStore::in_memory(1);
        let mut config = ottla_coordinator::Config::new(100);
        (config.http, config.internode) = (None, None);
        let coordinator = Coordinator::start(config, Arc::new(store.clone())).await.unwrap();
        Self { store, coordinator: Arc::new(coordinator) }
    }

    /// How a broker of this process reaches the coordinator.
    pub fn transport(&self) -> Arc<StreamTransport> {
        Arc::new(StreamTransport::new(Arc::new(InProcess(Arc::clone(&self.coordinator)))))
    }
}
