//! What a broker remembers beside its logs: how new the store was, and the lease of its claim.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ottla_metadata::store::LeaseId;
use serde::{Deserialize, Serialize};

/// Files in the first log directory. Writing them is only sound while that directory is locked.
#[derive(Debug, Clone)]
pub struct Memory {
    dir: PathBuf,
}

/// The newest state of the store that this broker has seen. A store that is behind it was restored from
/// an older state, and its epochs must not be believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighestSeen {
    /// Tells one store from another; 0 = none was seen.
    pub store_id: u64,
    /// Highest revision.
    pub revision: i64,
    /// Highest term of a controller.
    pub term: i64,
}

/// What is remembered cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text.
    #[error(
        "{} is not readable ({reason}): restore it, or remove it if the metadata store was never \
         restored from a backup", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the text stops making sense.
        reason: String,
    },
}

pub(super) const SEEN: &str = "highest-seen.json";
const DRAFT: &str = "highest-seen.json.new";
const LEASE: &str = "broker-lease";

impl Memory {
    /// In this directory, which may not exist yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// What a former life has seen; zeros if there was none.
    pub fn highest_seen(&self) -> Result<HighestSeen, MemoryError> {
        let path = self.dir.join(SEEN);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| MemoryError::Malformed { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HighestSeen::default()),
            Err(source) => Err(MemoryError::Io { path, source }),
        }
    }

    /// Keeps what was seen; durable when this returns. Waits for the disk.
    pub fn keep_highest_seen(&self, seen: HighestSeen) -> Result<(), MemoryError> {
        let path = self.dir.join(SEEN);
        let write = || {
            let draft = self.dir.join(DRAFT);
            fs::write(&draft, serde_json::to_vec(&seen).map_err(io::Error::other)?)?;
            File::open(&draft)?.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| MemoryError::Io { path: path.clone(), source })
    }

    /// The lease that the former life left, if any.
    pub fn lease(&self) -> Option<LeaseId> {
        let text = fs::read_to_string(self.dir.join(LEASE)).ok()?;
        text.trim().parse().ok().map(LeaseId)
    }

    /// Remembers a lease. It only saves time, so a failure is logged and no more.
    pub fn remember_lease(&self, lease: LeaseId) {
        let path = self.dir.join(LEASE);
        if let Err(error) = fs::write(&path, lease.0.to_string()) {
            tracing::warn!(%error, path = %path.display(), "cannot remember the lease of the claim");
        }
    }

    /// There is nothing to remember any more.
    pub fn forget_lease(&self) {
        match fs::remove_file(self.dir.join(LEASE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "cannot forget the lease of the claim");
            }
            _ => {}
        }
    }
}
