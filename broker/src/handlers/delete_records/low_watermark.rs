//! Waiting until the replicas have deleted what the leader has.
//!
//! One watcher for all partitions of a request: a partition subscribes only if it has to wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::image::Image;
use ottla_protocol::ErrorCode;
use ottla_protocol::types::Offset;
use tokio::time::{Instant, sleep_until};

use crate::data_path::DataPath;
use crate::partition::{PartitionHandle, SubscriberKey, Subscription, View, Watcher};

/// What the live replicas of a partition have to reach.
pub(super) struct Wait {
    pub handle: Arc<PartitionHandle>,
    /// No log begins below it then.
    pub wanted: Offset,
}

/// A [`Wait`] that is not over.
struct Open {
    wait: Wait,
    subscription: Arc<Subscription>,
    key: SubscriberKey,
}

/// How far a partition has come.
enum State {
    Over(Offset, ErrorCode),
    /// With the low watermark.
    Waiting(Offset),
}

/// Waits for all of them, or until the deadline; the low watermarks, in their order, and what went wrong.
pub(super) async fn wait_for_all(
    data: &DataPath,
    waits: Vec<Result<Wait, ErrorCode>>,
    deadline: Instant,
) -> Vec<(Offset, ErrorCode)> {
    let watcher = Watcher::new();
    let mut outcomes = vec![(Offset::NONE, ErrorCode::RequestTimedOut); waits.len()];
    let mut open = BTreeMap::new();
    let image = data.image.load();
    for (number, (wait, outcome)) in (0..).zip(waits.into_iter().zip(&mut outcomes)) {
        match wait {
            Err(error) => outcome.1 = error,
            Ok(wait) => match state(&wait, &image) {
                State::Over(low_watermark, error) => *outcome = (low_watermark, error),
                State::Waiting(_) => drop(open.insert(number, Open::new(wait, number, &watcher))),
            },
        }
    }
    let mut dirty: Vec<u32> = open.keys().copied().collect();
    loop {
        watcher.begin();
        watcher.take_dirty(&mut dirty);
        visit(&mut open, dirty.drain(..), (data, &mut outcomes));
        if open.is_empty() {
            return outcomes;
        }
        tokio::select! {
            // Records that become visible are of no interest.
            () = watcher.wait(u64::MAX) => {}
            () = sleep_until(deadline) => return outcomes,
        }
    }
}

/// Looks at these partitions, and closes those that are over.
fn visit(
    open: &mut BTreeMap<u32, Open>,
    numbers: impl Iterator<Item = u32>,
    (data, outcomes): (&DataPath, &mut [(Offset, ErrorCode)]),
) {
    let image = data.image.load();
    for number in numbers {
        let Some(found) = open.get(&number) else { continue };
        let Some(outcome) = outcomes.get_mut(number as usize) else { continue };
        found.subscription.begin_visit();
        match state(&found.wait, &image) {
            State::Waiting(low_watermark) => outcome.0 = low_watermark,
            State::Over(low_watermark, error) => {
                *outcome = (low_watermark, error);
                open.remove(&number);
            }
        }
    }
}

fn state(wait: &Wait, image: &Image) -> State {
    let view = wait.handle.view();
    if let Err(error) = view.check_leader(-1) {
        return State::Over(Offset::NONE, error);
    }
    let low_watermark = low_watermark(&view, image);
    if low_watermark < wait.wanted {
        return State::Waiting(low_watermark);
    }
    State::Over(low_watermark, ErrorCode::None)
}

/// Where the last of the logs begins that live replicas have; −1 if one has not told yet.
fn low_watermark(view: &View, image: &Image) -> Offset {
    let is_alive = |broker| image.broker(broker).is_some_and(|record| !record.fenced);
    let others = view.followers.iter().filter(|follower| is_alive(follower.broker.0));
    others.fold(view.log_start, |low, follower| low.min(follower.log_start))
}

impl Open {
    fn new(wait: Wait, number: u32, watcher: &Arc<Watcher>) -> Self {
        let subscription = Subscription::new(Arc::clone(watcher), number);
        let key = wait.handle.subscribers.add(Arc::clone(&subscription));
        Self { wait, subscription, key }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.wait.handle.subscribers.remove(self.key);
    }
}
