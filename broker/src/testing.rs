//! Pieces of a broker for tests: images, services, a scripted coordinator.

pub(crate) mod data;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::image::{Image, ImageReader};
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{
    BrokerRecord, Cluster, Controller, Endpoint, Listener, Partition, SecurityProtocol, Topic,
    Value, encode,
};
use ottla_metadata::store::{KeyValue, Page};
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_protocol::messages::alter_partition_request::AlterPartitionRequest;
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_protocol::messages::assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
use ottla_protocol::messages::assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::node_hello_request::NodeHelloRequest;
use ottla_protocol::messages::node_hello_response::NodeHelloResponse;
use ottla_protocol::messages::relay_request::RelayRequest;
use ottla_protocol::messages::relay_response::RelayResponse;
use ottla_protocol::time::Now;
use ottla_protocol::types::BrokerId;
use ottla_protocol::{ApiKey, Request, Str, Uuid};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auto_create::AutoCreate;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::data_path::{DataLimits, DataPath};
use crate::handlers::{ConnectionInfo, Principal, RequestContext, Turns};
use crate::identity::Identity;
use crate::listener::Router;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::relay::{
    Bounds, Connector, CoordinatorLink, CoordinatorTransport, LinkError, LinkFuture, NodeIdentity,
    Relay,
};
use crate::services::Services;

pub(crate) const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// An image in the making.
#[derive(Debug, Default)]
pub(crate) struct ImageBuilder {
    keys: KeySpace,
    items: Vec<KeyValue>,
}

impl ImageBuilder {
    /// A cluster with a coordinator.
    pub(crate) fn new() -> Self {
        let cluster = Cluster {
            cluster_id: CLUSTER_ID.into(),
            format_version: 1,
            features: BTreeMap::new(),
            group_shards: 50,
            transaction_shards: 50,
            recovery: None,
            rest: Default::default(),
        };
        let endpoint = |port| Endpoint { host: "127.0.0.1".into(), port };
        let controller = Controller {
            node_id: 100,
            boot_id: "b".into(),
            http: endpoint(9080),
            internode: endpoint(9081),
            version: "0".into(),
            rest: Default::default(),
        };
        Self::default().put(&Key::Cluster, &cluster).put(&Key::Controller, &controller)
    }

    pub(crate) fn put<V: Value>(mut self, key: &Key, value: &V) -> Self {
        let revision = self.items.len() as i64 + 10;
        self.items.push(KeyValue {
            key: Bytes::from(self.keys.format(key)),
            value: encode(value),
            create_revision: revision,
            mod_revision: revision,
            lease: None,
        });
        self
    }

    /// A broker with the listeners of these names, on port 9000 + id.
    pub(crate) fn broker(self, id: i32, fenced: bool, listeners: &[&str]) -> Self {
        self.put(&Key::Broker(id), &broker_record(id, fenced, listeners))
    }

    /// A topic whose partitions are led by `leaders`, each with all of `replicas`.
    pub(crate) fn topic(mut self, name: &str, leaders: &[i32], replicas: &[i32]) -> Self {
        let id = topic_id(name);
        for (number, leader) in leaders.iter().enumerate() {
            let partition = Partition {
                replicas: replicas.to_vec(),
                log_dirs: Vec::new(),
                adding: Vec::new(),
                removing: Vec::new(),
                isr: replicas.to_vec(),
                elr: Vec::new(),
                last_known_elr: Vec::new(),
                leader: *leader,
                leader_epoch: 5,
                leader_broker_epoch: i64::from(*leader) * 100,
                recovering: false,
                rest: Default::default(),
            };
            self = self.put(&Key::Partition(id, number as i32), &partition);
        }
        let topic = Topic {
            id,
            name: name.into(),
            partitions: leaders.len() as i32,
            configs: BTreeMap::from([("retention.ms".into(), "1000".into())]),
            internal: false,
            rest: Default::default(),
        };
        self.put(&Key::Topic(name.into()), &topic)
    }

    pub(crate) fn build(self) -> Image {
        let page = Page { store_id: 7, revision: 1000, items: self.items, more: false };
        Image::from_items(&self.keys, &page).unwrap()
    }
}

