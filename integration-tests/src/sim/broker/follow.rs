//! The follower's half: the shipped lanes of every leader that is followed, with their fetches on the
//! network and their errands at the log worker.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_broker::replication::{
    Answer, Bounds, Effect, FetchConfig, FollowOutcome, Follower, Key, LaneKind, Moment, Ticket,
};
use ottla_broker::worker::{Control, Follow, FollowAction, FollowError, Followed, FollowerBatches};
use ottla_client::Backoff;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::types::LeaderEpoch;
use rand::Rng;
use tokio::sync::oneshot;

use super::super::env::{Env, Node};
use super::super::message::{Message, Timer};
use super::super::mutation::Mutation;
use super::Running;

/// Everything that is followed.
#[derive(Debug, Default)]
pub(super) struct Fetchers {
    leaders: BTreeMap<i32, Fetcher>,
    followed: BTreeMap<Key, (i32, LeaderEpoch)>,
    /// What workers and leaders were asked.
    errands: Vec<Errand>,
    lookups: BTreeMap<u64, (Place, Ticket)>,
    next_id: u64,
    poll_at: Option<Duration>,
}

/// The two lanes of a leader.
#[derive(Debug)]
struct Fetcher {
    in_sync: Lane,
    catching_up: Lane,
}

#[derive(Debug)]
struct Lane {
    machine: Follower,
    in_flight: Option<u64>,
}

/// A partition in a lane of a leader.
type Place = (i32, LaneKind, Key);

/// Something that the worker was asked.
#[derive(Debug)]
struct Errand {
    place: Place,
    ticket: Ticket,
    reply: oneshot::Receiver<Result<Followed, FollowError>>,
}

impl Fetcher {
    fn new() -> Self {
        let lane = |kind| Lane { machine: Follower::new(kind, config()), in_flight: None };
        Self { in_sync: lane(LaneKind::InSync), catching_up: lane(LaneKind::CatchingUp) }
    }

    fn lane(&mut self, kind: LaneKind) -> &mut Lane {
        match kind {
            LaneKind::InSync => &mut self.in_sync,
            LaneKind::CatchingUp => &mut self.catching_up,
        }
    }
}

impl Fetchers {
    fn lane(&mut self, leader: i32, kind: LaneKind) -> Option<&mut Lane> {
        self.leaders.get_mut(&leader).map(|fetcher| fetcher.lane(kind))
    }
}

impl Running {
    /// Follows a partition, or does not any more. After its worker was told.
    pub(super) fn set_following(
        &mut self,
        env: &mut Env,
        key: Key,
        leader: Option<(i32, LeaderEpoch)>,
    ) {
        let known = self.fetchers.followed.get(&key).copied();
        if known == leader {
            return;
        }
        if let Some((former, _)) = known {
            self.fetchers.followed.remove(&key);
            if let Some(fetcher) = self.fetchers.leaders.get_mut(&former) {
                fetcher.in_sync.machine.stop(key);
                fetcher.catching_up.machine.stop(key);
            }
        }
        let Some((leader, epoch)) = leader else { return };
        self.fetchers.followed.insert(key, (leader, epoch));
        let fetcher = self.fetchers.leaders.entry(leader).or_insert_with(Fetcher::new);
        // As the shipped task: newcomers do not wait behind a fetch that waits.
        let kind = match fetcher.in_sync.machine.is_in_flight() {
            true => LaneKind::CatchingUp,
            false => LaneKind::InSync,
        };
        let mut effects = Vec::new();
        fetcher.lane(kind).machine.follow(key, epoch, &mut effects);
        self.perform_following(env, (leader, kind), effects);
        self.poll_soon(env);
    }

