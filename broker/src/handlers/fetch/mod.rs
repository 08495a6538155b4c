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
//! - A replica reads up to the log's end, wakes when that moves, and only reads from the leader. Where it
//!   asks from, and in which epoch it read last, tell how far it has come: see [`progress`].
//! - A replica's session hears of a new high watermark or log start soon after, although there are no
//!   records: else consumers of that replica would not see the last ones until the next come, and
//!   DeleteRecords would wait.
//! - From 11 on followers serve consumers, below the high watermark that they know; a leader sends those
//!   in the rack of a follower there, if it is told to (KIP-392). Replica −2 (a tool that compares
//!   replicas) reads from anybody.
//! - A replica that catches up and is throttled gets no records while its leader sends too many: see [`hold`].
//!
//! The ordered part takes the session's next epoch and its changes; reading is the parallel part.

mod begin;
mod hold;
mod progress;
mod read;
mod respond;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::Str;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::types::BrokerId;

use self::begin::{Begun, begin};
use self::hold::Hold;
use self::read::{Candidate, PartitionRead, Reading};
use super::{Answer, Handler, Reply, RequestContext};
use crate::data_path::DataPath;
use crate::fetch_session::{Session, SessionOwner};
use crate::services::Services;

/// Serves Fetch.
#[derive(Debug)]
pub struct Fetch;

/// What a fetch is allowed to return, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Terms {
    max_wait: Duration,
    min_bytes: u64,
    max_bytes: u32,
    is_committed_only: bool,
    reader: Reader,
    /// Where a consumer is that would rather read nearby.
    rack: Option<Str>,
}

/// Who fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// A consumer that only leaders serve.
    Consumer,
    /// A consumer that any replica serves.
    Nearby,
    /// A replica.
    Replica {
        broker: BrokerId,
        /// Its life, −1 if it does not say.
        epoch: i64,
    },
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
    begun_at: tokio::time::Instant,
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
    let terms = Terms::of(&request, context.api_version, data);
    let begun = begin(data, context, terms.reader.owner(), request);
    let Begun { session, is_full, epoch } = match begun {
        Ok(begun) => begun,
        Err(error) => return Answer::Ready(respond::refusal(context, error)),
    };
    let (data, context) = (Arc::clone(data), context.clone());
    let begun_at = tokio::time::Instant::now();
    let poll = Poll { data, context, session, is_full, epoch, terms, begun_at };
    Answer::later(poll.run())
}

impl Terms {
    fn of(request: &FetchRequest, version: i16, data: &DataPath) -> Self {
        let rack = Some(&request.rack_id).filter(|rack| data.is_rack_aware && !rack.is_empty());
        Self {
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            min_bytes: u64::try_from(request.min_bytes).unwrap_or(0),
            max_bytes: u32::try_from(request.max_bytes).unwrap_or(0).min(data.fetch_bytes_max),
            is_committed_only: request.isolation_level == 1,
            reader: Reader::of(request, version),
            rack: rack.map(Str::detach),
        }
    }
}

/// A tool that compares replicas.
const DEBUGGING: i32 = -2;

impl Reader {
    fn of(request: &FetchRequest, version: i16) -> Self {
        let (id, epoch) = if version < 15 {
            (request.replica_id, -1)
        } else {
            (request.replica_state.replica_id, request.replica_state.replica_epoch)
        };
        match id {
            0.. => Self::Replica { broker: BrokerId(id), epoch },
            DEBUGGING => Self::Nearby,
            _ if 11 <= version => Self::Nearby,
            _ => Self::Consumer,
        }
    }

    const fn owner(self) -> SessionOwner {
        match self {
            Self::Replica { broker, .. } => SessionOwner::Replica(broker),
            Self::Consumer | Self::Nearby => SessionOwner::Consumer,
        }
    }
}

/// How long a replica's poll waits for records to go with marks that it has not been told.
const NEWS_LINGER: Duration = Duration::from_millis(5);

impl Poll {
    async fn run(self) -> Reply {
        let timer = tokio::time::sleep(self.terms.max_wait);
        tokio::pin!(timer);
        let mut is_over = self.terms.max_wait.is_zero();
        // A session is a standing subscription; a single request subscribes only if it has to wait.
        let mut is_subscribed = self.session.id != 0;
        let mut is_lingering = false;
        let mut indices = Vec::new();
        let (candidates, reading) = loop {
            self.session.watcher.begin();
            let candidates = read::find(&self, &mut indices, is_subscribed);
            let reading = read::read(&self, &candidates).await;
            progress::report(&self, &candidates, &reading).await;
            let is_enough = reading.is_urgent || self.terms.min_bytes <= reading.bytes;
            if is_enough || is_over || self.session.is_empty() {
                break (candidates, reading);
            }
            if !is_subscribed {
                // What is published from here on wakes us; what was published before is read again.
                is_subscribed = true;
                continue;
            }
            if !is_lingering && self.has_news(&candidates, &reading) {
                is_lingering = true;
                let answer_at = tokio::time::Instant::now() + NEWS_LINGER;
                let deadline = timer.deadline().min(answer_at);
                timer.as_mut().reset(deadline);
            }
            let wanted = self.terms.min_bytes - reading.bytes;
            tokio::select! {
                () = self.session.watcher.wait(wanted) => {}
                () = &mut timer => is_over = true,
            }
        };
        if let Some(hold) = Hold::of(&self) {
            hold.record(&candidates, &reading);
        }
        respond::respond(&self, &candidates, reading)
    }

    /// Monotonic time.
    fn now(&self) -> Duration {
        self.context.received.monotonic + self.begun_at.elapsed()
    }

    /// Whether a high watermark or a log's start moved of which the session of a replica was not told.
    fn has_news(&self, candidates: &[Candidate], reading: &Reading) -> bool {
        let is_replica = matches!(self.terms.reader, Reader::Replica { .. });
        is_replica
            && candidates.iter().zip(&reading.results).any(|(candidate, result)| {
                let PartitionRead::Read(marks, _) = result else { return false };
                let told = self.session.with_entry(candidate.index, |entry| entry.told);
                told.is_some_and(|told| {
                    let news = (marks.high_watermark.0, marks.log_start.0);
                    (told.high_watermark, told.log_start) != news
                })
            })
    }
}

#[cfg(test)]
mod replica_tests;
#[cfg(test)]
mod tests;
