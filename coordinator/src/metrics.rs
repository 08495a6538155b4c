//! What the coordinator counts, under Prometheus names that mirror Kafka's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_metadata::image::Image;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::controller::election::Election;
use crate::controller::liveness::FenceReason;
use crate::maintenance::StoreGauges;

/// Every metric of the process, with the registry that shows them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    pub(crate) active: Gauge,
    pub(crate) brokers: Gauge,
    pub(crate) fenced_brokers: Gauge,
    pub(crate) topics: Gauge,
    pub(crate) partitions: Gauge,
    pub(crate) offline_partitions: Gauge,
    pub(crate) under_replicated_partitions: Gauge,
    elections: Family<ElectionLabels, Counter>,
    fenced: Family<FenceLabels, Counter>,
    pub(crate) isr_proposals: Counter,
    pub(crate) isr_changes: Counter,
    pub(crate) isr_batches: Histogram,
    pub(crate) rebalanced: Counter,
    pub(crate) reassigning_partitions: Gauge,
    pub(crate) write_latency: Histogram,
    pub(crate) store: StoreGauges,
    pub(crate) internode_connections: Gauge,
    pub(crate) internode_calls: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ElectionLabels {
    kind: ElectionKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
enum ElectionKind {
    in_sync,
    eligible,
    last_known,
    unclean,
    offline,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FenceLabels {
    reason: FenceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
enum FenceKind {
    process_gone,
    stopped,
    lapsed,
    stale_image,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own, all values zero.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("ottla_coordinator"))),
            active: Gauge::default(),
            brokers: Gauge::default(),
            fenced_brokers: Gauge::default(),
            topics: Gauge::default(),
            partitions: Gauge::default(),
            offline_partitions: Gauge::default(),
            under_replicated_partitions: Gauge::default(),
            elections: Family::default(),
            fenced: Family::default(),
            isr_proposals: Counter::default(),
            isr_changes: Counter::default(),
            isr_batches: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            rebalanced: Counter::default(),
            reassigning_partitions: Gauge::default(),
            // 0.5 ms to 16 s.
            write_latency: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            store: StoreGauges::default(),
            internode_connections: Gauge::default(),
            internode_calls: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let gauges = [
            ("active_controller", "1 on the active coordinator, 0 elsewhere", &self.active),
            ("active_brokers", "Brokers that are not fenced", &self.brokers),
            ("fenced_brokers", "Brokers that are fenced", &self.fenced_brokers),
            ("topics", "Topics", &self.topics),
            ("partitions", "Partitions of all topics", &self.partitions),
            ("offline_partitions", "Partitions without a leader", &self.offline_partitions),
            (
                "under_replicated_partitions",
                "Partitions with fewer replicas in sync than they have",
                &self.under_replicated_partitions,
            ),
            (
                "reassigning_partitions",
                "Partitions with a reassignment under way",
                &self.reassigning_partitions,
            ),
            ("internode_connections", "Connections of other nodes", &self.internode_connections),
            ("internode_calls", "Calls of other nodes under way", &self.internode_calls),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let sizes = [
            ("store_size", "What the metadata store takes on disk", &self.store.size),
            ("store_size_in_use", "What of it is in use", &self.store.in_use),
            ("store_quota", "Where the store stops taking writes", &self.store.quota),
        ];
        for (name, help, gauge) in sizes {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
        registry.register(
            "leader_elections",
            "Elections of partition leaders by how the leader was found",
            self.elections.clone(),
        );
        let counters = [
            ("isr_proposals", "Changes of ISRs that leaders proposed", &self.isr_proposals),
            ("isr_changes", "Changes of ISRs that were accepted", &self.isr_changes),
            ("rebalanced_leaders", "Leaders given back to preferred replicas", &self.rebalanced),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let help = "Proposed changes of ISRs that were decided together";
        registry.register("isr_batch_proposals", help, self.isr_batches.clone());
        registry.register("fencings", "Brokers fenced by reason", self.fenced.clone());
        registry.register_with_unit(
            "store_write_latency",
            "From sending a transaction to knowing what became of it",
            Unit::Seconds,
            self.write_latency.clone(),
        );
    }

    /// Adds metrics of another part of the process.
    pub fn with_registry<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything in the text format of OpenMetrics, which Prometheus reads.
    pub fn text(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("writing to a string does not fail");
        text
    }

    pub(crate) fn count_election(&self, election: Election) {
        let kind = match election {
            Election::Kept => return,
            Election::InSync => ElectionKind::in_sync,
            Election::Eligible => ElectionKind::eligible,
            Election::LastKnown => ElectionKind::last_known,
            Election::Unclean => ElectionKind::unclean,
            Election::Offline => ElectionKind::offline,
        };
        self.elections.get_or_create(&ElectionLabels { kind }).inc();
    }

    pub(crate) fn count_fence(&self, reason: FenceReason) {
        let reason = match reason {
            FenceReason::ProcessGone => FenceKind::process_gone,
            FenceReason::Stopped => FenceKind::stopped,
            FenceReason::Lapsed => FenceKind::lapsed,
            FenceReason::StaleImage => FenceKind::stale_image,
        };
        self.fenced.get_or_create(&FenceLabels { reason }).inc();
    }

    pub(crate) fn observe_write(&self, took: Duration) {
        self.write_latency.observe(took.as_secs_f64());
    }

    /// Takes the counts from an image.
    pub(crate) fn show_image(&self, image: &Image) {
        let fenced = image.brokers().filter(|(_, record)| record.fenced).count();
        let (mut partitions, mut offline, mut under, mut reassigning) = (0, 0, 0, 0);
        for (_, _, partition) in image.partitions() {
            partitions += 1;
            offline += i64::from(partition.leader().is_none());
            under += i64::from(partition.isr.len() < partition.replicas.len());
            reassigning += i64::from(partition.is_reassigning());
        }
        self.brokers.set(image.brokers().count() as i64 - fenced as i64);
        self.fenced_brokers.set(fenced as i64);
        self.topics.set(image.topic_count() as i64);
        self.partitions.set(partitions);
        self.reassigning_partitions.set(reassigning);
        self.offline_partitions.set(offline);
        self.under_replicated_partitions.set(under);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_what_is_counted() {
        let metrics = Metrics::new();
        metrics.active.set(1);
        metrics.count_election(Election::InSync);
        metrics.count_fence(FenceReason::Lapsed);
        metrics.observe_write(Duration::from_millis(2));
        let text = metrics.text();
        for line in [
            "ottla_coordinator_active_controller 1",
            "ottla_coordinator_leader_elections_total{kind=\"in_sync\"} 1",
            "ottla_coordinator_fencings_total{reason=\"lapsed\"} 1",
            "ottla_coordinator_store_write_latency_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
