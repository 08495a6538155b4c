//! Standing for election, staying elected, and learning that the term is over.

use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::controller::fence::Fence;
use ottla_metadata::keys::Key;
use ottla_metadata::model::{self, Controller, Endpoint, Rest};
use ottla_metadata::store::{Compare, GuardedWrite, LeaseId, Outcome, StoreError};
use ottla_protocol::Uuid;
use rand::Rng;

use super::super::env::Env;
use super::super::message::{StoreReply, StoreRequest, Timer};
use super::term::Term;
use super::{LOOK_INTERVAL, Purpose, Running};

/// How far an attempt to be elected is.
#[derive(Debug)]
pub(super) enum Campaign {
    /// Not standing.
    Idle,
    /// A lease is on its way.
    Granting,
    /// The announcement is on its way; the same one until it is known what became of it.
    Announcing { lease: LeaseId, write: GuardedWrite, attempts: u32 },
    /// The lease is given up, after which the announcement cannot be applied any more.
    GivingUp { lease: LeaseId },
}

impl Running {
    pub(super) fn end_former_term(&mut self, env: &mut Env, lease: Option<LeaseId>) {
        if let Some(lease) = lease {
            self.port.call(env, StoreRequest::Revoke(lease), Purpose::EndFormer);
        }
    }

    /// Stands if the image says that nobody is active.
    pub(super) fn maybe_stand(&mut self, env: &mut Env) {
        let image = self.feed.image();
        let is_vacant = image.is_complete() && image.controller().is_none();
        if is_vacant && self.term.is_none() && matches!(self.campaign, Campaign::Idle) {
            self.campaign = Campaign::Granting;
            self.port.call(env, StoreRequest::Grant(SESSION_TIMEOUT), Purpose::Stand);
        }
    }

    pub(super) fn handle_campaign(
        &mut self,
        env: &mut Env,
        purpose: &Purpose,
        reply: StoreReply,
        former_lease: &mut Option<LeaseId>,
    ) {
        match (purpose, reply) {
            (Purpose::EndFormer, StoreReply::Done(_)) => {}
            (Purpose::Stand, StoreReply::Lease(Ok(lease))) => {
                *former_lease = Some(lease.id);
                self.announce(env, lease.id);
            }
            (Purpose::Stand, _) => self.stand_later(env),
            (Purpose::Announce, StoreReply::Txn(result)) => self.handle_announced(env, result),
            (Purpose::GiveUp, StoreReply::Done(Ok(()))) => self.stand_later(env),
            // Until the lease is gone the announcement may still be applied.
            (Purpose::GiveUp, _) => env.timer(self.me, PAUSE, Timer::Retry),
            _ => {}
        }
    }

    fn announce(&mut self, env: &mut Env, lease: LeaseId) {
        let key = env.keys.format(&Key::Controller);
        let endpoint = Endpoint { host: "sim".into(), port: 1 };
        let announcement = Controller {
            node_id: i32::from(self.index()) + 1,
            boot_id: Uuid::from_bytes(env.rng.random()).to_string(),
            http: endpoint.clone(),
            internode: endpoint,
            version: String::new(),
            rest: Rest::new(),
        };
        let write = GuardedWrite::new()
            .when(Compare::Absent(key.clone().into()))
            .put_leased(&key, model::encode(&announcement), lease)
            .read_back(&key);
        self.port.call(env, StoreRequest::Txn(write.clone()), Purpose::Announce);
        self.campaign = Campaign::Announcing { lease, write, attempts: 1 };
    }

