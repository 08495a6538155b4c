//! Why a call to the store failed.

use super::types::{LeaseId, Limits};

/// The call did not happen. A write that *may* have happened is no error but
/// [`Outcome::Unknown`](super::Outcome::Unknown).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No member answered within the deadline.
    #[error("the metadata store does not answer ({reason}): check that etcd runs and is reachable")]
    Unavailable {
        /// What was seen.
        reason: String,
    },
    /// The store takes no writes for want of room.
    #[error(
        "the metadata store is out of space: compact and defragment etcd, or raise its quota, then \
         `etcdctl alarm disarm`"
    )]
    NoSpace,
    /// User, password or certificate are wrong, or the user may not touch the key.
    #[error(
        "the metadata store refused access ({reason}): check the etcd user, password, certificate \
         and role"
    )]
    Denied {
        /// What the store said.
        reason: String,
    },
    /// The revision is no longer kept.
    #[error("revision is older than the compacted revision {compacted}")]
    Compacted {
        /// The oldest revision still kept, 0 if the store did not say.
        compacted: i64,
    },
    /// The lease expired or was never granted.
    #[error("lease {0} does not exist")]
    LeaseNotFound(LeaseId),
    /// Split the write.
    #[error(
        "{operations} operations are more than the {} of a transaction",
        Limits::OPERATIONS_MAX
    )]
    TooManyOperations {
        /// How many.
        operations: usize,
    },
    /// Split the write or refuse the value.
    #[error("{size} bytes are more than the {} of a request", Limits::REQUEST_BYTES_MAX)]
    TooLarge {
        /// How many, about.
        size: usize,
    },
    /// A transaction writes a key twice.
    #[error("a transaction writes {key} twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The call can never succeed.
    #[error("the metadata store refused the request: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

impl StoreError {
    /// True if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NoSpace)
    }
}
