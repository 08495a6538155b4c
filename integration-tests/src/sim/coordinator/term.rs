//! A term of the active coordinator: one decision at a time, each on an image that has all of the term's
//! writes, each write the same until it is known what became of it.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::admin::{NewPartitions, NewTopic, TopicRef};
use ottla_coordinator::controller::alter_partition::{self, AlterPartition, IsrResult};
use ottla_coordinator::controller::decision::{AdminSettings, Context, Decision};
use ottla_coordinator::controller::fence::{Fence, Fenced, Written};
use ottla_coordinator::controller::liveness::{self, Heartbeat, Liveness, Probe, Verdict};
use ottla_coordinator::controller::plan::{self, Transaction, Unit};
use ottla_coordinator::controller::{brokers, cluster, producer_ids, topics};
use ottla_metadata::image::Image;
use ottla_metadata::store::{KeyRange, LeaseId, Outcome, RangeRequest, StoreError};
use ottla_protocol::ErrorCode;
use ottla_protocol::time::Now;

use super::super::env::Env;
use super::super::message::{AdminRequest, Message, StoreReply, StoreRequest, Timer};
use super::{Asked, Command, Purpose, Running, isr};

/// One term.
#[derive(Debug)]
pub(super) struct Term {
    fence: Fence,
    lease: LeaseId,
    announcement: Bytes,
    liveness: Liveness,
    settings: AdminSettings,
    is_healthy: bool,
    /// Partitions may not be in line with the records of brokers.
    is_unsettled: bool,
    /// Something may have been left half done.
    has_rubbish: bool,
    state: State,
}

/// What the term is busy with.
#[derive(Debug)]
enum State {
    /// The head is being read, before the first write.
    ReadingHead,
    /// A write is on its way.
    Writing(Box<Writing>),
    /// The image has to reach this revision first.
    CatchingUp(i64),
    /// Nothing.
    Free,
}

/// A write on its way, and the plan that it is part of.
#[derive(Debug)]
struct Writing {
    fenced: Fenced,
    job: Job,
}

/// A plan that is being written.
#[derive(Debug)]
struct Job {
    rest: VecDeque<Transaction>,
    completed: BTreeMap<usize, i64>,
    is_interrupted: bool,
    /// The image has to show this before the next decision.
    seen_revision: i64,
    purpose: JobPurpose,
}

/// What follows when a plan is written.
#[derive(Debug)]
enum JobPurpose {
    TakeOver,
    Found,
    Settle(Vec<Verdict>),
    Collect,
    /// Answer a command; with what, if all is well.
    Answer(Command, i64),
    /// Answer proposals, each with the revision that it stands at if nothing is written for it.
    AnswerIsr(Command, Vec<Decided>),
}

/// What a proposal is answered, and the revision that it stands at if nothing is written for it.
type Decided = (IsrResult, Option<i64>);

impl Term {
    pub fn new(fence: Fence, lease: LeaseId, announcement: Bytes) -> Self {
        Self {
            fence,
            lease,
            announcement,
            liveness: Liveness::new(liveness::Settings::default()),
            settings: AdminSettings::default(),
            is_healthy: true,
            is_unsettled: true,
            has_rubbish: true,
            state: State::ReadingHead,
        }
    }

    pub fn number(&self) -> i64 {
        self.fence.term()
    }

    /// Whoever is active next has another wall clock.
    fn clocks(&self, env: &Env) -> Now {
        env.clocks_of((self.number() % 3) as i32)
    }

    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    pub fn set_healthy(&mut self, is_healthy: bool) {
        self.is_healthy = is_healthy;
    }

    pub fn handle_heartbeat(&mut self, env: &Env, heartbeat: Heartbeat) {
        let now = self.clocks(env);
        self.liveness.handle_heartbeat(heartbeat, now);
    }

    pub fn handle_probe(&mut self, env: &Env, (broker, epoch): (i32, i64), probe: Probe) {
        let now = self.clocks(env);
        self.liveness.handle_probe(broker, epoch, probe, now);
    }

    fn catch_up(&mut self, revision: i64) {
        self.state = State::CatchingUp(revision.max(self.fence.revision()));
    }
}