/// A broker in the life `100 · id`, in a rack of its own.
pub(crate) fn broker_record(id: i32, fenced: bool, listeners: &[&str]) -> BrokerRecord {
    let listeners = listeners.iter().map(|name| Listener {
        name: (*name).into(),
        host: format!("{}.example", name.to_lowercase()),
        port: 9000 + u16::try_from(id).unwrap(),
        security_protocol: SecurityProtocol::Plaintext,
    });
    BrokerRecord {
        broker_epoch: i64::from(id) * 100,
        fenced,
        draining: false,
        boot_id: "b".into(),
        incarnation_id: Uuid::ONE,
        listeners: listeners.collect(),
        inter_broker_listener: "PLAINTEXT".into(),
        rack: Some(format!("rack-{id}")),
        log_dirs: vec![Uuid::ONE],
        offline_log_dirs: Vec::new(),
        features: BTreeMap::new(),
        version: "0".into(),
        http: None,
        recovered: None,
        rest: Default::default(),
    }
}

/// The id of the topic that [`ImageBuilder::topic`] makes.
pub(crate) fn topic_id(name: &str) -> Uuid {
    let mut bytes = [9; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    Uuid::from_bytes(bytes)
}

/// What a scripted coordinator does with a relayed request: the frame without its length → the
/// response without its length, or an error.
type Script = dyn Fn(&RelayRequest) -> Result<RelayResponse, LinkError> + Send + Sync;

/// What a scripted coordinator answers to one report of log directories.
type Placing = dyn Fn(&AssignReplicasToDirsRequest) -> Result<AssignReplicasToDirsResponse, LinkError>
    + Send
    + Sync;

/// A coordinator that does what the test says.
pub(crate) struct ScriptedCoordinator {
    pub(crate) script: Box<Script>,
    pub(crate) is_active: bool,
    /// It answers no heartbeat.
    pub(crate) is_silent: bool,
    pub(crate) hellos: Mutex<Vec<NodeHelloRequest>>,
    pub(crate) heartbeats: Mutex<Vec<BrokerHeartbeatRequest>>,
    pub(crate) blocks: Mutex<i64>,
    /// AlterPartition requests that came, and the answers to the next.
    pub(crate) altered: Mutex<Vec<AlterPartitionRequest>>,
    pub(crate) alterations: Mutex<VecDeque<Result<AlterPartitionResponse, LinkError>>>,
    /// AssignReplicasToDirs requests that came, and how the next are answered.
    pub(crate) placed: Mutex<Vec<AssignReplicasToDirsRequest>>,
    pub(crate) placements: Mutex<VecDeque<Box<Placing>>>,
    pub(crate) cut: Notify,
}

impl ScriptedCoordinator {
    pub(crate) fn new(
        script: impl Fn(&RelayRequest) -> Result<RelayResponse, LinkError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            is_active: true,
            is_silent: false,
            hellos: Mutex::default(),
            heartbeats: Mutex::default(),
            blocks: Mutex::default(),
            altered: Mutex::default(),
            alterations: Mutex::default(),
            placed: Mutex::default(),
            placements: Mutex::default(),
            cut: Notify::new(),
        })
    }
}

impl std::fmt::Debug for ScriptedCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedCoordinator")
    }
}

impl CoordinatorLink for ScriptedCoordinator {
    fn hello(
        &self,
        request: NodeHelloRequest,
        _: Duration,
    ) -> LinkFuture<'_, Result<NodeHelloResponse, LinkError>> {
        self.hellos.lock().unwrap().push(request);
        Box::pin(std::future::ready(Ok(NodeHelloResponse {
            cluster_id: Str::from_static(CLUSTER_ID),
            node_id: 100,
            is_active: self.is_active,
            ..NodeHelloResponse::default()
        })))
    }

    fn relay(
        &self,
        request: RelayRequest,
        _: Duration,
    ) -> LinkFuture<'_, Result<RelayResponse, LinkError>> {
        Box::pin(std::future::ready((self.script)(&request)))
    }

    fn heartbeat(
        &self,
        request: BrokerHeartbeatRequest,
        _: Duration,
    ) -> LinkFuture<'_, Result<BrokerHeartbeatResponse, LinkError>> {
        let should_shut_down = request.want_shut_down;
        self.heartbeats.lock().unwrap().push(request);
        if self.is_silent {
            return Box::pin(std::future::ready(Err(LinkError::TimedOut)));
        }
        Box::pin(std::future::ready(Ok(BrokerHeartbeatResponse {
            is_caught_up: true,
            is_fenced: false,
            should_shut_down,
            ..BrokerHeartbeatResponse::default()
        })))
    }

    fn allocate(
        &self,
        _: AllocateProducerIdsRequest,
        _: Duration,
    ) -> LinkFuture<'_, Result<AllocateProducerIdsResponse, LinkError>> {
        let mut blocks = self.blocks.lock().unwrap();
        let producer_id_start = *blocks * 10;
        *blocks += 1;
        Box::pin(std::future::ready(Ok(AllocateProducerIdsResponse {
            producer_id_start,
            producer_id_len: 10,
            ..AllocateProducerIdsResponse::default()
        })))
    }

    fn alter_partition(
        &self,
        request: AlterPartitionRequest,
        _: Duration,
    ) -> LinkFuture<'_, Result<AlterPartitionResponse, LinkError>> {
        let answer = self.alterations.lock().unwrap().pop_front();
        self.altered.lock().unwrap().push(request);
        Box::pin(std::future::ready(answer.unwrap_or(Err(LinkError::TimedOut))))
    }

    fn assign_replicas_to_dirs(
        &self,
        request: AssignReplicasToDirsRequest,
        _: Duration,
    ) -> LinkFuture<'_, Result<AssignReplicasToDirsResponse, LinkError>> {
        let placing = self.placements.lock().unwrap().pop_front();
        let answer = placing.map_or(Err(LinkError::TimedOut), |answer| answer(&request));
        self.placed.lock().unwrap().push(request);
        Box::pin(std::future::ready(answer))
    }

    fn closed(&self) -> LinkFuture<'_, ()> {
        Box::pin(self.cut.notified())
    }
}

