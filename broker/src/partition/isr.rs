//! Who is in sync with a leader: what is agreed on, what is proposed, and how far everybody has come.

use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};

use super::replica::Assignment;

/// The in-sync replicas as their leader sees them in one leader epoch. Does no IO; monotonic time is an
/// argument.
///
/// *Committed* is what the controller wrote last, as far as known: `min.insync.replicas` is judged by it.
/// Everybody who *may* be in sync (committed, or named by a proposal that is not resolved) holds the high
/// watermark back. So does who left by an answer that is ahead of the image: the controller may have judged by
/// a higher `min.insync.replicas` than is known here, and keep such a member eligible.
///
/// | state of a proposal | what ends it |
/// |---|---|
/// | in flight, one at a time | an answer, or metadata with a higher partition epoch |
/// | in doubt: refused after an earlier copy of it was lost on the way | a higher partition epoch alone |
///
/// A copy that was lost may still be carried out as long as the partition epoch that it names is the
/// present one. To get rid of one that is in doubt the leader proposes what is committed already: the
/// controller writes it, and the epoch is a higher one.
#[derive(Debug, Default)]
pub struct Isr {
    own: BrokerId,
    leader_epoch: LeaderEpoch,
    partition_epoch: i64,
    /// The leader included.
    committed: Vec<BrokerId>,
    /// All other replicas.
    followers: Vec<Follower>,
    eligible: Vec<(BrokerId, i64)>,
    in_flight: Option<InFlight>,
    /// Members of proposals in doubt, which were made in the present partition epoch.
    in_doubt: Vec<BrokerId>,
    /// Who left by answers that the image has yet to reach.
    leaving: Vec<BrokerId>,
    is_recovering: bool,
    proposals: u64,
    /// No new proposal is made before.
    paused_until: Duration,
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    isr: Vec<BrokerId>,
}

/// What a leader knows of one follower, from its fetches in this leader epoch.
#[derive(Debug, Clone, Copy)]
struct Follower {
    broker: BrokerId,
    /// The life that fetched, [`NO_EPOCH`] before the first fetch.
    broker_epoch: i64,
    /// It has everything below; `Offset::NONE` before the first fetch.
    end: Offset,
    log_start: Offset,
    /// When it last had everything that the leader had.
    caught_up_at: Duration,
    /// Its last fetch, and the leader's end then.
    fetched_at: Duration,
    leader_end: Offset,
    /// It was proposed to go, and has not come further since.
    has_stalled: bool,
}

/// What a fetch says of a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerProgress {
    /// Who.
    pub broker: BrokerId,
    /// In which life.
    pub broker_epoch: i64,
    /// It has the leader's records below this offset, for good.
    pub end: Offset,
    /// Where its log starts.
    pub log_start: Offset,
}

/// What a fetch tells that was not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct News {
    /// The follower has more, or is in another life.
    pub has_progress: bool,
    /// Its log starts elsewhere.
    pub has_start: bool,
}

/// A follower, for those who choose or count replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerView {
    /// Who.
    pub broker: BrokerId,
    /// Its end, `Offset::NONE` if it has not fetched yet.
    pub end: Offset,
    /// Its start, `Offset::NONE` if it has not fetched yet.
    pub log_start: Offset,
    /// Whether it is in the in-sync set that is agreed on.
    pub is_in_sync: bool,
}

/// The leader's own log, where followers are measured by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderMarks {
    /// The high watermark.
    pub high_watermark: Offset,
    /// Where the leader's epoch began.
    pub epoch_start: Offset,
    /// The log's end.
    pub log_end: Offset,
}

/// A change of the in-sync set for the controller to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Counts the proposals of this replica.
    pub id: u64,
    /// The epoch that this broker leads in.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that it replaces.
    pub partition_epoch: i64,
    /// Who is to be in sync, each in the life that is (−1: whichever the controller knows).
    pub isr: Vec<(BrokerId, i64)>,
    /// How many come.
    pub joining: u64,
    /// How many go.
    pub leaving: u64,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// The controller wrote it.
    Accepted {
        /// The leader's epoch now.
        leader_epoch: LeaderEpoch,
        /// Who is in sync now.
        isr: Vec<BrokerId>,
        /// The low 31 bits of the partition epoch now.
        partition_epoch: i32,
        /// The leader has yet to answer for its log.
        is_recovering: bool,
    },
    /// The controller will not write the copy that it judged.
    Refused {
        /// Why.
        error: ErrorCode,
        /// An earlier copy got no answer, so it may be written yet.
        is_in_doubt: bool,
    },
}

