//! A leader's machine resets and is back before anybody could have missed it.

use std::{collections::BTreeMap, env, fs};

use ottla_integration_tests::harness::{
    Cluster, Machines, Shape, assert_dump_log_accepts,
    history::{Load, LoadOptions},
};

use super::support::create;

/// Cuts of the short form; `OTTLA_SOAK_CUTS` asks for more.
const CUTS: usize = 5;
const PARTITIONS: i32 = 3;

/// What a leader had not synced is lost with its machine, and nobody noticed an absence: it must not lead on from what is
/// left, and its followers, which have more than it, must not cut what was acknowledged.
#[test]
fn leader_that_loses_its_page_cache_within_its_lease_loses_nothing_that_was_acknowledged() {
    let cuts = env::var("OTTLA_SOAK_CUTS").map_or(CUTS, |n| n.parse().expect("a number"));
    let mut cluster = Cluster::start(&Shape::of(3));
    let mut machines = Machines::under(&mut cluster, 1);
    create(&cluster, "leased", (PARTITIONS, 3), &[("min.insync.replicas", "2")]);
    cluster.await_in_sync();
    let load = Load::start(&cluster.bootstrap(), LoadOptions::new("leased", PARTITIONS));
    for cut in 0..cuts {
        load.await_each();
        load.await_more(200);
        let partition = i32::try_from(cut).expect("few") % PARTITIONS;
        let leader = cluster.leader_of("leased", partition);
        machines.cut_power(&mut cluster, leader);
        machines.switch_on(&mut cluster, leader);
        cluster.await_ready();
        cluster.await_in_sync();
    }
    load.await_each();
    let history = load.finish();
    cluster.await_in_sync();
    assert!(200 * cuts < history.acknowledged());
    history.assert_sound();
    assert_replicas_are_equal(&mut cluster);
}

/// Compares the bytes of every partition's log on all brokers, after a clean stop.
fn assert_replicas_are_equal(cluster: &mut Cluster) {
    for id in cluster.broker_ids() {
        cluster.broker(id).stop();
    }
    for partition in 0..PARTITIONS {
        let name = format!("leased-{partition}");
        let logs: BTreeMap<u16, Vec<u8>> = cluster
            .broker_ids()
            .map(|id| (id, log_bytes(&cluster.broker_log_dir(id).join(&name))))
            .collect();
        assert!(!logs[&1].is_empty());
        let lens: Vec<_> = logs.values().map(Vec::len).collect();
        assert!(logs.values().all(|log| *log == logs[&1]), "{name} differs; lengths {lens:?}");
    }
    let folders = (0..PARTITIONS).map(|p| cluster.broker_log_dir(1).join(format!("leased-{p}")));
    let _ = assert_dump_log_accepts(&folders.collect::<Vec<_>>());
}

/// The segments of a partition, one behind the other.
fn log_bytes(folder: &std::path::Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("the partition's folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths.iter().flat_map(|path| fs::read(path).expect("a segment")).collect()
}
