//! What the shards count.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

use super::lag::LagGauges;
use crate::maintenance::StoreGauges;
use crate::metrics::Metrics;

/// Counters of groups and of their journal. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ShardMetrics {
    pub offset_commits: Counter,
    pub offset_fetches: Counter,
    pub offsets_expired: Counter,
    pub rebalances: Counter,
    pub groups: Gauge,
    pub parked: Gauge,
    pub loaded_shards: Gauge,
    pub lost_shards: Counter,
    pub refused_commits: Counter,
    pub journal_latency: Histogram,
    pub journal_records: Histogram,
    pub journal_backlog: Gauge,
    pub lag: LagGauges,
    /// Of the store that only groups are in, if there is one.
    pub store: StoreGauges,
}

impl ShardMetrics {
    /// Counters at zero, which `metrics` shows.
    pub fn new(metrics: &Metrics) -> Self {
        let own = Self {
            offset_commits: Counter::default(),
            offset_fetches: Counter::default(),
            offsets_expired: Counter::default(),
            rebalances: Counter::default(),
            groups: Gauge::default(),
            parked: Gauge::default(),
            loaded_shards: Gauge::default(),
            lost_shards: Counter::default(),
            refused_commits: Counter::default(),
            journal_latency: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            journal_records: Histogram::new(exponential_buckets(1.0, 2.0, 8)),
            journal_backlog: Gauge::default(),
            lag: LagGauges::default(),
            store: StoreGauges::default(),
        };
        own.register(metrics);
        own
    }

    fn register(&self, metrics: &Metrics) {
        let counters = [
            (
                "offset_commits",
                "Requests to commit offsets that were carried out",
                &self.offset_commits,
            ),
            ("offset_fetches", "Requests for committed offsets", &self.offset_fetches),
            ("offsets_expired", "Committed offsets that got too old", &self.offsets_expired),
            (
                "group_rebalances",
                "Generations and epochs that groups went through",
                &self.rebalances,
            ),
            ("group_shards_lost", "Group shards that had to be read anew", &self.lost_shards),
            ("offset_commits_refused", "Commits refused for want of room", &self.refused_commits),
        ];
        let gauges = [
            ("groups", "Groups", &self.groups),
            ("group_requests_parked", "Requests that wait for other members", &self.parked),
            ("group_shards_loaded", "Group shards that answer", &self.loaded_shards),
        ];
        metrics.with_registry(|registry| {
            for (name, help, counter) in counters {
                registry.register(name, help, counter.clone());
            }
            for (name, help, gauge) in gauges {
                registry.register(name, help, gauge.clone());
            }
            let sizes = [
                ("group_store_size", "What the store of groups takes on disk", &self.store.size),
                ("group_store_size_in_use", "What of it is in use", &self.store.in_use),
                ("group_store_quota", "Where it stops taking writes", &self.store.quota),
            ];
            for (name, help, gauge) in sizes {
                registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
            }
            let help = "Records behind what a group has committed";
            registry.register("group_lag", help, self.lag.clone());
            let help = "What waits to be written for groups";
            let backlog = self.journal_backlog.clone();
            registry.register_with_unit("group_journal_backlog", help, Unit::Bytes, backlog);
            let help = "From sending a transaction of groups to knowing what became of it";
            let latency = self.journal_latency.clone();
            registry.register_with_unit("group_journal_latency", help, Unit::Seconds, latency);
            let help = "Records written together for groups";
            registry.register("group_journal_records", help, self.journal_records.clone());
        });
    }
}