    fn perform_following(
        &mut self,
        env: &mut Env,
        (leader, kind): (i32, LaneKind),
        effects: Vec<Effect>,
    ) {
        for effect in effects {
            match effect {
                Effect::Worker { key, leader_epoch, action, ticket } => {
                    let Some(data) = &self.data else { continue };
                    let Some(handle) = data.find(key) else { continue };
                    let action = match action {
                        FollowAction::Begin if env.does(Mutation::CutsAtHighWatermark) => {
                            FollowAction::CutTo { end: handle.view().high_watermark }
                        }
                        action => action,
                    };
                    let (reply, answer) = oneshot::channel();
                    let reply = ticket.is_some().then_some(reply);
                    let follow = Follow { slot: handle.slot, leader_epoch, action, reply };
                    data.tell(Control::Follow(Box::new(follow)));
                    if let Some(ticket) = ticket {
                        let place = (leader, kind, key);
                        self.fetchers.errands.push(Errand { place, ticket, reply: answer });
                    }
                    self.step_soon(env);
                }
                Effect::LookUp { key, leader_epoch, ticket } => {
                    self.fetchers.next_id += 1;
                    let id = self.fetchers.next_id;
                    self.fetchers.lookups.insert(id, ((leader, kind, key), ticket));
                    let message = Message::LookUp { id, key, leader_epoch: leader_epoch.0 };
                    env.send(self.me, (node_of(leader), None), message);
                    env.timer(self.me, TIMEOUT, Timer::LookUpTimeout(id));
                }
            }
        }
    }

    /// Takes what the worker did, and sends the fetches that are due.
    pub(super) fn poll_fetchers(&mut self, env: &mut Env) {
        self.take_errands(env);
        let leaders: Vec<i32> = self.fetchers.leaders.keys().copied().collect();
        for leader in leaders {
            self.poll_fetcher(env, leader);
        }
        let lanes = self.fetchers.leaders.values();
        let machines = lanes.flat_map(|lane| [&lane.in_sync.machine, &lane.catching_up.machine]);
        let next = machines.filter_map(Follower::next_deadline).min();
        if let Some(at) = next {
            self.poll_at(env, at);
        }
    }

    fn poll_fetcher(&mut self, env: &mut Env, leader: i32) {
        let Some(fetcher) = self.fetchers.leaders.get_mut(&leader) else { return };
        if !fetcher.in_sync.machine.is_in_flight() {
            for key in fetcher.catching_up.machine.caught_up() {
                if let Some(partition) = fetcher.catching_up.machine.take(key) {
                    fetcher.in_sync.machine.put(key, partition);
                }
            }
        }
        for kind in [LaneKind::InSync, LaneKind::CatchingUp] {
            let Some(lane) = self.fetchers.lane(leader, kind) else { return };
            let mut effects = Vec::new();
            let request = lane.machine.poll_request(env.now, &mut effects);
            if let Some(mut request) = request {
                self.fetchers.next_id += 1;
                let id = self.fetchers.next_id;
                request.replica_state.replica_id = self.id;
                request.replica_state.replica_epoch = self.claim.broker_epoch().unwrap_or(-1);
                let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
                env.timer(self.me, TIMEOUT + wait, Timer::FetchTimeout(id));
                let message = Message::ReplicaFetch { id, request: Box::new(request) };
                env.send(self.me, (node_of(leader), None), message);
                if let Some(lane) = self.fetchers.lane(leader, kind) {
                    lane.in_flight = Some(id);
                }
            }
            self.perform_following(env, (leader, kind), effects);
        }
    }

    fn take_errands(&mut self, env: &mut Env) {
        let mut at = 0;
        while at < self.fetchers.errands.len() {
            let result = match self.fetchers.errands[at].reply.try_recv() {
                Ok(result) => result,
                Err(oneshot::error::TryRecvError::Empty) => {
                    at += 1;
                    continue;
                }
                Err(oneshot::error::TryRecvError::Closed) => Err(FollowError::Gone),
            };
            let Errand { place: (leader, kind, key), ticket, .. } =
                self.fetchers.errands.remove(at);
            let moment = moment(env);
            let Some(lane) = self.fetchers.lane(leader, kind) else { continue };
            let outcome = lane.machine.handle_followed((key, ticket), result, moment);
            if (kind, outcome) == (LaneKind::InSync, FollowOutcome::Behind)
                && let Some(partition) = lane.machine.take(key)
                && let Some(other) = self.fetchers.lane(leader, LaneKind::CatchingUp)
            {
                other.machine.put(key, partition);
            }
        }
    }

    /// The leader answered a fetch; one that nobody waits for any more is dropped.
    pub(super) fn handle_replica_fetched(
        &mut self,
        env: &mut Env,
        id: u64,
        response: FetchResponse,
    ) {
        let answer = Answer::read(response);
        let moment = moment(env);
        let Some((leader, kind, lane)) = self.lane_of(id) else {
            if env.does(Mutation::UsesAnswersOfOlderEpochs) {
                self.use_old(env, answer);
            }
            return;
        };
        let mut effects = Vec::new();
        lane.in_flight = None;
        lane.machine.handle_answer(answer, moment, &mut effects);
        self.perform_following(env, (leader, kind), effects);
        self.poll_soon(env);
    }

