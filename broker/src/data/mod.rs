//! The data plane: log directories, their workers, and the task that gives them their replicas.
//!
//! Life: [`LogDirs::open`] locks the directories and tells how the last life ended, which the broker's
//! claim has to say; [`LogDirs::recover`] opens the logs; [`DataPlane::start`] serves them as the image
//! says; [`DataPlane::shutdown`] leaves them so that the next start reads nothing again.

mod assigner;
mod checkpoints;
pub mod desired;
mod dir;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::config::ServerConfig;
use ottla_metadata::image::{Image, ImageReader};
use ottla_protocol::types::BrokerId;
use ottla_protocol::{Str, Uuid};
use ottla_storage::{
    DirIdentity, LoadError, Log, LogDir, LogIo, OpenDirError, PreviousLife, RecoverOptions,
    RecoveryProgress, TopicPartition,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use self::assigner::Assigner;
use self::desired::SettingsResolver;
use self::dir::Dir;
use crate::clock::Clock;
use crate::data_path::{DataLimits, DataPath, LogDirStatus};
use crate::replication::Feed;
use crate::worker::DATA_BYTES_MAX;

/// What the data plane needs to know of its broker.
#[derive(Debug, Clone)]
pub struct DataConfig {
    /// `node.id`.
    pub broker: BrokerId,
    /// The cluster's id: directories of another are refused.
    pub cluster_id: Str,
    /// The machine's boot id.
    pub boot_id: String,
    /// `log.dirs`, at least one.
    pub log_dirs: Vec<PathBuf>,
    /// All settings of the node's file, of which topics inherit.
    pub server: Arc<ServerConfig>,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads: usize,
    /// Log workers per directory, 1 to 4. Default 1 per two cores.
    pub workers_per_dir: usize,
    /// Bytes of appends that may wait for one worker. Default 64 MiB.
    pub worker_queue_bytes: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// Bounds of the handlers.
    pub limits: DataLimits,
}

/// The opened, locked directories.
#[derive(Debug)]
pub struct LogDirs<I: LogIo> {
    config: DataConfig,
    dirs: Vec<Arc<LogDir<I>>>,
    recovered: Vec<(usize, Log<I>)>,
    failed: Vec<(TopicPartition, LoadError)>,
}

/// Running workers and their assigner. Dropped without [`DataPlane::shutdown`] it leaves what a crash
/// leaves.
#[derive(Debug)]
pub struct DataPlane {
    /// What handlers use.
    pub path: Arc<DataPath>,
    /// Ids of directories that failed since the start, for heartbeats.
    pub offline_dirs: watch::Receiver<Vec<Uuid>>,
    /// Ends the assigner and everything below it.
    stop: mpsc::Sender<Stop>,
    assigner: JoinHandle<()>,
}

/// The wish to end, with the broker epoch for the clean-shutdown mark.
struct Stop {
    broker_epoch: i64,
    done: oneshot::Sender<()>,
}

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory cannot be used.
    #[error(transparent)]
    Dir(#[from] OpenDirError),
    /// No thread can be started.
    #[error("cannot start a log worker: {0}")]
    Thread(#[from] io::Error),
}

impl DataConfig {
    /// The defaults for everything that the node's file does not say, and what it says.
    pub fn new(
        server: Arc<ServerConfig>,
        broker: BrokerId,
        cluster_id: Str,
        boot_id: String,
        log_dirs: Vec<PathBuf>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let count = |name| usize::try_from(server.int(name)).unwrap_or(0);
        let limits = DataLimits {
            fetch_session_slots: count("max.incremental.fetch.session.cache.slots"),
            fetch_bytes_max: u32::try_from(server.int("fetch.max.bytes")).unwrap_or(0),
            is_rack_aware: is_rack_aware(&server),
            leader_throttled_rate: server.long("leader.replication.throttled.rate"),
            ..DataLimits::default()
        };
        Self {
            broker,
            cluster_id,
            boot_id,
            log_dirs,
            recovery_threads: count("num.recovery.threads.per.data.dir").max(1),
            workers_per_dir: (cores / 2).clamp(1, 4),
            worker_queue_bytes: DATA_BYTES_MAX,
            lag_max: server.millis("replica.lag.time.max.ms"),
            limits,
            server,
        }
    }
}

/// Kafka's own selector of replicas for consumers, the only one that there is here.
const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

fn is_rack_aware(server: &ServerConfig) -> bool {
    match server.text("replica.selector.class").as_deref() {
        Some(RACK_AWARE) => true,
        None | Some("") => false,
        Some(other) => {
            tracing::warn!(
                other,
                "replica.selector.class is not known; consumers read from leaders"
            );
            false
        }
    }
}

/// The worst of these ends.
pub(crate) fn worst_life(lives: impl Iterator<Item = PreviousLife>) -> PreviousLife {
    let badness = |life: &PreviousLife| match life {
        PreviousLife::New => 0,
        PreviousLife::Clean { .. } => 1,
        PreviousLife::ProcessCrash { .. } => 2,
        PreviousLife::MachineCrash { .. } => 3,
    };
    lives.max_by_key(badness).unwrap_or(PreviousLife::New)
}

impl<I: LogIo> LogDirs<I> {
    /// Opens and locks the directories; makes those that are missing. Waits for the disk.
    pub fn open(io: &I, config: DataConfig) -> Result<Self, OpenDirError> {
        let mut dirs = Vec::with_capacity(config.log_dirs.len());
        for path in &config.log_dirs {
            let identity = DirIdentity {
                cluster_id: config.cluster_id.to_string(),
                node_id: config.broker.0,
                boot_id: config.boot_id.clone(),
                new_directory_id: Uuid::from_bytes(rand::random()),
                open_files_max: DirIdentity::OPEN_FILES_MAX,
            };
            dirs.push(Arc::new(LogDir::open(io.clone(), path, &identity)?));
        }
        Ok(Self { config, dirs, recovered: Vec::new(), failed: Vec::new() })
    }

    /// The directories' ids, in the order of `log.dirs`.
    pub fn ids(&self) -> Vec<Uuid> {
        self.dirs.iter().map(|dir| dir.id()).collect()
    }

    /// The worst end that any of them had.
    pub fn previous_life(&self) -> PreviousLife {
        worst_life(self.dirs.iter().map(|dir| dir.previous_life()))
    }

    /// Notes the broker epoch of this life, once the cluster knows how the last one ended. Waits for the
    /// disk.
    pub fn set_broker_epoch(&self, epoch: i64) {
        for dir in &self.dirs {
            if let Err(error) = dir.set_broker_epoch(epoch) {
                tracing::error!(%error, "the broker epoch cannot be noted");
            }
        }
    }

    /// Opens all logs, recovering them if need be. `image` tells their configurations as far as it is
    /// known. Waits for the disk, possibly long.
    pub fn recover(&mut self, image: &Image) -> Result<(), OpenDirError> {
        let resolver = SettingsResolver::new(self.config.broker, Arc::clone(&self.config.server));
        for (number, dir) in self.dirs.iter().enumerate() {
            let of_partition =
                |partition: &TopicPartition| resolver.by_name(image, &partition.topic).log.clone();
            let path = dir.path().to_owned();
            let report = move |progress: RecoveryProgress| {
                if progress.done.is_multiple_of(PROGRESS_STEP) && progress.done < progress.total {
                    let RecoveryProgress { done, total } = progress;
                    tracing::info!(dir = %path.display(), done, total, "opening logs");
                }
            };
            let recovered = dir.recover(&RecoverOptions {
                threads: self.config.recovery_threads,
                config: &of_partition,
                progress: &report,
            })?;
            self.recovered.extend(recovered.logs.into_iter().map(|log| (number, log)));
            self.failed.extend(recovered.failed);
        }
        Ok(())
    }
}

/// Logs between two reports of progress.
const PROGRESS_STEP: usize = 500;

impl DataPlane {
    /// Starts the workers, and the task that follows the image. `broker_epoch` is −1 until the broker's
    /// claim was accepted.
    pub fn start<I: LogIo>(
        dirs: LogDirs<I>,
        image: ImageReader,
        broker_epoch: watch::Receiver<i64>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        Self::start_following(dirs, image, broker_epoch, clock, None)
    }

    /// As [`DataPlane::start`]; `feed` is told of the replicas here that are to follow a leader elsewhere.
    pub fn start_following<I: LogIo>(
        dirs: LogDirs<I>,
        image: ImageReader,
        broker_epoch: watch::Receiver<i64>,
        clock: &Arc<dyn Clock>,
        feed: Option<Feed>,
    ) -> Result<Self, StartError> {
        let LogDirs { config, dirs, recovered, failed } = dirs;
        let status =
            |dir: &Arc<LogDir<I>>| Arc::new(LogDirStatus::new(dir.path().to_owned(), dir.id()));
        let statuses: Vec<_> = dirs.iter().map(status).collect();
        let path = DataPath::new(config.broker, image.clone(), statuses, config.limits);
        let (failure_sender, failures) = mpsc::channel(dirs.len() * MESSAGES_PER_DIR);
        let started: Result<Vec<Dir<I>>, io::Error> = (dirs.into_iter().enumerate())
            .map(|(number, dir)| {
                Dir::start((number, dir), &config, (clock, &failure_sender), &path.proposals)
            })
            .collect();
        let (offline_sender, offline_dirs) = watch::channel(Vec::new());
        let (stop, stops) = mpsc::channel(1);
        let assigner = Assigner::new(assigner::Parts {
            path: Arc::clone(&path),
            dirs: started?,
            recovered,
            failed: failed.into_iter().map(|(partition, _)| partition).collect(),
            resolver: SettingsResolver::new(config.broker, Arc::clone(&config.server)),
            offline: offline_sender,
            feed,
        });
        let events = assigner::Events { image, broker_epoch, failures, stops };
        let assigner = tokio::spawn(assigner.run(events));
        Ok(Self { path, offline_dirs, stop, assigner })
    }

    /// Ends the workers, syncs every log and leaves the mark of an orderly end with `broker_epoch`.
    /// Requests have to be over.
    pub async fn shutdown(self, broker_epoch: i64) {
        let (done, is_done) = oneshot::channel();
        if self.stop.send(Stop { broker_epoch, done }).await.is_ok() {
            let _ = is_done.await;
        }
        if let Err(error) = self.assigner.await {
            tracing::error!(%error, "the assigner did not end in order");
        }
    }
}

/// A directory fails once for each of its workers, and once more for its assigner.
const MESSAGES_PER_DIR: usize = 8;

#[cfg(test)]
mod tests;
