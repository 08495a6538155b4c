//! Which leaders are followed, and a task for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_client::Backoff;
use ottla_metadata::config::ServerConfig;
use ottla_protocol::types::{BrokerId, LeaderEpoch};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Key;
use super::fetcher::{Command, Fetcher};
use super::figures::ReplicationFigures;
use super::follower::{BACKOFF_MIN, FetchConfig};
use super::link::Transport;
use super::throttle::{Side, Throttle};
use crate::clock::Clock;
use crate::partition::PartitionHandle;

/// A partition that this broker follows.
#[derive(Debug, Clone)]
pub struct Following {
    /// Which partition.
    pub key: Key,
    /// Who leads it.
    pub leader: BrokerId,
    /// Since when.
    pub leader_epoch: LeaderEpoch,
    /// Its replica here, which has been told of the epoch.
    pub handle: Arc<PartitionHandle>,
}

/// What changed about the replicas here.
#[derive(Debug, Clone)]
pub enum Change {
    /// This one is to be followed.
    Follow(Following),
    /// This one is not to be followed, or not any more.
    Stop(Key),
}

/// Where changes are sent.
pub type Feed = mpsc::Sender<Vec<Change>>;
/// Where they are taken from.
pub type Changes = mpsc::Receiver<Vec<Change>>;

/// Lists of changes that may wait.
pub const CHANGES_MAX: usize = 16;

/// The way from whoever knows what is to be followed to the fetchers.
pub fn channel() -> (Feed, Changes) {
    mpsc::channel(CHANGES_MAX)
}

/// What all fetchers share.
#[derive(Debug)]
pub(super) struct Parts {
    pub transport: Transport,
    pub config: FetchConfig,
    /// Of all fetchers together.
    pub throttle: Throttle,
    pub clock: Arc<dyn Clock>,
    pub figures: ReplicationFigures,
}

/// The running fetchers. Dropped without [`Fetchers::stop`] they end at once.
#[derive(Debug)]
pub struct Fetchers {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl FetchConfig {
    /// As the node's file says.
    pub fn new(server: &ServerConfig) -> Self {
        let max = server.millis("replica.fetch.backoff.ms").max(BACKOFF_MIN);
        Self {
            partition_bytes_max: server.int("replica.fetch.max.bytes"),
            response_bytes_max: server.int("replica.fetch.response.max.bytes"),
            wait_max: server.millis("replica.fetch.wait.max.ms"),
            min_bytes: server.int("replica.fetch.min.bytes"),
            backoff: Backoff { initial: BACKOFF_MIN, max },
        }
    }
}

impl Fetchers {
    /// Starts to follow what `changes` says.
    pub fn start(
        transport: Transport,
        server: &ServerConfig,
        (clock, figures): (Arc<dyn Clock>, ReplicationFigures),
        changes: Changes,
    ) -> Self {
        let config = FetchConfig::new(server);
        let throttle = Throttle::new(
            Side::Follower,
            transport.identity.broker_id,
            server.long("follower.replication.throttled.rate"),
            figures.throttle.clone(),
        );
        let parts = Arc::new(Parts { transport, config, throttle, clock, figures });
        let stop = CancellationToken::new();
        let overseer = Overseer { parts, leaders: BTreeMap::new(), leader_of: BTreeMap::new() };
        let task = tokio::spawn(overseer.run(changes, stop.clone()));
        Self { stop, task: AbortOnDropHandle::new(task) }
    }

    /// Ends all fetchers. What a worker was asked already it still does.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the fetchers did not end in order");
        }
    }
}

/// Starts, tells and ends the fetchers.
struct Overseer {
    parts: Arc<Parts>,
    leaders: BTreeMap<BrokerId, Leader>,
    leader_of: BTreeMap<Key, BrokerId>,
}

/// A leader with a task.
struct Leader {
    task: Id,
    commands: mpsc::Sender<Vec<Command>>,
    followed: BTreeMap<Key, Following>,
}

/// Lists of commands that may wait for a fetcher.
const COMMANDS_MAX: usize = 16;

type Tasks = JoinSet<()>;

impl Overseer {
    async fn run(mut self, mut changes: Changes, stop: CancellationToken) {
        let mut tasks = Tasks::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                received = changes.recv() => match received {
                    Some(list) => self.apply(list, &mut tasks).await,
                    None => break,
                },
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    if let Err(error) = ended {
                        self.revive(&error, &mut tasks).await;
                    }
                }
            }
        }
        tasks.shutdown().await;
    }

    async fn apply(&mut self, changes: Vec<Change>, tasks: &mut Tasks) {
        let mut commands: BTreeMap<BrokerId, Vec<Command>> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Stop(key) => self.unfollow(key, &mut commands),
                Change::Follow(following) => self.follow(following, &mut commands, tasks),
            }
        }
        for (leader, commands) in commands {
            if let Some(leader) = self.leaders.get(&leader) {
                // One that died is revived with all that it is to follow.
                let _ = leader.commands.send(commands).await;
            }
        }
        // A leader of nothing needs no connection.
        self.leaders.retain(|_, leader| !leader.followed.is_empty());
    }

    fn unfollow(&mut self, key: Key, commands: &mut BTreeMap<BrokerId, Vec<Command>>) {
        let Some(broker) = self.leader_of.remove(&key) else { return };
        if let Some(leader) = self.leaders.get_mut(&broker) {
            leader.followed.remove(&key);
            commands.entry(broker).or_default().push(Command::Stop(key));
        }
    }

    fn follow(
        &mut self,
        following: Following,
        commands: &mut BTreeMap<BrokerId, Vec<Command>>,
        tasks: &mut Tasks,
    ) {
        let (key, broker) = (following.key, following.leader);
        if self.leader_of.get(&key).is_some_and(|former| *former != broker) {
            self.unfollow(key, commands);
        }
        let parts = &self.parts;
        let leader =
            self.leaders.entry(broker).or_insert_with(|| Leader::start(broker, parts, tasks));
        let is_known = leader.followed.get(&key).is_some_and(|known| {
            known.leader_epoch == following.leader_epoch
                && Arc::ptr_eq(&known.handle, &following.handle)
        });
        if is_known {
            return;
        }
        self.leader_of.insert(key, broker);
        leader.followed.insert(key, following.clone());
        commands.entry(broker).or_default().push(Command::Follow(following));
    }

    /// A fetcher panicked: another takes its place.
    async fn revive(&mut self, error: &JoinError, tasks: &mut Tasks) {
        let dead = self.leaders.iter_mut().find(|(_, leader)| leader.task == error.id());
        let Some((&broker, dead)) = dead else { return };
        tracing::error!(leader = %broker, %error, "a fetcher ended; another is started");
        self.parts.figures.dead.inc();
        let followed = std::mem::take(&mut dead.followed);
        let leader = Leader::start(broker, &self.parts, tasks);
        let commands = followed.values().cloned().map(Command::Follow).collect();
        let _ = leader.commands.send(commands).await;
        self.leaders.insert(broker, Leader { followed, ..leader });
    }
}

impl Leader {
    fn start(broker: BrokerId, parts: &Arc<Parts>, tasks: &mut Tasks) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let fetcher = Fetcher::new(broker, Arc::clone(parts));
        let task = tasks.spawn(fetcher.run(received)).id();
        Self { task, commands, followed: BTreeMap::new() }
    }
}