    /// Does what a fetcher would do that does not look whose answer it is.
    fn use_old(&mut self, env: &mut Env, answer: Answer) {
        for partition in answer.partitions {
            let Some(data) = &self.data else { return };
            let Some(handle) = data.find(partition.key) else { continue };
            let view = handle.view_full();
            let from = view.log_end;
            let action = match (partition.diverging, partition.batches) {
                (Some((epoch, end)), _) => FollowAction::CutDiverging { epoch, end },
                (None, Ok(batches)) => FollowAction::Append(FollowerBatches {
                    from,
                    batches: batches
                        .into_iter()
                        .filter(|batch| from <= batch.header.base_offset)
                        .collect(),
                    bytes: partition.bytes,
                    high_watermark: partition.high_watermark,
                    log_start: partition.log_start,
                }),
                (None, Err(_)) => continue,
            };
            let (slot, leader_epoch) = (handle.slot, view.leader_epoch);
            let follow = Follow { slot, leader_epoch, action, reply: None };
            data.tell(Control::Follow(Box::new(follow)));
        }
        self.step_soon(env);
    }

    /// A fetch was not answered.
    pub(super) fn fail_fetch(&mut self, env: &mut Env, id: u64) {
        let moment = moment(env);
        let Some((_, _, lane)) = self.lane_of(id) else { return };
        lane.in_flight = None;
        lane.machine.handle_failure(moment);
        self.poll_soon(env);
    }

    fn lane_of(&mut self, id: u64) -> Option<(i32, LaneKind, &mut Lane)> {
        let lanes = self.fetchers.leaders.iter_mut().flat_map(|(leader, fetcher)| {
            let Fetcher { in_sync, catching_up } = fetcher;
            [(*leader, LaneKind::InSync, in_sync), (*leader, LaneKind::CatchingUp, catching_up)]
        });
        lanes.into_iter().find(|(_, _, lane)| lane.in_flight == Some(id))
    }

    /// The leader told the bounds of its log, or did not.
    pub(super) fn handle_looked_up(
        &mut self,
        env: &mut Env,
        id: u64,
        result: Result<Bounds, ErrorCode>,
    ) {
        let Some(((leader, kind, key), ticket)) = self.fetchers.lookups.remove(&id) else { return };
        let moment = moment(env);
        let Some(lane) = self.fetchers.lane(leader, kind) else { return };
        let mut effects = Vec::new();
        lane.machine.handle_bounds((key, ticket), result, moment, &mut effects);
        self.perform_following(env, (leader, kind), effects);
        self.poll_soon(env);
    }

    fn poll_soon(&mut self, env: &mut Env) {
        self.poll_at(env, env.now);
    }

    fn poll_at(&mut self, env: &mut Env, at: Duration) {
        if self.fetchers.poll_at.is_none_or(|due| at < due) {
            self.fetchers.poll_at = Some(at);
            let pause = at.saturating_sub(env.now).max(Duration::from_micros(20));
            env.timer(self.me, pause, Timer::PollFetchers);
        }
    }

    /// The time to look has come.
    pub(super) fn poll_fetchers_now(&mut self, env: &mut Env) {
        self.fetchers.poll_at = None;
        self.poll_fetchers(env);
    }
}

fn moment(env: &mut Env) -> Moment {
    Moment { now: env.now, random: env.rng.random() }
}

/// The node of a broker's id.
pub(super) fn node_of(id: i32) -> Node {
    Node::Broker(u8::try_from(id - 1).unwrap_or(u8::MAX))
}

/// Small answers, so that catching up takes several.
fn config() -> FetchConfig {
    FetchConfig {
        partition_bytes_max: 3_000,
        response_bytes_max: 6_000,
        wait_max: Duration::from_millis(500),
        min_bytes: 1,
        backoff: Backoff { initial: Duration::from_millis(20), max: Duration::from_millis(500) },
    }
}

/// How long an answer may take beyond the time that the leader may wait.
const TIMEOUT: Duration = Duration::from_millis(1_500);
