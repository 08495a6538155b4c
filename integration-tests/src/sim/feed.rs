//! Drives the shipped image feed over the simulated network: its pauses, pages and watches.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_metadata::image::feed::{Delay, Effect, Feed, Input};
use ottla_metadata::store::{RetryPolicy, StoreError, WatchItem};

use super::env::{Env, Process};
use super::message::{StoreReply, StoreRequest, Timer};
use super::port::StorePort;

/// What a feed calls the store for; the numbers tell a call from an earlier one that no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedCall {
    /// A page.
    Page(u64),
    /// To open a watch.
    Watch(u64),
}

/// The feed of one process.
#[derive(Debug)]
pub struct FeedDriver {
    process: Process,
    feed: Feed,
    effects: Vec<Effect>,
    list: u64,
    watch: u64,
    is_open: bool,
    failures: u32,
    image: Arc<Image>,
}

impl FeedDriver {
    /// A feed that begins to list.
    pub fn start<P: From<FeedCall>>(
        env: &mut Env,
        process: Process,
        port: &mut StorePort<P>,
    ) -> Self {
        let mut driver = Self {
            process,
            // Small pages, so that lists take several.
            feed: Feed::new(env.keys.clone(), 7, None, 0),
            effects: Vec::new(),
            list: 0,
            watch: 0,
            is_open: false,
            failures: 0,
            image: Arc::default(),
        };
        driver.feed.start(&mut driver.effects);
        driver.perform(env, port);
        env.timer(process, TICK, Timer::FeedTick);
        driver
    }

    /// The newest image.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Whether the image follows the store.
    pub fn is_following(&self) -> bool {
        self.feed.is_following()
    }

    /// The store answered; true if there is a new image.
    pub fn handle_reply<P: From<FeedCall>>(
        &mut self,
        env: &mut Env,
        port: &mut StorePort<P>,
        call: FeedCall,
        reply: StoreReply,
    ) -> bool {
        match (call, reply) {
            (FeedCall::Page(list), StoreReply::Page(result)) if list == self.list => {
                self.handle(env, port, Input::Page(result))
            }
            (FeedCall::Watch(watch), StoreReply::Done(result)) if watch == self.watch => {
                self.is_open = result.is_ok();
                self.handle(env, port, Input::Watching(result.map(|()| true)))
            }
            _ => false,
        }
    }

    /// A watch saw something; true if there is a new image.
    pub fn handle_watched<P: From<FeedCall>>(
        &mut self,
        env: &mut Env,
        port: &mut StorePort<P>,
        watch: u64,
        item: WatchItem,
    ) -> bool {
        if watch != self.watch || !self.is_open {
            return false;
        }
        self.is_open = matches!(item, WatchItem::Batch(_));
        self.handle(env, port, Input::Item(item))
    }

    /// A timer of the feed; true if there is a new image.
    pub fn handle_timer<P: From<FeedCall>>(
        &mut self,
        env: &mut Env,
        port: &mut StorePort<P>,
        timer: Timer,
    ) -> bool {
        match timer {
            Timer::FeedList(list, request) if list == self.list => {
                port.call(env, StoreRequest::Range(request), FeedCall::Page(list).into());
            }
            Timer::FeedWatch(watch, from) if watch == self.watch => {
                port.call(env, StoreRequest::Watch { watch, from }, FeedCall::Watch(watch).into());
            }
            Timer::WatchBroken(watch) => {
                let reason = "no sign of life".into();
                return self.handle_watched(env, port, watch, WatchItem::Broken { reason });
            }
            Timer::FeedTick => {
                if self.is_open {
                    port.cast(env, StoreRequest::Progress(self.watch));
                }
                env.timer(self.process, TICK, Timer::FeedTick);
            }
            _ => {}
        }
        false
    }

    fn handle<P: From<FeedCall>>(
        &mut self,
        env: &mut Env,
        port: &mut StorePort<P>,
        input: Input,
    ) -> bool {
        let failed = matches!(
            &input,
            Input::Page(Err(_))
                | Input::Watching(Err(StoreError::Unavailable { .. }))
                | Input::Item(WatchItem::Broken { .. } | WatchItem::Compacted { .. })
        );
        self.failures = if failed { self.failures + 1 } else { 0 };
        if let Err(fault) = self.feed.handle(input, &mut self.effects) {
            // Nothing here writes newer values, and the store never goes back.
            env.history.object(format!("{:?}: the image feed stopped: {fault:?}", self.process));
        }
        self.perform(env, port)
    }

    fn perform<P: From<FeedCall>>(&mut self, env: &mut Env, port: &mut StorePort<P>) -> bool {
        let mut has_published = false;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::List(request, delay) => {
                    self.list += 1;
                    let pause = self.pause(env, delay);
                    env.timer(self.process, pause, Timer::FeedList(self.list, request));
                }
                Effect::Watch(from, delay) => {
                    self.drop_watch(env, port);
                    let pause = self.pause(env, delay);
                    env.timer(self.process, pause, Timer::FeedWatch(self.watch, from));
                }
                Effect::DropWatch => self.drop_watch(env, port),
                Effect::RequestProgress => {
                    port.cast(env, StoreRequest::Progress(self.watch));
                }
                Effect::Publish(image) => {
                    env.history.handle_image(self.process, &image);
                    self.image = image;
                    has_published = true;
                }
            }
        }
        has_published
    }

    fn drop_watch<P: From<FeedCall>>(&mut self, env: &mut Env, port: &mut StorePort<P>) {
        if self.is_open {
            port.cast(env, StoreRequest::Unwatch(self.watch));
        }
        self.watch += 1;
        self.is_open = false;
    }

    fn pause(&self, env: &mut Env, delay: Delay) -> Duration {
        match delay {
            Delay::None => Duration::ZERO,
            Delay::Backoff => RetryPolicy::default().pause_before(self.failures.max(1)),
            Delay::Jitter => env.between(Duration::ZERO, Duration::from_secs(1)),
        }
    }
}

/// How often an open watch is asked how far it is: a list waits for that.
const TICK: Duration = Duration::from_millis(500);
