//! The leader's half: fetches of replicas, which wait for something new, and what they tell of the replicas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::partition::{Continuation, PartitionHandle, View, shows_progress};
use ottla_broker::replication::{Bounds, Key};
use ottla_broker::worker::{Control, Fetched, FetchedItem};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use ottla_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};
use ottla_protocol::wire::Records;

use super::super::env::{Env, Process};
use super::super::message::{Message, Timer};
use super::{Running, observe};

/// Fetches that wait, by who sent them.
#[derive(Debug, Default)]
pub(super) struct Served {
    waiting: BTreeMap<(Process, u64), Waiting>,
    /// High watermark and start as each process was told them last.
    told: BTreeMap<(Process, Key), (Offset, Offset)>,
}

#[derive(Debug)]
struct Waiting {
    request: Box<FetchRequest>,
    until: Duration,
    /// Leader epoch and partition epoch in which the progress was reported.
    reported: BTreeMap<Key, (LeaderEpoch, i64)>,
}

/// What a fetch has found.
#[derive(Debug, Default)]
struct Found {
    partitions: Vec<(Key, PartitionData)>,
    bytes: usize,
    is_urgent: bool,
    /// What of it is checked progress, and in which partition epoch.
    progress: Vec<(Key, FetchedItem, i64)>,
}

impl Running {
    /// A replica fetches.
    pub(super) fn handle_replica_fetch(
        &mut self,
        env: &mut Env,
        (from, id): (Process, u64),
        request: Box<FetchRequest>,
    ) {
        // A process has forgotten what its predecessor asked for.
        self.served.waiting.retain(|(of, _), _| of.node != from.node || of.life == from.life);
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let until = env.now + wait;
        env.timer(self.me, wait, Timer::ServeFetches);
        self.served
            .waiting
            .insert((from, id), Waiting { request, until, reported: BTreeMap::new() });
        self.serve_fetches(env);
    }

    /// Answers every fetch that has something new, or has waited for long enough.
    pub(super) fn serve_fetches(&mut self, env: &mut Env) {
        let asked: Vec<(Process, u64)> = self.served.waiting.keys().copied().collect();
        for asker in asked {
            let Some(waiting) = self.served.waiting.remove(&asker) else { continue };
            if let Some(waiting) = self.serve_fetch(env, asker, waiting) {
                self.served.waiting.insert(asker, waiting);
            }
        }
    }

    fn serve_fetch(
        &mut self,
        env: &mut Env,
        (from, id): (Process, u64),
        mut waiting: Waiting,
    ) -> Option<Waiting> {
        let found = self.read_for(&waiting.request);
        self.report_progress(env, &found, &mut waiting);
        let is_news = |key: &Key, data: &PartitionData| {
            let marks = (Offset(data.high_watermark), Offset(data.log_start_offset));
            self.served.told.get(&(from, *key)) != Some(&marks)
        };
        let has_news = found.partitions.iter().any(|(key, data)| is_news(key, data));
        let is_enough = 0 < found.bytes || found.is_urgent || has_news;
        if !is_enough && env.now < waiting.until && !found.partitions.is_empty() {
            return Some(waiting);
        }
        let mut response = FetchResponse::default();
        for (key, data) in found.partitions {
            let marks = (Offset(data.high_watermark), Offset(data.log_start_offset));
            self.served.told.insert((from, key), marks);
            response.responses.push(FetchableTopicResponse {
                topic_id: key.0,
                partitions: vec![data],
                ..FetchableTopicResponse::default()
            });
        }
        let message = Message::ReplicaFetched { id, response: Box::new(response) };
        env.send(self.me, (from.node, Some(from.life)), message);
        None
    }

    fn read_for(&self, request: &FetchRequest) -> Found {
        let mut found = Found::default();
        let replica = BrokerId(request.replica_state.replica_id);
        let life = request.replica_state.replica_epoch;
        for topic in &request.topics {
            for wanted in &topic.partitions {
                let key = (topic.topic_id, wanted.partition);
                let left = request
                    .max_bytes
                    .saturating_sub(i32::try_from(found.bytes).unwrap_or(i32::MAX));
                let data = match self.read_partition(key, (replica, life), wanted, left) {
                    Ok((view, handle, mut data)) => {
                        if data.diverging_epoch.epoch == -1 && data.diverging_epoch.end_offset == -1
                        {
                            found.note_progress(key, wanted, (&view, &handle));
                        } else {
                            found.is_urgent = true;
                        }
                        data.partition_index = key.1;
                        data
                    }
                    Err(error) => {
                        found.is_urgent = true;
                        PartitionData {
                            partition_index: key.1,
                            error_code: error.code(),
                            high_watermark: -1,
                            ..PartitionData::default()
                        }
                    }
                };
                found.bytes += data.records.as_ref().map_or(0, Records::len);
                found.partitions.push((key, data));
            }
        }
        found
    }