/// Before a broker's first claim, and of those who do not say.
const NO_EPOCH: i64 = -1;

/// After a refusal the leader waits for its metadata to show why.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

impl Isr {
    /// A new leader epoch begins: everybody has to show anew how far it has come, and has the whole time
    /// for it.
    pub fn begin(own: BrokerId, assignment: &Assignment, now: Duration) -> Self {
        let mut isr = Self { own, ..Self::default() };
        isr.leader_epoch = assignment.leader_epoch;
        isr.partition_epoch = assignment.partition_epoch;
        isr.adopt(assignment, now);
        isr
    }

    /// The metadata changed within the leader epoch.
    pub fn update(&mut self, assignment: &Assignment, now: Duration) {
        if assignment.partition_epoch <= self.partition_epoch {
            // An answer of the controller was faster than the image; brokers may have changed all the same.
            self.eligible.clone_from(&assignment.eligible);
            if assignment.partition_epoch == self.partition_epoch {
                self.leaving = Vec::new();
            }
            return;
        }
        // Whatever was proposed compares with an epoch that is past.
        self.partition_epoch = assignment.partition_epoch;
        self.in_flight = None;
        self.in_doubt = Vec::new();
        self.leaving = Vec::new();
        self.paused_until = now;
        let before = std::mem::take(&mut self.committed);
        self.adopt(assignment, now);
        for follower in &mut self.followers {
            let was = before.contains(&follower.broker);
            match (was, self.committed.contains(&follower.broker)) {
                // The controller put it out, for a reason that its former fetches do not know of.
                (true, false) => *follower = Follower::new(follower.broker, now),
                (false, true) => follower.caught_up_at = now,
                _ => {}
            }
        }
    }

    fn adopt(&mut self, assignment: &Assignment, now: Duration) {
        self.committed.clone_from(&assignment.in_sync);
        self.eligible.clone_from(&assignment.eligible);
        self.is_recovering = assignment.is_recovering;
        let others = assignment.replicas.iter().filter(|broker| **broker != self.own);
        let known = std::mem::take(&mut self.followers);
        self.followers = others
            .map(|broker| {
                let found = known.iter().find(|follower| follower.broker == *broker);
                found.copied().unwrap_or_else(|| Follower::new(*broker, now))
            })
            .collect();
    }

    /// A follower fetched; `leader_end` is the end of the leader's log.
    ///
    /// Fetches can overtake each other, so within a life the end only grows. What came from a former life
    /// counts no more: its disk may have lost what it had.
    pub fn observe(
        &mut self,
        progress: FollowerProgress,
        leader_end: Offset,
        now: Duration,
    ) -> News {
        let Some(follower) =
            self.followers.iter_mut().find(|follower| follower.broker == progress.broker)
        else {
            return News::default();
        };
        if progress.broker_epoch < follower.broker_epoch || progress.broker_epoch == NO_EPOCH {
            return News::default();
        }
        let before = *follower;
        if follower.broker_epoch < progress.broker_epoch {
            let caught_up_at = follower.caught_up_at;
            *follower = Follower { caught_up_at, ..Follower::new(progress.broker, now) };
            follower.broker_epoch = progress.broker_epoch;
        }
        follower.end = follower.end.max(progress.end);
        follower.log_start = follower.log_start.max(progress.log_start);
        if leader_end <= follower.end {
            follower.caught_up_at = now;
        } else if follower.leader_end != Offset::NONE && follower.leader_end <= follower.end {
            follower.caught_up_at = follower.caught_up_at.max(follower.fetched_at);
        }
        (follower.fetched_at, follower.leader_end) = (now, leader_end);
        follower.has_stalled = false;
        let is_reborn = before.broker_epoch != follower.broker_epoch;
        News {
            has_progress: is_reborn || before.end != follower.end,
            has_start: before.log_start != follower.log_start,
        }
    }

