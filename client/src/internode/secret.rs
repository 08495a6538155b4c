//! The secret that all nodes of a cluster know.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ring::hmac;

use crate::private_file::{self, PrivateFileError};

/// A secret of at least [`ClusterSecret::BYTES_MIN`] bytes. It is never shown.
#[derive(Clone)]
pub struct ClusterSecret(pub(super) hmac::Key);

/// The secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("the cluster's secret in {path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner may use its file.
    #[error(
        "{path} holds the cluster's secret, but others than its owner may read or write it (mode {mode:03o}): \
         run chmod 600 on it",
        path = path.display()
    )]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It can be guessed.
    #[error(
        "the cluster's secret in {path} has {length} bytes and needs at least {min}: make one with \
         `openssl rand -base64 48`",
        path = path.display(),
        min = ClusterSecret::BYTES_MIN
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length, without white space around it.
        length: usize,
    },
}

impl ClusterSecret {
    /// Shortest secret that is taken. A proof can be tried against guesses by whoever sees one, so a secret
    /// has to be beyond guessing.
    pub const BYTES_MIN: usize = 32;

    /// Reads the secret from a file that is its owner's alone. White space around it, such as the end of the
    /// line, is no part of it.
    ///
    /// # Errors
    /// Names the file, and says what to do.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let content = private_file::read(path).map_err(|error| match error {
            PrivateFileError::Io(source) => {
                SecretError::Unreadable { path: path.to_owned(), source }
            }
            PrivateFileError::Mode(mode) => SecretError::NotPrivate { path: path.to_owned(), mode },
        })?;
        let secret = content.trim_ascii();
        Self::new(secret)
            .ok_or_else(|| SecretError::TooShort { path: path.to_owned(), length: secret.len() })
    }

    /// These bytes as a secret, unless there are too few.
    pub fn new(secret: &[u8]) -> Option<Self> {
        let is_long = Self::BYTES_MIN <= secret.len();
        is_long.then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(content: &str, mode: u32) -> Result<ClusterSecret, SecretError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster-secret");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        ClusterSecret::read(&path)
    }

    #[test]
    fn secret_of_its_owner_alone_is_read() {
        let secret = read(&format!("{}\n", "s".repeat(32)), 0o600).unwrap();
        assert_eq!(format!("{secret:?}"), "ClusterSecret");
        read(&"s".repeat(32), 0o400).unwrap();
    }

    #[test]
    fn file_that_others_may_use_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
            let error = read(&"s".repeat(64), mode).unwrap_err();
            assert!(matches!(error, SecretError::NotPrivate { .. }), "{mode:o}: {error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn short_secret_is_refused_and_not_shown() {
        let error = read(&format!("  {}\n", "geheim".repeat(5)), 0o600).unwrap_err();
        assert!(matches!(error, SecretError::TooShort { length: 30, .. }), "{error}");
        assert!(!format!("{error}{error:?}").contains("geheim"), "{error}");
    }

    #[test]
    fn missing_file_is_named() {
        let error = ClusterSecret::read(Path::new("/no/such/secret")).unwrap_err();
        assert!(error.to_string().contains("/no/such/secret"), "{error}");
    }
}
