//! The task of one shard: it loads the shard, gives it what arrives, and does what comes out. It sleeps
//! while nothing arrives and nothing is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_metadata::journal::{JournalError, ShardReader};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};

use super::hub::{Hub, Inbound, Phase, Slot, WAITING_MAX};
use super::lag::Committed;
use super::outbox::Reply;
use super::writer::TakeOver;
use crate::group::{After, Call, Effects, Response, Shard, Ticket, World, refusal};
use ottla_protocol::ErrorCode;

/// Drives one shard for a term.
pub(super) struct Worker {
    pub hub: Arc<Hub>,
    pub slot: Arc<Slot>,
    pub calls: mpsc::Receiver<Inbound>,
    pub take_overs: mpsc::Sender<TakeOver>,
}

impl Worker {
    /// Loads and serves until the term is over.
    pub async fn run(mut self) {
        let over = self.hub.over.clone();
        tokio::select! {
            () = over.cancelled() => {}
            () = self.work() => {}
        }
        self.slot.lose();
    }

    async fn work(&mut self) {
        let mut readers = self.hub.reader.subscribe();
        let reader = match readers.wait_for(Option::is_some).await {
            Ok(reader) => reader.clone(),
            Err(_) => return,
        };
        let Some(reader) = reader else { return };
        let mut is_mine = true;
        loop {
            self.slot.set_phase(Phase::Loading);
            let loaded = self.load(&reader, is_mine).await;
            is_mine = false;
            match loaded {
                Ok(shard) => self.serve(shard).await,
                Err(error) => {
                    tracing::error!(shard = self.slot.id, %error, "cannot load a shard of groups");
                    tokio::time::sleep(RELOAD_PAUSE).await;
                }
            }
        }
    }

    /// Reads the shard from the journal, after taking it over unless that was just done.
    async fn load(&self, reader: &ShardReader, is_mine: bool) -> Result<Shard, JournalError> {
        let shard = self.slot.id;
        if !is_mine {
            let (reply, taken) = oneshot::channel();
            // The writer ends with the term, as this task does.
            let _ = self.take_overs.send(TakeOver { shard, reply }).await;
            taken.await.unwrap_or(Err(JournalError::NotActive))?;
        }
        let _permit = self.hub.loading.acquire().await;
        let records = reader.read(shard).await?;
        let count = records.len();
        let loaded = Shard::restore(records, self.hub.clock.now())?;
        tracing::debug!(shard, records = count, groups = loaded.len(), "loaded a shard of groups");
        Ok(loaded)
    }

    /// Serves the shard until it is lost.
    async fn serve(&mut self, shard: Shard) {
        let topology = self.hub.topology.subscribe();
        let seen = self.hub.images.load();
        let served = Served::new(self.hub.clone(), self.slot.clone(), shard, seen);
        self.hub.metrics.loaded_shards.inc();
        self.slot.begin();
        served.run(&mut self.calls, topology).await;
        self.hub.metrics.loaded_shards.dec();
    }
}

/// A shard that answers.
struct Served {
    hub: Arc<Hub>,
    slot: Arc<Slot>,
    shard: Shard,
    /// The image whose topics the groups know.
    seen: Arc<Image>,
    random: StdRng,
    replies: HashMap<Ticket, oneshot::Sender<Response>>,
    out: Effects,
    /// When offsets are next looked at for their age, in store-healthy time.
    sweep_at: Duration,
    /// Groups and parked requests as they are in the metrics.
    shown: (usize, usize),
    /// Rebalances as they are in the metrics.
    rebalances: u64,
}

impl Served {
    fn new(hub: Arc<Hub>, slot: Arc<Slot>, shard: Shard, seen: Arc<Image>) -> Self {
        let sweep_at = hub.clock.now().monotonic + hub.settings.load().sweep_interval;
        Self {
            hub,
            slot,
            shard,
            seen,
            random: StdRng::from_os_rng(),
            replies: HashMap::new(),
            out: Effects::default(),
            sweep_at,
            shown: (0, 0),
            rebalances: 0,
        }
    }

    async fn run(
        mut self,
        calls: &mut mpsc::Receiver<Inbound>,
        mut topology: watch::Receiver<Arc<Image>>,
    ) {
        let mut inbound = Vec::with_capacity(CALLS_AT_ONCE);
        self.shard.begin(&mut self.out);
        self.flush();
        while self.slot.phase() == Phase::Active {
            let slot = self.slot.clone();
            let sleep = self.until_due();
            tokio::select! {
                received = calls.recv_many(&mut inbound, CALLS_AT_ONCE) => {
                    if received == 0 {
                        break;
                    }
                    inbound.drain(..).for_each(|it| self.take_in(it));
                }
                () = slot.nudge.notified() => self.abandon(),
                () = sleep => self.do_due(),
                changed = topology.changed() => if changed.is_err() { break },
            }
            if topology.has_changed().unwrap_or(false)
                || !Arc::ptr_eq(&self.seen, &topology.borrow_and_update())
            {
                self.look_at_topics(&topology.borrow().clone());
            }
            self.flush();
        }
        self.show(0, 0);
    }

