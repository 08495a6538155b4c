//! What a coordinator remembers about its own term, so that after a restart it need not wait for it to end.

use std::io;
use std::path::{Path, PathBuf};

use ottla_metadata::store::LeaseId;

/// A file with the lease of this node's last term.
///
/// Reading it is only sound while the folder is locked: then the life that wrote it has ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct FormerClaim {
    path: Option<PathBuf>,
}

impl FormerClaim {
    /// In a data folder that this process has locked.
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: Some(folder.join(FILE)) }
    }

    /// The lease that the former life left, if any.
    pub fn read(&self) -> Option<LeaseId> {
        let text = std::fs::read_to_string(self.path.as_ref()?).ok()?;
        text.trim().parse().ok().map(LeaseId)
    }

    /// Remembers a lease. It only saves time, so a failure is logged and no more.
    pub fn remember(&self, lease: LeaseId) {
        let Some(path) = &self.path else { return };
        if let Err(error) = std::fs::write(path, lease.0.to_string()) {
            tracing::warn!(%error, path = %path.display(), "cannot remember the election's lease");
        }
    }

    /// There is nothing to remember any more.
    pub fn forget(&self) {
        let Some(path) = &self.path else { return };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "cannot forget the election's lease");
            }
            _ => {}
        }
    }
}

const FILE: &str = "controller-lease";
