//! The broker's logs: the shipped log directory, log worker and assignment, stepped by events.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla_broker::data::desired::{self, SettingsResolver};
use ottla_broker::partition::{
    Address, Assignment, PartitionHandle, Role as ReplicaRole, TopicSettings,
};
use ottla_broker::worker::{
    AppendCommand, Control, Inbox, Open, Shelf, SlotKey, Worker, initial_view,
};
use ottla_metadata::config::{Role, load_server_properties};
use ottla_metadata::image::Image;
use ottla_metadata::model;
use ottla_protocol::record_batch::Batch;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};
use ottla_protocol::{Str, Uuid};
use ottla_storage::{
    Aside, DirIdentity, Log, LogDir, PreviousLife, RecoverOptions, SimIo, SyncTicket, Synced,
    TopicPartition,
};
use rand::Rng;
use tokio::sync::oneshot;

use super::super::env::Env;
use super::super::message::Timer;
use super::super::mutation::Mutation;
use super::{Replica, Replicas, Running, observe};

/// The directory and what runs on it.
pub(super) struct Data {
    dir: LogDir<SimIo>,
    resolver: SettingsResolver,
    broker: BrokerId,
    is_recovered: bool,
    /// Logs that no image has claimed yet.
    unclaimed: BTreeMap<TopicPartition, Log<SimIo>>,
    inbox: Arc<Inbox>,
    shelf: Shelf<SimIo>,
    worker: Worker<SimIo>,
    started: Started,
    syncs: BTreeMap<u64, Sync>,
    next_sync: u64,
    next_user: u32,
    replicas: Replicas,
    /// What the replicas correspond to: revision and broker epoch.
    applied: (i64, Option<i64>),
    /// Whom replicas follow, after an image was applied.
    followings: Vec<Following>,
    noted_epoch: Option<i64>,
    mutation: Option<Mutation>,
    step_at: Option<Duration>,
}

/// A partition, and whom it follows in which epoch, if anybody.
type Following = ((Uuid, i32), Option<(i32, LeaderEpoch)>);

/// Syncs that the worker wants, until the driver takes them.
type Started = Arc<Mutex<Vec<(SlotKey, SyncTicket<SimIo>)>>>;

/// A sync under way.
#[derive(Debug)]
enum Sync {
    Waiting(SlotKey, SyncTicket<SimIo>),
    Done(SlotKey, Synced),
}

impl Data {
    fn open(env: &mut Env, running: &Running, cluster_id: &str) -> Option<Self> {
        let identity = DirIdentity {
            cluster_id: cluster_id.to_owned(),
            node_id: running.id,
            boot_id: running.boot_id.clone(),
            new_directory_id: Uuid::from_bytes(env.rng.random()),
            open_files_max: 16,
        };
        let dir = LogDir::open(running.disk.clone(), Path::new("/data"), &identity);
        let dir = dir.map_err(|error| running.complain(env, &error)).ok()?;
        let inbox = Arc::new(Inbox::new(1 << 20));
        let shelf = Shelf::new();
        let started = Started::default();
        let queue = Arc::clone(&started);
        let start_sync = Box::new(move |slot, ticket| {
            queue.lock().unwrap_or_else(PoisonError::into_inner).push((slot, ticket));
        });
        let broker = BrokerId(running.id);
        let proposals = Arc::clone(&running.proposer.proposals);
        let worker = Worker::new(broker, Arc::clone(&inbox), shelf.clone(), start_sync)
            .with_proposals(proposals, running.lag_max);
        Some(Self {
            dir,
            resolver: resolver(running.id),
            broker,
            is_recovered: false,
            unclaimed: BTreeMap::new(),
            inbox,
            shelf,
            worker,
            started,
            syncs: BTreeMap::new(),
            next_sync: 0,
            next_user: 0,
            replicas: Replicas::new(),
            applied: (0, None),
            followings: Vec::new(),
            noted_epoch: None,
            mutation: env.mutation,
            step_at: None,
        })
    }

    /// Whether the logs are open.
    pub fn is_recovered(&self) -> bool {
        self.is_recovered
    }

    pub fn dir_id(&self) -> Uuid {
        self.dir.id()
    }

