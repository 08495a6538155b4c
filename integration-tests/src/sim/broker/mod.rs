//! A broker as a node: a machine with a disk, and on it a process that claims, follows the image and runs
//! the shipped log worker.

mod claim;
mod data;
mod follow;
mod lead;
mod observe;
mod propose;
mod requests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::partition::{Assignment, PartitionHandle};
use ottla_coordinator::controller::liveness::{Heartbeat, Probe};
use ottla_metadata::store::{LeaseId, WatchItem};
use ottla_protocol::Uuid;
use ottla_storage::{LogIo, SimIo};
use rand::Rng;

use self::claim::Claim;
use self::data::Data;
use self::follow::Fetchers;
use self::lead::Served;
pub use self::observe::entry_of;
use self::propose::Proposer;
use self::requests::Requests;
use super::checks::LogEntry;
use super::env::{Env, Node, Process};
use super::feed::{FeedCall, FeedDriver};
use super::message::{Message, StoreReply, Timer};
use super::port::StorePort;

/// What a broker calls the store for.
#[derive(Debug)]
pub enum Purpose {
    /// Its image.
    Feed(FeedCall),
    /// To end its former life's claim.
    EndFormer,
    /// The lease to claim with.
    Grant,
    /// The claim.
    Claim,
    /// To give up an attempt to claim.
    GiveUp,
    /// To keep the claim.
    KeepAlive(LeaseId),
}

impl From<FeedCall> for Purpose {
    fn from(call: FeedCall) -> Self {
        Self::Feed(call)
    }
}

/// A broker and its machine.
#[derive(Debug)]
pub struct BrokerNode {
    id: i32,
    disk: SimIo,
    /// Counts starts of the machine.
    boot: u32,
    life: u32,
    is_machine_on: bool,
    /// Remembered beside the directory lock, so that a restart need not wait for the lease.
    former_lease: Option<LeaseId>,
    lag_max: Duration,
    running: Option<Box<Running>>,
}

/// A running process.
#[derive(Debug)]
struct Running {
    me: Process,
    id: i32,
    boot_id: String,
    disk: SimIo,
    incarnation: Uuid,
    port: StorePort<Purpose>,
    feed: FeedDriver,
    claim: Claim,
    /// The directory, once it is open.
    data: Option<Data>,
    requests: Requests,
    fetchers: Fetchers,
    served: Served,
    proposer: Proposer,
    /// `replica.lag.time.max.ms`.
    lag_max: Duration,
    /// When it last went on after it stood still, and for how long it had.
    woke: Option<(Duration, Duration)>,
}

/// A replica here, and what it was last told.
#[derive(Debug)]
struct Replica {
    handle: Arc<PartitionHandle>,
    assignment: Assignment,
    /// What the checkers have seen of the log.
    seen: BTreeMap<i64, LogEntry>,
    /// The end of that.
    seen_end: i64,
    /// The high watermark that they have seen.
    seen_mark: i64,
}

type Replicas = BTreeMap<(Uuid, i32), Replica>;

impl BrokerNode {
    /// One that is not yet started, with an empty disk.
    pub fn new(env: &mut Env, id: i32, lag_max: Duration) -> Self {
        Self {
            id,
            disk: SimIo::new(env.rng.random()),
            boot: 1,
            life: 0,
            is_machine_on: true,
            former_lease: None,
            lag_max,
            running: None,
        }
    }

    /// Which process would run, or runs.
    pub fn process(&self) -> Process {
        let index = u8::try_from(self.id - 1).unwrap_or(u8::MAX);
        Process { node: Node::Broker(index), life: self.life }
    }

    /// Whether a process runs.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Starts a process, and the machine if it is off.
    pub fn start(&mut self, env: &mut Env) {
        if self.running.is_some() {
            return;
        }
        self.is_machine_on = true;
        self.life += 1;
        let me = self.process();
        let boot_id = self.boot_id();
        env.note(format_args!("{me:?} starts, {boot_id}"));
        let mut port = StorePort::new(me);
        let feed = FeedDriver::start(env, me, &mut port);
        let mut running = Running {
            me,
            id: self.id,
            boot_id,
            disk: self.disk.clone(),
            incarnation: Uuid::from_bytes(env.rng.random()),
            port,
            feed,
            claim: Claim::default(),
            data: None,
            requests: Requests::default(),
            fetchers: Fetchers::default(),
            served: Served::default(),
            proposer: Proposer::default(),
            lag_max: self.lag_max,
            woke: None,
        };
        running.end_former_claim(env, self.former_lease);
        env.timer(me, HEARTBEAT_INTERVAL, Timer::Heartbeat);
        self.running = Some(Box::new(running));
    }

