//! Makes the replicas here what the image says: the only writer of the routing table.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use ottla_metadata::image::{Image, ImageDiff, ImageReader};
use ottla_metadata::internal_topics::is_metadata_only;
use ottla_metadata::model::LOST_DIR;
use ottla_protocol::types::Offset;
use ottla_protocol::{Str, Uuid};
use ottla_storage::{Aside, CreateLogError, Log, LogIo, TopicPartition};
use tokio::sync::{mpsc, oneshot, watch};

use super::desired::{self, SettingsResolver};
use super::dir::Dir;
use super::{Stop, checkpoints};
use crate::data_path::DataPath;
use crate::partition::{Address, Assignment, PartitionHandle, Role, TopicSettings};
use crate::pool::Pool;
use crate::replication::{Change, Feed, Following};
use crate::worker::{Control, Open, SlotKey, initial_view};

/// What an assigner is made of.
pub(super) struct Parts<I: LogIo> {
    pub path: Arc<DataPath>,
    pub dirs: Vec<Dir<I>>,
    /// Logs that were found, with the number of their directory.
    pub recovered: Vec<(usize, Log<I>)>,
    /// Partitions whose logs could not be opened.
    pub failed: Vec<TopicPartition>,
    pub resolver: SettingsResolver,
    pub offline: watch::Sender<Vec<Uuid>>,
    /// Told what is to be followed; `None` where nobody follows.
    pub feed: Option<Feed>,
}

/// What an assigner listens to.
pub(super) struct Events {
    pub image: ImageReader,
    pub broker_epoch: watch::Receiver<i64>,
    /// Numbers of directories that failed.
    pub failures: mpsc::Receiver<usize>,
    pub stops: mpsc::Receiver<Stop>,
}

/// Owns the list of replicas here. Waits for disks only by way of its pool.
pub(super) struct Assigner<I: LogIo> {
    path: Arc<DataPath>,
    dirs: Vec<Dir<I>>,
    /// Logs that no image has claimed yet, by name.
    unclaimed: HashMap<TopicPartition, (usize, Log<I>)>,
    failed: BTreeSet<TopicPartition>,
    resolver: SettingsResolver,
    offline: watch::Sender<Vec<Uuid>>,
    feed: Option<Feed>,
    /// For the feed.
    followings: Vec<Change>,
    local: BTreeMap<(Uuid, i32), Local>,
    /// The image that `local` corresponds to.
    applied: Arc<Image>,
    broker_epoch: i64,
    /// The epoch that the directories know.
    noted_epoch: i64,
    disk: Pool,
}

/// One replica here.
struct Local {
    handle: Arc<PartitionHandle>,
    worker: usize,
}

/// A replica that is to be made.
struct Opening {
    topic_id: Uuid,
    topic: Str,
    index: i32,
    settings: Arc<TopicSettings>,
    assignment: Assignment,
    dir: usize,
}

type Opened<I> = (Opening, Result<Log<I>, CreateLogError>);

/// Logs made at once: each waits for its folder to be synced.
const OPENINGS: usize = 8;
/// Replicas that become routable together.
const OPENED_TOGETHER: usize = 64;
/// Time from one checkpoint to the next (`replica.high.watermark.checkpoint.interval.ms`).
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// The first retry of what a disk refused.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

impl<I: LogIo> Assigner<I> {
    pub fn new(parts: Parts<I>) -> Self {
        let Parts { path, dirs, recovered, failed, resolver, offline, feed } = parts;
        let by_name = recovered.into_iter().map(|(dir, log)| (log.partition().clone(), (dir, log)));
        let mut assigner = Self {
            path,
            dirs,
            unclaimed: HashMap::new(),
            failed: failed.into_iter().collect(),
            resolver,
            offline,
            feed,
            followings: Vec::new(),
            local: BTreeMap::new(),
            applied: Arc::default(),
            broker_epoch: -1,
            noted_epoch: -1,
            disk: Pool::new("log-open", OPENINGS),
        };
        for (partition, (dir, log)) in by_name {
            assigner.dirs[dir].logs += 1;
            if let Some((other, _)) = assigner.unclaimed.insert(partition.clone(), (dir, log)) {
                tracing::error!(%partition, first = other, second = dir,
                    "two log directories have a log of this partition; the second is used");
            }
        }
        assigner
    }