    /// How the last life ended, as a claim says it.
    pub fn previous_life(&self) -> model::PreviousLife {
        let epoch = |epoch: Option<i64>| epoch.unwrap_or(-1);
        match self.dir.previous_life() {
            PreviousLife::New => model::PreviousLife::None,
            PreviousLife::Clean { broker_epoch } => {
                model::PreviousLife::Clean { broker_epoch: epoch(broker_epoch) }
            }
            PreviousLife::ProcessCrash { broker_epoch } => {
                model::PreviousLife::ProcessCrash { broker_epoch: epoch(broker_epoch) }
            }
            PreviousLife::MachineCrash { broker_epoch } => {
                model::PreviousLife::MachineCrash { broker_epoch: epoch(broker_epoch) }
            }
        }
    }

    /// The cluster has judged this life's claim.
    pub fn note_broker_epoch(&mut self, broker_epoch: i64) {
        if self.noted_epoch != Some(broker_epoch) && self.dir.set_broker_epoch(broker_epoch).is_ok()
        {
            self.noted_epoch = Some(broker_epoch);
        }
    }

    /// The replica of a partition.
    pub fn find(&self, key: (Uuid, i32)) -> Option<&Arc<PartitionHandle>> {
        self.replicas.get(&key).map(|replica| &replica.handle)
    }

    /// Whether a partition is led here.
    pub fn leads_any(&self) -> bool {
        let leads = |replica: &Replica| replica.handle.view().role == ReplicaRole::Leader;
        self.replicas.values().any(leads)
    }

    /// Whether a sync is due that has not been made.
    pub fn has_unsynced(&self) -> bool {
        self.syncs.values().any(|sync| matches!(sync, Sync::Waiting(..)))
    }

    pub fn read_led(&self, key: (Uuid, i32)) -> Option<(i32, Vec<Batch>)> {
        observe::read_led(self.find(key)?)
    }

    pub fn read_all(&self, key: (Uuid, i32)) -> Option<(Vec<Batch>, i64, i64)> {
        let view = self.find(key)?.view_full();
        let batches = observe::read(&view, view.log_start.0, view.log_end.0).ok()?;
        Some((batches, view.log_end.0, view.high_watermark.0))
    }

    pub fn ends(&self, key: (Uuid, i32)) -> Option<(i64, i64)> {
        let view = self.find(key)?.view();
        Some((view.log_end.0, view.high_watermark.0))
    }

    /// Whether the disk failed under the worker.
    pub fn has_failed(&self) -> bool {
        self.worker.failure().is_some()
    }

    /// Queues an append; false if there is no room.
    pub fn append(&self, command: AppendCommand, bytes: usize) -> bool {
        let mut sending = Box::pin(self.inbox.send(command, bytes));
        let sent = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        matches!(sent, Poll::Ready(Ok(())))
    }

    pub fn tell(&self, control: Control) {
        // The worker lives as long as this.
        let _ = self.inbox.report(control);
    }

    fn settings(&self, image: &Image, topic: Uuid) -> Arc<TopicSettings> {
        let mut settings = match image.topic_by_id(topic) {
            Some(topic) => self.resolver.of_topic(image, topic),
            None => TopicSettings::default(),
        };
        shrink(&mut settings);
        if self.mutation == Some(Mutation::CountsWhatIsNotFlushed) {
            settings.is_durable = false;
        }
        Arc::new(settings)
    }

    fn recover(&mut self, image: &Image) -> Result<(), String> {
        let resolver = &self.resolver;
        let of_partition = |partition: &TopicPartition| {
            let mut settings = resolver.by_name(image, &partition.topic);
            shrink(&mut settings);
            settings.log
        };
        let options = RecoverOptions { threads: 1, config: &of_partition, progress: &|_| {} };
        let recovered = self.dir.recover(&options).map_err(|error| error.to_string())?;
        if let Some((partition, error)) = recovered.failed.first() {
            return Err(format!("{partition}: {error}"));
        }
        let by_name = recovered.logs.into_iter().map(|log| (log.partition().clone(), log));
        self.unclaimed = by_name.collect();
        self.is_recovered = true;
        Ok(())
    }

