//! Drives the feed: the only part of the image that does IO and reads a clock.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::feed::{Delay, Effect, Fault, Feed, Input};
use super::picture::Image;
use super::reader::{FeedStatus, ImageReader};
use crate::keys::KeySpace;
use crate::model::{ModelError, Recovery};
use crate::store::{
    BoxFuture, Limits, MetaStore, Page, RangeRequest, RetryPolicy, StoreError, Watch, WatchItem,
};

/// How an image is fed.
#[derive(Debug, Clone)]
pub struct FeedConfig {
    /// Where the cluster is in the store.
    pub keys: KeySpace,
    /// The store that this process has seen before, if any: another one is refused.
    pub store_id: Option<u64>,
    /// The highest revision that this process has seen before: an older store is refused.
    pub highest_revision: i64,
    /// The recovery of the cluster since which that was seen.
    pub recovery: Option<Recovery>,
    /// Keys per page of a list.
    pub page_items: usize,
    /// Pauses between attempts that fail; the attempts are not counted.
    pub retry: RetryPolicy,
    /// A list that every process repeats at the same moment is spread over this time.
    pub relist_jitter: Duration,
    /// How often an idle watch is asked how far it is.
    pub progress_interval: Duration,
}

impl FeedConfig {
    /// Defaults: 1000 keys a page, pauses of 20 ms to 1 s, lists spread over 1 s, progress every second.
    pub fn new(keys: KeySpace) -> Self {
        Self {
            keys,
            store_id: None,
            highest_revision: 0,
            recovery: None,
            page_items: Limits::PAGE_ITEMS_MAX,
            retry: RetryPolicy::default(),
            relist_jitter: Duration::from_secs(1),
            progress_interval: Duration::from_secs(1),
        }
    }
}

/// Why a feed ended. The process must stop: it can no longer know the cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// A value that this process is too old for.
    #[error(transparent)]
    Value(#[from] ModelError),
    /// Not the store, or not the history, that this process has seen.
    #[error(
        "the metadata store is not the one seen before, or was restored from an older state: store \
         {seen_store:016x} was at revision {seen_revision}, store {store_id:016x} is at {revision}; \
         run `ottla cluster recover` before starting again"
    )]
    WentBackwards {
        /// The store seen before, 0 for any.
        seen_store: u64,
        /// The revision seen before.
        seen_revision: i64,
        /// The store found.
        store_id: u64,
        /// Its revision.
        revision: i64,
    },
    /// The store was put right while this process ran.
    #[error(
        "the cluster was recovered while this process ran, which knows only what was before: start it again"
    )]
    Recovered,
}

/// Keeps an image up to date until it is stopped.
#[derive(Debug)]
pub struct ImageFeed {
    store: Arc<dyn MetaStore>,
    config: FeedConfig,
    current: Arc<ArcSwap<Image>>,
    revision: watch::Sender<i64>,
    status: watch::Sender<FeedStatus>,
}

impl ImageFeed {
    /// A feed, to be run by a task of its own, and the handle of its readers.
    pub fn new(store: Arc<dyn MetaStore>, config: FeedConfig) -> (Self, ImageReader) {
        let current = Arc::new(ArcSwap::from_pointee(Image::default()));
        let (revision, revisions) = watch::channel(0);
        let (status, statuses) = watch::channel(FeedStatus::default());
        let reader = ImageReader::new(current.clone(), revisions, statuses);
        (Self { store, config, current, revision, status }, reader)
    }

    /// Runs until `stop`, or until the store cannot be the one that this process knows.
    pub async fn run(self, stop: CancellationToken) -> Result<(), FeedError> {
        let config = &self.config;
        let (store_id, highest) = (config.store_id, config.highest_revision);
        let feed = Feed::new(config.keys.clone(), config.page_items, store_id, highest);
        let feed = feed.since(config.recovery);
        let mut run = Run { io: Io::default(), feed, failures: 0, shown: &self };
        let mut effects = Vec::new();
        run.feed.start(&mut effects);
        let mut ticks = tokio::time::interval(PROGRESS_POLL.min(config.progress_interval));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = Instant::now();
        loop {
            for effect in effects.drain(..) {
                run.perform(effect);
            }
            run.show_status();
            let input = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                input = run.io.next() => input,
                now = ticks.tick() => {
                    let idle = config.progress_interval <= now.duration_since(asked);
                    if (run.feed.wants_progress() || idle)
                        && let Some(watch) = &mut run.io.watch
                    {
                        asked = now;
                        watch.request_progress();
                    }
                    continue;
                }
            };
            run.note(&input);
            if let Err(fault) = run.feed.handle(input, &mut effects) {
                let error = self.fault(fault);
                tracing::error!(%error, "image feed stops");
                return Err(error);
            }
        }
    }

    fn fault(&self, fault: Fault) -> FeedError {
        match fault {
            Fault::Value(error) => FeedError::Value(error),
            Fault::Recovered => FeedError::Recovered,
            Fault::WentBackwards { store_id, revision } => FeedError::WentBackwards {
                seen_store: self.config.store_id.unwrap_or_else(|| self.current.load().store_id()),
                seen_revision: self.config.highest_revision.max(self.current.load().revision()),
                store_id,
                revision,
            },
        }
    }
}

