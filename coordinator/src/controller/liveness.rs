//! Which brokers are alive: judged from their claims (leases in the store), their heartbeats (over the
//! inter-node link), and what became of their connections.
//!
//! | claim | record | heard | verdict |
//! |---|---|---|---|
//! | new epoch, same process | any | any | take the epoch over: fenced or not as it was |
//! | new epoch, same process | unfenced | its process is gone: the claim was under way | fence at once |
//! | new epoch | any | no | register, fenced |
//! | new epoch | any | yes, image at the claim | register, unfenced |
//! | same epoch | fenced | yes, since it was fenced, image at the record | unfence |
//! | any | unfenced | connection broke, reconnect refused: the process is gone | fence at once |
//! | gone | unfenced, draining | any | fence at once: it stopped as it said it would |
//! | gone | unfenced | two heartbeats missed | fence, unless so many lapse together that the cause must be elsewhere: then probe first |
//! | gone | unfenced | yes | fence after a grace time: it cannot renew its lease, so its image is stale; never more than half of all, since who is left could not take over |
//! | same epoch | unfenced | no | nothing: it reaches the store, only this node does not hear it |
//!
//! This struct keeps what the store does not know (who was heard when) and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_protocol::Uuid;
use ottla_protocol::time::Now;

use super::reclaim::claim_of_same_process;
use super::store_clock::StoreClock;

/// Times of liveness. All nodes should agree on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How often a broker sends a heartbeat; 1 s by default.
    pub heartbeat_interval: Duration,
    /// `broker.session.timeout.ms`: how long a claim outlives its broker; 3 s by default.
    pub session_timeout: Duration,
}

impl Settings {
    /// How long a broker without a claim is kept while it is heard.
    fn grace(&self) -> Duration {
        2 * self.session_timeout
    }

    /// How long a broker may be silent.
    fn silence_max(&self) -> Duration {
        2 * self.heartbeat_interval
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { heartbeat_interval: Duration::from_secs(1), session_timeout: Duration::from_secs(3) }
    }
}

/// A heartbeat, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who sent it.
    pub broker: i32,
    /// The life that sent it: the create revision of its claim.
    pub broker_epoch: i64,
    /// How far its image of the cluster is.
    pub image_revision: i64,
    /// It wants to stop, and asks to hand over what it leads.
    pub wants_shutdown: bool,
    /// Log directories that failed.
    pub offline_log_dirs: Vec<Uuid>,
}

/// What came of connecting to a broker's inter-broker port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Nobody listens there: the process is gone.
    Refused,
    /// Somebody answered.
    Alive,
    /// Nothing came back in time.
    Silent,
}

/// Why a broker is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceReason {
    /// Its process is gone.
    ProcessGone,
    /// It drained and gave up its claim.
    Stopped,
    /// Its lease ended and it was silent.
    Lapsed,
    /// Its lease ended, and although it is heard it did not claim again.
    StaleImage,
}

/// What shall be done about one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A claim was made that no record stands for.
    Register {
        /// Whose.
        broker: i32,
        /// Whether it was heard already, so that it need not be fenced first.
        heard: bool,
    },
    /// The process that the record stands for claimed anew: nothing but its epoch changes.
    Reclaim {
        /// Who.
        broker: i32,
    },
    /// Fence it.
    Fence {
        /// Whom.
        broker: i32,
        /// Why.
        reason: FenceReason,
    },
    /// It is back, in the same life.
    Unfence {
        /// Who.
        broker: i32,
    },
    /// It wants to stop.
    Drain {
        /// Who.
        broker: i32,
    },
    /// The set of its failed log directories changed.
    LogDirs {
        /// Whose.
        broker: i32,
        /// All that failed.
        offline: Vec<Uuid>,
    },
}

/// What is known about a broker beside the store.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// The last heartbeat since the broker was fenced or this node began to look.
    heartbeat: Option<Heartbeat>,
    /// When it came, or when this node began to look; store-healthy time.
    heard_at: Duration,
    /// Since when the claim is gone; store-healthy time.
    claim_gone_at: Option<Duration>,
    /// The life whose process is gone.
    gone_epoch: Option<i64>,
    /// The revision that the broker's image must have reached before it is unfenced; `None` if this node did
    /// not write its record, so that only the record itself tells.
    image_revision_min: Option<i64>,
    /// When it was probed last.
    probed_at: Option<Duration>,
    /// Probes without any answer, in a row.
    silent_probes: u32,
}