    /// Brings the replicas to an image and to the present life; true if the worker has something to do.
    fn apply(
        &mut self,
        image: &Image,
        broker_epoch: Option<i64>,
        random: &mut impl Rng,
    ) -> Result<bool, String> {
        if !self.is_recovered || self.applied == (image.revision(), broker_epoch) {
            return Ok(false);
        }
        self.applied = (image.revision(), broker_epoch);
        let mut has_changed = self.close_what_went(image, random)?;
        for (topic, index, partition) in image.partitions() {
            if !desired::is_replica(partition, self.broker) {
                continue;
            }
            let life = (self.broker, broker_epoch.unwrap_or(-1));
            let mut assignment = desired::assignment(image, partition, life);
            if self.mutation == Some(Mutation::LeadsInAnyLife) {
                assignment.leads = partition.leader == self.broker.0;
            }
            let leader = desired::leader_to_follow(partition, self.broker);
            let leader = leader.filter(|_| !self.has_failed());
            let leader = leader.map(|(leader, epoch)| (leader.0, epoch));
            self.followings.push(((topic, index), leader));
            match self.replicas.get_mut(&(topic, index)) {
                Some(replica) if replica.assignment == assignment => continue,
                Some(replica) => {
                    replica.assignment = assignment.clone();
                    let slot = replica.handle.slot;
                    self.tell(Control::Assign { slot, assignment });
                }
                None => self.open_replica(image, (topic, index), assignment, random)?,
            }
            has_changed = true;
        }
        Ok(has_changed)
    }

    fn open_replica(
        &mut self,
        image: &Image,
        (topic_id, index): (Uuid, i32),
        assignment: Assignment,
        random: &mut impl Rng,
    ) -> Result<(), String> {
        let Some(topic) = image.topic_by_id(topic_id) else { return Ok(()) };
        let partition = TopicPartition::new(topic.name.as_str(), index);
        let settings = self.settings(image, topic_id);
        let found = match self.unclaimed.remove(&partition) {
            Some(log) if log.topic_id() == topic_id => Some(log),
            Some(former) => {
                let id = Uuid::from_bytes(random.random());
                let aside = self.dir.set_aside(former, id, Aside::Stray);
                aside.map_err(|error| error.to_string())?;
                None
            }
            None => None,
        };
        let log = match found {
            Some(log) => log,
            None => {
                let made = self.dir.create_log(&partition, topic_id, Arc::clone(&settings.log));
                made.map_err(|error| error.to_string())?
            }
        };
        let high_watermark = self.dir.high_watermark(&partition).unwrap_or(Offset(0));
        self.next_user += 1;
        let slot = SlotKey { index: self.next_user, user: self.next_user };
        let view = initial_view(&log, &settings, high_watermark);
        let name = Str::from(topic.name.as_str());
        let address = Address { topic_id, topic: name, index, log_dir: 0, slot };
        let handle = Arc::new(PartitionHandle::new(address, Arc::clone(&self.inbox), view));
        let seen_end = log.log_start().0;
        let seen_mark = high_watermark.min(log.log_end()).max(log.log_start()).0;
        self.shelf.put(slot, log);
        self.tell(Control::Open(Box::new(Open {
            handle: Arc::clone(&handle),
            settings,
            assignment: assignment.clone(),
            high_watermark,
        })));
        self.replicas.insert(
            (topic_id, index),
            Replica { handle, assignment, seen: BTreeMap::new(), seen_end, seen_mark },
        );
        Ok(())
    }

    fn close_what_went(&mut self, image: &Image, random: &mut impl Rng) -> Result<bool, String> {
        let gone: Vec<(Uuid, i32)> = self.replicas.keys().copied().collect();
        let gone = gone.into_iter().filter(|key| image.partition(key.0, key.1).is_none());
        let mut has_changed = false;
        for key in gone {
            let Some(replica) = self.replicas.remove(&key) else { continue };
            self.followings.push((key, None));
            let slot = replica.handle.slot;
            self.tell(Control::Close { slot, reply: oneshot::channel().0 });
            self.worker.step(Default::default(), usize::MAX);
            if let Some(log) = self.shelf.take(slot) {
                let id = Uuid::from_bytes(random.random());
                let aside = self.dir.set_aside(log, id, Aside::Deleted);
                aside.map_err(|error| error.to_string())?;
            }
            has_changed = true;
        }
        Ok(has_changed)
    }

