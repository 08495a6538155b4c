//! What happens when something does not come in time, and how members go.

use ottla_protocol::{ErrorCode, Str};
use tracing::info;

use super::members::Parked;
use super::timers::Timer;
use super::{ClassicGroup, ClassicState, join_error, sync_error};
use crate::group::{Context, Effects, Response};

impl ClassicGroup {
    /// Does all that is due at `cx.now`. To be called at [`next_deadline`](Self::next_deadline) or later.
    pub fn on_timer(&mut self, cx: &mut Context<'_>) {
        while let Some(timer) = self.timers.take_due(cx.now.monotonic) {
            match timer {
                Timer::Restored => self.on_restored(cx),
                Timer::Join => self.on_join_deadline(cx),
                Timer::Sync => self.on_sync_deadline(cx),
                Timer::Session(id) => self.on_session_end(&id, cx),
            }
        }
    }

    /// Clears away what an interrupted write left behind. And the limit may have been lowered while nobody had
    /// this group.
    fn on_restored(&mut self, cx: &mut Context<'_>) {
        self.delete_remains(cx.out);
        if self.state == ClassicState::Stable && cx.settings.size_max < self.members.len() {
            self.prepare_rebalance("group is larger than allowed", cx);
        }
    }

    /// Whoever joined a generation and never asked for its assignment is gone.
    fn on_sync_deadline(&mut self, cx: &mut Context<'_>) {
        let is_due = matches!(self.state, ClassicState::CompletingRebalance | ClassicState::Stable);
        if !is_due || self.pending_syncs.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            info!(group = self.id, member = %id, "member did not sync in time");
            self.forget(&id, cx.out);
        }
        self.prepare_rebalance("members did not sync", cx);
    }

    fn on_session_end(&mut self, id: &Str, cx: &mut Context<'_>) {
        if self.pending.remove(id) {
            info!(group = self.id, member = %id, "member did not come back with its id");
            self.maybe_complete_join(cx);
        } else if self.members.get(id).is_some_and(|member| !member.may_be_silent()) {
            info!(group = self.id, member = %id, "session ended");
            self.remove_and_go_on(id, "session ended", cx);
        }
    }

    /// Removes a member and lets the others go on without it.
    pub(super) fn remove_and_go_on(
        &mut self,
        id: &Str,
        reason: &'static str,
        cx: &mut Context<'_>,
    ) {
        self.forget(id, cx.out);
        match self.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => {
                self.prepare_rebalance(reason, cx);
            }
            ClassicState::PreparingRebalance => self.maybe_complete_join(cx),
            ClassicState::Empty => {}
        }
    }

    /// Takes a member out; whatever it waits for is answered with UNKNOWN_MEMBER_ID, so that a client which
    /// lives still joins anew.
    pub(super) fn forget(&mut self, id: &Str, out: &mut Effects) {
        self.timers.cancel_session(id);
        self.pending_syncs.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(Parked { ticket: Some(ticket), version }) = member.join {
            let answer = join_error("", ErrorCode::UnknownMemberId, version);
            out.answer_now(ticket, Response::JoinGroup(answer));
        }
        if let Some(Parked { ticket: Some(ticket), .. }) = member.sync {
            out.answer_now(ticket, Response::SyncGroup(sync_error(ErrorCode::UnknownMemberId)));
        }
    }

    /// The member was heard of, or may not have been able to speak until now.
    pub(super) fn restart_session(&mut self, id: &str, cx: &Context<'_>) {
        if let Some(member) = self.members.get(id) {
            let deadline = cx.now.monotonic + member.session_timeout;
            self.timers.set(Timer::Session(member.id.clone()), deadline);
        }
    }

    /// Answers the SyncGroup of a member that waits; false if none does.
    pub(super) fn answer_sync(&mut self, id: &str, error: ErrorCode, out: &mut Effects) -> bool {
        let Some(member) = self.members.get_mut(id) else { return false };
        let Some(parked) = member.sync.take() else { return false };
        let Some(ticket) = parked.ticket else { return false };
        let answer = if error == ErrorCode::None { self.synced(id) } else { sync_error(error) };
        out.answer(ticket, Response::SyncGroup(answer));
        true
    }

    /// Answers all that a member waits for.
    pub(super) fn answer_parked(&mut self, id: &str, error: ErrorCode, out: &mut Effects) {
        if let Some(Parked { ticket: Some(ticket), version }) = self.members.take_join(id) {
            out.answer(ticket, Response::JoinGroup(join_error(id, error, version)));
        }
        self.answer_sync(id, error, out);
    }

    /// Answers everybody who waits with `error`, and wants nothing any more: the group ends here.
    pub fn release(&mut self, error: ErrorCode, out: &mut Effects) {
        for id in self.members.ids() {
            if let Some(Parked { ticket: Some(ticket), version }) = self.members.take_join(&id) {
                out.answer_now(ticket, Response::JoinGroup(join_error(&id, error, version)));
            }
            let sync = self.members.get_mut(&id).and_then(|member| member.sync.take());
            if let Some(Parked { ticket: Some(ticket), .. }) = sync {
                out.answer_now(ticket, Response::SyncGroup(sync_error(error)));
            }
        }
        self.timers.clear();
    }
}
