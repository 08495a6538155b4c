//! How far groups are behind, for Prometheus: now and then every shard is asked what is committed, and the leaders
//! of those partitions where their logs end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;

use super::hub::{Hub, Inbound, Phase};
use crate::log_ends::{LogEnds, PartitionName};

/// Names what a group is behind in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LagLabels {
    group: String,
    topic: String,
    partition: i32,
}

/// The lag of each partition of each group.
pub(crate) type LagGauges = Family<LagLabels, Gauge>;

/// What one group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub group: String,
    pub partition: PartitionName,
    pub offset: i64,
}

/// Shows the lag until the term is over, and nothing after it: who is active then shows it.
pub(super) async fn run(hub: Arc<Hub>, log_ends: Arc<LogEnds>) {
    let over = hub.over.clone();
    tokio::select! {
        () = over.cancelled() => {}
        () = work(&hub, &log_ends) => {}
    }
    hub.metrics.lag.clear();
}

async fn work(hub: &Hub, log_ends: &LogEnds) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let committed = committed(hub).await;
        let mut names: Vec<PartitionName> =
            committed.iter().map(|it| it.partition.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let image = hub.images.load();
        let mut ends = BTreeMap::new();
        for some in names.chunks(ASKED_AT_ONCE) {
            ends.extend(log_ends.get(&image, some).await);
        }
        // What is gone must not be shown for ever.
        hub.metrics.lag.clear();
        for Committed { group, partition, offset } in committed {
            let Some(end) = ends.get(&partition) else { continue };
            let (topic, partition) = partition;
            let labels = LagLabels { group, topic, partition };
            hub.metrics.lag.get_or_create(&labels).set(end.end.saturating_sub(offset).max(0));
        }
    }
}

/// What is committed in all shards, up to a limit.
async fn committed(hub: &Hub) -> Vec<Committed> {
    let mut all = Vec::new();
    for slot in &hub.slots {
        if slot.phase() != Phase::Active || SHOWN_MAX <= all.len() {
            continue;
        }
        let (reply, answer) = oneshot::channel();
        let limit = SHOWN_MAX - all.len();
        // A shard with too much to do is asked the next time.
        if slot.calls.try_send(Inbound::Committed { limit, reply }).is_ok() {
            all.append(&mut answer.await.unwrap_or_default());
        }
    }
    all
}

/// How often.
const INTERVAL: Duration = Duration::from_secs(15);
/// Partitions of groups that are shown.
const SHOWN_MAX: usize = 20_000;
/// Partitions whose leaders are asked together.
const ASKED_AT_ONCE: usize = 1000;