impl Running {
    pub(super) fn read_head(&mut self, env: &mut Env) {
        let Some(term) = &self.term else { return };
        let keys = KeyRange::key(env.keys.controller_head());
        let request = StoreRequest::Range(RangeRequest::newest(keys));
        self.port.call(env, request, Purpose::ReadHead(term.number()));
    }

    /// Judges who is alive and does what follows, if the last thing is done.
    pub(super) fn look(&mut self, env: &mut Env) {
        let Some(term) = &mut self.term else { return };
        let image = self.feed.image().clone();
        if let State::CatchingUp(revision) = term.state
            && revision <= image.revision()
        {
            term.state = State::Free;
        }
        let following = self.feed.is_following();
        let now = term.clocks(env);
        term.liveness.handle_store(term.is_healthy && following, now);
        if !matches!(term.state, State::Free) {
            return;
        }
        if let Some(unit) = cluster::found(&image, &mut env.rng) {
            return self.begin(env, vec![unit], JobPurpose::Found);
        }
        let judgement = term.liveness.judge(&image, now);
        if term.is_unsettled || !judgement.verdicts.is_empty() {
            let sweep = brokers::sweep(&image, &term.settings.file, &judgement.verdicts);
            self.begin(env, sweep.units, JobPurpose::Settle(judgement.verdicts));
        } else if term.has_rubbish || image.deleted().next().is_some() {
            let units = topics::collect(&image, COLLECT_MAX);
            term.has_rubbish = !units.is_empty();
            self.begin(env, units, JobPurpose::Collect);
        } else if let Some(command) = self.commands.pop_front() {
            self.execute(env, command);
        }
        for broker in judgement.probe {
            self.probe(env, broker);
        }
    }

    fn begin(&mut self, env: &mut Env, units: Vec<Unit>, purpose: JobPurpose) {
        let rest = plan::pack(units).into();
        let job = Job::new(rest, purpose);
        self.go_on(env, job);
    }

    /// Writes the next transaction of a plan, or does what follows the last.
    fn go_on(&mut self, env: &mut Env, mut job: Job) {
        let Some(term) = &mut self.term else { return };
        match job.rest.front() {
            Some(transaction) if !job.is_interrupted => {
                let fenced = term.fence.fence(transaction.guarded(&env.keys));
                self.send_write(env, fenced, job);
            }
            _ => {
                job.rest.clear();
                self.finish(env, job);
            }
        }
    }

    fn send_write(&mut self, env: &mut Env, fenced: Fenced, job: Job) {
        let Some(term) = &mut self.term else { return };
        let purpose = Purpose::Write(term.number());
        self.port.call(env, StoreRequest::Txn(fenced.write.clone()), purpose);
        term.state = State::Writing(Box::new(Writing { fenced, job }));
    }

    /// Sends what is in doubt again, unchanged.
    pub(super) fn resend_write(&mut self, env: &mut Env) {
        let Some(term) = &mut self.term else { return };
        match &term.state {
            State::Writing(writing) => {
                let write = writing.fenced.write.clone();
                let purpose = Purpose::Write(term.number());
                self.port.call(env, StoreRequest::Txn(write), purpose);
            }
            State::ReadingHead => self.read_head(env),
            State::CatchingUp(_) | State::Free => {}
        }
    }

    pub(super) fn handle_written(&mut self, env: &mut Env, purpose: &Purpose, reply: StoreReply) {
        let Some(term) = &mut self.term else { return };
        if let Purpose::ReadHead(number) | Purpose::Write(number) = purpose
            && *number != term.number()
        {
            return;
        }
        match (purpose, reply) {
            (Purpose::ReadHead(_), StoreReply::Page(Ok(page))) => {
                term.fence.found_head(page.items.first().map_or(0, |head| head.mod_revision));
                let fenced = term.fence.take_over(term.announcement.clone(), term.lease);
                self.send_write(env, fenced, Job::new(VecDeque::new(), JobPurpose::TakeOver));
            }
            (Purpose::Write(_), StoreReply::Txn(result)) => self.handle_outcome(env, result),
            _ => env.timer(self.me, RETRY_PAUSE, Timer::Retry),
        }
    }

