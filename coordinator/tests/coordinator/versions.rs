//! Coordinators and brokers of other versions than what the cluster has agreed on.

use std::collections::BTreeMap;

use ottla_metadata::features;
use ottla_metadata::model::{Cluster, Rest, encode};
use ottla_metadata::store::{GuardedWrite, MetaStore, Outcome};

use crate::support::{keys_below, soon, start, stop, store};

/// A cluster that a newer version founded, or upgraded.
fn cluster(features: BTreeMap<String, i16>) -> Cluster {
    Cluster {
        cluster_id: "AAAAAAAAAAAAAAAAAAAAZg".to_owned(),
        format_version: Cluster::FORMAT_VERSION,
        features,
        group_shards: Cluster::SHARDS,
        transaction_shards: Cluster::SHARDS,
        recovery: None,
        rest: Rest::new(),
    }
}

#[tokio::test]
async fn coordinator_that_is_too_old_for_what_is_finalised_says_so_and_is_never_active() {
    let newer = [("metadata.version", 99), ("feature.of.tomorrow", 1)];
    for (name, level) in newer {
        let store = store();
        let mut levels = features::defaults();
        levels.insert(name.to_owned(), level);
        let write = GuardedWrite::new().put("/ottla/cluster", encode(&cluster(levels)));
        assert!(matches!(store.txn(write).await, Ok(Outcome::Committed { .. })));
        let handle = start(1, store.clone()).await;
        let reason = soon("it gives up", handle.failed()).await;
        assert!(reason.contains(&format!("{name} {level}")), "{reason}");
        assert!(reason.contains("upgrade"), "{reason}");
        assert_eq!(keys_below(&store, "controller").await, 0, "it did not stand");
        stop(handle).await;
    }
}
