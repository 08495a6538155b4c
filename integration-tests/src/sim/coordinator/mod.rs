//! A coordinator as a node: its election, and the shipped controller's decisions carried to the store.
//!
//! What is simulated here is the thin driver only: who is alive, who leads, what is written, what a refusal
//! means are the shipped functions and state machines.

mod campaign;
mod isr;
mod term;

use std::collections::VecDeque;
use std::time::Duration;

use ottla_coordinator::controller::alter_partition::AlterPartition;
use ottla_coordinator::controller::liveness::Probe;
use ottla_metadata::store::{LeaseId, WatchItem};
use ottla_protocol::ErrorCode;

use self::campaign::Campaign;
use self::term::Term;
use super::env::{Env, Node, Process};
use super::feed::{FeedCall, FeedDriver};
use super::message::{AdminRequest, Message, StoreReply, Timer};
use super::mutation::Mutation;
use super::port::StorePort;

/// What a coordinator calls the store for.
#[derive(Debug)]
pub enum Purpose {
    /// Its image.
    Feed(FeedCall),
    /// To end its former life's term.
    EndFormer,
    /// The lease to stand with.
    Stand,
    /// To announce itself.
    Announce,
    /// To give up an attempt to stand.
    GiveUp,
    /// To stay elected.
    KeepAlive(LeaseId),
    /// To read the head of the controller's writes, in this term.
    ReadHead(i64),
    /// A write of this term.
    Write(i64),
}

impl From<FeedCall> for Purpose {
    fn from(call: FeedCall) -> Self {
        Self::Feed(call)
    }
}

/// A coordinator.
#[derive(Debug)]
pub struct CoordinatorNode {
    index: u8,
    life: u32,
    /// Remembered beside the directory lock, so that a restart need not wait for the lease.
    former_lease: Option<LeaseId>,
    running: Option<Box<Running>>,
}

/// A running process.
#[derive(Debug)]
struct Running {
    me: Process,
    port: StorePort<Purpose>,
    feed: FeedDriver,
    campaign: Campaign,
    term: Option<Term>,
    commands: VecDeque<Command>,
}

/// A request of a broker.
#[derive(Debug, Clone)]
struct Command {
    from: Process,
    id: u64,
    request: Asked,
    /// How often it was decided already.
    tries: u32,
}

/// What a broker asks for.
#[derive(Debug, Clone)]
enum Asked {
    /// What a client asked it.
    Admin(AdminRequest),
    /// To change ISRs.
    Isr(AlterPartition),
}

impl CoordinatorNode {
    /// One that is not yet started.
    pub fn new(index: u8) -> Self {
        Self { index, life: 0, former_lease: None, running: None }
    }

    /// Which process would run, or runs.
    pub fn process(&self) -> Process {
        Process { node: Node::Coordinator(self.index), life: self.life }
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// The term that it believes to be its own.
    pub fn term(&self) -> Option<i64> {
        self.running.as_ref()?.term.as_ref().map(Term::number)
    }

    /// Starts a process.
    pub fn start(&mut self, env: &mut Env) {
        if self.running.is_some() {
            return;
        }
        self.life += 1;
        let me = self.process();
        env.note(format_args!("{me:?} starts"));
        let mut port = StorePort::new(me);
        let feed = FeedDriver::start(env, me, &mut port);
        let mut running = Running {
            me,
            port,
            feed,
            campaign: Campaign::Idle,
            term: None,
            commands: VecDeque::new(),
        };
        running.end_former_term(env, self.former_lease);
        self.running = Some(Box::new(running));
    }

    /// The process dies.
    pub fn crash(&mut self, env: &mut Env) {
        if self.running.take().is_some() {
            env.note(format_args!("{:?} crashes", self.process()));
        }
    }

    /// A message arrives.
    pub fn handle_message(&mut self, env: &mut Env, from: Process, message: Message) {
        let Some(running) = &mut self.running else { return };
        match message {
            Message::StoreReply { call, reply } => {
                if let Some(purpose) = running.port.answer(call) {
                    running.handle_reply(env, purpose, reply, &mut self.former_lease);
                }
            }
            Message::Watched { watch, item } => running.handle_watched(env, watch, item),
            Message::Heartbeat(heartbeat) => {
                if let Some(term) = &mut running.term {
                    term.handle_heartbeat(env, heartbeat);
                }
                running.look(env);
            }
            Message::LinkBroken(broker) => running.probe(env, broker),
            Message::Probed { broker, broker_epoch, probe } => {
                running.handle_probed(env, (broker, broker_epoch), probe);
            }
            Message::Relay { id, request }
                if running.term.is_some() && running.commands.len() < COMMANDS_MAX =>
            {
                let request = Asked::Admin(request);
                running.commands.push_back(Command { from, id, request, tries: 0 });
                running.look(env);
            }
            Message::AlterPartition { id, request } => {
                if running.term.is_some() && running.commands.len() < COMMANDS_MAX {
                    let mut change = isr::change_of(&request);
                    if env.does(Mutation::IgnoresLivesOfMembers) {
                        isr::forget_lives(&mut change);
                    }
                    let request = Asked::Isr(change);
                    running.commands.push_back(Command { from, id, request, tries: 0 });
                    running.look(env);
                } else {
                    let response = Box::new(isr::refusal(ErrorCode::NotController));
                    let to = (from.node, Some(from.life));
                    env.send(running.me, to, Message::Altered { id, response });
                }
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
            Timer::Claim => running.maybe_stand(env),
            Timer::Retry => running.send_again(env),
            Timer::Look => {
                if running.term.is_some() {
                    env.timer(running.me, LOOK_INTERVAL, Timer::Look);
                    running.look(env);
                }
            }
            other => {
                if running.feed.handle_timer(env, &mut running.port, other) {
                    running.handle_image(env);
                }
            }
        }
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
            Purpose::ReadHead(_) | Purpose::Write(_) => self.handle_written(env, &purpose, reply),
            Purpose::KeepAlive(lease) => self.handle_kept(env, lease, &reply),
            Purpose::EndFormer | Purpose::Stand | Purpose::Announce | Purpose::GiveUp => {
                self.handle_campaign(env, &purpose, reply, former_lease);
            }
        }
    }

    fn handle_watched(&mut self, env: &mut Env, watch: u64, item: WatchItem) {
        if self.feed.handle_watched(env, &mut self.port, watch, item) {
            self.handle_image(env);
        }
    }

    fn handle_image(&mut self, env: &mut Env) {
        self.check_term(env);
        self.maybe_stand(env);
        self.look(env);
    }

    /// Connects to a broker, to see whether its process still runs.
    fn probe(&mut self, env: &mut Env, broker: i32) {
        if self.term.is_none() {
            return;
        }
        let Some(record) = self.feed.image().broker(broker) else { return };
        let epoch = record.broker_epoch;
        let to = Node::Broker(u8::try_from(broker - 1).unwrap_or(u8::MAX));
        env.send(self.me, (to, None), Message::Probe(epoch));
    }

    fn handle_probed(&mut self, env: &mut Env, (broker, epoch): (i32, i64), probe: Probe) {
        if let Some(term) = &mut self.term {
            term.handle_probe(env, (broker, epoch), probe);
            self.look(env);
        }
    }
}

const COMMANDS_MAX: usize = 100;
/// As in the shipped driver.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
