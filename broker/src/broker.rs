//! One broker: puts the parts together, in the order in which they depend on each other.
//!
//! Start: open the ports · follow the image, waiting for the store · find out which cluster it is · lock
//! and recover the log directories · claim the broker id · connect to the coordinator and wait until it
//! lets this broker in · serve the logs · accept clients. Stop is the reverse: hand over what is led, take
//! nothing new, finish what is in flight, close the logs, give the claim up.

mod ready;
mod start;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::store::MetaStore;
use ottla_protocol::Str;
use ottla_storage::{LogIo, RealIo};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use start::StartError;
pub(crate) use start::previous_life as claimed_life;

use crate::config::Config;
use crate::data::DataPlane;
use crate::handlers::{
    AlterConfigs, AlterPartitionReassignments, AlterReplicaLogDirs, ConsumerGroupDescribe,
    ConsumerGroupHeartbeat, CreatePartitions, CreateTopics, DeleteGroups, DeleteRecords,
    DeleteTopics, DescribeCluster, DescribeConfigs, DescribeGroups, DescribeLogDirs,
    DescribeProducers, DescribeQuorum, DescribeTopicPartitions, ElectLeaders, Fetch,
    FindCoordinator, Heartbeat, IncrementalAlterConfigs, InitProducerId, JoinGroup, LeaveGroup,
    ListGroups, ListOffsets, ListPartitionReassignments, Metadata, OffsetCommit, OffsetDelete,
    OffsetFetch, OffsetForLeaderEpoch, Produce, SyncGroup, UnregisterBroker, UpdateFeatures,
    api_versions,
};
use crate::http::Stage;
use crate::listener::{Network, Router};
use crate::machine;
use crate::relay::{BrokerState, CoordinatorTransport, Standing};
use crate::replication::Fetchers;
use crate::services::Services;

/// A broker, to be started.
#[derive(Debug)]
pub struct Broker;

/// What a broker is started with beside its settings.
#[derive(Debug, Clone)]
pub struct Environment<I> {
    /// The disk.
    pub io: I,
    /// Boot id of the machine; settable so that a power cut can be played.
    pub boot_id: String,
    /// The metadata store.
    pub store: Arc<dyn MetaStore>,
    /// How coordinators are reached.
    pub coordinators: Arc<dyn CoordinatorTransport>,
}

/// A running broker. Dropped without [`Handle::stop`] it ends as after a crash.
#[derive(Debug)]
pub struct Handle {
    services: Arc<Services>,
    network: Network,
    data: DataPlane,
    fetchers: Fetchers,
    listeners: Vec<(Str, SocketAddr)>,
    http: SocketAddr,
    stage: watch::Sender<Stage>,
    state: watch::Sender<BrokerState>,
    standing: watch::Receiver<Standing>,
    failed: watch::Receiver<Option<String>>,
    /// Ends the claim, which comes last but for the image.
    claim_stop: CancellationToken,
    claim_tasks: TaskTracker,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Ends everything if the handle is dropped.
    guard: DropGuard,
}

/// How long the coordinator may take to elect other leaders before a broker stops all the same.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long requests in flight may take when the broker stops.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long tasks may take to end.
const TASK_TIMEOUT: Duration = Duration::from_secs(5);

impl Broker {
    /// Starts a broker on this machine's disks. Returns once clients are served; until then it waits for
    /// whatever is not there yet (the store, a coordinator) and says so. Dropping the future gives up.
    pub async fn start(
        config: Config,
        store: Arc<dyn MetaStore>,
        coordinators: Arc<dyn CoordinatorTransport>,
    ) -> Result<Handle, StartError> {
        let environment =
            Environment { io: RealIo, boot_id: machine::boot_id(), store, coordinators };
        Self::start_in(config, environment).await
    }

    /// Starts a broker in an environment of the caller's.
    pub async fn start_in<I: LogIo>(
        config: Config,
        environment: Environment<I>,
    ) -> Result<Handle, StartError> {
        start::start(config, environment).await
    }
}

/// The one table of what this version of the broker serves.
pub fn router() -> Router {
    Router::new()
        .on::<Produce>()
        .on::<Fetch>()
        .on::<ListOffsets>()
        .on::<Metadata>()
        .on::<api_versions::ApiVersions>()
        .on::<CreateTopics>()
        .on::<DeleteTopics>()
        .on::<DeleteRecords>()
        .on::<InitProducerId>()
        .on::<OffsetForLeaderEpoch>()
        .on::<DescribeConfigs>()
        .on::<AlterConfigs>()
        .on::<AlterReplicaLogDirs>()
        .on::<DescribeLogDirs>()
        .on::<CreatePartitions>()
        .on::<IncrementalAlterConfigs>()
        .on::<DescribeCluster>()
        .on::<DescribeProducers>()
        .on::<DescribeTopicPartitions>()
        .on::<ElectLeaders>()
        .on::<AlterPartitionReassignments>()
        .on::<ListPartitionReassignments>()
        .on::<UnregisterBroker>()
        .on::<UpdateFeatures>()
        .on::<DescribeQuorum>()
        .on::<FindCoordinator>()
        .on::<JoinGroup>()
        .on::<SyncGroup>()
        .on::<Heartbeat>()
        .on::<LeaveGroup>()
        .on::<OffsetCommit>()
        .on::<OffsetFetch>()
        .on::<OffsetDelete>()
        .on::<DescribeGroups>()
        .on::<ListGroups>()
        .on::<DeleteGroups>()
        .on::<ConsumerGroupHeartbeat>()
        .on::<ConsumerGroupDescribe>()
}

impl Handle {
    /// Where clients of each listener connect to, with the port that the system chose.
    pub fn listeners(&self) -> &[(Str, SocketAddr)] {
        &self.listeners
    }

    /// Where health checks and metrics are served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// What its handlers work with.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Waits until the broker cannot go on by itself, and says why. A process then ends.
    pub async fn failed(&self) -> String {
        start::failure(self.failed.clone()).await
    }

    /// Stops in order: hands over what it leads, finishes what is in flight, closes the logs so that the next
    /// start recovers nothing, and gives its claim up.
    pub async fn stop(mut self) {
        self.stage.send_replace(Stage::Stopping);
        if self.services.config.server.boolean("controlled.shutdown.enable") {
            self.drain().await;
        }
        self.network.stop(FINISH_TIMEOUT).await;
        self.fetchers.stop().await;
        self.data.shutdown(self.services.identity.broker_epoch()).await;
        self.claim_stop.cancel();
        wait(&self.claim_tasks).await;
        self.stop.cancel();
        wait(&self.tasks).await;
        drop(self.guard);
        tracing::info!("broker stopped");
    }

    /// Asks the coordinator to elect others where this broker leads.
    async fn drain(&mut self) {
        self.state.send_modify(|state| state.wants_shutdown = true);
        let may_stop = self.standing.wait_for(|standing| standing.may_shut_down);
        match tokio::time::timeout(DRAIN_TIMEOUT, may_stop).await {
            Ok(Ok(_)) => tracing::info!("handed over everything that this broker led"),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("stopping although this broker may still lead partitions");
            }
        }
    }
}

async fn wait(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(TASK_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "stopped before every task had ended");
    }
}