/// The judge of who is alive; one per term of the active coordinator.
#[derive(Debug)]
pub struct Liveness {
    settings: Settings,
    clock: StoreClock,
    seen: BTreeMap<i32, Seen>,
    /// When brokers were fenced because they lost their claims; store-healthy time, the last TTL only.
    lapsed_at: Vec<Duration>,
}

/// What [`Liveness::judge`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What to write, in the order of broker ids.
    pub verdicts: Vec<Verdict>,
    /// Brokers to connect to, to tell a cut network from dead processes.
    pub probe: Vec<i32>,
    /// Fencing waits for the probes: more than half of the brokers lapsed together.
    pub paused: bool,
}

impl Liveness {
    /// Nobody was heard yet. Brokers get their full time from the first look on.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            clock: StoreClock::new(settings.heartbeat_interval),
            seen: BTreeMap::new(),
            lapsed_at: Vec::new(),
        }
    }

    /// A heartbeat came in.
    pub fn handle_heartbeat(&mut self, heartbeat: Heartbeat, now: Now) {
        let heard_at = self.clock.advance(now.monotonic);
        let seen = self.seen.entry(heartbeat.broker).or_default();
        let known = seen.heartbeat.as_ref().map_or(i64::MIN, |known| known.broker_epoch);
        if heartbeat.broker_epoch < known {
            return; // a former life, delayed
        }
        seen.heard_at = heard_at;
        seen.gone_epoch = None;
        seen.probed_at = None;
        seen.silent_probes = 0;
        seen.heartbeat = Some(heartbeat);
    }

    /// A connection to `broker` was tried.
    pub fn handle_probe(&mut self, broker: i32, broker_epoch: i64, probe: Probe, now: Now) {
        self.clock.advance(now.monotonic);
        let seen = self.seen.entry(broker).or_default();
        match probe {
            Probe::Refused => seen.gone_epoch = Some(broker_epoch),
            Probe::Alive => seen.silent_probes = 0,
            Probe::Silent => seen.silent_probes += 1,
        }
    }

    /// The store can be written, or can no longer.
    pub fn handle_store(&mut self, healthy: bool, now: Now) {
        self.clock.set_healthy(healthy, now.monotonic);
    }

    /// A verdict was written as `revision`; the next one needs new evidence.
    pub fn handle_written(&mut self, verdict: &Verdict, revision: i64) {
        let lapsed_at = self.clock.elapsed();
        match verdict {
            Verdict::Fence { broker, reason } => {
                let seen = self.seen.entry(*broker).or_default();
                seen.heartbeat = None;
                seen.image_revision_min = Some(revision);
                seen.probed_at = None;
                seen.silent_probes = 0;
                if matches!(reason, FenceReason::Lapsed | FenceReason::StaleImage) {
                    self.lapsed_at.push(lapsed_at);
                }
            }
            Verdict::Register { broker, .. } => {
                self.seen.entry(*broker).or_default().image_revision_min = Some(0);
            }
            Verdict::Reclaim { .. }
            | Verdict::Unfence { .. }
            | Verdict::Drain { .. }
            | Verdict::LogDirs { .. } => {}
        }
    }

    /// A broker was forgotten on purpose. If it lives, it says so from now on.
    pub fn handle_forgotten(&mut self, broker: i32) {
        if let Some(seen) = self.seen.get_mut(&broker) {
            seen.heartbeat = None;
        }
    }

    /// Judges every broker that the image knows. Changes nothing but this node's own bookkeeping, so it
    /// may be called as often as one likes.
    pub fn judge(&mut self, image: &Image, now: Now) -> Judgement {
        let at = self.clock.advance(now.monotonic);
        let mut ids: Vec<i32> = image.claims().map(|(id, _)| id).collect();
        ids.extend(image.brokers().map(|(id, _)| id));
        ids.sort_unstable();
        ids.dedup();
        // A heartbeat may overtake the claim that it belongs to.
        let keep = self.settings.session_timeout;
        self.seen.retain(|id, seen| {
            ids.binary_search(id).is_ok() || at.saturating_sub(seen.heard_at) < keep
        });
        let mut judgement = Judgement::default();
        let (mut lapsed, mut stale) = (Vec::new(), Vec::new());
        for broker in ids {
            let first_look = || Seen { heard_at: at, ..Seen::default() };
            let seen = self.seen.entry(broker).or_insert_with(first_look);
            match judge_broker(broker, image, seen, (at, &self.settings)) {
                Finding::Verdicts(verdicts) => judgement.verdicts.extend(verdicts),
                Finding::Lapsed => lapsed.push(broker),
                Finding::Stale => stale.push(broker),
            }
        }
        self.judge_lapsed(lapsed, image, at, &mut judgement);
        self.judge_stale(stale, image, at, &mut judgement);
        judgement
    }

    /// Brokers that were not heard for the time that a claim outlives its broker, as far as brokers have been
    /// judged: whatever else they reach, this node they do not.
    pub fn silent(&self) -> BTreeSet<i32> {
        let at = self.clock.elapsed();
        let is_silent =
            |seen: &Seen| self.settings.session_timeout < at.saturating_sub(seen.heard_at);
        self.seen.iter().filter(|(_, seen)| is_silent(seen)).map(|(id, _)| *id).collect()
    }

    /// Fences those whose images are stale, unless more than half of all have no claim: then nobody would
    /// be left to lead, and the cause is a store that they do not reach. Their grace time begins when it
    /// serves the others again.
    fn judge_stale(
        &mut self,
        stale: Vec<i32>,
        image: &Image,
        at: Duration,
        judgement: &mut Judgement,
    ) {
        let unfenced = image.brokers().filter(|(_, record)| !record.fenced);
        let (claimed, unclaimed): (Vec<i32>, Vec<i32>) =
            unfenced.map(|(id, _)| id).partition(|id| image.claim(*id).is_some());
        if claimed.len() < unclaimed.len() + self.lapsed_at.len() {
            for broker in unclaimed {
                if let Some(seen) = self.seen.get_mut(&broker) {
                    seen.claim_gone_at = Some(at);
                }
            }
            return;
        }
        let fence = |broker| Verdict::Fence { broker, reason: FenceReason::StaleImage };
        judgement.verdicts.extend(stale.into_iter().map(fence));
    }

    /// Fences those who lapsed, unless they are more than half of all: then the cause may be a cut between
    /// the brokers and the store, and each is probed first.
    fn judge_lapsed(
        &mut self,
        lapsed: Vec<i32>,
        image: &Image,
        at: Duration,
        judgement: &mut Judgement,
    ) {
        let window = self.settings.session_timeout;
        self.lapsed_at.retain(|lapsed_at| at.saturating_sub(*lapsed_at) < window);
        let unfenced = image.brokers().filter(|(_, record)| !record.fenced).count();
        let recent = self.lapsed_at.len();
        judgement.paused = unfenced + recent < 2 * (lapsed.len() + recent);
        for broker in lapsed {
            let fence = Verdict::Fence { broker, reason: FenceReason::Lapsed };
            let Some(seen) = self.seen.get_mut(&broker) else { continue };
            // Who is probed already is judged by the probes, however few still lapse.
            let is_judged = (!judgement.paused && seen.probed_at.is_none())
                || SILENT_PROBES_MAX <= seen.silent_probes;
            if is_judged {
                judgement.verdicts.push(fence);
            } else if seen.probed_at.is_none_or(|probed| window <= at.saturating_sub(probed)) {
                seen.probed_at = Some(at);
                judgement.probe.push(broker);
            }
        }
    }
}