    fn handle_outcome(&mut self, env: &mut Env, result: Result<Outcome, StoreError>) {
        let Some(term) = &mut self.term else { return };
        let State::Writing(writing) = mem::replace(&mut term.state, State::Free) else { return };
        let Writing { fenced, mut job } = *writing;
        let written = match result {
            Ok(Outcome::Committed { revision }) => term.fence.handle_committed(&fenced, revision),
            Ok(Outcome::Refused { revision, current }) => {
                term.fence.handle_refused(&fenced, revision, &current)
            }
            Ok(Outcome::Unknown { .. }) | Err(StoreError::Unavailable { .. }) => {
                term.is_healthy = false;
                term.state = State::Writing(Box::new(Writing { fenced, job }));
                return env.timer(self.me, RETRY_PAUSE, Timer::Retry);
            }
            Err(error) => Written::Failed(error),
        };
        term.is_healthy = true;
        match written {
            Written::Committed(revision) => {
                if let Some(done) = job.rest.pop_front() {
                    job.completed.extend(done.completes.iter().map(|item| (*item, revision)));
                }
                self.go_on(env, job);
            }
            Written::Refused(revision) if matches!(job.purpose, JobPurpose::TakeOver) => {
                env.note(format_args!("{:?} takes over again, refused at {revision}", self.me));
                term.state = State::ReadingHead;
                self.read_head(env);
            }
            Written::Refused(revision) => {
                job.is_interrupted = true;
                job.seen_revision = revision;
                term.has_rubbish = true;
                self.go_on(env, job);
            }
            Written::Failed(StoreError::LeaseNotFound(_)) => {
                self.step_down(env, "its lease is gone");
            }
            Written::Failed(error) => {
                env.history.object(format!("the store can never take a write: {error}"));
                self.step_down(env, "a write failed");
            }
            Written::Deposed => self.step_down(env, "it was deposed"),
        }
    }

    fn finish(&mut self, env: &mut Env, job: Job) {
        let Some(term) = &mut self.term else { return };
        let revision = term.fence.revision();
        term.catch_up(job.seen_revision);
        match job.purpose {
            JobPurpose::TakeOver | JobPurpose::Found | JobPurpose::Collect => {}
            JobPurpose::Settle(verdicts) => {
                term.is_unsettled = job.is_interrupted;
                if !job.is_interrupted {
                    for verdict in &verdicts {
                        env.note(format_args!("{:?} judged {verdict:?}", self.me));
                        term.liveness.handle_written(verdict, revision);
                    }
                }
            }
            JobPurpose::Answer(command, value) => {
                if !job.is_interrupted {
                    self.answer(env, &command, Ok(value));
                } else if command.tries < TRIES_MAX {
                    // Decided again when the image shows what came between.
                    let tries = command.tries + 1;
                    self.commands.push_front(Command { tries, ..command });
                } else {
                    self.answer(env, &command, Err(ErrorCode::RequestTimedOut));
                }
            }
            JobPurpose::AnswerIsr(command, results) => {
                self.answer_isr(env, &command, (results, &job.completed));
            }
        }
        self.look(env);
    }

    fn answer_isr(
        &mut self,
        env: &mut Env,
        command: &Command,
        (results, written): (Vec<Decided>, &BTreeMap<usize, i64>),
    ) {
        let Asked::Isr(request) = &command.request else { return };
        let decided = (0..).zip(results).map(|(index, (result, stands))| {
            match written.get(&index).copied().or(stands) {
                Some(revision) => (result, revision),
                // Overtaken: the leader looks at its image and proposes anew.
                None => (result.and(Err(ErrorCode::InvalidUpdateVersion)), 0),
            }
        });
        let response = Box::new(isr::answer_of(request, decided.collect()));
        let to = (command.from.node, Some(command.from.life));
        env.send(self.me, to, Message::Altered { id: command.id, response });
    }

