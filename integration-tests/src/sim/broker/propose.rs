//! Proposals of in-sync replicas on their way to the controller: the shipped desk, sent over the network.

use std::sync::Arc;
use std::time::Duration;

use ottla_broker::isr::desk::{Answer, Desk, Sent};
use ottla_broker::isr::{Proposals, Proposed};
use ottla_broker::partition::{Proposal, ProposalOutcome};
use ottla_broker::worker::Control;
use ottla_coordinator::controller::alter_partition::wire_partition_epoch;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::AlterPartitionResponse;
use ottla_protocol::types::BrokerId;
use rand::Rng;

use super::super::env::{Env, Event, Node};
use super::super::faults::Fault;
use super::super::message::{Message, Timer};
use super::super::mutation::Mutation;
use super::{Running, coordinator_of};

/// Where workers leave proposals, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Proposer {
    pub proposals: Arc<Proposals>,
    desk: Desk,
    in_flight: Option<(u64, Sent)>,
    next_id: u64,
    failures: u32,
    /// Nothing is sent before.
    quiet_until: Duration,
}

impl Running {
    /// Takes what workers left and sends it, unless a request is under way.
    pub(super) fn propose(&mut self, env: &mut Env) {
        for proposed in self.proposer.proposals.take() {
            let proposal = &proposed.proposal;
            env.note(format_args!("{:?} proposes {:?}", self.me, proposal));
            let outcome = env.history.pauses.proposed(env.now, self.woke, (self.lag_max, proposal));
            env.history.check(outcome);
            self.strike_who_joins(env, &proposed);
            if let Some(outcome) = mutated(env, proposal) {
                let (slot, id) = (proposed.handle.slot, proposal.id);
                let is_asked = !env.does(Mutation::ShrinksWithoutAsking);
                let _ =
                    proposed.handle.inbox.report(Control::ProposalResolved { slot, id, outcome });
                self.step_soon(env);
                if !is_asked {
                    continue;
                }
            }
            self.proposer.desk.take(proposed);
        }
        let proposer = &mut self.proposer;
        if proposer.in_flight.is_some()
            || proposer.desk.is_empty()
            || env.now < proposer.quiet_until
        {
            return;
        }
        let life = self.claim.broker_epoch().unwrap_or(-1);
        let (sent, request) = proposer.desk.request(BrokerId(self.id), life);
        let controller = self.feed.image().controller().map(|controller| controller.node_id);
        let Some(controller) = controller else {
            return self.settle(env, &sent, &Answer::NotSent);
        };
        proposer.next_id += 1;
        let id = proposer.next_id;
        proposer.in_flight = Some((id, sent));
        let message = Message::AlterPartition { id, request: Box::new(request) };
        let to = coordinator_of(controller);
        if env.does(Mutation::IgnoresLivesOfMembers) {
            // So late that a life may end on the way.
            let at = env.now + env.between(TIMEOUT / 2, TIMEOUT);
            let from = self.me;
            env.schedule(at, Event::Deliver { from, to, life: None, message });
        } else {
            env.send(self.me, (to, None), message);
        }
        env.timer(self.me, TIMEOUT, Timer::ProposalTimeout(id));
    }

    /// Now and then, whoever is proposed to come into sync loses power and is back before anybody has decided, without what
    /// it had: it does not reach its leader for a while.
    fn strike_who_joins(&self, env: &mut Env, proposed: &Proposed) {
        let strikes = env.mutation.is_some_and(Mutation::strikes_who_joins);
        let is_chosen = strikes && env.has_faults && 0 < proposed.proposal.joining;
        if !is_chosen || env.rng.random_bool(0.2) {
            return;
        }
        let (topic, index) = (proposed.handle.topic_id, proposed.handle.index);
        let Some(partition) = self.feed.image().partition(topic, index) else { return };
        let is_new = |broker: &i32| !partition.value.isr.contains(broker);
        let mut members = proposed.proposal.isr.iter().map(|(broker, _)| broker.0);
        let joiner = members.find(is_new).and_then(|broker| u8::try_from(broker - 1).ok());
        let Some(joiner) = joiner else { return };
        env.schedule(env.now, Event::Fault(Fault::PowerCut(joiner, Duration::from_millis(20))));
        let until = env.now + 2 * TIMEOUT;
        env.net.cut(Node::Broker(joiner), self.me.node, until);
    }

    /// The controller answered, or did not.
    pub(super) fn handle_altered(
        &mut self,
        env: &mut Env,
        id: u64,
        response: Option<AlterPartitionResponse>,
    ) {
        let Some((_, sent)) = self.proposer.in_flight.take_if(|(known, _)| *known == id) else {
            return;
        };
        let answer = response.map_or(Answer::Lost, Answer::Answered);
        self.settle(env, &sent, &answer);
    }

    fn settle(&mut self, env: &mut Env, sent: &Sent, answer: &Answer) {
        let settled = self.proposer.desk.settle(sent, answer);
        let has_decided = !settled.is_empty();
        for (proposed, outcome) in settled {
            let (slot, id) = (proposed.handle.slot, proposed.proposal.id);
            let _ = proposed.handle.inbox.report(Control::ProposalResolved { slot, id, outcome });
            self.step_soon(env);
        }
        let proposer = &mut self.proposer;
        proposer.failures = if has_decided { 0 } else { proposer.failures + 1 };
        if !has_decided || !proposer.desk.is_empty() {
            let pause = PAUSE_MIN.saturating_mul(1 << proposer.failures.min(8)).min(PAUSE_MAX);
            proposer.quiet_until = env.now + pause;
            env.timer(self.me, pause, Timer::Propose);
        }
    }
}

/// What a leader believes at once that does not wait for the controller.
fn mutated(env: &Env, proposal: &Proposal) -> Option<ProposalOutcome> {
    match env.mutation? {
        Mutation::CountsAgreedMembersOnly => {
            let error = ErrorCode::InvalidUpdateVersion;
            Some(ProposalOutcome::Refused { error, is_in_doubt: false })
        }
        Mutation::ShrinksWithoutAsking if 0 < proposal.leaving => Some(ProposalOutcome::Accepted {
            leader_epoch: proposal.leader_epoch,
            isr: proposal.isr.iter().map(|(broker, _)| *broker).collect(),
            partition_epoch: wire_partition_epoch(proposal.partition_epoch + 1),
            is_recovering: false,
        }),
        _ => None,
    }
}

const TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
