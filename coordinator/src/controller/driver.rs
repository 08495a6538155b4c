//! The task that drives the controller of one term: inputs → decision → store, one at a time.
//!
//! It never decides on an image that lacks its own writes: after each of them it waits for the image to
//! reach their revision. While it waits, heartbeats are answered elsewhere and kept for it.

mod isr;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::{Image, ImageReader};
use ottla_metadata::store::StoreError;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::decision::{AdminSettings, Context};
use super::liveness::{self, Liveness, Probe, Verdict};
use super::plan::{self, Unit};
use super::writer::{Writer, Written};
use super::{brokers, cluster, internal_topics, preferred, topics};
use crate::admin::Command;
use crate::clock::Clock;
use crate::heartbeats::Heartbeats;
use crate::metrics::Metrics;
use crate::prober;

/// What a driver works with and what outlives its term.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub images: ImageReader,
    pub heartbeats: Arc<Heartbeats>,
    /// Whether the store could be written when it was last tried.
    pub health: watch::Receiver<bool>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub admin: AdminSettings,
    pub liveness: liveness::Settings,
}

/// The driver of one term.
#[derive(Debug)]
pub(crate) struct Driver {
    parts: Parts,
    writer: Writer,
    over: CancellationToken,
    liveness: Liveness,
    random: StdRng,
    /// Partitions may not be in line with the records of brokers, or with configs.
    unsettled: bool,
    /// Something may have been left half done.
    rubbish: bool,
    /// The image, and the silent brokers, that topics without logs are in line with.
    settled_for: (i64, BTreeSet<i32>),
    /// When it is next looked whether preferred replicas lead; monotonic.
    balance_at: Duration,
    /// Requests that were taken from the queue and have yet to be done.
    waiting: VecDeque<Command>,
    probes: mpsc::Receiver<Probed>,
    probed: mpsc::Sender<Probed>,
}

/// What came of a probe.
#[derive(Debug, Clone, Copy)]
struct Probed {
    broker: i32,
    broker_epoch: i64,
    probe: Probe,
}

/// Why a plan was not written to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Interrupted {
    /// The cluster is not as the decision saw it.
    Refused,
    /// The store can never take it.
    Failed(StoreError),
}

/// What became of a plan.
#[derive(Debug, Default)]
struct Committed {
    /// The items that are done, with the revision that did them.
    completed: BTreeMap<usize, i64>,
    interrupted: Option<Interrupted>,
}

impl Driver {
    /// A driver that has looked at nothing yet.
    pub fn new(parts: Parts, writer: Writer, over: CancellationToken) -> Self {
        let (probed, probes) = mpsc::channel(PROBES_MAX);
        Self {
            liveness: Liveness::new(parts.liveness),
            balance_at: balance_after(&parts),
            waiting: VecDeque::new(),
            parts,
            writer,
            over,
            random: StdRng::from_os_rng(),
            unsettled: true,
            rubbish: true,
            settled_for: (0, BTreeSet::new()),
            probes,
            probed,
        }
    }

    /// Drives until the term is over or the process stops. What is under way when the term ends is dropped:
    /// nothing of it can be applied any more that is not applied already.
    pub async fn run(mut self, queue: &mut mpsc::Receiver<Command>, stop: &CancellationToken) {
        let over = self.over.clone();
        tokio::select! {
            () = over.cancelled() => {}
            () = self.drive(queue, stop) => {}
        }
    }

    async fn drive(&mut self, queue: &mut mpsc::Receiver<Command>, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut images = self.parts.images.clone();
        let heartbeats = self.parts.heartbeats.clone();
        let mut shown = 0;
        self.found_cluster().await;
        loop {
            self.look().await;
            if let Some(command) = self.waiting.pop_front() {
                self.execute(command, queue).await;
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = images.changed() => if changed.is_err() { return },
                () = heartbeats.arrived() => {}
                Some(probed) = self.probes.recv() => self.handle_probed(probed),
                command = queue.recv() => match command {
                    Some(command) => self.execute(command, queue).await,
                    None => return,
                },
                _ = ticks.tick() => {
                    let image = self.image();
                    if shown != image.revision() {
                        shown = image.revision();
                        self.parts.metrics.show_image(&image);
                    }
                }
            }
        }
    }

    async fn found_cluster(&mut self) {
        while let Some(unit) = cluster::found(&self.image(), &mut self.random) {
            let committed = self.commit(vec![unit]).await;
            self.catch_up().await;
            if committed.interrupted.is_none() {
                let image = self.image();
                let id = image.cluster().map(|cluster| cluster.cluster_id.as_str());
                tracing::info!(cluster_id = id, "founded a new cluster");
            }
        }
    }