    /// The leader's log grew beyond `former_end`. Who had everything until now begins to lag now, however
    /// long ago it last had a reason to say so.
    pub fn note_append(&mut self, former_end: Offset, now: Duration) {
        for follower in &mut self.followers {
            if former_end <= follower.end {
                follower.caught_up_at = now;
            }
        }
    }

    /// This broker stood still: how long its followers did as well, nobody knows.
    pub fn restart_clocks(&mut self, now: Duration) {
        for follower in &mut self.followers {
            follower.caught_up_at = now;
        }
    }

    /// The end that everybody has who may be in sync; `own_end` is the leader's.
    pub fn reached(&self, own_end: Offset) -> Offset {
        self.members()
            .filter(|broker| *broker != self.own)
            .fold(own_end, |end, broker| end.min(self.end_of(broker)))
    }

    /// True if fewer replicas are agreed to be in sync than `min`, or than there are replicas.
    pub fn is_under_min(&self, min: usize) -> bool {
        let others = self.committed.iter().filter(|broker| **broker != self.own).count();
        others + 1 < min.min(self.followers.len() + 1)
    }

    /// True if there is, or may be, something to propose as time goes by.
    pub fn needs_scan(&self) -> bool {
        !self.followers.is_empty() || self.is_recovering
    }

    /// The partition epoch that is known, by the image or by an answer.
    pub const fn partition_epoch(&self) -> i64 {
        self.partition_epoch
    }

    /// All followers.
    pub fn followers(&self) -> Box<[FollowerView]> {
        let view = |follower: &Follower| FollowerView {
            broker: follower.broker,
            end: follower.end,
            log_start: follower.log_start,
            is_in_sync: self.committed.contains(&follower.broker),
        };
        self.followers.iter().map(view).collect()
    }

    /// Proposes to take in whoever has caught up, if there is anybody, or what an election left to say.
    pub fn propose_expansion(&mut self, marks: LeaderMarks, now: Duration) -> Option<Proposal> {
        self.propose(marks, None, now)
    }

    /// As [`Isr::propose_expansion`], and to put out who has not had everything for `lag_max`.
    pub fn propose_any(
        &mut self,
        marks: LeaderMarks,
        lag_max: Duration,
        now: Duration,
    ) -> Option<Proposal> {
        self.propose(marks, Some(lag_max), now)
    }

    fn propose(
        &mut self,
        marks: LeaderMarks,
        lag_max: Option<Duration>,
        now: Duration,
    ) -> Option<Proposal> {
        if self.in_flight.is_some() || now < self.paused_until {
            return None;
        }
        let lags = |follower: &Follower| {
            let silent = now.saturating_sub(follower.caught_up_at);
            follower.end < marks.log_end && lag_max.is_some_and(|max| max < silent)
        };
        let mut isr = Vec::with_capacity(self.followers.len() + 1);
        isr.push((self.own, NO_EPOCH));
        let (mut joining, mut leaving) = (0, 0);
        for follower in &self.followers {
            if self.committed.contains(&follower.broker) {
                if lags(follower) {
                    leaving += 1;
                } else {
                    isr.push((follower.broker, self.seat_epoch(follower)));
                }
            } else if self.may_join(follower, marks) {
                joining += 1;
                isr.push((follower.broker, follower.broker_epoch));
            }
        }
        let has_doubts = lag_max.is_some() && !self.in_doubt.is_empty();
        if joining + leaving == 0 && !self.is_recovering && !has_doubts {
            return None;
        }
        Some(self.send(isr, (joining, leaving)))
    }

    fn send(&mut self, isr: Vec<(BrokerId, i64)>, (joining, leaving): (u64, u64)) -> Proposal {
        self.proposals += 1;
        let id = self.proposals;
        self.in_flight =
            Some(InFlight { id, isr: isr.iter().map(|(broker, _)| *broker).collect() });
        for follower in &mut self.followers {
            let stays = isr.iter().any(|(broker, _)| *broker == follower.broker);
            follower.has_stalled |= !stays && self.committed.contains(&follower.broker);
        }
        let (leader_epoch, partition_epoch) = (self.leader_epoch, self.partition_epoch);
        Proposal { id, leader_epoch, partition_epoch, isr, joining, leaving }
    }

