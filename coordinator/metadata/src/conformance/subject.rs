//! The stores under test, with the faults that the suite asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::etcd_server::EtcdServer;
use super::proxy::Proxy;
use crate::store::embedded::{Core, EmbeddedStore, Fault};
use crate::store::etcd::{EtcdConfig, EtcdStore};
use crate::store::{BoxFuture, MetaStore};

/// A store and what can go wrong with it.
pub(super) trait Subject: Send + Sync {
    /// The client that faults happen to.
    fn store(&self) -> &dyn MetaStore;
    /// Another client of the same store, to which no fault happens.
    fn other(&self) -> &dyn MetaStore;
    /// The next transaction is applied, but its answer is lost; until [`Subject::heal`].
    fn lose_answers(&self);
    /// The next transaction is under way until [`Subject::deliver_late`]; until [`Subject::heal`].
    fn hold_writes(&self);
    /// Calls work again.
    fn heal(&self);
    /// What was under way arrives.
    fn deliver_late(&self) -> BoxFuture<'_, ()>;
    /// Running watches end.
    fn break_watches(&self);
    /// Lets time pass for leases, at least a little.
    fn pass(&self, time: Duration) -> BoxFuture<'_, ()>;
}

pub(super) struct EmbeddedSubject {
    store: EmbeddedStore,
    now_ms: Arc<AtomicU64>,
}

impl EmbeddedSubject {
    pub(super) fn new() -> Self {
        let now_ms = Arc::new(AtomicU64::new(0));
        let clock = now_ms.clone();
        let clock = Arc::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
        Self { store: EmbeddedStore::new(Core::in_memory(7), clock), now_ms }
    }
}

impl Subject for EmbeddedSubject {
    fn store(&self) -> &dyn MetaStore {
        &self.store
    }

    fn other(&self) -> &dyn MetaStore {
        &self.store
    }

    fn lose_answers(&self) {
        self.store.inject(Fault::LoseAnswer);
    }

    fn hold_writes(&self) {
        self.store.inject(Fault::Late);
    }

    fn heal(&self) {}

    fn deliver_late(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            assert_eq!(self.store.deliver_late().len(), 1);
        })
    }

    fn break_watches(&self) {
        self.store.break_watches();
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let ms = u64::try_from(time.as_millis()).unwrap();
            self.now_ms.fetch_add(ms, Ordering::Relaxed);
            self.store.tick();
        })
    }
}

pub(super) struct EtcdSubject {
    store: EtcdStore,
    other: Arc<EtcdStore>,
    proxy: Proxy,
    _server: EtcdServer,
}

impl EtcdSubject {
    pub(super) async fn start() -> Option<Self> {
        let server = EtcdServer::start().await?;
        let proxy = Proxy::start(server.client_port(0)).await;
        let config = EtcdConfig {
            call_timeout: Duration::from_millis(500),
            ..EtcdConfig::new([format!("127.0.0.1:{}", proxy.port)])
        };
        let store = EtcdStore::new(config).unwrap();
        // Connected before anything goes wrong.
        store.status().await.unwrap();
        Some(Self { store, other: server.store(), proxy, _server: server })
    }
}

impl Subject for EtcdSubject {
    fn store(&self) -> &dyn MetaStore {
        &self.store
    }

    fn other(&self) -> &dyn MetaStore {
        &*self.other
    }

    fn lose_answers(&self) {
        self.proxy.lose_answers();
    }

    fn hold_writes(&self) {
        self.proxy.hold_requests();
    }

    fn heal(&self) {
        self.proxy.heal();
    }

    fn deliver_late(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.proxy.deliver_held())
    }

    fn break_watches(&self) {
        self.proxy.break_connections();
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(time.min(Duration::from_millis(100))))
    }
}
