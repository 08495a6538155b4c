//! What became of a record.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{FutureExt, Shared};
use ottla_protocol::ErrorCode;
use ottla_protocol::record_batch::BuildError;
use ottla_protocol::types::{Offset, PartitionId};
use tokio::sync::oneshot;

use crate::error::ClientError;

/// Where and when a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset; −1 with `acks=0`, and where a duplicate's first offset is no longer known.
    pub offset: Offset,
    /// Unix ms: its own, or the broker's where the topic has LogAppendTime.
    pub timestamp: i64,
}

/// Why a record was not written, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The broker refuses it, or did so until there was no time left.
    #[error("{}: {message}", .code.name())]
    Refused {
        /// Why.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// Not acknowledged in time. It may have been written.
    #[error("not acknowledged within {after:?}; last: {last}")]
    TimedOut {
        /// The time allowed.
        after: Duration,
        /// How the last attempt ended.
        last: String,
    },
    /// The broker cannot be talked to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The batch cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The producer was dropped. It may have been written.
    #[error("the producer was dropped before the record was acknowledged")]
    Dropped,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) base_offset: Offset,
    /// The broker's time for all records, if it gave them one.
    pub(super) append_time: Option<i64>,
}

pub(super) type BatchResult = Result<Written, Arc<DeliveryError>>;
pub(super) type BatchDone = Shared<oneshot::Receiver<BatchResult>>;

/// A future of what becomes of a record. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Delivery {
    batch: BatchDone,
    partition: PartitionId,
    /// Position in the batch.
    index: i32,
    timestamp: i64,
}

impl Delivery {
    pub(super) fn new(
        batch: BatchDone,
        partition: PartitionId,
        index: i32,
        timestamp: i64,
    ) -> Self {
        Self { batch, partition, index, timestamp }
    }

    /// The partition that the record goes to.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let written = match ready!(self.batch.poll_unpin(context)) {
            Err(_) => return Poll::Ready(Err(DeliveryError::Dropped)),
            Ok(Err(error)) => return Poll::Ready(Err((*error).clone())),
            Ok(Ok(written)) => written,
        };
        let known = written.base_offset != Offset::NONE;
        let offset = if known { written.base_offset + i64::from(self.index) } else { Offset::NONE };
        let timestamp = written.append_time.unwrap_or(self.timestamp);
        Poll::Ready(Ok(RecordMetadata { partition: self.partition, offset, timestamp }))
    }
}
