//! When the next fetch goes out, and what it asks for.

use std::time::Duration;

use ottla_protocol::messages::fetch_request::FetchRequest;

use super::{Effect, Follower, LaneKind, Partition, State, Then};

/// Answers, by their largest size, that may be on their way to the disk when the next is fetched.
const OUTSTANDING_ANSWERS: u64 = 2;
/// How long partitions that are being written are waited for before the next fetch goes out without them.
const BUSY_WAIT: Duration = Duration::from_millis(5);
/// How long the leader may wait while some are still being written.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// How long it may wait in the lane of those that catch up, where newcomers come first.
const CATCHING_UP_POLL: Duration = Duration::from_millis(100);

impl Follower {
    /// The next fetch, if one is to go out now. Its replica and cluster are for the caller to fill in. It is
    /// in flight then, until [`Follower::handle_answer`] or [`Follower::handle_failure`].
    pub fn poll_request(
        &mut self,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) -> Option<FetchRequest> {
        self.run_timers(now, effects);
        if self.in_flight || now < self.retry_at {
            return None;
        }
        if self.ready == 0 {
            return self.poll_close();
        }
        if self.outstanding_max() < self.outstanding.bytes() {
            // The disk is slower than the leader: whatever came is to be written first.
            return None;
        }
        if 0 < self.busy {
            let since = *self.idle_since.get_or_insert(now);
            if now < since + BUSY_WAIT {
                return None;
            }
        }
        let mut request = FetchRequest {
            max_wait_ms: i32::try_from(self.wait(now).as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.config.min_bytes,
            max_bytes: self.config.response_bytes_max,
            ..FetchRequest::default()
        };
        let partitions = &self.partitions;
        let wanted = |key| partitions.get(&key).and_then(Partition::wanted);
        self.session.fill(&mut request, self.config.partition_bytes_max, wanted);
        self.in_flight = true;
        self.idle_since = None;
        Some(request)
    }

    /// When [`Follower::poll_request`] is to be asked again though nothing happened.
    pub fn next_deadline(&self) -> Option<Duration> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let has_room = self.outstanding.bytes() <= self.outstanding_max();
        let fetch = (!self.in_flight && 0 < self.ready && has_room)
            .then(|| self.idle_since.map_or(self.retry_at, |at| self.retry_at.max(at + BUSY_WAIT)));
        timer.into_iter().chain(fetch).min()
    }

    fn outstanding_max(&self) -> u64 {
        OUTSTANDING_ANSWERS * u64::from(self.config.response_bytes_max.unsigned_abs())
    }

    /// The leader need not remember a session without partitions.
    fn poll_close(&mut self) -> Option<FetchRequest> {
        if !self.partitions.is_empty() || !self.session.is_open() {
            return None;
        }
        let mut request = FetchRequest::default();
        self.session.close(&mut request);
        self.in_flight = true;
        Some(request)
    }

    /// How long the leader may wait: not beyond the moment at which something else is to be asked.
    fn wait(&self, now: Duration) -> Duration {
        let mut wait = self.config.wait_max;
        if self.kind == LaneKind::CatchingUp {
            wait = wait.min(CATCHING_UP_POLL);
        }
        if 0 < self.busy {
            wait = wait.min(BUSY_POLL);
        }
        match self.timers.first() {
            Some((at, _)) => wait.min(at.saturating_sub(now).max(Duration::from_millis(1))),
            None => wait,
        }
    }

    fn run_timers(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some(&(at, key)) = self.timers.first()
            && at <= now
        {
            let state = self.partitions.get(&key).map(|partition| partition.state);
            match state {
                Some(State::Delayed { then: Then::Begin, .. }) => self.begin(key, effects),
                Some(State::Delayed { then: Then::Fetch, .. }) => self.set_state(key, State::Ready),
                // Invariant: whatever has a timer is delayed.
                _ => drop(self.timers.pop_first()),
            }
        }
    }
}