    /// Judges who is alive and does what follows, then clears some rubbish.
    async fn look(&mut self) {
        self.hear();
        let image = self.image();
        let judgement = self.liveness.judge(&image, self.parts.clock.now());
        for broker in &judgement.probe {
            tracing::warn!(broker, "many brokers lapsed together, probing before fencing");
            self.spawn_probe(&image, *broker, &[Duration::ZERO]);
        }
        if self.unsettled || !judgement.verdicts.is_empty() {
            self.settle(&image, &judgement.verdicts).await;
        } else if self.settle_internal_topics(&image).await {
            // The image has changed.
        } else if self.rubbish || image.deleted().next().is_some() {
            self.collect(&image).await;
        } else if self.parts.admin.balance.enabled
            && self.balance_at <= self.parts.clock.now().monotonic
        {
            self.balance(&image).await;
        }
    }

    /// Gives leadership back to preferred replicas. Not all at once: requests have their turn in between.
    async fn balance(&mut self, image: &Image) {
        let (units, has_more) = preferred::balance(image, &self.parts.admin.file, BALANCE_MAX);
        if !units.is_empty() {
            let leaders = units.len();
            let committed = self.commit(units).await;
            self.catch_up().await;
            if committed.interrupted.is_none() {
                tracing::info!(leaders, "gave leadership back to preferred replicas");
                self.parts.metrics.rebalanced.inc_by(leaders as u64);
            }
        }
        if !has_more {
            self.balance_at = balance_after(&self.parts);
        }
    }

    /// Takes in what arrived from brokers.
    fn hear(&mut self) {
        let now = self.parts.clock.now();
        let healthy = *self.parts.health.borrow() && self.parts.images.status().following;
        self.liveness.handle_store(healthy, now);
        for (heartbeat, at) in self.parts.heartbeats.take() {
            self.liveness.handle_heartbeat(heartbeat, at);
        }
        let image = self.image();
        for broker in self.parts.heartbeats.take_broken() {
            tracing::debug!(broker, "a connection of a broker ended, probing it");
            self.spawn_probe(&image, broker, &BROKEN_PAUSES);
        }
    }

    async fn settle(&mut self, image: &Image, verdicts: &[Verdict]) {
        let began = self.parts.clock.now().monotonic;
        let sweep = brokers::sweep(image, &self.parts.admin.file, verdicts);
        let partitions = sweep.elections.len();
        let decided = self.parts.clock.now().monotonic.saturating_sub(began);
        let committed = self.commit(sweep.units).await;
        let written = self.parts.clock.now().monotonic.saturating_sub(began);
        tracing::debug!(?verdicts, partitions, ?decided, ?written, "swept the partitions");
        self.unsettled = committed.interrupted.is_some();
        if let Some(interrupted) = committed.interrupted {
            tracing::warn!(?interrupted, "verdicts about brokers are not written, judging again");
        } else {
            for verdict in verdicts {
                tracing::info!(?verdict, "judged a broker");
                self.liveness.handle_written(verdict, self.writer.revision());
                self.note(image, verdict);
            }
            for election in sweep.elections {
                self.parts.metrics.count_election(election);
            }
        }
        self.catch_up().await;
    }

    /// Brings topics without logs in line with the brokers; false if nothing is to be done.
    async fn settle_internal_topics(&mut self, image: &Image) -> bool {
        let seen = (image.revision(), self.liveness.silent());
        if self.settled_for == seen {
            return false;
        }
        let units = internal_topics::settle(image, &self.parts.admin.file, &seen.1);
        if units.is_empty() {
            self.settled_for = seen;
            return false;
        }
        let partitions = units.len();
        let committed = self.commit(units).await;
        if committed.interrupted.is_none() {
            tracing::info!(partitions, silent = ?seen.1, "moved partitions of internal topics");
        }
        self.catch_up().await;
        true
    }

    fn note(&self, image: &Image, verdict: &Verdict) {
        match verdict {
            Verdict::Fence { reason, .. } => self.parts.metrics.count_fence(*reason),
            Verdict::Register { broker, .. } => {
                let unsupported = liveness::unsupported_features(image, *broker);
                if !unsupported.is_empty() {
                    tracing::error!(
                        broker,
                        ?unsupported,
                        "the broker's version does not support what is finalised, so it stays \
                         fenced: upgrade it"
                    );
                }
            }
            Verdict::Reclaim { .. }
            | Verdict::Unfence { .. }
            | Verdict::Drain { .. }
            | Verdict::LogDirs { .. } => {}
        }
    }

