//! The broker's claim to be alive: a key under its lease, whose create revision is the broker epoch.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_metadata::keys::Key;
use ottla_metadata::model::{self, BrokerClaim, Listener, PreviousLife, Rest, SecurityProtocol};
use ottla_metadata::store::{Compare, GuardedWrite, LeaseId, Outcome, StoreError};

use super::super::env::Env;
use super::super::message::{StoreReply, StoreRequest, Timer};
use super::super::mutation::Mutation;
use super::{Purpose, Running};

/// How far the claim is.
#[derive(Debug, Default)]
pub(super) struct Claim {
    state: State,
    /// The last life of this process that was claimed, if its lease was lost.
    lost: Option<i64>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    None,
    Granting,
    Writing {
        lease: LeaseId,
        write: GuardedWrite,
        attempts: u32,
    },
    GivingUp {
        lease: LeaseId,
    },
    Held {
        lease: LeaseId,
        broker_epoch: i64,
    },
}

impl Claim {
    /// The present life, if it is claimed.
    pub fn broker_epoch(&self) -> Option<i64> {
        match self.state {
            State::Held { broker_epoch, .. } => Some(broker_epoch),
            _ => None,
        }
    }

    fn lease(&self) -> Option<LeaseId> {
        match self.state {
            State::Held { lease, .. } => Some(lease),
            _ => None,
        }
    }
}

impl Running {
    pub(super) fn end_former_claim(&mut self, env: &mut Env, lease: Option<LeaseId>) {
        if let Some(lease) = lease {
            self.port.call(env, StoreRequest::Revoke(lease), Purpose::EndFormer);
        }
    }

    /// Claims as soon as the logs are recovered, so that the claim can say how the last life ended.
    pub(super) fn maybe_claim(&mut self, env: &mut Env) {
        let is_ready = self.data.as_ref().is_some_and(super::data::Data::is_recovered);
        if is_ready && matches!(self.claim.state, State::None) {
            self.claim.state = State::Granting;
            self.port.call(env, StoreRequest::Grant(SESSION_TIMEOUT), Purpose::Grant);
        }
    }

    pub(super) fn handle_claim(
        &mut self,
        env: &mut Env,
        purpose: &Purpose,
        reply: StoreReply,
        former_lease: &mut Option<LeaseId>,
    ) {
        match (purpose, reply) {
            (Purpose::EndFormer, StoreReply::Done(_)) => {}
            (Purpose::Grant, StoreReply::Lease(Ok(lease))) => {
                *former_lease = Some(lease.id);
                self.write_claim(env, lease.id);
            }
            (Purpose::Grant, _) => self.claim_later(env),
            (Purpose::Claim, StoreReply::Txn(result)) => self.handle_claimed(env, result),
            (Purpose::GiveUp, StoreReply::Done(Ok(()))) => self.claim_later(env),
            // Until the lease is gone the claim may still be applied.
            (Purpose::GiveUp, _) => env.timer(self.me, PAUSE, Timer::Retry),
            _ => {}
        }
    }

    fn write_claim(&mut self, env: &mut Env, lease: LeaseId) {
        let Some(data) = &self.data else { return };
        let previous = match self.claim.lost {
            // The same process: nothing was lost but the lease.
            Some(broker_epoch) => PreviousLife::ProcessCrash { broker_epoch },
            None => data.previous_life(),
        };
        let previous = match previous {
            PreviousLife::MachineCrash { broker_epoch }
                if env.does(Mutation::KeepsSeatsAfterMachineCrash) =>
            {
                PreviousLife::ProcessCrash { broker_epoch }
            }
            previous => previous,
        };
        let claim = BrokerClaim {
            listeners: vec![Listener {
                name: "SIM".into(),
                host: "sim".into(),
                port: 1,
                security_protocol: SecurityProtocol::Plaintext,
            }],
            inter_broker_listener: "SIM".into(),
            rack: None,
            log_dirs: vec![data.dir_id()],
            boot_id: self.boot_id.clone(),
            incarnation_id: self.incarnation,
            version: String::new(),
            previous,
            features: BTreeMap::new(),
            http: None,
            rest: Rest::new(),
        };
        env.note(format_args!("{:?} claims, {previous:?}", self.me));
        let key = env.keys.format(&Key::BrokerClaim(self.id));
        let write = GuardedWrite::new()
            .when(Compare::Absent(key.clone().into()))
            .put_leased(&key, model::encode(&claim), lease)
            .read_back(&key);
        self.port.call(env, StoreRequest::Txn(write.clone()), Purpose::Claim);
        self.claim.state = State::Writing { lease, write, attempts: 1 };
    }

