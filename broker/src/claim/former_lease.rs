//! The lease of this broker's claim, remembered so that a restart need not wait for it to end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ottla_metadata::store::LeaseId;

/// A file in the first log directory. Reading it is only sound while that directory is locked: then the
/// life that wrote it has ended.
#[derive(Debug, Clone)]
pub struct FormerLease {
    path: PathBuf,
}

const FILE: &str = "broker-lease";

impl FormerLease {
    /// In this directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join(FILE) }
    }

    /// The lease that the former life left, if any.
    pub fn read(&self) -> Option<LeaseId> {
        let text = fs::read_to_string(&self.path).ok()?;
        text.trim().parse().ok().map(LeaseId)
    }

    /// Remembers a lease. It only saves time, so a failure is logged and no more.
    pub fn remember(&self, lease: LeaseId) {
        if let Err(error) = fs::write(&self.path, lease.0.to_string()) {
            let path = self.path.display();
            tracing::warn!(%error, %path, "cannot remember the lease of the claim");
        }
    }

    /// There is nothing to remember any more.
    pub fn forget(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "cannot forget the lease of the claim");
            }
            _ => {}
        }
    }
}