/// What one broker's evidence says.
enum Finding {
    Verdicts(Vec<Verdict>),
    /// Without a claim, and silent.
    Lapsed,
    /// Without a claim for the grace time, and heard.
    Stale,
}

fn judge_broker(
    broker: i32,
    image: &Image,
    seen: &mut Seen,
    (at, settings): (Duration, &Settings),
) -> Finding {
    let claim = image.claim(broker);
    match claim {
        Some(_) => {
            seen.claim_gone_at = None;
            seen.probed_at = None;
            seen.silent_probes = 0;
        }
        None => seen.claim_gone_at = Some(seen.claim_gone_at.unwrap_or(at)),
    }
    let claimed_epoch = claim.map(|claim| claim.create_revision);
    let record = image.broker(broker);
    if let Some(epoch) = claimed_epoch
        && record.is_none_or(|record| record.broker_epoch != epoch)
    {
        return judge_new_claim(broker, image, seen, epoch);
    }
    let Some(record) = record else { return Finding::Verdicts(Vec::new()) };
    let heartbeat = heard_from(seen, record.broker_epoch);
    if record.fenced {
        let image_revision_min =
            seen.image_revision_min.map_or(record.mod_revision, |min| min.max(record.broker_epoch));
        let is_back = claimed_epoch.is_some()
            && unsupported_features(image, broker).is_empty()
            && heartbeat.is_some_and(|heard| image_revision_min <= heard.image_revision);
        let verdict = is_back.then_some(Verdict::Unfence { broker });
        return Finding::Verdicts(verdict.into_iter().collect());
    }
    let fence = |reason| Finding::Verdicts(vec![Verdict::Fence { broker, reason }]);
    if seen.gone_epoch == Some(record.broker_epoch) {
        return fence(FenceReason::ProcessGone);
    }
    if let Some(gone_at) = seen.claim_gone_at {
        if record.draining {
            return fence(FenceReason::Stopped);
        }
        if settings.silence_max() <= at.saturating_sub(seen.heard_at) {
            return Finding::Lapsed;
        }
        if settings.grace() <= at.saturating_sub(gone_at) {
            return Finding::Stale;
        }
    }
    let mut verdicts = Vec::new();
    if let Some(heartbeat) = heartbeat {
        if heartbeat.wants_shutdown && !record.draining {
            verdicts.push(Verdict::Drain { broker });
        }
        if heartbeat.offline_log_dirs != record.offline_log_dirs {
            let offline = heartbeat.offline_log_dirs.clone();
            verdicts.push(Verdict::LogDirs { broker, offline });
        }
    }
    Finding::Verdicts(verdicts)
}

