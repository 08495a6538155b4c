//! The shards for one term: begun with it, dropped with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::ImageReader;
use ottla_metadata::journal::MetaJournal;
use ottla_metadata::keys::KeySpace;
use ottla_metadata::store::MetaStore;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Groups;
use super::clock::ShardClock;
use super::confirm;
use super::hub::{CALLS_MAX, Hub, HubParts, Slot};
use super::lag;
use super::worker::Worker;
use super::writer::Writer;
use crate::clock::Clock;
use crate::group::SettingsTable;
use crate::log_ends::LogEnds;
use crate::maintenance;
use crate::metrics::Metrics;

/// What the shards of a term work with.
#[derive(Debug, Clone)]
pub(crate) struct TermParts {
    pub groups: Groups,
    /// Where the coordinator was elected.
    pub store: Arc<dyn MetaStore>,
    /// Where groups are, if that is another.
    pub offsets_store: Option<Arc<dyn MetaStore>>,
    pub keys: KeySpace,
    pub node_id: i32,
    /// The term: the revision that created the election's key.
    pub term: i64,
    pub images: ImageReader,
    /// Whether the store could be written when it was last tried.
    pub health: watch::Receiver<bool>,
    pub clock: Clock,
    pub metrics: Metrics,
    /// What the coordinator's file says.
    pub file: Arc<ConfigMap>,
    /// Where the logs of partitions end.
    pub log_ends: Arc<LogEnds>,
    pub over: CancellationToken,
}

/// Runs the shards until the term is over. Dropping it ends them: whoever waits is answered NOT_COORDINATOR.
pub(crate) async fn run(parts: TermParts) {
    let over = parts.over.child_token();
    let _end = over.clone().drop_guard();
    let image = parts.images.load();
    let count =
        image.cluster().map_or(ottla_metadata::model::Cluster::SHARDS, |it| it.group_shards);
    let (slots, queues): (Vec<_>, Vec<_>) = (0..count.max(1))
        .map(|id| {
            let (calls, queue) = mpsc::channel(CALLS_MAX);
            (Arc::new(Slot::new(id, calls)), queue)
        })
        .unzip();
    let hub = Arc::new(Hub::new(HubParts {
        slots,
        images: parts.images.clone(),
        settings: SettingsTable::resolve(&image, &parts.file),
        image,
        clock: ShardClock::new(parts.clock.clone()),
        metrics: parts.groups.inner.metrics.clone(),
        over: over.clone(),
    }));
    let journal = match &parts.offsets_store {
        None => {
            MetaJournal::new(parts.store.clone(), parts.keys.clone(), parts.node_id, parts.term)
        }
        Some(store) => {
            MetaJournal::apart(store.clone(), parts.keys.clone(), parts.node_id, parts.term)
        }
    };
    let (take_overs, requests) = mpsc::channel(TAKE_OVERS_MAX);
    let mut tasks = JoinSet::new();
    if let Some(store) = &parts.offsets_store {
        tasks.spawn(maintenance::run_apart(store.clone(), hub.metrics.store.clone()));
    }
    tasks.spawn(Writer::new(hub.clone(), Box::new(journal), requests).run());
    tasks.spawn(confirm::run(hub.clone()));
    tasks.spawn(watch_time(hub.clone(), parts.clone()));
    tasks.spawn(watch_image(hub.clone(), parts.file.clone()));
    tasks.spawn(lag::run(hub.clone(), parts.log_ends.clone()));
    for (slot, calls) in hub.slots.iter().cloned().zip(queues) {
        let (hub, take_overs) = (hub.clone(), take_overs.clone());
        tasks.spawn(Worker { hub, slot, calls, take_overs }.run());
    }
    let _served = Serving::begin(parts.groups.clone(), hub);
    over.cancelled().await;
    // A term that goes on without its shards waits for its end.
    parts.over.cancelled().await;
}

/// Shows the shards to whoever asks, until it is dropped.
struct Serving(Groups);

impl Serving {
    fn begin(groups: Groups, hub: Arc<Hub>) -> Self {
        groups.inner.hub.store(Some(hub));
        Self(groups)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.inner.hub.store(None);
    }
}

/// Keeps the clock going, and looks whether there is room for commits.
async fn watch_time(hub: Arc<Hub>, parts: TermParts) {
    let mut ticks = tokio::time::interval(TICK);
    let mut since_probe = Duration::ZERO;
    let mut answers = true;
    loop {
        tokio::select! {
            () = hub.over.cancelled() => return,
            _ = ticks.tick() => {}
        }
        since_probe += TICK;
        if PROBE_INTERVAL <= since_probe
            && let Some(store) = &parts.offsets_store
        {
            since_probe = Duration::ZERO;
            let key = parts.keys.journal_owner();
            let probe = ottla_metadata::store::read_key(&**store, &key);
            answers = matches!(tokio::time::timeout(PROBE_TIMEOUT, probe).await, Ok(Ok(_)));
        }
        hub.clock.set_healthy(*parts.health.borrow() && answers);
        hub.clock.now();
        let sizes = match &parts.offsets_store {
            None => &parts.metrics.store,
            Some(_) => &hub.metrics.store,
        };
        let is_full = sizes.is_full(FULL_PERCENT);
        hub.store_is_full.store(is_full, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Passes on what of the cluster concerns groups: topics, and configs.
async fn watch_image(hub: Arc<Hub>, file: Arc<ConfigMap>) {
    let mut images = hub.images.clone();
    let mut seen = hub.topology.borrow().clone();
    loop {
        let image = tokio::select! {
            () = hub.over.cancelled() => return,
            changed = images.changed() => match changed {
                Ok(image) => image,
                Err(_) => return,
            },
        };
        let diff = image.diff(&seen);
        seen = image.clone();
        if !diff.configs.is_empty() {
            hub.settings.store(Arc::new(SettingsTable::resolve(&image, &file)));
        }
        let topics: BTreeSet<_> = diff.topics;
        if !topics.is_empty() {
            hub.topology.send_replace(image);
        }
    }
}

/// How often the clock is looked at while nobody else does.
const TICK: Duration = Duration::from_millis(250);
/// How often a store of its own is asked whether it is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Shards that are taken over at a time.
const TAKE_OVERS_MAX: usize = 64;
/// From this part of the store's quota on commits are refused, so that elections still find room.
const FULL_PERCENT: i64 = 70;
