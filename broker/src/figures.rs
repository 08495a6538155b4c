//! Figures that are not counted but looked up when Prometheus asks: sizes of logs, what this broker leads,
//! what lacks replicas.

use std::sync::{Arc, Weak};

use ottla_metadata::image::Image;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};

use crate::isr::IsrFigures;
use crate::metrics::{Metrics, PartitionLabel};
use crate::replication::{Side, ThrottleFigures};
use crate::services::Services;

/// What handlers of the data path count, for all topics together.
#[derive(Debug, Default)]
pub struct DataFigures {
    /// Records that producers sent and that were found sound.
    pub messages_in: Counter,
    /// Bytes of their batches.
    pub bytes_in: Counter,
    /// Bytes of batches that consumers were sent.
    pub bytes_out: Counter,
    /// Partitions of Produce requests that were answered with an error.
    pub failed_produce: Counter,
    /// Partitions of Fetch requests that were answered with an error.
    pub failed_fetch: Counter,
    /// Changes of in-sync replicas.
    pub isr: IsrFigures,
    /// Replicas elsewhere that are slowed down.
    pub throttle: ThrottleFigures,
}

/// Looks things up; holds the services weakly, since they hold the metrics.
#[derive(Debug)]
struct Figures {
    services: Weak<Services>,
}

/// How many partitions of each kind this broker has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    replicas: i64,
    leads: i64,
    under_replicated: i64,
    under_min_in_sync: i64,
    at_min_in_sync: i64,
}

/// Label of figures per follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FollowerLabel {
    follower: i32,
}

/// Adds these figures to the broker's metrics.
pub(crate) fn register(services: &Arc<Services>) {
    let figures = Box::new(Figures { services: Arc::downgrade(services) });
    let metrics: &Metrics = &services.metrics;
    metrics.register(|registry| {
        registry.register_collector(figures);
        let data = &services.data.figures;
        for (name, help, counter) in [
            ("messagesin", "Records that producers sent", &data.messages_in),
            ("bytesin", "Bytes that producers sent", &data.bytes_in),
            ("bytesout", "Bytes that consumers were sent", &data.bytes_out),
            ("failedproducerequests", "Partitions that Produce failed for", &data.failed_produce),
            ("failedfetchrequests", "Partitions that Fetch failed for", &data.failed_fetch),
        ] {
            let name = format!("kafka_server_brokertopicmetrics_{name}");
            registry.register(name, help, counter.clone());
        }
        for (name, help, counter) in [
            ("isrshrinks", "In-sync sets of led partitions that shrank", &data.isr.shrinks),
            ("isrexpands", "In-sync sets of led partitions that grew", &data.isr.expands),
            ("failedisrupdates", "Changes of in-sync sets that were refused", &data.isr.failed),
        ] {
            let name = format!("kafka_server_replicamanager_{name}");
            registry.register(name, help, counter.clone());
        }
        data.throttle.register(registry, Side::Leader);
    });
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(services) = self.services.upgrade() else { return Ok(()) };
        let counts = counts(&services.image.load(), services.identity.broker_id.0);
        let prefix = "kafka_server_replicamanager";
        for (name, help, count) in [
            ("partitioncount", "Replicas on this broker", counts.replicas),
            ("leadercount", "Partitions that this broker leads", counts.leads),
            (
                "underreplicatedpartitions",
                "Led partitions with replicas out of sync",
                counts.under_replicated,
            ),
            (
                "underminisrpartitioncount",
                "Led partitions with fewer replicas in sync than min.insync.replicas",
                counts.under_min_in_sync,
            ),
            (
                "atminisrpartitioncount",
                "Led partitions with just as many replicas in sync as min.insync.replicas",
                counts.at_min_in_sync,
            ),
        ] {
            let gauge = ConstGauge::new(count);
            let name = format!("{prefix}_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let lags = Family::<FollowerLabel, Gauge>::default();
        let sizes = Family::<PartitionLabel, Gauge>::default();
        for handle in services.data.partitions.all() {
            let view = handle.view();
            let label = PartitionLabel { topic: handle.topic.to_string(), partition: handle.index };
            sizes.get_or_create(&label).set(i64::try_from(view.log.size()).unwrap_or(i64::MAX));
            for follower in &view.followers {
                // Who has not fetched in this epoch is behind by everything.
                let lag = view.log_end.0 - follower.end.max(view.log_start).0;
                let label = FollowerLabel { follower: follower.broker.0 };
                let gauge = lags.get_or_create(&label);
                gauge.set(gauge.get().max(lag));
            }
        }
        let help = "Records that a follower lacks of the partition led here that it lags most with";
        let name = "ottla_broker_follower_lag_max";
        lags.encode(encoder.encode_descriptor(name, help, None, lags.metric_type())?)?;
        let help = "Bytes of a partition's log on this broker";
        let metric =
            encoder.encode_descriptor("kafka_log_log_size", help, None, sizes.metric_type())?;
        sizes.encode(metric)
    }
}

fn counts(image: &Image, broker: i32) -> Counts {
    let mut counts = Counts::default();
    for (topic, _, partition) in image.partitions() {
        counts.replicas += i64::from(partition.replicas.contains(&broker));
        if partition.leader != broker {
            continue;
        }
        counts.leads += 1;
        counts.under_replicated += i64::from(partition.isr.len() < partition.replicas.len());
        let min = image.topic_by_id(topic).and_then(|topic| {
            topic.configs.get("min.insync.replicas").and_then(|min| min.parse::<usize>().ok())
        });
        let min = min.unwrap_or(1).min(partition.replicas.len());
        counts.under_min_in_sync += i64::from(partition.isr.len() < min);
        counts.at_min_in_sync += i64::from(partition.isr.len() == min);
    }
    counts
}