/// The state of one run.
struct Run<'a> {
    io: Io,
    feed: Feed,
    /// Attempts since something last succeeded.
    failures: u32,
    shown: &'a ImageFeed,
}

/// At most one page, one opening and one open watch.
#[derive(Default)]
struct Io {
    page: Option<BoxFuture<'static, Result<Page, StoreError>>>,
    opening: Option<BoxFuture<'static, Result<Box<dyn Watch>, StoreError>>>,
    watch: Option<Box<dyn Watch>>,
}

impl Run<'_> {
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::List(request, delay) => self.list(request, delay),
            Effect::Watch(from, delay) => self.watch(from, delay),
            Effect::DropWatch => {
                self.io.watch = None;
                self.io.opening = None;
            }
            Effect::RequestProgress => {
                if let Some(watch) = &mut self.io.watch {
                    watch.request_progress();
                }
            }
            Effect::Publish(image) => {
                let revision = image.revision();
                self.shown.current.store(image);
                self.shown.revision.send_replace(revision);
            }
        }
    }

    fn list(&mut self, request: RangeRequest, delay: Delay) {
        let (store, pause) = (self.shown.store.clone(), self.pause(delay));
        self.io.page = Some(Box::pin(async move {
            tokio::time::sleep(pause).await;
            store.range(request).await
        }));
    }

    fn watch(&mut self, from: i64, delay: Delay) {
        let (store, pause) = (self.shown.store.clone(), self.pause(delay));
        let keys = self.shown.config.keys.image();
        self.io.watch = None;
        self.io.opening = Some(Box::pin(async move {
            tokio::time::sleep(pause).await;
            store.watch(keys, from).await
        }));
    }

    fn pause(&self, delay: Delay) -> Duration {
        let config = &self.shown.config;
        match delay {
            Delay::None => Duration::ZERO,
            Delay::Backoff => config.retry.pause_before(self.failures.max(1)),
            Delay::Jitter => config.relist_jitter.mul_f64(rand::rng().random::<f64>()),
        }
    }

    /// Counts failures and freshness.
    fn note(&mut self, input: &Input) {
        let answered = match input {
            Input::Page(result) => result.is_ok(),
            Input::Watching(result) => result.is_ok(),
            Input::Item(item) => matches!(item, WatchItem::Batch(_)),
        };
        let broke = matches!(input, Input::Item(WatchItem::Broken { .. }));
        let proof = matches!(input, Input::Item(WatchItem::Batch(_)));
        self.failures = match (answered, proof) {
            (false, _) => self.failures.saturating_add(1),
            (true, true) => 0,
            (true, false) => self.failures,
        };
        if answered || broke {
            let now = Instant::now();
            self.shown.status.send_modify(|status| {
                status.breaks += u64::from(broke);
                if answered {
                    status.fresh_at = Some(now);
                }
            });
        }
    }

    fn show_status(&self) {
        let following = self.feed.is_following();
        let trouble = self.feed.trouble();
        self.shown.status.send_if_modified(|status| {
            let changed = status.following != following || status.trouble.as_deref() != trouble;
            if !changed {
                return false;
            }
            if following && !status.following {
                status.lists += 1;
            }
            if let Some(trouble) = trouble
                && status.trouble.as_deref() != Some(trouble)
            {
                tracing::warn!(%trouble, "image does not follow the metadata store");
            } else if following && status.trouble.is_some() {
                tracing::info!("image follows the metadata store again");
            }
            status.following = following;
            status.trouble = trouble.map(str::to_owned);
            true
        });
    }
}

impl Io {
    async fn next(&mut self) -> Input {
        let Self { page, opening, watch } = self;
        tokio::select! {
            result = optional(page) => {
                *page = None;
                Input::Page(result)
            }
            result = optional(opening) => {
                *opening = None;
                let result = result.map(|opened| watch.insert(opened).tells_progress());
                Input::Watching(result)
            }
            item = item(watch.as_deref_mut()), if watch.is_some() => Input::Item(item),
        }
    }
}

async fn optional<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn item(watch: Option<&mut (dyn Watch + 'static)>) -> WatchItem {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// How often progress is asked for while a list waits for it.
const PROGRESS_POLL: Duration = Duration::from_millis(50);
