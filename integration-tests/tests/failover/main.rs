//! Three brokers in real processes: what happens to them in a data centre happens here, under load, and what was
//! acknowledged is still there afterwards, once, in order.

mod laboratory;
mod leaders;
mod networks;
mod one_way;
mod outages;
mod stores;
mod zombies;

use ottla_integration_tests::harness::{
    Cluster, Shape,
    history::{History, Load, LoadOptions},
};

const TOPIC: &str = "kept";

/// Three brokers and a topic of three partitions with three replicas each.
fn three_brokers(shape: &Shape) -> Cluster {
    let cluster = Cluster::start(&Shape { brokers: 3, ..shape.clone() });
    cluster.create_topic(TOPIC, 3, 3, &[("min.insync.replicas", "2")]);
    cluster.await_in_sync();
    cluster
}

/// Producers and a reader, all of them well under way.
fn load(cluster: &Cluster) -> Load {
    let load = Load::start(&cluster.bootstrap(), LoadOptions::new(TOPIC, 3));
    load.await_each();
    load
}

/// Ends the load, and asserts that its history can be.
fn assert_sound(load: Load) -> History {
    load.await_more(500);
    let history = load.finish();
    assert!(500 < history.acknowledged(), "only {} records", history.acknowledged());
    history.assert_sound();
    history
}