    /// The process dies; the machine goes on.
    pub fn crash(&mut self, env: &mut Env) {
        if self.running.is_some() {
            env.note(format_args!("{:?} crashes", self.process()));
            self.disk.process_crash();
            self.running = None;
        }
    }

    /// The machine loses power.
    pub fn power_cut(&mut self, env: &mut Env) {
        if !self.is_machine_on {
            return;
        }
        env.note(format_args!("{:?} loses power", self.process()));
        self.running = None;
        self.disk.power_cut();
        self.is_machine_on = false;
        self.boot += 1;
        env.history.lose_machine(self.id, self.boot_id());
        // The file may or may not have reached the disk.
        if env.rng.random_bool(0.5) {
            self.former_lease = None;
        }
    }

    /// The machine will lose power in one of its next writes, or in a while.
    pub fn power_cut_soon(&mut self, env: &mut Env) {
        if self.running.is_none() {
            return self.power_cut(env);
        }
        self.power_cut_within(env, 60);
    }

    /// Something was written that is not on the disk.
    pub fn has_unsynced(&self) -> bool {
        let data = self.running.as_ref().and_then(|running| running.data.as_ref());
        data.is_some_and(Data::has_unsynced)
    }

    /// The machine will lose power in one of so many next operations of its disk, or in a while.
    pub fn power_cut_within(&mut self, env: &mut Env, operations: u64) {
        let at = env.rng.random_range(1..operations);
        self.disk.inject(ottla_storage::io::Fault::PowerOff { at });
        env.timer(self.process(), Duration::from_secs(2), Timer::PowerOff);
    }

    /// The `nth` operation of this kind will fail, if the process does not end before.
    pub fn fail_disk(&mut self, op: ottla_storage::io::SimOp, nth: u64) {
        if self.running.is_some() {
            let error = std::io::ErrorKind::Other;
            self.disk.inject(ottla_storage::io::Fault::Fail { op, nth, error });
        }
    }

    /// The process stops in an orderly way.
    pub fn stop(&mut self, env: &mut Env) {
        let Some(running) = self.running.take() else { return };
        env.note(format_args!("{:?} stops", running.me));
        running.shut_down(env);
        self.disk.process_crash();
    }

    /// The process goes on after it stood still for so long.
    pub fn wake(&mut self, env: &Env, slept: Duration) {
        if let Some(running) = &mut self.running {
            running.woke = Some((env.now, slept));
        }
    }

    /// The process stands still, and its worker does not.
    pub fn step_in_pause(&mut self, env: &mut Env) {
        if let Some(running) = &mut self.running {
            running.step_in_pause(env);
        }
    }

    /// True once the machine lost power while something was written; the process is then gone.
    pub fn has_lost_power(&self) -> bool {
        self.is_machine_on && self.disk.list(Path::new("/")).is_err()
    }

    /// A message arrives. Where no process runs, the machine refuses connections.
    pub fn handle_message(&mut self, env: &mut Env, from: Process, message: Message) {
        let Some(running) = &mut self.running else {
            if let Message::Probe(broker_epoch) = message
                && self.is_machine_on
            {
                let message =
                    Message::Probed { broker: self.id, broker_epoch, probe: Probe::Refused };
                env.send(self.process(), (from.node, Some(from.life)), message);
            }
            return;
        };
        match message {
            Message::StoreReply { call, reply } => {
                if let Some(purpose) = running.port.answer(call) {
                    running.handle_reply(env, purpose, reply, &mut self.former_lease);
                }
            }
            Message::Watched { watch, item } => running.handle_watched(env, watch, item),
            Message::Probe(broker_epoch) => {
                let message =
                    Message::Probed { broker: self.id, broker_epoch, probe: Probe::Alive };
                env.send(running.me, (from.node, Some(from.life)), message);
            }
            Message::Relayed { id, result } => running.handle_relayed(env, id, result),
            Message::Altered { id, response } => {
                running.handle_altered(env, id, Some(*response));
            }
            Message::ReplicaFetch { id, request } => {
                running.handle_replica_fetch(env, (from, id), request);
            }
            Message::ReplicaFetched { id, response } => {
                running.handle_replica_fetched(env, id, *response);
            }
            Message::LookUp { id, key, leader_epoch } => {
                running.handle_look_up(env, from, (id, key, leader_epoch));
            }
            Message::LookedUp { id, result } => running.handle_looked_up(env, id, result),
            Message::Request { connection, opens, id, request }
                if running.accepts((from, connection), opens) =>
            {
                running.handle_request(env, (from, connection, id), request);
            }
            _ => {}
        }
    }