    /// Follows the image until it is told to stop.
    pub async fn run(mut self, events: Events) {
        let Events { mut image, mut broker_epoch, mut failures, mut stops } = events;
        let mut checkpoint = tokio::time::interval(CHECKPOINT_INTERVAL);
        checkpoint.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut retry_at = None;
        let (mut is_image_alive, mut is_epoch_alive) = (true, true);
        loop {
            let epoch = *broker_epoch.borrow_and_update();
            let missing = self.apply(image.load(), epoch).await;
            self.tell_fetchers().await;
            if missing && retry_at.is_none() {
                retry_at = Some(tokio::time::Instant::now() + RETRY_INTERVAL);
            }
            let retry = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                stop = stops.recv() => return self.stop(stop).await,
                changed = image.changed(), if is_image_alive => is_image_alive = changed.is_ok(),
                // A sender that is gone leaves the last epoch in force.
                changed = broker_epoch.changed(), if is_epoch_alive => is_epoch_alive = changed.is_ok(),
                Some(dir) = failures.recv() => self.fail(dir).await,
                _ = checkpoint.tick() => self.checkpoint().await,
                () = retry => {
                    let is_missing = self.retry().await;
                    retry_at = is_missing.then(|| tokio::time::Instant::now() + RETRY_INTERVAL);
                }
            }
        }
    }

    /// Brings the replicas here to `image`. Returns true if some could not be made.
    async fn apply(&mut self, image: Arc<Image>, broker_epoch: i64) -> bool {
        if !image.is_complete() {
            return false;
        }
        let is_first = !self.applied.is_complete();
        let has_new_life = broker_epoch != self.broker_epoch;
        if !is_first && !has_new_life && image.revision() == self.applied.revision() {
            return false;
        }
        let diff = image.diff(&self.applied);
        self.broker_epoch = broker_epoch;
        let mut changed = diff.partitions.clone();
        if has_new_life {
            changed.extend(self.local.keys().copied());
        }
        changed.extend(self.led_with(&image, &diff.brokers));
        self.applied = Arc::clone(&image);
        self.note_epoch(&image).await;
        self.close_what_went(&image, &changed).await;
        self.configure(&image, &diff).await;
        let is_missing = self.assign(&image, &changed).await;
        if is_first {
            self.set_strays_aside(&image).await;
        }
        is_missing
    }

    /// Writes the broker epoch down once the controller has judged the life before it: from then on, the
    /// next start has to report how this one ended.
    async fn note_epoch(&mut self, image: &Image) {
        let epoch = self.broker_epoch;
        let known = image.broker(self.path.broker.0).map(|record| record.broker_epoch);
        if known != Some(epoch) || self.noted_epoch == epoch {
            return;
        }
        let dirs: Vec<_> = self.dirs.iter().map(|dir| Arc::clone(&dir.dir)).collect();
        let note = move || dirs.iter().try_for_each(|dir| dir.set_broker_epoch(epoch));
        match self.disk.run(note).await {
            Ok(Ok(())) => self.noted_epoch = epoch,
            // The directory is offline now, which its workers will tell.
            Ok(Err(error)) => tracing::error!(%error, "the broker epoch cannot be noted"),
            Err(error) => tracing::error!(%error, "the broker epoch cannot be noted"),
        }
    }

    /// Tries again to make what is missing.
    async fn retry(&mut self) -> bool {
        let image = Arc::clone(&self.applied);
        let all: BTreeSet<_> = image.partitions().map(|(topic, index, _)| (topic, index)).collect();
        self.assign(&image, &all).await
    }

    /// Partitions led here with a replica on one of these brokers, whose records changed: their leader
    /// has to know who may be in sync.
    fn led_with(&self, image: &Image, brokers: &BTreeSet<i32>) -> Vec<(Uuid, i32)> {
        if brokers.is_empty() {
            return Vec::new();
        }
        let is_concerned = |key: &&(Uuid, i32)| {
            image.partition(key.0, key.1).is_some_and(|partition| {
                partition.leader == self.path.broker.0
                    && partition.replicas.iter().any(|replica| brokers.contains(replica))
            })
        };
        self.local.keys().filter(is_concerned).copied().collect()
    }

    // === topics' configurations ===

    async fn configure(&mut self, image: &Image, diff: &ImageDiff) {
        let topics: Vec<Uuid> = if diff.configs.is_empty() {
            diff.topics.iter().copied().collect()
        } else {
            image.topics().map(|topic| topic.id).collect()
        };
        for topic in topics {
            let Some(value) = image.topic_by_id(topic) else { continue };
            let mut settings = None;
            for (_, local) in self.local.range((topic, i32::MIN)..=(topic, i32::MAX)) {
                let settings =
                    settings.get_or_insert_with(|| Arc::new(self.resolver.of_topic(image, value)));
                if *local.handle.view().settings != **settings {
                    let (slot, settings) = (local.handle.slot, Arc::clone(settings));
                    let control = Control::Configure { slot, settings };
                    let _ = local.handle.inbox.send_control(control).await;
                }
            }
        }
    }

    // === replicas that stay or come ===

    async fn assign(&mut self, image: &Image, changed: &BTreeSet<(Uuid, i32)>) -> bool {
        let mut openings = Vec::new();
        let mut settings: HashMap<Uuid, Arc<TopicSettings>> = HashMap::new();
        for &(topic_id, index) in changed {
            let Some(partition) = image.partition(topic_id, index) else { continue };
            let Some(topic) = image.topic_by_id(topic_id) else { continue };
            if !desired::is_replica(partition, self.path.broker) || is_metadata_only(&topic.name) {
                continue;
            }
            let here = (self.path.broker, self.broker_epoch);
            let assignment = desired::assignment(image, partition, here);
            if let Some(local) = self.local.get(&(topic_id, index)) {
                let control = Control::Assign { slot: local.handle.slot, assignment };
                let _ = local.handle.inbox.send_control(control).await;
                self.note_following(image, (topic_id, index));
                self.note_place(image, (topic_id, index));
                continue;
            }
            let preferred = self.path.preferred_dirs.take((topic_id, index));
            let dir = preferred.unwrap_or_else(|| partition.log_dir_of(self.path.broker.0));
            let of_topic = settings
                .entry(topic_id)
                .or_insert_with(|| Arc::new(self.resolver.of_topic(image, topic)));
            openings.push(Opening {
                topic_id,
                topic: Str::from(topic.name.as_str()),
                index,
                settings: Arc::clone(of_topic),
                assignment,
                dir: self.place(dir),
            });
        }
        self.open_all(image, openings).await
    }

    /// The directory that was chosen, else the one with the fewest logs. It counts as there already.
    fn place(&mut self, chosen: Uuid) -> usize {
        let chosen = self.dirs.iter().position(|dir| dir.dir.id() == chosen);
        let number = chosen.unwrap_or_else(|| {
            let usable = self.dirs.iter().enumerate().filter(|(_, dir)| !dir.is_offline);
            usable.min_by_key(|(_, dir)| dir.logs).map_or(0, |(number, _)| number)
        });
        self.dirs[number].logs += 1;
        number
    }

    /// Finds or makes the logs and hands them to their workers. Returns true if one cannot be made now.
    async fn open_all(&mut self, image: &Image, openings: Vec<Opening>) -> bool {
        let mut is_missing = false;
        let mut opened = Vec::with_capacity(OPENED_TOGETHER);
        let mut creations = Vec::new();
        let mut unusable = Vec::new();
        for mut opening in openings {
            let partition = TopicPartition::new(opening.topic.clone(), opening.index);
            if self.failed.contains(&partition) {
                self.dirs[opening.dir].logs -= 1;
                unusable.push((opening.topic_id, opening.index));
                continue;
            }
            match self.claim(image, &partition, opening.topic_id).await {
                Some((dir, log)) => {
                    // It was counted when it was found.
                    self.dirs[opening.dir].logs -= 1;
                    opening.dir = dir;
                    opened.push(self.hand_over(opening, log).await);
                }
                None => creations.push(opening),
            }
            self.maybe_route(&mut opened, OPENED_TOGETHER);
        }
        if !unusable.is_empty() {
            for key in &unusable {
                let known = image.partition(key.0, key.1);
                if known.is_some_and(|it| it.log_dir_of(self.path.broker.0) != LOST_DIR) {
                    self.path.placements.put(*key, LOST_DIR);
                }
            }
            self.path.partitions.set_unusable(unusable);
        }
        let disk = self.disk.clone();
        let dirs: Vec<_> = self.dirs.iter().map(|dir| Arc::clone(&dir.dir)).collect();
        let creations = creations.into_iter().map(|opening| {
            let dir = Arc::clone(&dirs[opening.dir]);
            let disk = disk.clone();
            async move { create(&disk, dir, opening).await }
        });
        let mut creations = stream::iter(creations).buffer_unordered(OPENINGS);
        while let Some(created) = creations.next().await {
            match created {
                Some((opening, Ok(log))) => opened.push(self.hand_over(opening, log).await),
                Some((opening, Err(error))) => {
                    let Opening { topic, index, dir, .. } = opening;
                    self.dirs[dir].logs -= 1;
                    tracing::error!(%topic, partition = index, %error, "log cannot be made");
                    is_missing = true;
                }
                None => is_missing = true,
            }
            self.maybe_route(&mut opened, OPENED_TOGETHER);
        }
        self.maybe_route(&mut opened, 1);
        is_missing
    }

    /// The log of this partition that was found at the start. One of a former topic of the same name is
    /// put aside.
    async fn claim(
        &mut self,
        image: &Image,
        partition: &TopicPartition,
        topic_id: Uuid,
    ) -> Option<(usize, Log<I>)> {
        let (dir, log) = self.unclaimed.remove(partition)?;
        // Kafka wrote no id into old folders.
        if log.topic_id() == topic_id || log.topic_id() == Uuid::ZERO {
            return Some((dir, log));
        }
        self.dirs[dir].logs -= 1;
        self.set_aside(image, dir, log).await;
        None
    }

    /// Gives a log to its worker; returns what is to be routed.
    async fn hand_over(&mut self, opening: Opening, log: Log<I>) -> Arc<PartitionHandle> {
        let Opening { topic_id, topic, index, settings, mut assignment, dir: number } = opening;
        let dir = &mut self.dirs[number];
        let partition = TopicPartition::new(topic.clone(), index);
        let known = log.latest_epoch();
        if known.is_some_and(|known| assignment.leader_epoch < known) {
            tracing::error!(%partition, ?known, found = %assignment.leader_epoch,
                "the metadata has a leader epoch below one that the log has seen; \
                 was the store restored? this replica will not lead");
            assignment.leads = false;
        }
        let high_watermark = dir.dir.high_watermark(&partition).unwrap_or(Offset(0));
        let worker = dir.worker_of(topic_id, index);
        let link = &mut dir.workers[worker];
        let slot = link.add_slot();
        let view = initial_view(&log, &settings, high_watermark);
        let address = Address { topic_id, topic, index, log_dir: number, slot };
        let handle = Arc::new(PartitionHandle::new(address, Arc::clone(&link.inbox), view));
        link.shelf.put(slot, log);
        let open = Open { handle: Arc::clone(&handle), settings, assignment, high_watermark };
        if link.inbox.send_control(Control::Open(Box::new(open))).await.is_err() {
            let offline = handle.view_full();
            handle.publish(crate::partition::View {
                role: Role::Offline,
                ..crate::partition::View::clone(&offline)
            });
        }
        self.local.insert((topic_id, index), Local { handle: Arc::clone(&handle), worker });
        let image = Arc::clone(&self.applied);
        self.note_following(&image, (topic_id, index));
        self.note_place(&image, (topic_id, index));
        handle
    }

    /// Makes handles routable once there are `enough` of them.
    fn maybe_route(&self, opened: &mut Vec<Arc<PartitionHandle>>, enough: usize) {
        if enough <= opened.len() {
            self.path.partitions.update(opened.drain(..), []);
        }
    }

    // === what is followed ===

    /// Notes whom a replica follows, after its worker was told. A leader follows nobody, and a replica whose
    /// disk failed must not look as if it was in sync.
    fn note_following(&mut self, image: &Image, key: (Uuid, i32)) {
        let Some(local) = self.local.get(&key) else { return };
        let is_offline = self.dirs[local.handle.log_dir].is_offline;
        let leader = image
            .partition(key.0, key.1)
            .filter(|_| !is_offline)
            .and_then(|partition| desired::leader_to_follow(partition, self.path.broker));
        self.followings.push(match leader {
            Some((leader, leader_epoch)) => {
                let handle = Arc::clone(&local.handle);
                Change::Follow(Following { key, leader, leader_epoch, handle })
            }
            None => Change::Stop(key),
        });
    }

    async fn tell_fetchers(&mut self) {
        let followings = std::mem::take(&mut self.followings);
        if let Some(feed) = &self.feed
            && !followings.is_empty()
        {
            // They end before this does.
            let _ = feed.send(followings).await;
        }
    }

    // === replicas that go ===

    async fn close_what_went(&mut self, image: &Image, changed: &BTreeSet<(Uuid, i32)>) {
        let stays = |key: &(Uuid, i32)| {
            let partition = image.partition(key.0, key.1);
            partition.is_some_and(|partition| desired::is_replica(partition, self.path.broker))
        };
        let gone: Vec<_> = changed
            .iter()
            .filter(|key| self.local.contains_key(key) && !stays(key))
            .copied()
            .collect();
        if gone.is_empty() {
            return;
        }
        self.path.partitions.update([], gone.iter().copied());
        for key in gone {
            let Some(local) = self.local.remove(&key) else { continue };
            self.followings.push(Change::Stop(key));
            if let Some((dir, log)) = self.close(&local).await {
                self.set_aside(image, dir, log).await;
            }
        }
    }

    /// Takes a log back from its worker.
    async fn close(&mut self, local: &Local) -> Option<(usize, Log<I>)> {
        let number = local.handle.log_dir;
        let slot: SlotKey = local.handle.slot;
        let (reply, closed) = oneshot::channel();
        local.handle.inbox.send_control(Control::Close { slot, reply }).await.ok()?;
        closed.await.ok()?;
        let dir = &mut self.dirs[number];
        dir.logs = dir.logs.saturating_sub(1);
        let link = &mut dir.workers[local.worker];
        link.free_slot(slot);
        let log = link.shelf.take(slot)?;
        Some((number, log))
    }

    /// Whether others have the replicas of this log's partition: a reassignment took this one away.
    fn moved_away(&self, image: &Image, log: &Log<I>) -> bool {
        let partition = image.partition(log.topic_id(), log.partition().partition.0);
        partition.is_some_and(|partition| !desired::is_replica(partition, self.path.broker))
    }

    /// Renames the folder of a log: to be removed if its topic is known to be deleted, or the replica moved
    /// away, else to be kept for the operator. `image` is complete.
    async fn set_aside(&mut self, image: &Image, dir: usize, log: Log<I>) {
        let is_deleted =
            image.deleted_topic(log.topic_id()).is_some() || self.moved_away(image, &log);
        let reason = if is_deleted { Aside::Deleted } else { Aside::Stray };
        if reason == Aside::Stray {
            tracing::warn!(partition = %log.partition(), topic_id = %log.topic_id(),
                "the cluster does not know this log; it is kept under a name that ends in -stray");
        }
        let id = Uuid::from_bytes(rand::random());
        let target = Arc::clone(&self.dirs[dir].dir);
        let result = self.disk.run(move || target.set_aside(log, id, reason)).await;
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "a log cannot be put aside");
                self.fail(dir).await;
            }
            Err(error) => tracing::error!(%error, "a log cannot be put aside"),
        }
    }

    /// Everything that a complete image did not claim.
    async fn set_strays_aside(&mut self, image: &Image) {
        let strays: Vec<_> = self.unclaimed.drain().map(|(_, stray)| stray).collect();
        for (dir, log) in strays {
            self.dirs[dir].logs -= 1;
            self.set_aside(image, dir, log).await;
        }
    }

    // === directories ===

    /// A write or sync of a directory failed: every worker of it is told, and the cluster by heartbeats.
    async fn fail(&mut self, number: usize) {
        let Some(dir) = self.dirs.get_mut(number) else { return };
        if std::mem::replace(&mut dir.is_offline, true) {
            return;
        }
        self.path.log_dirs[number].set_offline();
        let id = dir.dir.id();
        self.offline.send_modify(|offline| offline.push(id));
        let in_dir = self.local.iter().filter(|(_, local)| local.handle.log_dir == number);
        self.followings.extend(in_dir.map(|(key, _)| Change::Stop(*key)));
        for worker in &dir.workers {
            let _ = worker.inbox.send_control(Control::Fail).await;
        }
    }

    /// Notes where a replica is for the controller, if the cluster believes otherwise.
    fn note_place(&self, image: &Image, key: (Uuid, i32)) {
        let Some(local) = self.local.get(&key) else { return };
        let directory = self.dirs[local.handle.log_dir].dir.id();
        let known = image.partition(key.0, key.1);
        if known.is_some_and(|known| known.log_dir_of(self.path.broker.0) != directory) {
            self.path.placements.put(key, directory);
        }
    }

    async fn checkpoint(&mut self) {
        let all = self.path.partitions.all();
        for number in 0..self.dirs.len() {
            if self.dirs[number].is_offline {
                continue;
            }
            let handles: Vec<_> =
                all.iter().filter(|handle| handle.log_dir == number).cloned().collect();
            let dir = Arc::clone(&self.dirs[number].dir);
            let written = self.disk.run(move || checkpoints::write(&dir, &handles)).await;
            if let Ok(Err(error)) = written {
                tracing::error!(%error, "checkpoints cannot be written");
                self.fail(number).await;
            }
        }
    }

    /// An orderly end.
    async fn stop(mut self, stop: Option<Stop>) {
        let handles = self.path.partitions.all();
        self.path
            .partitions
            .update([], handles.iter().map(|handle| (handle.topic_id, handle.index)));
        let unclaimed = std::mem::take(&mut self.unclaimed);
        let mut dirs = std::mem::take(&mut self.dirs);
        let broker_epoch = stop.as_ref().map(|stop| stop.broker_epoch);
        let finish = move || {
            let mut logs: Vec<Vec<Log<I>>> = dirs.iter_mut().map(Dir::stop).collect();
            for (dir, log) in unclaimed.into_values() {
                logs[dir].push(log);
            }
            for (number, (dir, logs)) in dirs.iter().zip(logs).enumerate() {
                let of_dir: Vec<_> =
                    handles.iter().filter(|handle| handle.log_dir == number).cloned().collect();
                let is_offline = dir.is_offline || dir.dir.failure().is_some();
                let Some(broker_epoch) = broker_epoch.filter(|_| !is_offline) else { continue };
                let written = checkpoints::write(&dir.dir, &of_dir);
                if let Err(error) = written.and_then(|()| dir.dir.close(logs, broker_epoch)) {
                    tracing::error!(%error, "log directory was not closed in order");
                }
            }
        };
        if let Err(error) = self.disk.run(finish).await {
            tracing::error!(%error, "log directories were not closed in order");
        }
        if let Some(Stop { done, .. }) = stop {
            // Whoever asked may be gone.
            let _ = done.send(());
        }
    }
}

async fn create<I: LogIo>(
    disk: &Pool,
    dir: Arc<ottla_storage::LogDir<I>>,
    opening: Opening,
) -> Option<Opened<I>> {
    let made = disk.run(move || {
        let partition = TopicPartition::new(opening.topic.clone(), opening.index);
        let config = Arc::clone(&opening.settings.log);
        let log = dir.create_log(&partition, opening.topic_id, config);
        (opening, log)
    });
    match made.await {
        Ok(opened) => Some(opened),
        Err(error) => {
            tracing::error!(%error, "log cannot be made");
            None
        }
    }
}
