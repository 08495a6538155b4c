//! What a worker does for the replicas that lead: follower progress, lag scans, proposals.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::time::Now;
use ottla_storage::LogIo;

use super::{Fetched, Progress, Worker};
use crate::isr::{Proposals, Proposed};
use crate::partition::replica::Input;
use crate::partition::{
    Assignment, FollowerProgress, PartitionHandle, Proposal as ReplicaProposal,
};

/// Time as far as leading needs it, and the way of proposals.
#[derive(Debug)]
pub(super) struct Leading {
    /// `replica.lag.time.max.ms`.
    lag_max: Duration,
    proposals: Arc<Proposals>,
    /// Monotonic time of the present step.
    now: Duration,
    /// When the next step was to follow at the latest.
    due: Option<Duration>,
    /// When followers are next looked at; `None` while nothing here has any.
    scan_at: Option<Duration>,
}

/// Default of `replica.lag.time.max.ms`.
const LAG_MAX: Duration = Duration::from_secs(30);
/// Parts of the lag limit: from one scan to the next; a delay after which clocks restart; and how often
/// a worker that leads wakes up, so that it notices such a delay.
const SCAN_PART: u32 = 2;
const PAUSE_PART: u32 = 3;
const LOOK_PART: u32 = 6;

impl Default for Leading {
    fn default() -> Self {
        Self {
            lag_max: LAG_MAX,
            proposals: Arc::default(),
            now: Duration::ZERO,
            due: None,
            scan_at: None,
        }
    }
}

impl Leading {
    pub(super) const fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn propose(&self, handle: &Arc<PartitionHandle>, proposal: ReplicaProposal) {
        self.proposals.put(Proposed { handle: Arc::clone(handle), proposal });
    }

    /// When a step has to follow so that scans are made and standstills noticed.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let look_at = self.now.saturating_add(self.lag_max / LOOK_PART);
        self.scan_at.map(|at| at.min(look_at))
    }

    pub(super) fn end_step(&mut self, progress: &Progress, now: Now) {
        self.due = if progress.is_busy { Some(now.monotonic) } else { progress.next_deadline };
    }
}

impl<I: LogIo> Worker<I> {
    /// Sends proposals to `proposals`; followers may lag for `lag_max`.
    pub fn with_proposals(mut self, proposals: Arc<Proposals>, lag_max: Duration) -> Self {
        self.leading.proposals = proposals;
        self.leading.lag_max = lag_max.max(Duration::from_millis(1));
        self
    }

    /// Takes note of the time. Who stood still for long knows nothing of its followers: if it believed its
    /// clocks, it would shrink every in-sync set to itself.
    pub(super) fn begin_step(&mut self, now: Now) {
        let now = now.monotonic;
        let leading = &mut self.leading;
        leading.now = now;
        let pause = leading.due.map_or(Duration::ZERO, |due| now.saturating_sub(due));
        if leading.scan_at.is_none() {
            return;
        }
        if leading.lag_max / PAUSE_PART < pause {
            tracing::warn!(?pause, "this broker stood still; its followers are given time anew");
            self.handle_leaders(|| Input::ClocksRestarted);
        }
    }

    /// Looks at all followers, when it is time. After the commands, which may bring news of them.
    pub(super) fn maybe_scan_lag(&mut self) {
        let now = self.leading.now;
        if self.leading.scan_at.is_none_or(|at| now < at) {
            return;
        }
        let lag_max = self.leading.lag_max;
        let is_needed = self.handle_leaders(|| Input::LagScan { lag_max });
        self.leading.scan_at = is_needed.then(|| now.saturating_add(lag_max / SCAN_PART));
    }

    /// Gives an input to every replica with followers; false if there is none.
    fn handle_leaders(&mut self, input: impl Fn() -> Input<super::Waiter>) -> bool {
        let mut has_any = false;
        for at in 0..self.slots.len() {
            if self.slots[at].as_ref().is_some_and(|slot| slot.replica.needs_scan()) {
                has_any = true;
                self.handle(at, input());
            }
        }
        has_any
    }

    /// A replica leads only in an epoch that is not below one in its own log, whatever the metadata says.
    pub(super) fn assign(&mut self, at: usize, mut assignment: Assignment) {
        let Some(slot) = &self.slots[at] else { return };
        let known = slot.log.latest_epoch();
        if assignment.leads && known.is_some_and(|known| assignment.leader_epoch < known) {
            tracing::error!(partition = %slot.log.partition(), ?known,
                found = %assignment.leader_epoch,
                "the metadata has a leader epoch below one that the log has seen; \
                 this replica will not lead");
            assignment.leads = false;
        }
        self.handle(at, Input::Assigned(assignment));
        let needs_scan = self.slots[at].as_ref().is_some_and(|slot| slot.replica.needs_scan());
        if needs_scan && self.leading.scan_at.is_none() {
            let leading = &mut self.leading;
            leading.scan_at = Some(leading.now.saturating_add(leading.lag_max / SCAN_PART));
        }
    }

    pub(super) fn on_fetched(&mut self, fetched: &Fetched) {
        for item in &fetched.items {
            let progress = FollowerProgress {
                broker: fetched.broker,
                broker_epoch: fetched.broker_epoch,
                end: item.end,
                log_start: item.log_start,
            };
            let leader_epoch = item.leader_epoch;
            self.with_slot(item.slot, |worker, at| {
                worker.handle(at, Input::FollowerFetched { leader_epoch, progress });
            });
        }
    }
}
