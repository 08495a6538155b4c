//! What fetchers count, with the names that Kafka's figures have.

use ottla_protocol::types::BrokerId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::follower::{Follower, LaneKind};
use super::throttle::{Side, ThrottleFigures};
use crate::metrics::Metrics;

/// Figures of all fetchers of a broker; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ReplicationFigures {
    lag: Family<LaneLabel, Gauge>,
    followed: Family<LaneLabel, Gauge>,
    failed: Family<LaneLabel, Gauge>,
    requests: Family<LaneLabel, Counter>,
    bytes: Family<LaneLabel, Counter>,
    failures: Family<LaneLabel, Counter>,
    /// Of replicas that are slowed down.
    pub(super) throttle: ThrottleFigures,
    /// Tasks that ended though they should not have.
    pub(super) dead: Gauge,
}

/// Figures of one lane.
#[derive(Debug)]
pub(super) struct LaneFigures {
    label: LaneLabel,
    all: ReplicationFigures,
    pub requests: Counter,
    pub bytes: Counter,
    pub failures: Counter,
}

/// A leader, and one of the two lanes to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabel {
    leader: i32,
    lane: &'static str,
}

impl ReplicationFigures {
    /// Figures that `metrics` shows.
    pub fn register(metrics: &Metrics) -> Self {
        let figures = Self::default();
        metrics.register(|registry| {
            let manager = "kafka_server_replicafetchermanager";
            let stats = "kafka_server_fetcherstats";
            let help = "Records by which the last partition is behind its leader's high watermark";
            registry.register(format!("{manager}_maxlag"), help, figures.lag.clone());
            let help = "Partitions that are followed";
            registry.register(format!("{manager}_partitioncount"), help, figures.followed.clone());
            let help = "Partitions that are not fetched because their disk failed";
            let name = format!("{manager}_failedpartitionscount");
            registry.register(name, help, figures.failed.clone());
            let help = "Fetchers that ended though they should not have";
            registry.register(format!("{manager}_deadthreadcount"), help, figures.dead.clone());
            let help = "Fetches sent to leaders";
            registry.register(format!("{stats}_requests"), help, figures.requests.clone());
            let help = "Bytes of records fetched from leaders";
            registry.register(format!("{stats}_bytes"), help, figures.bytes.clone());
            let help = "Fetches that leaders did not answer";
            registry.register(format!("{stats}_failedrequests"), help, figures.failures.clone());
            figures.throttle.register(registry, Side::Follower);
        });
        figures
    }

    pub(super) fn of(&self, leader: BrokerId, kind: LaneKind) -> LaneFigures {
        let lane = match kind {
            LaneKind::InSync => "in-sync",
            LaneKind::CatchingUp => "catching-up",
        };
        let label = LaneLabel { leader: leader.0, lane };
        LaneFigures {
            requests: self.requests.get_or_create(&label).clone(),
            bytes: self.bytes.get_or_create(&label).clone(),
            failures: self.failures.get_or_create(&label).clone(),
            all: self.clone(),
            label,
        }
    }
}

impl LaneFigures {
    /// Shows how the lane stands.
    pub fn show(&self, lane: &Follower) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.all.lag.get_or_create(&self.label).set(lane.lag_max());
        self.all.failed.get_or_create(&self.label).set(count(lane.failed()));
        self.all.followed.get_or_create(&self.label).set(count(lane.len()));
    }
}

impl Drop for LaneFigures {
    /// What is followed no more has no lag. Counters stay, so that they only ever grow.
    fn drop(&mut self) {
        self.all.lag.remove(&self.label);
        self.all.followed.remove(&self.label);
        self.all.failed.remove(&self.label);
    }
}