    /// Caught up, beyond what a former leader may have left, and known to be alive in the life that fetched.
    /// The high watermark stood still for whoever was put out, so to be there is to have caught up only after
    /// another fetch.
    fn may_join(&self, follower: &Follower, marks: LeaderMarks) -> bool {
        !follower.has_stalled
            && marks.high_watermark <= follower.end
            && marks.epoch_start <= follower.end
            && self.eligible.contains(&(follower.broker, follower.broker_epoch))
    }

    /// A seat that the controller gave is kept in whichever life it left it to.
    fn seat_epoch(&self, follower: &Follower) -> i64 {
        let known = self.eligible.iter().find(|(broker, _)| *broker == follower.broker);
        known.map_or(NO_EPOCH, |(_, epoch)| *epoch)
    }

    /// The controller answered proposal `id`. May return a proposal that makes an earlier one void.
    pub fn resolve(
        &mut self,
        id: u64,
        outcome: ProposalOutcome,
        now: Duration,
    ) -> Option<Proposal> {
        // What was ended by newer metadata is not listened to any more.
        let in_flight = self.in_flight.take_if(|in_flight| in_flight.id == id)?;
        match outcome {
            ProposalOutcome::Accepted { leader_epoch, isr, partition_epoch, is_recovering } => {
                let epoch = full_partition_epoch(self.partition_epoch, partition_epoch);
                if leader_epoch != self.leader_epoch {
                    // Somebody else leads now, and the metadata will say so.
                    self.doubt(in_flight.isr);
                } else if self.partition_epoch < epoch {
                    self.partition_epoch = epoch;
                    let before = std::mem::replace(&mut self.committed, isr);
                    for follower in &mut self.followers {
                        let broker = follower.broker;
                        if self.committed.contains(&broker) && !before.contains(&broker) {
                            follower.caught_up_at = now;
                        }
                    }
                    let gone = before.into_iter().filter(|id| !self.committed.contains(id));
                    self.leaving.extend(gone);
                    self.in_doubt = Vec::new();
                    self.is_recovering = is_recovering;
                }
                None
            }
            ProposalOutcome::Refused { error, is_in_doubt } => {
                self.paused_until = now.saturating_add(REFUSAL_PAUSE);
                // Written it was, and ended this leadership: who it took in is in sync for whoever is next.
                let is_written = error == ErrorCode::NewLeaderElected;
                if !is_in_doubt && !is_written {
                    return None;
                }
                self.doubt(in_flight.isr);
                // The epoch was the present one, so nothing newer will come by itself.
                let stands =
                    matches!(error, ErrorCode::IneligibleReplica | ErrorCode::InvalidRequest);
                stands.then(|| {
                    let isr = self.committed.iter().map(|broker| (*broker, NO_EPOCH)).collect();
                    self.send(isr, (0, 0))
                })
            }
        }
    }

    fn doubt(&mut self, isr: Vec<BrokerId>) {
        for broker in isr {
            if !self.in_doubt.contains(&broker) {
                self.in_doubt.push(broker);
            }
        }
    }

    /// Everybody who may be in sync; some twice.
    fn members(&self) -> impl Iterator<Item = BrokerId> {
        let in_flight = self.in_flight.iter().flat_map(|in_flight| &in_flight.isr);
        let named = self.committed.iter().chain(in_flight);
        named.chain(&self.in_doubt).chain(&self.leaving).copied()
    }

    fn end_of(&self, broker: BrokerId) -> Offset {
        let found = self.followers.iter().find(|follower| follower.broker == broker);
        found.map_or(Offset::NONE, |follower| follower.end)
    }
}

impl Follower {
    const fn new(broker: BrokerId, now: Duration) -> Self {
        Self {
            broker,
            broker_epoch: NO_EPOCH,
            end: Offset::NONE,
            log_start: Offset::NONE,
            caught_up_at: now,
            fetched_at: now,
            leader_end: Offset::NONE,
            has_stalled: false,
        }
    }
}

/// The partition epoch at or after `known` whose low 31 bits are `wire`: that many changes cannot lie
/// between a proposal and its answer.
fn full_partition_epoch(known: i64, wire: i32) -> i64 {
    let mask = i64::from(i32::MAX);
    known + ((i64::from(wire) - known) & mask)
}

#[cfg(test)]
#[path = "isr/tests.rs"]
mod tests;
