//! A watch on one member. It ends when the member does; the reader resumes it elsewhere.

use std::time::Duration;

use etcd_client::{WatchRequestSender, WatchResponse, WatchResponseStream};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::convert;
use super::error::Failure;
use super::version::Progress;
use crate::store::{BoxFuture, StoreError, Watch, WatchBatch, WatchItem};

pub(super) struct EtcdWatch {
    pub(super) requests: WatchRequestSender,
    pub(super) responses: WatchResponseStream,
    pub(super) progress: Progress,
    /// The first revision that the reader wants; the watch itself starts one before it, so that a compaction
    /// of that revision is noticed although old etcds drop its deletions silently.
    pub(super) from: i64,
    /// Everything up to here was delivered.
    pub(super) delivered: i64,
    pub(super) heard_at: Instant,
    /// Progress was asked for since.
    pub(super) asked: bool,
    /// How long the stream may be silent although it was asked.
    pub(super) silence_max: Duration,
    pub(super) ended: bool,
}

/// What the first message says.
pub(super) fn created(response: &WatchResponse) -> Result<(), StoreError> {
    if !response.canceled() {
        return Ok(());
    }
    let reason = response.cancel_reason().to_owned();
    Err(if reason.contains("permission denied") {
        StoreError::Denied { reason }
    } else if 0 < response.compact_revision() {
        StoreError::Compacted { compacted: response.compact_revision() }
    } else {
        StoreError::Unavailable { reason }
    })
}

impl EtcdWatch {
    fn take(&mut self, response: &WatchResponse) -> Option<WatchItem> {
        if 0 < response.compact_revision() {
            return Some(self.end(WatchItem::Compacted { compacted: response.compact_revision() }));
        }
        if response.canceled() {
            let reason = response.cancel_reason().to_owned();
            return Some(self.end(WatchItem::Broken { reason }));
        }
        if response.created() {
            return None;
        }
        if response.events().is_empty() {
            let revision = response.header().map_or(0, etcd_client::ResponseHeader::revision);
            // The start of the watch may lie behind the revision of a member that lags.
            if self.progress == Progress::Ordered {
                self.delivered = self.delivered.max(revision);
            }
            let batch = WatchBatch { revision: self.delivered, events: vec![] };
            return Some(WatchItem::Batch(batch));
        }
        // The header tells the revision of the store, which a watch that catches up has not reached.
        let events = response.events().iter().filter_map(convert::event);
        let events: Vec<_> = events.filter(|event| self.from <= event.revision()).collect();
        let last = events.last()?.revision();
        self.delivered = self.delivered.max(last);
        Some(WatchItem::Batch(WatchBatch { revision: self.delivered, events }))
    }

    fn end(&mut self, item: WatchItem) -> WatchItem {
        self.ended = true;
        item
    }

    /// How long to wait for the next message, and whether silence until then is the end.
    fn patience(&self, now: Instant) -> (Duration, bool) {
        if self.progress == Progress::Unreliable {
            return (FOREVER, false);
        }
        let left = (self.heard_at + self.silence_max).saturating_duration_since(now);
        // Ask in time to hear before the silence counts as the end; and one who was not listening asks first.
        let step = self.silence_max / 3;
        if self.asked && left <= step { (left.max(MOMENT), true) } else { (step, false) }
    }
}

impl Watch for EtcdWatch {
    fn next(&mut self) -> BoxFuture<'_, WatchItem> {
        Box::pin(async move {
            while !self.ended {
                let (patience, last) = self.patience(Instant::now());
                match tokio::time::timeout(patience, self.responses.message()).await {
                    Ok(Ok(Some(response))) => {
                        self.heard_at = Instant::now();
                        self.asked = false;
                        if let Some(item) = self.take(&response) {
                            return item;
                        }
                    }
                    Ok(Ok(None)) => {
                        return self
                            .end(WatchItem::Broken { reason: "the member closed it".into() });
                    }
                    Ok(Err(error)) => {
                        let reason = Failure::from(error).into_error().to_string();
                        return self.end(WatchItem::Broken { reason });
                    }
                    Err(_) if last => {
                        let silence = self.silence_max;
                        let reason = format!("the member was silent for {silence:?}");
                        return self.end(WatchItem::Broken { reason });
                    }
                    Err(_) => self.request_progress(),
                }
            }
            WatchItem::Broken { reason: "the watch has ended".into() }
        })
    }

    fn request_progress(&mut self) {
        // A full queue of requests means that enough of them are under way.
        let _ = self.requests.request_progress().now_or_never();
        self.asked = true;
    }

    fn tells_progress(&self) -> bool {
        self.progress == Progress::Ordered
    }
}

impl std::fmt::Debug for EtcdWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdWatch").field("delivered", &self.delivered).finish_non_exhaustive()
    }
}

/// Enough to take what has already arrived.
const MOMENT: Duration = Duration::from_millis(10);
const FOREVER: Duration = Duration::from_secs(3600);
