//! How consumers learn that a partition has more for them, without a task or a channel per partition.
//!
//! A [`Watcher`] is one poll or one fetch session; a [`Subscription`] joins it to one partition. The log
//! worker publishes the partition's view first and then marks the subscriptions; a consumer registers
//! first and then reads the view, and parks only after that. So one of the two always sees the other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// One consumer's poll, or its session: what has become dirty since it last looked.
#[derive(Debug)]
pub struct Watcher {
    dirty: Mutex<Vec<u32>>,
    /// Bytes that became visible since [`Watcher::begin`].
    visible: AtomicU64,
    /// The parked poll is woken when so many bytes are visible; `u64::MAX` while nobody is parked.
    wanted: AtomicU64,
    /// Something else changed, which the consumer should hear of at once.
    is_urgent: AtomicBool,
    /// Something changed that is worth a look.
    is_nudged: AtomicBool,
    waker: AtomicWaker,
}

/// One partition in a watcher.
#[derive(Debug)]
pub struct Subscription {
    watcher: Arc<Watcher>,
    /// What the watcher's owner calls the partition.
    index: u32,
    is_dirty: AtomicBool,
}

/// Everybody who watches one partition.
#[derive(Debug, Default)]
pub struct Subscribers {
    count: AtomicUsize,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    entries: Vec<Option<Arc<Subscription>>>,
    free: Vec<u32>,
}

/// Where a subscription sits in its [`Subscribers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriberKey(u32);

impl Watcher {
    /// Watches nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            dirty: Mutex::default(),
            visible: AtomicU64::new(0),
            wanted: AtomicU64::new(u64::MAX),
            is_urgent: AtomicBool::new(false),
            is_nudged: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// Begins to count anew; to be called before the views are read.
    pub fn begin(&self) {
        self.wanted.store(u64::MAX, Ordering::SeqCst);
        self.visible.store(0, Ordering::SeqCst);
        self.is_urgent.store(false, Ordering::SeqCst);
        self.is_nudged.store(false, Ordering::SeqCst);
    }

