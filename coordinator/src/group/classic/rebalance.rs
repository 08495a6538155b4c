//! From the first that joins to a generation that has its members.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_protocol::{ErrorCode, Str};
use tracing::{debug, info};

use super::members::{Member, Parked};
use super::timers::Timer;
use super::{ClassicGroup, ClassicState, protocols};
use crate::group::{Context, Response};

/// While a group that was empty waits for more members: each time that one came during a delay, another delay
/// follows, up to the rebalance timeout as a whole.
#[derive(Debug)]
pub(super) struct InitialDelay {
    /// A member came during this delay; does not count the one that began it.
    pub has_new_member: bool,
    delay: Duration,
    remaining: Duration,
}

impl ClassicGroup {
    /// Begins a rebalance if none is on, else ends it if this was all that it waited for.
    pub(super) fn rebalance_or_complete(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        if self.state == ClassicState::PreparingRebalance {
            self.maybe_complete_join(cx);
        } else {
            self.prepare_rebalance(reason, cx);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        if self.state == ClassicState::CompletingRebalance {
            self.send_back_syncs(cx);
        }
        self.pending_syncs.clear();
        self.timers.cancel(&Timer::Sync);
        let is_initial = self.is_empty();
        self.enter(ClassicState::PreparingRebalance, cx);
        info!(group = self.id, generation = self.generation, reason, "rebalance begins");
        if is_initial {
            let delay = cx.settings.initial_rebalance_delay;
            let remaining = self.members.rebalance_timeout().saturating_sub(delay);
            self.initial = Some(InitialDelay { has_new_member: false, delay, remaining });
            self.timers.set(Timer::Join, cx.now.monotonic + delay);
        } else if self.has_all_joined() {
            self.complete_join(cx);
        } else {
            let deadline = cx.now.monotonic + self.members.rebalance_timeout();
            self.timers.set(Timer::Join, deadline);
        }
    }

    /// Completes a rebalance that has everybody, unless it waits for more members than it knows.
    pub(super) fn maybe_complete_join(&mut self, cx: &mut Context<'_>) {
        let is_on = self.state == ClassicState::PreparingRebalance && self.initial.is_none();
        if is_on && self.has_all_joined() {
            self.complete_join(cx);
        }
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.members.len() == self.members.joined() && self.pending.is_empty()
    }

    /// The wait for members ends.
    pub(super) fn on_join_deadline(&mut self, cx: &mut Context<'_>) {
        if self.state != ClassicState::PreparingRebalance {
            return;
        }
        if let Some(initial) = &mut self.initial
            && initial.has_new_member
            && !initial.remaining.is_zero()
        {
            let next = cx.settings.initial_rebalance_delay.min(initial.remaining);
            initial.has_new_member = false;
            initial.remaining = initial.remaining.saturating_sub(initial.delay);
            initial.delay = next;
            self.timers.set(Timer::Join, cx.now.monotonic + next);
            return;
        }
        self.complete_join(cx);
    }

    /// Ends the wait with whoever has joined. Dynamic members that have not are removed; static ones keep their
    /// place until their session ends.
    pub(super) fn complete_join(&mut self, cx: &mut Context<'_>) {
        self.timers.cancel(&Timer::Join);
        self.initial = None;
        let late = |member: &&Member| member.join.is_none() && !member.is_static();
        let late: Vec<Str> = self.members.iter().filter(late).map(|m| m.id.clone()).collect();
        for id in &late {
            info!(group = self.id, member = %id, "member did not join in time");
            self.forget(id, cx.out);
        }
        if self.members.is_empty() {
            return self.become_empty(cx);
        }
        if !self.has_joined_leader() {
            // All are static and none has come: wait on, until their sessions end.
            let wait = self.members.rebalance_timeout().max(NOBODY_JOINED_WAIT_MIN);
            return self.timers.set(Timer::Join, cx.now.monotonic + wait);
        }
        self.begin_generation(cx);
    }

    /// Sees that a member leads that has joined, if one has, and best one whose client is still there.
    fn has_joined_leader(&mut self) -> bool {
        let leader = self.members.leader().and_then(|id| self.members.get(id));
        let candidates = || leader.into_iter().chain(self.members.iter());
        let is_there = |member: &&Member| member.join.is_some_and(|p| p.ticket.is_some());
        let next = candidates().find(is_there).or_else(|| candidates().find(|m| m.join.is_some()));
        let Some(id) = next.map(|member| member.id.clone()) else { return false };
        if !self.members.is_leader(&id) {
            info!(group = self.id, leader = %id, "leader did not join, another member leads");
            self.members.set_leader(id);
        }
        true
    }

    fn begin_generation(&mut self, cx: &mut Context<'_>) {
        self.generation = self.next_generation();
        self.protocol = self.members.choose_protocol();
        self.subscribed = self.read_subscriptions();
        self.enter(ClassicState::CompletingRebalance, cx);
        info!(
            group = self.id,
            generation = self.generation,
            members = self.members.len(),
            protocol = self.protocol.as_deref(),
            "generation has its members"
        );
        let ids = self.members.ids();
        for id in &ids {
            let is_leader = self.members.is_leader(id);
            if let Some(Parked { ticket: Some(ticket), version }) = self.members.take_join(id) {
                let answer = self.joined(id, version, is_leader);
                cx.out.answer(ticket, Response::JoinGroup(answer));
            }
            if let Some(member) = self.members.get_mut(id) {
                *member.is_new = false;
            }
            self.restart_session(id, cx);
        }
        self.pending_syncs = ids.into_iter().collect();
        let deadline = cx.now.monotonic + self.members.rebalance_timeout();
        self.timers.set(Timer::Sync, deadline);
    }

    fn become_empty(&mut self, cx: &mut Context<'_>) {
        self.generation = self.next_generation();
        self.protocol = None;
        self.pending_syncs.clear();
        self.subscribed = self.read_subscriptions();
        self.enter(ClassicState::Empty, cx);
        info!(group = self.id, generation = self.generation, "group is empty");
        // If nothing was ever stored of it, there is nothing to take back.
        if self.has_meta {
            self.store_generation(cx.out);
        }
    }

    /// Whoever waits for the leader is sent to join again.
    fn send_back_syncs(&mut self, cx: &mut Context<'_>) {
        for id in self.members.ids() {
            if let Some(member) = self.members.get_mut(&id) {
                *member.assignment = bytes::Bytes::new();
            }
            if self.answer_sync(&id, ErrorCode::RebalanceInProgress, cx.out) {
                self.restart_session(&id, cx);
            }
        }
    }

    /// What the consumers of this generation subscribe to.
    pub(super) fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.has_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.iter() {
            let chosen = self.protocol.as_ref()?;
            let spoken = member.protocols.iter().find(|one| &one.name == chosen)?;
            let Some(own) = protocols::subscribed_topics(&spoken.metadata) else {
                debug!(group = self.id, member = %member.id, "subscription is not readable");
                return None;
            };
            topics.extend(own);
        }
        Some(topics)
    }

    pub(super) fn next_generation(&self) -> i32 {
        self.generation.max(self.generation_seen).checked_add(1).unwrap_or(1)
    }

    pub(super) fn enter(&mut self, state: ClassicState, cx: &Context<'_>) {
        self.state = state;
        self.state_since_ms = cx.now.wall_ms;
    }
}

/// So that a group whose members allow no time at all does not look again without end.
const NOBODY_JOINED_WAIT_MIN: Duration = Duration::from_secs(1);