    fn write_checkpoints(&self) -> Result<(), String> {
        for replica in self.replicas.values() {
            let handle = &replica.handle;
            let partition = TopicPartition::new(handle.topic.clone(), handle.index);
            self.dir.set_high_watermark(&partition, handle.view().high_watermark);
        }
        let written = self.dir.write_checkpoints().and_then(|()| self.dir.remove_deleted(64));
        written.map(drop).map_err(|error| error.to_string())
    }

    fn close(self, broker_epoch: i64) -> Result<(), String> {
        let mut logs = self.worker.into_logs();
        logs.extend(self.unclaimed.into_values());
        self.dir.close(logs, broker_epoch).map_err(|error| error.to_string())
    }
}

impl Running {
    /// Opens the directory as soon as the image tells which cluster this is.
    pub(super) fn maybe_open(&mut self, env: &mut Env) {
        if self.data.is_some() {
            return;
        }
        let Some(cluster) = self.feed.image().cluster().cloned() else { return };
        self.data = Data::open(env, self, &cluster.cluster_id);
        let pause = env.between(Duration::from_millis(1), Duration::from_millis(50));
        env.timer(self.me, pause, Timer::Recover);
    }

    /// Opens the logs, then claims.
    pub(super) fn recover(&mut self, env: &mut Env) {
        let image = Arc::clone(self.feed.image());
        let Some(data) = &mut self.data else { return };
        self.disk.set_ignoring_syncs(env.does(Mutation::RecoversWithoutSync));
        let recovered = data.recover(&image);
        self.disk.set_ignoring_syncs(false);
        if let Err(error) = recovered {
            return self.complain(env, &error);
        }
        let logs = data.unclaimed.len();
        env.note(format_args!("{:?} recovered {logs} logs, {:?}", self.me, data.previous_life()));
        env.timer(self.me, CHECKPOINT_INTERVAL, Timer::Checkpoint);
        self.apply_image(env);
        self.maybe_claim(env);
    }

    pub(super) fn apply_image(&mut self, env: &mut Env) {
        let image = Arc::clone(self.feed.image());
        let epoch = self.claim.broker_epoch();
        let Some(data) = &mut self.data else { return };
        let applied = data.apply(&image, epoch, &mut env.rng);
        let followings = std::mem::take(&mut data.followings);
        match applied {
            Ok(true) => self.step_soon(env),
            Ok(false) => {}
            Err(error) => self.complain(env, &error),
        }
        for (key, leader) in followings {
            self.set_following(env, key, leader);
        }
    }

    /// The worker will see to what is in its inbox.
    pub(super) fn step_soon(&mut self, env: &mut Env) {
        let pause = env.between(Duration::from_micros(10), Duration::from_micros(500));
        self.step_at(env, env.now + pause);
    }

    fn step_at(&mut self, env: &mut Env, at: Duration) {
        let Some(data) = &mut self.data else { return };
        if data.step_at.is_none_or(|due| at < due) {
            data.step_at = Some(at);
            env.timer(self.me, at.saturating_sub(env.now), Timer::Step);
        }
    }

    /// The worker alone goes on.
    pub(super) fn step_in_pause(&mut self, env: &mut Env) {
        let Some(data) = &mut self.data else { return };
        data.step_at = None;
        let progress = data.worker.step(env.clocks_of(self.id), 0);
        let soon = env.now + Duration::from_millis(50);
        let due = progress.next_deadline.unwrap_or(soon).max(soon);
        self.step_at(env, due);
    }

