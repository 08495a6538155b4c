//! The task that follows one leader, in two lanes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use ottla_protocol::ErrorCode;
use ottla_protocol::types::{BrokerId, LeaderEpoch};
use tokio::sync::{mpsc, oneshot};

use super::Key;
use super::fetchers::{Following, Parts};
use super::follower::{Bounds, Effect, FollowOutcome, Follower, LaneKind, Moment, Ticket};
use super::lane::Lane;
use crate::partition::PartitionHandle;
use crate::worker::{Control, Follow, FollowAction, FollowError, Followed};

/// What a fetcher is told.
#[derive(Debug)]
pub(super) enum Command {
    Follow(Following),
    Stop(Key),
}

/// Follows what one leader leads.
pub(super) struct Fetcher {
    parts: Arc<Parts>,
    in_sync: Lane,
    catching_up: Lane,
    handles: HashMap<Key, Arc<PartitionHandle>>,
    /// At most one with a ticket for each partition.
    errands: FuturesUnordered<BoxFuture<'static, Done>>,
    effects: Vec<Effect>,
}

/// What came of an errand.
enum Done {
    Followed {
        lane: LaneKind,
        key: Key,
        ticket: Ticket,
        bytes: u64,
        result: FollowResult,
    },
    Bounds {
        lane: LaneKind,
        key: Key,
        ticket: Ticket,
        result: Result<Bounds, ErrorCode>,
    },
    /// Nobody waits for it.
    Nothing,
}

type FollowResult = Result<Followed, FollowError>;

impl Fetcher {
    pub fn new(leader: BrokerId, parts: Arc<Parts>) -> Self {
        let lane = |kind| {
            let machine = Follower::new(kind, parts.config);
            Lane::new(leader, machine, parts.figures.of(leader, kind))
        };
        Self {
            in_sync: lane(LaneKind::InSync),
            catching_up: lane(LaneKind::CatchingUp),
            handles: HashMap::new(),
            errands: FuturesUnordered::new(),
            effects: Vec::new(),
            parts,
        }
    }