    fn handle_claimed(&mut self, env: &mut Env, result: Result<Outcome, StoreError>) {
        let State::Writing { lease, write, attempts } = &mut self.claim.state else { return };
        let lease = *lease;
        let mine = &write.puts[0];
        let claimed = match &result {
            Ok(Outcome::Committed { revision }) => Some(*revision),
            Ok(Outcome::Refused { current, .. }) => {
                let found = current.iter().find(|kv| kv.key == mine.key);
                let is_mine = |kv: &&ottla_metadata::store::KeyValue| {
                    kv.value == mine.value && kv.lease == Some(lease)
                };
                found.filter(is_mine).map(|kv| kv.create_revision)
            }
            Ok(Outcome::Unknown { .. }) | Err(StoreError::Unavailable { .. })
                if *attempts < ATTEMPTS_MAX =>
            {
                *attempts += 1;
                let write = write.clone();
                self.port.call(env, StoreRequest::Txn(write), Purpose::Claim);
                return;
            }
            _ => None,
        };
        match claimed {
            Some(broker_epoch) => {
                env.note(format_args!("{:?} has broker epoch {broker_epoch}", self.me));
                self.claim.state = State::Held { lease, broker_epoch };
                env.timer(self.me, SESSION_TIMEOUT / 3, Timer::KeepAlive(lease));
                self.maybe_report_life();
                self.apply_image(env);
            }
            None => self.give_up(env, lease),
        }
    }

    fn give_up(&mut self, env: &mut Env, lease: LeaseId) {
        self.claim.state = State::GivingUp { lease };
        self.port.call(env, StoreRequest::Revoke(lease), Purpose::GiveUp);
    }

    pub(super) fn give_up_again(&mut self, env: &mut Env) {
        if let State::GivingUp { lease } = self.claim.state {
            self.give_up(env, lease);
        }
    }

    fn claim_later(&mut self, env: &mut Env) {
        self.claim.state = State::None;
        env.timer(self.me, PAUSE, Timer::Claim);
    }

    pub(super) fn keep_alive(&mut self, env: &mut Env, lease: LeaseId) {
        if self.claim.lease() == Some(lease) {
            self.port.call(env, StoreRequest::KeepAlive(lease), Purpose::KeepAlive(lease));
        }
    }

    pub(super) fn handle_kept(&mut self, env: &mut Env, lease: LeaseId, reply: &StoreReply) {
        if self.claim.lease() != Some(lease) {
            return;
        }
        let pause = match reply {
            StoreReply::Done(Ok(())) => SESSION_TIMEOUT / 3,
            StoreReply::Done(Err(StoreError::LeaseNotFound(_))) => {
                env.note(format_args!("{:?} lost its lease", self.me));
                self.claim.lost = self.claim.broker_epoch();
                self.claim.state = State::None;
                self.apply_image(env);
                return self.maybe_claim(env);
            }
            _ => SESSION_TIMEOUT / 10,
        };
        env.timer(self.me, pause, Timer::KeepAlive(lease));
    }

    /// The claim ends with the process.
    pub(super) fn end_claim(&mut self, env: &mut Env) {
        if let Some(lease) = self.claim.lease() {
            self.port.cast(env, StoreRequest::Revoke(lease));
        }
    }

    /// Notes the broker epoch once the cluster has judged this claim, and with it how the last life ended:
    /// until then a restart has to report the same end again.
    pub(super) fn maybe_report_life(&mut self) {
        let Some(broker_epoch) = self.claim.broker_epoch() else { return };
        let record = self.feed.image().broker(self.id);
        let is_judged = record.is_some_and(|record| record.broker_epoch == broker_epoch);
        if is_judged && let Some(data) = &mut self.data {
            data.note_broker_epoch(broker_epoch);
        }
    }
}

/// `broker.session.timeout.ms`.
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(300);
const ATTEMPTS_MAX: u32 = 4;
