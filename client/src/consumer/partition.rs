//! What a consumer knows of a partition that it reads.

use ottla_protocol::types::Offset;
use tokio::time::Instant;

use crate::consumer::Start;
use crate::offsets::OffsetAt;

#[derive(Debug)]
pub(super) struct Assigned {
    /// Changes when reading begins anew, so that answers from before are known to be.
    pub(super) generation: u64,
    /// Where reading begins, as long as there is no position.
    start: Start,
    /// The offset of the next record to be returned.
    pub(super) position: Option<Offset>,
    pub(super) high_watermark: Option<Offset>,
    is_looked_up: bool,
    pub(super) is_fetching: bool,
    /// Whether records of it wait to be returned.
    pub(super) is_buffered: bool,
    /// Nothing is tried before.
    pub(super) retry_at: Option<Instant>,
}

impl Assigned {
    pub(super) fn new(start: Start, generation: u64) -> Self {
        let position = match start {
            Start::Offset(offset) => Some(offset),
            Start::Earliest | Start::Latest | Start::Timestamp(_) => None,
        };
        Self {
            generation,
            start,
            position,
            high_watermark: None,
            is_looked_up: false,
            is_fetching: false,
            is_buffered: false,
            retry_at: None,
        }
    }

    pub(super) fn can_fetch(&self, now: Instant) -> bool {
        self.position.is_some() && !self.is_fetching && !self.is_buffered && self.may_try(now)
    }

    /// What to look up before anything can be read, if that is not under way.
    pub(super) fn start_lookup(&mut self, now: Instant) -> Option<OffsetAt> {
        if self.position.is_some() || self.is_looked_up || !self.may_try(now) {
            return None;
        }
        self.is_looked_up = true;
        Some(match self.start {
            Start::Earliest | Start::Offset(_) => OffsetAt::Earliest,
            Start::Latest => OffsetAt::Latest,
            Start::Timestamp(at_ms) => OffsetAt::Timestamp(at_ms),
        })
    }

    /// Reading begins here; a negative offset says that no record is that late, and then it begins at the end.
    pub(super) fn found(&mut self, offset: Offset) {
        self.is_looked_up = false;
        self.retry_at = None;
        if offset < Offset(0) {
            self.start = Start::Latest;
        } else {
            self.position = Some(offset);
        }
    }

    pub(super) fn failed(&mut self, retry_at: Instant) {
        self.is_looked_up = false;
        self.retry_at = Some(retry_at);
    }

    pub(super) fn reset(&mut self, start: Start) {
        self.start = start;
        self.position = None;
    }

    fn may_try(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }
}