    /// Runs until nobody can tell it anything any more.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Vec<Command>>) {
        loop {
            let now = self.now();
            self.poll_lanes(now);
            let deadlines = [&self.in_sync, &self.catching_up];
            let next = deadlines.iter().filter_map(|lane| lane.machine.next_deadline()).min();
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep(at.saturating_sub(now)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                received = commands.recv() => match received {
                    Some(commands) => self.obey(commands),
                    None => return,
                },
                answer = self.in_sync.answer() => {
                    let now = self.parts.clock.now().monotonic;
                    self.in_sync.handle(answer, now, &mut self.effects);
                    self.perform(LaneKind::InSync);
                    self.in_sync.count();
                }
                answer = self.catching_up.answer() => {
                    let now = self.parts.clock.now().monotonic;
                    self.catching_up.handle(answer, now, &mut self.effects);
                    self.perform(LaneKind::CatchingUp);
                    self.catching_up.count();
                }
                Some(done) = self.errands.next(), if !self.errands.is_empty() => self.settle(done),
                () = timer => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.parts.clock.now().monotonic
    }

    fn lane(&mut self, kind: LaneKind) -> &mut Lane {
        match kind {
            LaneKind::InSync => &mut self.in_sync,
            LaneKind::CatchingUp => &mut self.catching_up,
        }
    }

    fn poll_lanes(&mut self, now: Duration) {
        // Who has caught up comes back when the other lane can fetch it at once: no partition is left out
        // for as long as a leader may wait.
        if !self.in_sync.machine.is_in_flight() {
            for key in self.catching_up.machine.caught_up() {
                if let Some(partition) = self.catching_up.machine.take(key) {
                    self.in_sync.machine.put(key, partition);
                }
            }
        }
        self.in_sync.poll(&self.parts.transport, now, &mut self.effects);
        self.perform(LaneKind::InSync);
        self.catching_up.poll(&self.parts.transport, now, &mut self.effects);
        self.perform(LaneKind::CatchingUp);
    }

    // === commands ===

    fn obey(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Follow(following) => self.follow(following),
                Command::Stop(key) => self.stop(key),
            }
        }
        self.in_sync.count();
        self.catching_up.count();
    }

    fn follow(&mut self, following: Following) {
        let Following { key, leader_epoch, handle, .. } = following;
        if self.handles.contains_key(&key) {
            self.stop(key);
        }
        self.handles.insert(key, handle);
        // While the leader waits for something new in one lane, newcomers are fetched in the other.
        let kind = match self.in_sync.machine.is_in_flight() {
            true => LaneKind::CatchingUp,
            false => LaneKind::InSync,
        };
        let mut effects = std::mem::take(&mut self.effects);
        self.lane(kind).machine.follow(key, leader_epoch, &mut effects);
        self.effects = effects;
        self.perform(kind);
    }

    fn stop(&mut self, key: Key) {
        self.in_sync.machine.stop(key);
        self.catching_up.machine.stop(key);
        self.handles.remove(&key);
    }

    // === effects ===

    fn perform(&mut self, lane: LaneKind) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Worker { key, leader_epoch, action, ticket } => {
                    let Some(handle) = self.handles.get(&key).cloned() else { continue };
                    let errand = ask_worker(handle, (lane, key), (leader_epoch, action), ticket);
                    self.errands.push(Box::pin(errand));
                }
                Effect::LookUp { key, leader_epoch, ticket } => {
                    let Some(handle) = self.handles.get(&key).cloned() else { continue };
                    let link = self.lane(lane).link();
                    let transport = self.parts.transport.clone();
                    let errand = async move {
                        let topic = (handle.topic.clone(), handle.index);
                        let result = match link {
                            Some(link) => transport.bounds(&link, topic, leader_epoch).await,
                            None => Ok(Err(ErrorCode::NetworkException)),
                        };
                        let result = result.unwrap_or(Err(ErrorCode::NetworkException));
                        Done::Bounds { lane, key, ticket, result }
                    };
                    self.errands.push(Box::pin(errand));
                }
            }
        }
    }

    fn settle(&mut self, done: Done) {
        let moment = Moment { now: self.now(), random: rand::random() };
        match done {
            Done::Nothing => {}
            Done::Bounds { lane, key, ticket, result } => {
                let mut effects = std::mem::take(&mut self.effects);
                let machine = &mut self.lane(lane).machine;
                machine.handle_bounds((key, ticket), result, moment, &mut effects);
                self.effects = effects;
                self.perform(lane);
            }
            Done::Followed { lane, key, ticket, bytes, result } => {
                let machine = &mut self.lane(lane).machine;
                let outcome = machine.handle_followed((key, ticket), result, moment);
                if (lane, outcome) == (LaneKind::InSync, FollowOutcome::Behind)
                    && let Some(partition) = self.in_sync.machine.take(key)
                {
                    self.catching_up.machine.put(key, partition);
                }
                if 0 < bytes {
                    self.throttle((lane, key), bytes, moment.now);
                }
                self.lane(lane).count();
            }
        }
    }

    /// Notes what a replica has fetched. Only who catches up waits for the others.
    fn throttle(&mut self, (lane, key): (LaneKind, Key), bytes: u64, now: Duration) {
        let throttle = &self.parts.throttle;
        let image = self.parts.transport.image.load();
        let Some(rate) = throttle.rate(&image) else { return };
        if !throttle.is_throttled(&image, key) {
            return;
        }
        if lane == LaneKind::InSync {
            throttle.count(rate, bytes, now);
        } else if let Some(until) = throttle.spend(rate, bytes, now) {
            throttle.note_wait(rate, now);
            self.catching_up.machine.delay(key, until);
        }
    }
}

async fn ask_worker(
    handle: Arc<PartitionHandle>,
    (lane, key): (LaneKind, Key),
    (leader_epoch, action): (LeaderEpoch, FollowAction),
    ticket: Option<Ticket>,
) -> Done {
    let bytes = match &action {
        FollowAction::Append(batches) => batches.bytes,
        _ => 0,
    };
    let (reply, answer) = oneshot::channel();
    let reply = ticket.is_some().then_some(reply);
    let follow = Follow { slot: handle.slot, leader_epoch, action, reply };
    let sent = handle.inbox.send_control(Control::Follow(Box::new(follow))).await;
    let Some(ticket) = ticket else { return Done::Nothing };
    let result = match sent {
        Ok(()) => answer.await.unwrap_or(Err(FollowError::Gone)),
        Err(_) => Err(FollowError::Offline),
    };
    Done::Followed { lane, key, ticket, bytes, result }
}
