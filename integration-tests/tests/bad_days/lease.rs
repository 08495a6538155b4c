//! A leader's machine resets and is back before anybody could have missed it.

use std::{collections::BTreeMap, env, fs, path::Path, time::Duration};

use ottla_integration_tests::harness::{
    Cluster, Machines, Role, Shape, assert_dump_log_accepts, eventually,
    history::{Load, LoadOptions},
    short_or_long,
};

use super::support::create;

/// Cuts of the short form; `OTTLA_SOAK_CUTS` asks for more.
const CUTS: usize = 5;
const PARTITIONS: i32 = 3;
/// Elections of another leader among those in sync.
const ELECTIONS: &str = "ottla_coordinator_leader_elections_total{kind=\"in_sync\"}";
const FENCINGS: &str = "ottla_coordinator_fencings_total";

/// What a leader had not synced is lost with its machine, and nobody noticed an absence: it must not lead on from what is
/// left, and its followers, which have more than it, must not cut what was acknowledged.
#[test]
fn leader_that_loses_its_page_cache_within_its_lease_loses_nothing_that_was_acknowledged() {
    let cuts = env::var("OTTLA_SOAK_CUTS").map_or(CUTS, |n| n.parse().expect("a number"));
    cut_again_and_again(&Shape::of(3), cuts, |cluster, machines, leader| {
        machines.cut_power(cluster, leader);
        machines.switch_on(cluster, leader);
    });
}

/// A broker whose connections end is fenced at once, so the above says little of a lease. Here the coordinator hears of no
/// end: all that tells it of the reset is the claim that the next life of the machine makes while the lease of the former one
/// runs.
#[test]
fn machine_that_is_reset_and_never_missed_is_judged_by_its_claim() {
    let mut shape = Shape { linked: true, ..Shape::of(3) };
    // Longer than this machine, however busy, needs to start a broker.
    for settings in [&mut shape.broker_settings, &mut shape.coordinator_settings] {
        settings.push("broker.session.timeout.ms=60000".to_owned());
    }
    cut_again_and_again(&shape, short_or_long(2, 20), |cluster, machines, leader| {
        let elections = cluster.coordinator_metric(ELECTIONS);
        let fencings = cluster.coordinator_metric(FENCINGS);
        cluster.links().strand(Role::Broker(leader), Role::Coordinator(1));
        machines.cut_power(cluster, leader);
        machines.switch_on(cluster, leader);
        // It led, and does not lead on: its seats are gone, as after the crash of a machine and only then.
        eventually("another is elected", Duration::from_secs(60), || {
            (elections < cluster.coordinator_metric(ELECTIONS)).then_some(())
        });
        cluster.await_ready();
        assert!(cluster.coordinator_metric(FENCINGS) == fencings, "it was missed, and fenced");
        cluster.links().heal_all();
    });
}

/// Does that to a leader under load, `cuts` times, and compares everything afterwards.
fn cut_again_and_again(
    shape: &Shape,
    cuts: usize,
    reset: impl Fn(&mut Cluster, &mut Machines, u16),
) {
    let mut cluster = Cluster::start(shape);
    let mut machines = Machines::under(&mut cluster, 1);
    create(&cluster, "leased", (PARTITIONS, 3), &[("min.insync.replicas", "2")]);
    cluster.await_in_sync();
    let load = Load::start(&cluster.bootstrap(), LoadOptions::new("leased", PARTITIONS));
    for cut in 0..cuts {
        load.await_each();
        load.await_more(200);
        let partition = i32::try_from(cut).expect("few") % PARTITIONS;
        let leader = cluster.leader_of("leased", partition);
        reset(&mut cluster, &mut machines, leader);
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
fn log_bytes(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("the partition's folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths.iter().flat_map(|path| fs::read(path).expect("a segment")).collect()
}