    /// Completes when at least `wanted` bytes became visible since [`Watcher::begin`], or something
    /// urgent, or worth a look, happened. One task at a time may wait.
    pub async fn wait(&self, wanted: u64) {
        self.wanted.store(wanted.max(1), Ordering::SeqCst);
        std::future::poll_fn(|context| {
            self.waker.register(context.waker());
            fence(Ordering::SeqCst);
            if self.is_reached() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Marks what is read for the first time, or was not read to its end.
    pub fn mark_dirty(&self, subscription: &Subscription) {
        if !subscription.is_dirty.swap(true, Ordering::SeqCst) {
            lock(&self.dirty).push(subscription.index);
        }
    }

    /// Takes the indices that are dirty, in the order in which they became so, into `out`. Each must
    /// then be [`Subscription::begin_visit`]ed before its view is read.
    pub fn take_dirty(&self, out: &mut Vec<u32>) {
        out.append(&mut lock(&self.dirty));
    }

    fn is_reached(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) <= self.visible.load(Ordering::SeqCst)
            || self.is_urgent.load(Ordering::SeqCst)
            || self.is_nudged.load(Ordering::SeqCst)
    }

    fn nudge(&self) {
        self.is_nudged.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.waker.wake();
    }

    fn add(&self, visible: u64, is_urgent: bool) {
        self.visible.fetch_add(visible, Ordering::SeqCst);
        if is_urgent {
            self.is_urgent.store(true, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
        if self.is_reached() {
            self.waker.wake();
        }
    }
}

impl Subscription {
    /// The partition that `watcher` knows as `index`.
    pub fn new(watcher: Arc<Watcher>, index: u32) -> Arc<Self> {
        Arc::new(Self { watcher, index, is_dirty: AtomicBool::new(false) })
    }

    /// Declares that its view is read now: what is published from here on makes it dirty again.
    pub fn begin_visit(&self) {
        self.is_dirty.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}

impl Subscribers {
    /// Registers; afterwards the view has to be read (again).
    pub fn add(&self, subscription: Arc<Subscription>) -> SubscriberKey {
        let mut slots = lock(&self.slots);
        let key = match slots.free.pop() {
            Some(key) => {
                slots.entries[key as usize] = Some(subscription);
                key
            }
            None => {
                slots.entries.push(Some(subscription));
                (slots.entries.len() - 1) as u32
            }
        };
        self.count.fetch_add(1, Ordering::SeqCst);
        drop(slots);
        fence(Ordering::SeqCst);
        SubscriberKey(key)
    }

    /// Takes a registration back.
    pub fn remove(&self, key: SubscriberKey) {
        let mut slots = lock(&self.slots);
        if slots.entries.get_mut(key.0 as usize).and_then(Option::take).is_none() {
            return;
        }
        slots.free.push(key.0);
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            // An idle partition keeps nothing.
            *slots = Slots::default();
        }
    }

    /// Marks everybody: `visible` bytes more, or with `is_urgent` something they should hear of at once.
    /// To be called after the view is published.
    pub fn mark(&self, visible: u64, is_urgent: bool) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for subscription in lock(&self.slots).entries.iter().flatten() {
            subscription.watcher.mark_dirty(subscription);
            subscription.watcher.add(visible, is_urgent);
        }
    }

    /// Has everybody who is parked look at the view. To be called after it is published.
    pub fn nudge(&self) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for subscription in lock(&self.slots).entries.iter().flatten() {
            subscription.watcher.mark_dirty(subscription);
            subscription.watcher.nudge();
        }
    }

    /// Number of registrations.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// True if nobody watches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A panic elsewhere while the lock was held leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn poll_sleeps_until_enough_bytes_are_visible() {
        let watcher = Watcher::new();
        let subscribers = Subscribers::default();
        let subscription = Subscription::new(Arc::clone(&watcher), 7);
        subscribers.add(Arc::clone(&subscription));
        watcher.begin();
        let mut wait = Box::pin(watcher.wait(100));
        assert!(futures_util::poll!(&mut wait).is_pending());
        subscribers.mark(60, false);
        assert!(futures_util::poll!(&mut wait).is_pending());
        subscribers.mark(40, false);
        assert!(futures_util::poll!(&mut wait).is_ready());
        let mut dirty = Vec::new();
        watcher.take_dirty(&mut dirty);
        assert_eq!(dirty, [7], "marked twice, listed once");
    }

    #[tokio::test]
    async fn what_came_between_the_look_and_the_sleep_ends_the_wait_at_once() {
        let watcher = Watcher::new();
        let subscribers = Subscribers::default();
        subscribers.add(Subscription::new(Arc::clone(&watcher), 0));
        watcher.begin();
        subscribers.mark(100, false);
        let mut wait = Box::pin(watcher.wait(100));
        assert!(futures_util::poll!(&mut wait).is_ready());
    }

    #[tokio::test]
    async fn urgent_change_wakes_whatever_is_wanted() {
        let watcher = Watcher::new();
        let subscribers = Subscribers::default();
        subscribers.add(Subscription::new(Arc::clone(&watcher), 0));
        watcher.begin();
        subscribers.mark(0, true);
        watcher.wait(u64::MAX).await;
    }

    #[test]
    fn removed_subscription_is_not_marked_and_its_place_is_used_again() {
        let watcher = Watcher::new();
        let subscribers = Subscribers::default();
        let first = subscribers.add(Subscription::new(Arc::clone(&watcher), 1));
        let second = subscribers.add(Subscription::new(Arc::clone(&watcher), 2));
        subscribers.remove(first);
        subscribers.remove(first);
        assert_eq!(subscribers.len(), 1);
        subscribers.mark(1, false);
        let mut dirty = Vec::new();
        watcher.take_dirty(&mut dirty);
        assert_eq!(dirty, [2]);
        assert_eq!(subscribers.add(Subscription::new(watcher, 3)), first);
        subscribers.remove(second);
    }

    /// A consumer registers, reads, parks; a writer publishes, marks. If the order of any two of these
    /// were wrong, a consumer would park for ever beside a value that it waits for.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_up_is_lost() {
        const ROUNDS: i64 = 20_000;
        let published = Arc::new(AtomicI64::new(0));
        let consumed = Arc::new(AtomicI64::new(0));
        let subscribers = Arc::new(Subscribers::default());
        let writer = std::thread::spawn({
            let (published, consumed) = (Arc::clone(&published), Arc::clone(&consumed));
            let subscribers = Arc::clone(&subscribers);
            move || {
                for round in 1..=ROUNDS {
                    published.store(round, Ordering::SeqCst);
                    subscribers.mark(1, false);
                    while consumed.load(Ordering::SeqCst) < round {
                        std::hint::spin_loop();
                        std::thread::yield_now();
                    }
                }
            }
        });
        for round in 1..=ROUNDS {
            let watcher = Watcher::new();
            let key = subscribers.add(Subscription::new(Arc::clone(&watcher), 0));
            loop {
                watcher.begin();
                if round <= published.load(Ordering::SeqCst) {
                    break;
                }
                let wake_up = tokio::time::timeout(Duration::from_secs(30), watcher.wait(1)).await;
                assert!(wake_up.is_ok(), "parked for ever in round {round}");
            }
            subscribers.remove(key);
            consumed.store(round, Ordering::SeqCst);
        }
        writer.join().unwrap();
    }
}
