//! How the former life of a log dir ended: `.running` while it is in use, `.kafka_cleanshutdown` after an orderly end.
//!
//! A crash of the process leaves what the kernel holds; a crash of the machine does not. They are told apart by the
//! machine's boot id. What was found is kept in `.running` until the cluster was told, so that a second crash, of the
//! process only, does not hide the first.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::atomic_file;
use crate::io::LogIo;
use crate::paths::{CLEAN_SHUTDOWN, RUNNING};

/// How the former life of a log dir ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviousLife {
    /// There was none: the dir is new.
    New,
    /// In an orderly way: every record is durable.
    Clean {
        /// The broker epoch of that life, where it is on record.
        broker_epoch: Option<i64>,
    },
    /// The process ended, but not the machine, and no disk error was seen: what was written is still there.
    ProcessCrash {
        /// The broker epoch of that life, where it had one.
        broker_epoch: Option<i64>,
    },
    /// The machine crashed, a disk failed, or nobody knows: records that were not synced may be lost. Such a broker has to
    /// leave the in-sync replicas.
    MachineCrash {
        /// The broker epoch of that life, where it is on record.
        broker_epoch: Option<i64>,
    },
}

/// The content of `.running`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Running {
    pub v: i32,
    pub boot_id: String,
    /// −1 until the cluster has given one.
    pub broker_epoch: i64,
    /// A write or a sync failed.
    #[serde(default)]
    pub io_error: bool,
    /// The life before this one ended in a machine crash that the cluster was not yet told of.
    #[serde(default)]
    pub unreported_machine_crash: bool,
}

impl Running {
    pub(super) fn write<I: LogIo>(&self, io: &I, dir: &Path) -> io::Result<()> {
        let content = serde_json::to_vec(self).map_err(io::Error::other)?;
        atomic_file::replace(io, &dir.join(RUNNING), &content)
    }
}

/// The content of Kafka's `.kafka_cleanshutdown`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CleanShutdown {
    version: i32,
    #[serde(default = "no_epoch")]
    broker_epoch: i64,
}

fn no_epoch() -> i64 {
    -1
}

/// Reads how the former life ended. `has_partitions`: a dir without markers is new only if nothing is in it.
pub(crate) fn previous_life<I: LogIo>(
    io: &I,
    dir: &Path,
    boot_id: &str,
    has_partitions: bool,
) -> io::Result<PreviousLife> {
    let known = |epoch: i64| (0 <= epoch).then_some(epoch);
    if let Some(content) = atomic_file::read_optional(io, &dir.join(CLEAN_SHUTDOWN))? {
        // Kafka before 3.7 left the file empty: its being there says it all.
        let epoch =
            serde_json::from_slice::<CleanShutdown>(&content).map_or(-1, |c| c.broker_epoch);
        return Ok(PreviousLife::Clean { broker_epoch: known(epoch) });
    }
    let Some(content) = atomic_file::read_optional(io, &dir.join(RUNNING))? else {
        return Ok(if has_partitions {
            PreviousLife::MachineCrash { broker_epoch: None }
        } else {
            PreviousLife::New
        });
    };
    let running: Running = match serde_json::from_slice(&content) {
        Ok(running) => running,
        Err(error) => {
            warn!(dir = %dir.display(), %error, "cannot tell how the broker ended; taken for a machine crash");
            return Ok(PreviousLife::MachineCrash { broker_epoch: None });
        }
    };
    let broker_epoch = known(running.broker_epoch);
    let is_mild =
        running.boot_id == boot_id && !running.io_error && !running.unreported_machine_crash;
    Ok(if is_mild {
        PreviousLife::ProcessCrash { broker_epoch }
    } else {
        PreviousLife::MachineCrash { broker_epoch }
    })
}

/// Begins a life: from now on, anything but an orderly end is a crash. Durable when this returns.
pub(super) fn begin<I: LogIo>(io: &I, dir: &Path, running: &Running) -> io::Result<()> {
    running.write(io, dir)?;
    atomic_file::remove(io, &dir.join(CLEAN_SHUTDOWN))?;
    Ok(())
}

/// Ends a life in an orderly way. Everything else must be durable before.
pub(super) fn end<I: LogIo>(io: &I, dir: &Path, broker_epoch: i64) -> io::Result<()> {
    let content = CleanShutdown { version: 0, broker_epoch };
    let content = serde_json::to_vec(&content).map_err(io::Error::other)?;
    atomic_file::replace(io, &dir.join(CLEAN_SHUTDOWN), &content)?;
    atomic_file::remove(io, &dir.join(RUNNING))?;
    Ok(())
}
