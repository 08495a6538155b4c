//! Fetch, 4 to 18: batches from partitions, as soon as there are enough of them.
//!
//! - Answers at once when `min_bytes` are there, when something went wrong or diverged, when `max_wait_ms`
//!   is 0 or nothing is asked for; else it waits for high watermarks (or last stable offsets) to move.
//! - Whole batches are returned; the first may begin before the offset asked for. The first batch of the
//!   first partition that has one is returned whatever the limits. Order in the request matters.
//! - An offset below the log's start or above its end is OFFSET_OUT_OF_RANGE; one above the high watermark
//!   gets nothing, and no error.
//! - 7 has sessions (KIP-227), 9 fences by leader epoch, 11 knows racks, 12 detects truncation by the last
//!   fetched epoch, 13 names topics by id, 16 tells who leads (KIP-951).
//! - Records are never opened: zstd goes out as it is stored, and old formats cannot be asked for.
//! - A replica that fetches is refused: partitions have one replica so far.
//!
//! The ordered part takes the session's next epoch and its changes; reading is the parallel part.

mod begin;
mod read;
mod respond;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::fetch_request::FetchRequest;

use self::begin::{Begun, begin};
use super::{Answer, Handler, Reply, RequestContext};
use crate::data_path::DataPath;
use crate::fetch_session::Session;
use crate::services::Services;

/// Serves Fetch.
#[derive(Debug)]
pub struct Fetch;

/// What a fetch is allowed to return, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    max_wait: Duration,
    min_bytes: u64,
    max_bytes: u32,
    is_committed_only: bool,
    /// A replica asks, by its broker id.
    is_replica: bool,
}

/// The parallel part of a fetch.
struct Poll {
    data: Arc<DataPath>,
    context: RequestContext,
    session: Arc<Session>,
    /// All partitions are answered: there is no session, or it is new.
    is_full: bool,
    /// The epoch that this request brought the session to.
    epoch: i32,
    terms: Terms,
}

impl Handler for Fetch {
    type Request = FetchRequest;
    const VERSIONS: RangeInclusive<i16> = 4..=18;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: FetchRequest,
    ) -> Answer {
        fetch(&services.data, context, request)
    }
}

/// The ordered part.
fn fetch(data: &Arc<DataPath>, context: &RequestContext, request: FetchRequest) -> Answer {
    let terms = Terms::of(&request, data);
    let Begun { session, is_full, epoch } = match begin(data, context, request) {
        Ok(begun) => begun,
        Err(error) => return Answer::Ready(respond::refusal(context, error)),
    };
    let (data, context) = (Arc::clone(data), context.clone());
    let poll = Poll { data, context, session, is_full, epoch, terms };
    Answer::later(poll.run())
}

impl Terms {
    fn of(request: &FetchRequest, data: &DataPath) -> Self {
        let replica = request.replica_id.max(request.replica_state.replica_id);
        Self {
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            min_bytes: u64::try_from(request.min_bytes).unwrap_or(0),
            max_bytes: u32::try_from(request.max_bytes).unwrap_or(0).min(data.fetch_bytes_max),
            is_committed_only: request.isolation_level == 1,
            is_replica: 0 <= replica,
        }
    }
}

impl Poll {
    async fn run(self) -> Reply {
        let timer = tokio::time::sleep(self.terms.max_wait);
        tokio::pin!(timer);
        let mut is_over = self.terms.max_wait.is_zero();
        // A session is a standing subscription; a single request subscribes only if it has to wait.
        let mut is_subscribed = self.session.id != 0;
        let mut indices = Vec::new();
        let (candidates, reading) = loop {
            self.session.watcher.begin();
            let candidates = read::find(&self, &mut indices, is_subscribed);
            let reading = read::read(&self, &candidates).await;
            let is_enough = reading.is_urgent || self.terms.min_bytes <= reading.bytes;
            if is_enough || is_over || self.session.is_empty() {
                break (candidates, reading);
            }
            if !is_subscribed {
                // What is published from here on wakes us; what was published before is read again.
                is_subscribed = true;
                continue;
            }
            let wanted = self.terms.min_bytes - reading.bytes;
            tokio::select! {
                () = self.session.watcher.wait(wanted) => {}
                () = &mut timer => is_over = true,
            }
        };
        respond::respond(&self, &candidates, reading)
    }
}

#[cfg(test)]
mod tests;