    fn execute_isr(&mut self, env: &mut Env, command: Command, request: &AlterPartition) {
        let Some(term) = &self.term else { return };
        let image = self.feed.image().clone();
        let decided = alter_partition::alter_partition(&image, &term.settings.file, request);
        let (results, units) = match decided {
            Ok(decided) => decided,
            Err(code) => {
                let to = (command.from.node, Some(command.from.life));
                let response = Box::new(isr::refusal(code));
                return env.send(self.me, to, Message::Altered { id: command.id, response });
            }
        };
        let is_written = |index: usize| units.iter().any(|unit| unit.completes == Some(index));
        let stands = |index: usize| {
            let proposal = &request.proposals[index];
            let current = image.partition(proposal.topic_id, proposal.partition);
            let revision = current.map_or(0, |current| current.mod_revision);
            (!is_written(index)).then_some(revision)
        };
        let results = results.into_iter().enumerate();
        let results = results.map(|(index, result)| (result, stands(index))).collect();
        self.begin(env, units, JobPurpose::AnswerIsr(command, results));
    }

    fn answer(&mut self, env: &mut Env, command: &Command, result: Result<i64, ErrorCode>) {
        let to = (command.from.node, Some(command.from.life));
        env.send(self.me, to, Message::Relayed { id: command.id, result });
    }

    /// Decides on a request and writes what is decided.
    fn execute(&mut self, env: &mut Env, command: Command) {
        let request = match command.request.clone() {
            Asked::Admin(request) => request,
            Asked::Isr(request) => return self.execute_isr(env, command, &request),
        };
        let image = self.feed.image().clone();
        match self.decide(env, &image, &request) {
            Ok((units, value)) => {
                self.begin(env, units, JobPurpose::Answer(command, value));
            }
            Err(code) => self.answer(env, &command, Err(code)),
        }
    }

    fn decide(
        &mut self,
        env: &mut Env,
        image: &Image,
        request: &AdminRequest,
    ) -> Result<(Vec<Unit>, i64), ErrorCode> {
        let Some(term) = &self.term else { return Err(ErrorCode::NotController) };
        let now = term.clocks(env);
        let settings = &term.settings;
        let mut context = Context { image, settings, now, random: &mut env.rng };
        match request {
            AdminRequest::Create { name, partitions, replicas, durable } => {
                let topic = NewTopic {
                    name: name.clone(),
                    partitions: Some(*partitions),
                    replication_factor: Some(*replicas),
                    assignments: Vec::new(),
                    configs: configs_of(*durable),
                };
                only(topics::create(&mut context, &[topic], false))
            }
            AdminRequest::Grow { name, count } => {
                let growth =
                    NewPartitions { topic: name.clone(), count: *count, assignments: Vec::new() };
                only(topics::grow(&mut context, &[growth], false))
            }
            AdminRequest::Delete(name) => {
                only(topics::delete(&context, &[TopicRef::Name(name.clone())], false))
            }
            AdminRequest::AllocateIds { broker, broker_epoch } => {
                let (block, unit) = producer_ids::allocate(image, *broker, *broker_epoch)?;
                Ok((vec![unit], block.start))
            }
        }
    }
}

impl Job {
    fn new(rest: VecDeque<Transaction>, purpose: JobPurpose) -> Self {
        let completed = BTreeMap::new();
        Self { rest, completed, is_interrupted: false, seen_revision: 0, purpose }
    }
}

fn configs_of(durable: bool) -> Vec<(String, Option<String>)> {
    let mut configs = vec![("min.insync.replicas".to_owned(), Some("2".to_owned()))];
    if durable {
        configs.push(("flush.messages".to_owned(), Some("1".to_owned())));
    }
    configs
}

/// The writes of a request with one item.
fn only<T>(mut decision: Decision<T>) -> Result<(Vec<Unit>, i64), ErrorCode> {
    match decision.results.pop() {
        Some(Ok(_)) => Ok((decision.units, 0)),
        Some(Err(error)) => Err(error.code),
        None => Err(ErrorCode::UnknownServerError),
    }
}

const COLLECT_MAX: usize = 100;
const TRIES_MAX: u32 = 8;
const RETRY_PAUSE: Duration = Duration::from_millis(100);