/// Connects to whatever coordinator the test gives.
#[derive(Debug)]
pub(crate) struct ScriptedTransport(pub(crate) Arc<ScriptedCoordinator>);

impl CoordinatorTransport for ScriptedTransport {
    fn connect(&self, _: Endpoint) -> LinkFuture<'_, Result<Arc<dyn CoordinatorLink>, LinkError>> {
        let link: Arc<dyn CoordinatorLink> = Arc::clone(&self.0) as _;
        Box::pin(std::future::ready(Ok(link)))
    }
}

/// A coordinator that cannot be reached.
#[derive(Debug)]
pub(crate) struct NoTransport;

impl CoordinatorTransport for NoTransport {
    fn connect(&self, _: Endpoint) -> LinkFuture<'_, Result<Arc<dyn CoordinatorLink>, LinkError>> {
        Box::pin(std::future::ready(Err(LinkError::NotSent("nobody there".into()))))
    }
}

/// Services of broker 1 over a fixed image. Needs a tokio runtime.
pub(crate) fn services(
    image: Image,
    transport: Arc<dyn CoordinatorTransport>,
    router: &Router,
) -> Arc<Services> {
    let (config, _) = Config::parse("test", b"node.id=1\nnum.partitions=3", &[]).unwrap();
    let identity = Arc::new(Identity::new(Str::from_static(CLUSTER_ID), BrokerId(1), 100));
    let image = ImageReader::fixed(image);
    let node = NodeIdentity { identity: Arc::clone(&identity), boot_id: "b".into(), secret: None };
    let connector = Connector::new(transport, image.clone(), node);
    let relay = Relay::new(&connector, Bounds::default(), Arc::clone(&identity), image.clone());
    tokio::spawn(connector.run(CancellationToken::new()));
    let (producer_ids, task) = ProducerIds::new(relay.clone());
    tokio::spawn(task.run());
    let apis: Arc<[_]> = router.served().cloned().collect();
    Arc::new(Services {
        clock: Arc::new(SystemClock::start()),
        config: Arc::new(config),
        data: DataPath::new(identity.broker_id, image.clone(), Vec::new(), DataLimits::default()),
        identity,
        image,
        relay,
        producer_ids,
        auto_create: AutoCreate::default(),
        metrics: Arc::new(Metrics::new(apis.iter().map(|api| api.key))),
        apis,
    })
}

/// A request in `version` that came in on `listener`.
pub(crate) fn context<R: Request>(version: i16, listener: &'static str) -> RequestContext {
    context_of(R::KEY, version, listener)
}

fn context_of(api_key: ApiKey, api_version: i16, listener: &'static str) -> RequestContext {
    RequestContext {
        api_key,
        api_version,
        correlation_id: 42,
        client_id: Str::from_static("test"),
        connection: Arc::new(ConnectionInfo {
            id: 1,
            listener: Str::from_static(listener),
            client_address: SocketAddr::from(([127, 0, 0, 1], 50_000)),
            closed: CancellationToken::new(),
            turns: Turns::default(),
        }),
        principal: Principal::anonymous(),
        received: Now::default(),
    }
}
