//! A leader's machine resets and is back before anybody could have missed it.

use std::{collections::BTreeMap, env, fs, path::Path, time::Duration};

use ottla_integration_tests::harness::{
    Cluster, Machines, Role, Shape, assert_dump_log_accepts, eventually, get_json,
    history::{Load, LoadOptions},
    short_or_long,
};
use serde_json::Value;

use super::support::create;

/// Cuts of the short form; `OTTLA_SOAK_CUTS` asks for more.
const CUTS: usize = 5;
const PARTITIONS: i32 = 3;
/// A topic that wants all of its replicas in sync.
const STRICT: &str = "strict";
/// Fencings of brokers whose process was found to be gone.
const MISSED: &str = "ottla_coordinator_fencings_total{reason=\"process_gone\"}";

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
/// end: all that tells it of the reset is the next life of the machine, which ends the lease of the former one long before its
/// time, and claims.
#[test]
fn machine_that_is_reset_and_never_missed_is_judged_by_its_claim() {
    let mut shape = Shape { linked: true, ..Shape::of(3) };
    // Longer than this machine, however busy, needs to start a broker.
    for settings in [&mut shape.broker_settings, &mut shape.coordinator_settings] {
        settings.push("broker.session.timeout.ms=60000".to_owned());
    }
    // Nobody is put out of an ISR because he is slow.
    shape.broker_settings.push("replica.lag.time.max.ms=600000".to_owned());
    cut_again_and_again(&shape, short_or_long(2, 20), |cluster, machines, leader| {
        let missed = cluster.coordinator_metric(MISSED);
        cluster.links().strand(Role::Broker(leader), Role::Coordinator(1));
        // It cannot win a seat by catching up.
        for other in cluster.broker_ids().filter(|id| *id != leader) {
            cluster.links().cut(Role::Broker(leader), Role::Broker(other));
        }
        machines.cut_power(cluster, leader);
        machines.switch_on(cluster, leader);
        for partition in 0..PARTITIONS {
            cluster.await_partition(("leased", partition), "without who was reset", |state| {
                !state.isr.contains(&leader) && state.leader.is_some_and(|id| id != leader)
            });
        }
        await_gave_its_seats_up(cluster, leader);
        assert!(cluster.coordinator_metric(MISSED) == missed, "its end was noticed");
        cluster.links().heal_all();
    });
}

/// Where too few are left in sync, who leaves the ISR stays eligible: unless it was the machine that went down.
fn await_gave_its_seats_up(cluster: &Cluster, id: u16) {
    let holds = |partition: &Value, set: &str| {
        let members = partition[set].as_array().expect("a list of ids");
        members.iter().any(|member| member.as_u64() == Some(u64::from(id)))
    };
    let has_seat =
        |partition: &Value| holds(partition, "isr") || holds(partition, "eligible_leader_replicas");
    let path = format!("/v1/topics/{STRICT}/partitions");
    eventually("it has no seat any more", Duration::from_secs(60), || {
        let answer = get_json(cluster.coordinator_http(), &path)?;
        let partitions = answer["items"].as_array().filter(|items| !items.is_empty())?;
        (!partitions.iter().any(has_seat)).then_some(())
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
    create(&cluster, STRICT, (PARTITIONS, 3), &[("min.insync.replicas", "3")]);
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