    async fn collect(&mut self, image: &Image) {
        let units = topics::collect(image, COLLECT_MAX);
        self.rubbish = !units.is_empty();
        if self.rubbish {
            // What was refused is seen, and tried, again.
            let _ = self.commit(units).await;
            self.catch_up().await;
        }
    }

    fn handle_probed(&mut self, probed: Probed) {
        let Probed { broker, broker_epoch, probe } = probed;
        tracing::info!(broker, broker_epoch, ?probe, "probed a broker");
        self.liveness.handle_probe(broker, broker_epoch, probe, self.parts.clock.now());
    }

    /// Probes a broker after each of these pauses, until it refuses.
    fn spawn_probe(&self, image: &Image, broker: i32, pauses: &'static [Duration]) {
        let Some((host, port, broker_epoch)) = prober::target(image, broker) else { return };
        let probed = self.probed.clone();
        let over = self.over.clone();
        tokio::spawn(async move {
            let result = async {
                for pause in pauses {
                    tokio::time::sleep(*pause).await;
                    let probe = prober::probe(&host, port).await;
                    // The driver may be gone; then nobody wants to know.
                    let _ = probed.send(Probed { broker, broker_epoch, probe }).await;
                    if probe == Probe::Refused {
                        return;
                    }
                }
            };
            tokio::select! {
                () = over.cancelled() => {}
                () = result => {}
            }
        });
    }

    /// Writes units in their order until one is not written.
    async fn commit(&mut self, units: Vec<Unit>) -> Committed {
        let mut committed = Committed::default();
        for transaction in plan::pack(units) {
            let began = self.parts.clock.now().monotonic;
            let written = self.writer.write(&transaction).await;
            let took = self.parts.clock.now().monotonic.saturating_sub(began);
            self.parts.metrics.observe_write(took);
            match written {
                Written::Committed(revision) => {
                    let done = transaction.completes.iter().map(|item| (*item, revision));
                    committed.completed.extend(done);
                }
                Written::Refused(revision) => {
                    tracing::warn!(revision, "a key is not as it was when its change was decided");
                    // It may be the revision of something that no image shows, so the wait is bounded.
                    let _ = self.parts.images.wait_for(revision, REFUSED_WAIT).await;
                    committed.interrupted = Some(Interrupted::Refused);
                }
                Written::Failed(error) => {
                    tracing::error!(%error, "the metadata store can never take this transaction");
                    committed.interrupted = Some(Interrupted::Failed(error));
                }
                Written::Deposed => {
                    self.over.cancel();
                    std::future::pending::<()>().await;
                }
            }
            if committed.interrupted.is_some() {
                self.rubbish = true;
                break;
            }
        }
        committed
    }

    /// Waits until the image shows everything that this driver wrote. It will: every transaction writes a
    /// key of the image.
    async fn catch_up(&self) {
        let revision = self.writer.revision();
        while let Err(error) = self.parts.images.wait_for(revision, CATCH_UP_WARN).await {
            tracing::warn!(%error, "waiting for the image of the cluster");
            // A stopped feed answers at once, for ever.
            tokio::time::sleep(TICK).await;
        }
    }

    fn image(&self) -> Arc<Image> {
        self.parts.images.load()
    }

    fn context<'a>(&'a mut self, image: &'a Image) -> Context<'a> {
        Context {
            image,
            settings: &self.parts.admin,
            now: self.parts.clock.now(),
            random: &mut self.random,
        }
    }
}

/// When it is next to be looked whether preferred replicas lead.
fn balance_after(parts: &Parts) -> Duration {
    parts.clock.now().monotonic.saturating_add(parts.admin.balance.interval)
}

/// Pauses before the probes of a broker whose connection ended. A process that is being killed closes its
/// connections and its listener one after another, so the first probe may still be accepted.
const BROKEN_PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(300),
];
/// Leaders that are given back before requests have their turn again.
const BALANCE_MAX: usize = 1000;
/// How often the driver looks although nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// Keys that are collected before requests have their turn again.
const COLLECT_MAX: usize = 10 * plan::CHANGES_MAX;
/// Results of probes that wait for the driver; further probes wait with theirs.
const PROBES_MAX: usize = 64;
/// How long the image may take to show what a refused transaction met.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// After this time the log says that the image does not come.
const CATCH_UP_WARN: Duration = Duration::from_secs(5);
