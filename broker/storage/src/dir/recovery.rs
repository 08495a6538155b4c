//! Opening all logs of a dir at once, and closing them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use super::{LogDir, PreviousLife, Running, markers, partitions_in};
use crate::config::LogConfig;
use crate::error::{LoadError, OpenDirError, StorageError};
use crate::io::LogIo;
use crate::log::{LoadReport, Log, Opening};
use crate::paths::{LogDirEntry, TopicPartition};

/// How to open the logs of a dir.
pub struct RecoverOptions<'a> {
    /// `num.recovery.threads.per.data.dir`: threads. At least 1 is used.
    pub threads: usize,
    /// The settings of a partition.
    pub config: &'a (dyn Fn(&TopicPartition) -> Arc<LogConfig> + Sync),
    /// Called after each log.
    pub progress: &'a (dyn Fn(RecoveryProgress) + Sync),
}

/// How far opening has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryProgress {
    /// Logs opened.
    pub done: usize,
    /// Logs in all.
    pub total: usize,
}

/// What opening did to one log.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// The log.
    pub partition: TopicPartition,
    /// What was done.
    pub report: LoadReport,
}

/// All logs of a dir.
#[derive(Debug)]
pub struct Recovered<I: LogIo> {
    /// Those that are open, by partition.
    pub logs: Vec<Log<I>>,
    /// Those that are not, and why. Their partitions are offline here.
    pub failed: Vec<(TopicPartition, LoadError)>,
    /// What was done to those that are open, in the same order.
    pub reports: Vec<LogReport>,
}

impl<I: LogIo> LogDir<I> {
    /// Begins this life of the dir: marks it as running, then opens every log in it, several at once. After an orderly end
    /// nothing is read but the ends of the logs; after a crash, what lies behind the last checkpoint. What is kept is synced
    /// before this returns. Waits for the disk. To be called once.
    pub fn recover(&self, options: &RecoverOptions<'_>) -> Result<Recovered<I>, OpenDirError> {
        let path = &self.state.path;
        let failed = |source| OpenDirError::Io { path: path.to_path_buf(), source };
        self.begin().map_err(failed)?;
        let opening = match self.previous_life {
            PreviousLife::New | PreviousLife::Clean { .. } => Opening::Clean,
            PreviousLife::ProcessCrash { .. } | PreviousLife::MachineCrash { .. } => {
                Opening::Recover
            }
        };
        let partitions = self.partitions().map_err(failed)?;
        let total = partitions.len();
        if 0 < total {
            info!(dir = %path.display(), logs = total, previous = ?self.previous_life, "opening logs");
        }
        let queue = Mutex::new(VecDeque::from(partitions));
        let (done, opened) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(total)));
        let work = || {
            loop {
                // Not in the loop's condition: the lock would be held while the log is opened.
                let next = lock(&queue).pop_front();
                let Some(partition) = next else {
                    return;
                };
                let config = (options.config)(&partition);
                let loaded = Log::load(&self.state, partition.clone(), config, opening);
                lock(&opened).push((partition, loaded));
                let done = 1 + done.fetch_add(1, Ordering::Relaxed);
                (options.progress)(RecoveryProgress { done, total });
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..options.threads.clamp(1, total.max(1)) {
                scope.spawn(work);
            }
            work();
        });
        let mut opened = opened.into_inner().unwrap_or_else(PoisonError::into_inner);
        opened.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut out = Recovered { logs: Vec::new(), failed: Vec::new(), reports: Vec::new() };
        for (partition, loaded) in opened {
            match loaded {
                Ok(loaded) => {
                    note(&partition, &loaded.report);
                    out.logs.push(loaded.log);
                    out.reports.push(LogReport { partition, report: loaded.report });
                }
                Err(error) => {
                    error!(%partition, %error, "log cannot be opened; the partition is offline here");
                    out.failed.push((partition, error));
                }
            }
        }
        // So that the next recovery begins where this one ended.
        if let Err(error) = self.write_checkpoints() {
            return Err(failed(std::io::Error::other(error)));
        }
        Ok(out)
    }

    fn begin(&self) -> std::io::Result<()> {
        let running = Running {
            v: 1,
            boot_id: self.boot_id.clone(),
            broker_epoch: -1,
            io_error: false,
            unreported_machine_crash: matches!(
                self.previous_life,
                PreviousLife::MachineCrash { .. }
            ),
        };
        markers::begin(&self.state.io, &self.state.path, &running)?;
        *self.state.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    fn partitions(&self) -> std::io::Result<Vec<TopicPartition>> {
        let entries = self.state.io.list(&self.state.path)?;
        for entry in &entries {
            if LogDirEntry::parse(&entry.name) == LogDirEntry::Future {
                warn!(
                    folder = entry.name,
                    "a copy of a partition that was being moved here is left alone"
                );
            }
        }
        Ok(partitions_in(&entries).collect())
    }
}

fn note(partition: &TopicPartition, report: &LoadReport) {
    if report.truncated_bytes != 0 || report.rebuilt_indexes != 0 {
        info!(%partition, ?report, "log recovered");
    }
}

/// Closes logs, several at once; the first error.
pub(super) fn close_all<I: LogIo>(logs: Vec<Log<I>>, threads: usize) -> Result<(), StorageError> {
    let threads = threads.min(logs.len().max(1));
    let queue = Mutex::new(logs);
    let outcome = Mutex::new(Ok(()));
    let work = || {
        loop {
            // Not in the loop's condition: the lock would be held while the log is closed.
            let next = lock(&queue).pop();
            let Some(mut log) = next else {
                return;
            };
            if let Err(error) = log.close() {
                let mut outcome = lock(&outcome);
                if outcome.is_ok() {
                    *outcome = Err(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for RecoverOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecoverOptions({} threads)", self.threads)
    }
}