/// A claim that the record does not stand for.
fn judge_new_claim(broker: i32, image: &Image, seen: &Seen, epoch: i64) -> Finding {
    let record = image.broker(broker).filter(|_| claim_of_same_process(image, broker).is_some());
    if let Some(record) = record {
        let is_gone = seen.gone_epoch.is_some_and(|gone| record.broker_epoch <= gone);
        if is_gone && !record.fenced {
            let reason = FenceReason::ProcessGone;
            return Finding::Verdicts(vec![Verdict::Fence { broker, reason }]);
        }
        return Finding::Verdicts(vec![Verdict::Reclaim { broker }]);
    }
    // Who has no record was never heard of, or was forgotten on purpose: a claim that merely has yet to end
    // does not bring it back.
    if image.broker(broker).is_none() && heard_from(seen, epoch).is_none() {
        return Finding::Verdicts(Vec::new());
    }
    let heard = unsupported_features(image, broker).is_empty()
        && heard_from(seen, epoch).is_some_and(|heartbeat| epoch <= heartbeat.image_revision);
    Finding::Verdicts(vec![Verdict::Register { broker, heard }])
}

/// The finalised features whose level is outside the range that the broker's claim names; such a broker
/// stays fenced. A feature that the claim does not name is none that the broker's version knows to break.
pub fn unsupported_features(image: &Image, broker: i32) -> Vec<String> {
    let (Some(cluster), Some(claim)) = (image.cluster(), image.claim(broker)) else {
        return Vec::new();
    };
    let outside = |(name, level): &(&String, &i16)| {
        claim.features.get(*name).is_some_and(|range| *level < &range.min || &range.max < *level)
    };
    let named = |(name, level)| format!("{name} {level}");
    cluster.features.iter().filter(outside).map(named).collect()
}

/// The last heartbeat, if it came from the life `epoch` and that life's process is not known to be gone.
fn heard_from(seen: &Seen, epoch: i64) -> Option<&Heartbeat> {
    let heartbeat = seen.heartbeat.as_ref()?;
    let same_life = heartbeat.broker_epoch == epoch && seen.gone_epoch != Some(epoch);
    same_life.then_some(heartbeat)
}

/// Unanswered probes in a row after which a silent broker is fenced although many lapsed together.
const SILENT_PROBES_MAX: u32 = 2;

#[cfg(test)]
mod tests;