    /// A timer fires.
    pub fn handle_timer(&mut self, env: &mut Env, timer: Timer) {
        let Some(running) = &mut self.running else { return };
        match timer {
            Timer::CallTimeout(call) => {
                if let Some((purpose, reply)) = running.port.expire(call) {
                    running.handle_reply(env, purpose, reply, &mut self.former_lease);
                }
            }
            Timer::KeepAlive(lease) => running.keep_alive(env, lease),
            Timer::Claim => running.maybe_claim(env),
            Timer::Retry => running.give_up_again(env),
            Timer::Recover => running.recover(env),
            Timer::Heartbeat => running.heartbeat(env),
            Timer::Step => running.step(env),
            Timer::SyncRun(sync) => running.run_sync(env, sync),
            Timer::SyncDone(sync) => running.report_sync(env, sync),
            Timer::Checkpoint => running.checkpoint(env),
            Timer::FetchTimeout(id) => running.fail_fetch(env, id),
            Timer::LookUpTimeout(id) => {
                let error = ottla_protocol::ErrorCode::RequestTimedOut;
                running.handle_looked_up(env, id, Err(error));
            }
            Timer::PollFetchers => running.poll_fetchers_now(env),
            Timer::ServeFetches => running.serve_fetches(env),
            Timer::ProposalTimeout(id) => running.handle_altered(env, id, None),
            Timer::Propose => running.propose(env),
            Timer::RelayTimeout(id) => {
                running.handle_relayed(env, id, Err(ottla_protocol::ErrorCode::RequestTimedOut));
            }
            other => {
                if running.feed.handle_timer(env, &mut running.port, other) {
                    running.handle_image(env);
                }
            }
        }
    }

    /// Whether it leads anything.
    pub fn leads_any(&self) -> bool {
        let data = self.running.as_ref().and_then(|running| running.data.as_ref());
        data.is_some_and(Data::leads_any)
    }

    /// The broker's id.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Counts the starts of the machine.
    pub fn boot_id(&self) -> String {
        format!("boot-{}-{}", self.id, self.boot)
    }

    /// The whole log of a partition, with its end and its high watermark, if this broker has it open.
    pub fn read_all(
        &self,
        key: (Uuid, i32),
    ) -> Option<(Vec<ottla_protocol::record_batch::Batch>, i64, i64)> {
        self.running.as_ref()?.data.as_ref()?.read_all(key)
    }

    /// End and high watermark of the log of a partition.
    pub fn ends(&self, key: (Uuid, i32)) -> Option<(i64, i64)> {
        self.running.as_ref()?.data.as_ref()?.ends(key)
    }

    /// Everything in the log of a partition below its high watermark, if this broker leads it.
    pub fn read_led(
        &self,
        key: (Uuid, i32),
    ) -> Option<(i32, Vec<ottla_protocol::record_batch::Batch>)> {
        self.running.as_ref()?.data.as_ref()?.read_led(key)
    }
}

impl Running {
    fn handle_reply(
        &mut self,
        env: &mut Env,
        purpose: Purpose,
        reply: StoreReply,
        former_lease: &mut Option<LeaseId>,
    ) {
        match purpose {
            Purpose::Feed(call) => {
                if self.feed.handle_reply(env, &mut self.port, call, reply) {
                    self.handle_image(env);
                }
            }
            Purpose::KeepAlive(lease) => self.handle_kept(env, lease, &reply),
            Purpose::EndFormer | Purpose::Grant | Purpose::Claim | Purpose::GiveUp => {
                self.handle_claim(env, &purpose, reply, former_lease);
            }
        }
    }

    fn handle_watched(&mut self, env: &mut Env, watch: u64, item: WatchItem) {
        if self.feed.handle_watched(env, &mut self.port, watch, item) {
            self.handle_image(env);
        }
    }

    fn handle_image(&mut self, env: &mut Env) {
        self.maybe_open(env);
        self.maybe_report_life();
        self.apply_image(env);
    }

    fn heartbeat(&mut self, env: &mut Env) {
        env.timer(self.me, HEARTBEAT_INTERVAL, Timer::Heartbeat);
        let image = self.feed.image();
        let Some(coordinator) = image.controller().map(|controller| controller.node_id) else {
            return;
        };
        let Some(broker_epoch) = self.claim.broker_epoch() else { return };
        let heartbeat = Heartbeat {
            broker: self.id,
            broker_epoch,
            image_revision: image.revision(),
            wants_shutdown: false,
            offline_log_dirs: self.offline_dirs(),
        };
        let to = coordinator_of(coordinator);
        env.send(self.me, (to, None), Message::Heartbeat(heartbeat));
    }
}

/// The node of a coordinator's id.
fn coordinator_of(id: i32) -> Node {
    Node::Coordinator(u8::try_from(id - 1).unwrap_or(u8::MAX))
}

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
