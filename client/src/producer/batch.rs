//! A batch on its way: filling, waiting, sent.

use std::sync::Arc;

use futures_util::future::FutureExt;
use ottla_protocol::record_batch::{Batch, Builder, BuilderOptions, HEADER_LEN, NewRecord};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::producer::delivery::{BatchDone, BatchResult, DeliveryError};

/// A batch that takes records.
#[derive(Debug)]
pub(super) struct FillingBatch {
    pub(super) builder: Builder,
    pub(super) fate: Fate,
}

/// A batch that is complete.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) batch: Batch,
    pub(super) fate: Fate,
    /// Counts up in the order of first sending, within the partition.
    pub(super) order: u64,
    /// How often it was sent in vain.
    pub(super) failures: u32,
}

/// What a batch owes its records: an answer, in time, and their memory.
#[derive(Debug)]
pub(super) struct Fate {
    done: oneshot::Sender<BatchResult>,
    pub(super) watch: BatchDone,
    /// When the first record was taken.
    pub(super) since: Instant,
    /// Bytes of the buffer to give back.
    pub(super) memory: usize,
    /// How the last attempt ended.
    pub(super) last: String,
}

impl FillingBatch {
    pub(super) fn new(options: BuilderOptions, now: Instant) -> Self {
        Self { builder: Builder::new(options), fate: Fate::new(now) }
    }
}

impl Fate {
    fn new(since: Instant) -> Self {
        let (done, watch) = oneshot::channel();
        Self { done, watch: watch.shared(), since, memory: 0, last: String::from("not sent") }
    }

    /// Tells the records what became of them. Returns the bytes to give back.
    pub(super) fn settle(self, result: Result<super::delivery::Written, DeliveryError>) -> usize {
        // Nobody may be interested.
        let _ = self.done.send(result.map_err(Arc::new));
        self.memory
    }
}

/// Most bytes that a record can add to a batch, its own header included.
pub(super) fn record_len_max(record: &NewRecord<'_>) -> usize {
    /// Varints of length, time and offset, attributes, and the lengths of key, value and the headers' count.
    const OVERHEAD: usize = 5 + 10 + 5 + 1 + 3 * 5;
    let bytes = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers: usize =
        record.headers.iter().map(|header| 10 + header.key.len() + bytes(header.value)).sum();
    HEADER_LEN + OVERHEAD + bytes(record.key) + bytes(record.value) + headers
}