    fn read_partition(
        &self,
        key: Key,
        replica: (BrokerId, i64),
        wanted: &FetchPartition,
        left: i32,
    ) -> Result<(Arc<View>, Arc<PartitionHandle>, PartitionData), ErrorCode> {
        let data = self.data.as_ref().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let handle = data.find(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let knows_epoch = wanted.current_leader_epoch != -1;
        ottla_broker::data_path::check_replica(self.feed.image(), key, replica, knows_epoch)?;
        let view = handle.view_full();
        view.check_leader(wanted.current_leader_epoch)?;
        let from = Offset(wanted.fetch_offset);
        let mut answer = PartitionData {
            high_watermark: view.high_watermark.0,
            log_start_offset: view.log_start.0,
            ..PartitionData::default()
        };
        match view.compare(from, wanted.last_fetched_epoch)? {
            Continuation::Diverges(epoch, end) => {
                answer.diverging_epoch = EpochEndOffset {
                    epoch: epoch.0,
                    end_offset: end.0,
                    ..EpochEndOffset::default()
                };
            }
            Continuation::Agrees if from < view.log_end && 0 < left => {
                let limit = u32::try_from(left.min(wanted.partition_max_bytes)).unwrap_or(0);
                let read = observe::read_up_to(&view, (from.0, view.log_end.0), limit);
                let bytes = read.map_err(|_| ErrorCode::KafkaStorageError)?;
                answer.records = Some(Records::Memory(bytes));
            }
            Continuation::Agrees => {}
        }
        Ok((view, Arc::clone(handle), answer))
    }

    /// Tells the worker how far the replica has come, once in each epoch.
    fn report_progress(&mut self, env: &mut Env, found: &Found, waiting: &mut Waiting) {
        let state = &waiting.request.replica_state;
        let (broker, broker_epoch) = (BrokerId(state.replica_id), state.replica_epoch);
        let mut items = Vec::new();
        for (key, item, partition_epoch) in &found.progress {
            let reported = (item.leader_epoch, *partition_epoch);
            if waiting.reported.insert(*key, reported) != Some(reported) {
                items.push(*item);
            }
        }
        if !items.is_empty()
            && let Some(data) = &self.data
        {
            data.tell(Control::Fetched(Box::new(Fetched { broker, broker_epoch, items })));
            self.step_soon(env);
        }
    }

    /// A replica asks where the log of its leader begins and ends.
    pub(super) fn handle_look_up(
        &mut self,
        env: &mut Env,
        from: Process,
        (id, key, leader_epoch): (u64, Key, i32),
    ) {
        let data = self.data.as_ref();
        let handle = data.and_then(|data| data.find(key)).ok_or(ErrorCode::UnknownTopicOrPartition);
        let result = handle.and_then(|handle| {
            let view = handle.view_full();
            view.check_leader(leader_epoch)?;
            Ok(Bounds { start: view.log_start, end: view.log_end })
        });
        let message = Message::LookedUp { id, result };
        env.send(self.me, (from.node, Some(from.life)), message);
    }
}

impl Found {
    fn note_progress(
        &mut self,
        key: Key,
        wanted: &FetchPartition,
        (view, handle): (&View, &PartitionHandle),
    ) {
        let known = (wanted.current_leader_epoch, wanted.last_fetched_epoch);
        let own = (view.leader_epoch, view.log_start);
        if !shows_progress(Offset(wanted.fetch_offset), known, own) {
            return;
        }
        let item = FetchedItem {
            slot: handle.slot,
            leader_epoch: view.leader_epoch,
            end: Offset(wanted.fetch_offset),
            log_start: Offset(wanted.log_start_offset),
        };
        self.progress.push((key, item, view.partition_epoch));
    }
}