    fn handle_announced(&mut self, env: &mut Env, result: Result<Outcome, StoreError>) {
        let Campaign::Announcing { lease, write, attempts } = &mut self.campaign else { return };
        let lease = *lease;
        let mine = &write.puts[0];
        let elected = match &result {
            Ok(Outcome::Committed { revision }) => Some(*revision),
            Ok(Outcome::Refused { current, .. }) => {
                let found = current.iter().find(|kv| kv.key == mine.key);
                found.filter(|kv| kv.value == mine.value).map(|kv| kv.create_revision)
            }
            Ok(Outcome::Unknown { .. }) | Err(StoreError::Unavailable { .. })
                if *attempts < ATTEMPTS_MAX =>
            {
                *attempts += 1;
                let write = write.clone();
                self.port.call(env, StoreRequest::Txn(write), Purpose::Announce);
                return;
            }
            _ => None,
        };
        let announcement = mine.value.clone();
        match elected {
            Some(revision) => self.begin_term(env, revision, (lease, announcement)),
            None => self.give_up(env, lease),
        }
    }

    fn give_up(&mut self, env: &mut Env, lease: LeaseId) {
        self.campaign = Campaign::GivingUp { lease };
        self.port.call(env, StoreRequest::Revoke(lease), Purpose::GiveUp);
    }

    fn stand_later(&mut self, env: &mut Env) {
        self.campaign = Campaign::Idle;
        env.timer(self.me, PAUSE, Timer::Claim);
    }

    /// Gives up again, or sends the term's write again: whatever is in doubt.
    pub(super) fn send_again(&mut self, env: &mut Env) {
        if let Campaign::GivingUp { lease } = self.campaign {
            self.give_up(env, lease);
        }
        self.resend_write(env);
    }

    fn begin_term(&mut self, env: &mut Env, number: i64, (lease, announcement): (LeaseId, Bytes)) {
        env.note(format_args!("{:?} begins term {number}", self.me));
        self.campaign = Campaign::Idle;
        let fence = Fence::new(env.keys.clone(), number);
        self.term = Some(Term::new(fence, lease, announcement));
        self.commands.clear();
        env.timer(self.me, SESSION_TIMEOUT / 3, Timer::KeepAlive(lease));
        env.timer(self.me, LOOK_INTERVAL, Timer::Look);
        self.read_head(env);
        self.check_term(env);
    }

    /// The term is over.
    pub(super) fn step_down(&mut self, env: &mut Env, why: &str) {
        if let Some(term) = self.term.take() {
            env.note(format_args!("{:?} ends term {}: {why}", self.me, term.number()));
            self.commands.clear();
            env.timer(self.me, PAUSE, Timer::Claim);
        }
    }

    /// Whether the image says that the term is over.
    pub(super) fn check_term(&mut self, env: &mut Env) {
        let Some(term) = &self.term else { return };
        let image = self.feed.image();
        let current = image.controller().map(|controller| controller.create_revision);
        if term.number() <= image.revision() && current != Some(term.number()) {
            self.step_down(env, "the image says so");
        }
    }

    pub(super) fn keep_alive(&mut self, env: &mut Env, lease: LeaseId) {
        if self.term.as_ref().is_some_and(|term| term.lease() == lease) {
            self.port.call(env, StoreRequest::KeepAlive(lease), Purpose::KeepAlive(lease));
        }
    }

    pub(super) fn handle_kept(&mut self, env: &mut Env, lease: LeaseId, reply: &StoreReply) {
        let Some(term) = self.term.as_mut().filter(|term| term.lease() == lease) else { return };
        let pause = match reply {
            StoreReply::Done(Ok(())) => {
                term.set_healthy(true);
                SESSION_TIMEOUT / 3
            }
            StoreReply::Done(Err(StoreError::LeaseNotFound(_))) => {
                return self.step_down(env, "its lease is gone");
            }
            _ => {
                term.set_healthy(false);
                SESSION_TIMEOUT / 10
            }
        };
        env.timer(self.me, pause, Timer::KeepAlive(lease));
    }

    fn index(&self) -> u8 {
        match self.me.node {
            super::super::env::Node::Coordinator(index) => index,
            _ => 0,
        }
    }
}

/// How long a term outlives its holder.
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(300);
const ATTEMPTS_MAX: u32 = 4;
