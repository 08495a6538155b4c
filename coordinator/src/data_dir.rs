//! The coordinator's folder: locked while the process lives, and holding what must survive it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ottla_metadata::model::Recovery;
use serde::{Deserialize, Serialize};

/// A folder that no other process uses.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Holds the lock until it is dropped.
    _lock: File,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another coordinator runs in it.
    #[error(
        "the data folder {path} is in use by another process: give every coordinator its own data.dir"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The folder or the file in it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its file makes no sense.
    #[error(
        "{path} is not readable ({reason}): restore it, or remove it if the store was never restored from a backup"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the text stops making sense.
        reason: String,
    },
}

/// The newest state of the store that this node has seen. A store that is behind it was restored from an
/// older state and must not be served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HighestSeen {
    /// Tells one store from another; 0 = none was seen.
    pub store_id: u64,
    /// Highest revision.
    pub revision: i64,
    /// Highest term of a controller.
    pub term: i64,
    /// The last recovery of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

impl DataDir {
    /// Creates the folder if need be, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(DataDirError::Locked { path: path.to_owned() })
            }
            Err(fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a former life has seen; zeros if there was none.
    pub fn highest_seen(&self) -> Result<HighestSeen, DataDirError> {
        let path = self.path.join(SEEN);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| DataDirError::Malformed { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HighestSeen::default()),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// Keeps what was seen: written beside, synced, then moved into its place.
    pub fn keep_highest_seen(&self, seen: HighestSeen) -> Result<(), DataDirError> {
        let path = self.path.join(SEEN);
        let write = || {
            let draft = self.path.join(DRAFT);
            let text = serde_json::to_vec(&seen).map_err(io::Error::other)?;
            fs::write(&draft, text)?;
            File::open(&draft)?.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| DataDirError::Io { path: path.clone(), source })
    }
}

/// The last recovery of the cluster that the coordinator of this folder knows of. Fails while it runs.
///
/// # Errors
/// When the folder is in use or cannot be read.
pub fn seen_recovery(folder: &Path) -> Result<Option<Recovery>, DataDirError> {
    let failed = |source| DataDirError::Io { path: folder.to_owned(), source };
    // Opening makes a folder that is missing.
    fs::read_dir(folder).map_err(failed)?;
    Ok(DataDir::open(folder)?.highest_seen()?.recovery)
}

const LOCK: &str = ".lock";
const SEEN: &str = "highest-seen.json";
const DRAFT: &str = "highest-seen.json.new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_belongs_to_one_process_and_remembers() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let dir = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Locked { .. })));
        assert_eq!(dir.highest_seen().unwrap(), HighestSeen::default());
        let recovery = Some(Recovery { number: 1, id: ottla_protocol::Uuid::ONE });
        let seen = HighestSeen { store_id: 7, revision: 8, term: 9, recovery };
        dir.keep_highest_seen(seen).unwrap();
        drop(dir);
        assert_eq!(DataDir::open(&path).unwrap().highest_seen().unwrap(), seen);
    }

    #[test]
    fn garbage_is_an_error_that_names_the_file() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        fs::write(temp.path().join(SEEN), b"{").unwrap();
        let error = dir.highest_seen().unwrap_err();
        assert!(error.to_string().contains("highest-seen.json"), "{error}");
    }
}