    pub(super) fn step(&mut self, env: &mut Env) {
        let Some(data) = &mut self.data else { return };
        if data.step_at.is_some_and(|due| env.now < due) {
            return;
        }
        data.step_at = None;
        let progress = data.worker.step(env.clocks_of(self.id), STEP_BYTES);
        let started =
            std::mem::take(&mut *data.started.lock().unwrap_or_else(PoisonError::into_inner));
        for (slot, ticket) in started {
            data.next_sync += 1;
            data.syncs.insert(data.next_sync, Sync::Waiting(slot, ticket));
            let longest = if env.rng.random_bool(0.15) { 400 } else { 15 };
            let pause = env.between(Duration::from_micros(100), Duration::from_millis(longest));
            env.timer(self.me, pause, Timer::SyncRun(data.next_sync));
        }
        self.observe(env);
        self.answer_ready(env);
        self.serve_fetches(env);
        self.poll_fetchers(env);
        self.propose(env);
        self.note_failure(env);
        if progress.is_busy {
            self.step_soon(env);
        } else if let Some(due) = progress.next_deadline {
            self.step_at(env, due.max(env.now + Duration::from_micros(1)));
        }
    }

    pub(super) fn run_sync(&mut self, env: &mut Env, sync: u64) {
        let Some(data) = &mut self.data else { return };
        if let Some(Sync::Waiting(slot, ticket)) = data.syncs.remove(&sync) {
            data.syncs.insert(sync, Sync::Done(slot, ticket.run()));
            let pause = env.between(Duration::from_micros(10), Duration::from_millis(1));
            env.timer(self.me, pause, Timer::SyncDone(sync));
        }
    }

    pub(super) fn report_sync(&mut self, env: &mut Env, sync: u64) {
        let Some(data) = &mut self.data else { return };
        if let Some(Sync::Done(slot, synced)) = data.syncs.remove(&sync) {
            data.tell(Control::Synced { slot, synced });
            self.step_soon(env);
        }
    }

    pub(super) fn checkpoint(&mut self, env: &mut Env) {
        env.timer(self.me, CHECKPOINT_INTERVAL, Timer::Checkpoint);
        let written = self.data.as_ref().map(Data::write_checkpoints);
        if let Some(Err(error)) = written {
            self.complain(env, &error);
        }
    }

    /// Stops in an orderly way.
    pub(super) fn shut_down(mut self: Box<Self>, env: &mut Env) {
        self.end_claim(env);
        let epoch = self.claim.broker_epoch().unwrap_or(-1);
        let me = self.me;
        if let Some(data) = self.data.take().filter(Data::is_recovered)
            && let Err(error) = data.close(epoch)
        {
            env.note(format_args!("{me:?} did not close in order: {error}"));
        }
    }

    /// Directories that failed.
    pub(super) fn offline_dirs(&self) -> Vec<Uuid> {
        let failed = self.data.iter().filter(|data| data.has_failed());
        failed.map(Data::dir_id).collect()
    }

    /// A directory that failed follows nobody.
    fn note_failure(&mut self, env: &mut Env) {
        let Some(data) = self.data.as_ref().filter(|data| data.has_failed()) else { return };
        let keys: Vec<_> = data.replicas.keys().copied().collect();
        for key in keys {
            self.set_following(env, key, None);
        }
    }

    /// The disk failed: the world sees why, which is that the power is gone.
    pub(super) fn complain(&self, env: &mut Env, error: &dyn std::fmt::Display) {
        env.note(format_args!("{:?}: {error}", self.me));
    }

    /// All replicas here.
    pub(super) fn replicas_mut(&mut self) -> Option<(&mut Replicas, Option<i64>)> {
        let epoch = self.claim.broker_epoch();
        self.data.as_mut().map(|data| (&mut data.replicas, epoch))
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").field("replicas", &self.replicas.len()).finish_non_exhaustive()
    }
}

fn resolver(id: i32) -> SettingsResolver {
    let text = format!("node.id={id}\nlisteners=PLAINTEXT://:9092\nlog.dirs=/data\n");
    let loaded = load_server_properties(Role::Broker, "sim", text.as_bytes(), &[]);
    let config = loaded.expect("the properties are valid").config;
    SettingsResolver::new(BrokerId(id), Arc::new(config))
}

/// Small segments and frequent checkpoints, so that a short run sees many of them.
fn shrink(settings: &mut TopicSettings) {
    let log = Arc::make_mut(&mut settings.log);
    log.segment_bytes = 12_000;
    log.index_interval_bytes = 500;
    log.checkpoint_age = Duration::from_secs(3);
}

const STEP_BYTES: usize = 64 << 10;
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