    /// Passes when something is due; never, for a shard without groups.
    fn until_due(&self) -> impl Future<Output = ()> + use<> {
        let timer = self.shard.next_deadline();
        let sweep = (!self.shard.is_empty()).then_some(self.sweep_at);
        let due = timer.into_iter().chain(sweep).min();
        let now = self.hub.clock.now().monotonic;
        let pause = due.map(|due| due.saturating_sub(now).max(SLEEP_MIN));
        async move {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    }

    fn take_in(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::List { filter, reply } => {
                // Whoever does not wait any more does not mind.
                let _ = reply.send(self.shard.list(&filter));
            }
            Inbound::Committed { limit, reply } => {
                let _ = reply.send(self.committed(limit));
            }
            Inbound::Request { ticket, client, group, request, reply } => {
                if reply.is_closed() {
                    return;
                }
                if WAITING_MAX <= self.slot.outbox().waiting() {
                    let _ = reply.send(refusal(
                        &request,
                        client.version,
                        ErrorCode::CoordinatorNotAvailable,
                    ));
                    return;
                }
                self.replies.insert(ticket, reply);
                self.with(|shard, world| {
                    let request = *request;
                    let call = Call { ticket, client: &client, group: &group, request };
                    shard.handle(call, world);
                });
                // In order: a later request of this batch finds the journal's queue as it is now.
                self.flush();
            }
        }
    }

    /// What groups have committed for topics that exist.
    fn committed(&self, limit: usize) -> Vec<Committed> {
        let image = self.hub.images.load();
        let committed = self.shard.committed().filter_map(|(group, topic, committed)| {
            let topic = image.topic_by_id(topic)?.name.clone();
            let (group, partition) = (group.to_owned(), (topic, committed.partition));
            Some(Committed { group, partition, offset: committed.offset })
        });
        committed.take(limit).collect()
    }

    fn abandon(&mut self) {
        for ticket in self.slot.take_abandoned() {
            self.replies.remove(&ticket);
            self.with(|shard, world| shard.abandon(ticket, world));
        }
    }

    fn do_due(&mut self) {
        self.with(Shard::on_timer);
        if self.sweep_at <= self.hub.clock.now().monotonic {
            self.sweep_at =
                self.hub.clock.now().monotonic + self.hub.settings.load().sweep_interval;
            let swept = self.with(Shard::sweep);
            self.hub.metrics.offsets_expired.inc_by(swept.offsets as u64);
        }
    }

    fn look_at_topics(&mut self, image: &Arc<Image>) {
        let changed = image.diff(&self.seen).topics;
        self.seen = image.clone();
        if !changed.is_empty() && !self.shard.is_empty() {
            self.with(|shard, world| shard.topics_changed(&changed, world));
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Shard, &mut World<'_>) -> T) -> T {
        let (image, settings) = (self.hub.images.load(), self.hub.settings.load());
        let mut world = World {
            now: self.hub.clock.now(),
            image: &image,
            settings: &settings,
            random: &mut self.random,
            out: &mut self.out,
        };
        act(&mut self.shard, &mut world)
    }

    /// Hands writes to the journal, and answers to whoever waits, now or when those are durable.
    fn flush(&mut self) {
        let mut ready = Vec::new();
        let has_writes = !self.out.writes.is_empty();
        if has_writes || !self.out.answers.is_empty() {
            let now = self.hub.clock.real();
            let mut outbox = self.slot.outbox();
            for record in self.out.writes.drain(..) {
                outbox.push(record, now);
            }
            for answer in self.out.answers.drain(..) {
                let Some(to) = self.replies.remove(&answer.ticket) else { continue };
                let reply = Reply { response: answer.response, to };
                match answer.after {
                    After::Nothing => ready.push(reply),
                    After::Writes => ready.extend(outbox.wait(reply)),
                }
            }
        }
        if has_writes {
            self.hub.mark_dirty(self.slot.id);
        }
        if !ready.is_empty() {
            self.hub.release(ready);
        }
        self.show(self.shard.len(), self.shard.parked());
    }

    fn show(&mut self, groups: usize, parked: usize) {
        let change = |before: usize, after: usize| after as i64 - before as i64;
        let metrics = &self.hub.metrics;
        if self.shown != (groups, parked) {
            metrics.groups.inc_by(change(self.shown.0, groups));
            metrics.parked.inc_by(change(self.shown.1, parked));
            self.shown = (groups, parked);
        }
        let rebalances = self.shard.rebalances();
        metrics.rebalances.inc_by(rebalances - self.rebalances);
        self.rebalances = rebalances;
    }
}

/// Requests that are taken from the queue together.
const CALLS_AT_ONCE: usize = 64;
/// A clock that stands still is looked at no more often.
const SLEEP_MIN: Duration = Duration::from_millis(20);
/// Before a shard that cannot be read is read again.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);
