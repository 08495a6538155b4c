//! The power is cut.

use ottla_integration_tests::harness::{
    Cluster, WireClient, assert_dump_log_accepts,
    history::{Load, LoadOptions},
};

use super::support::{assert_in_order, contents, create, folder, mark, produce, single};

#[test]
fn with_flush_messages_1_a_power_cut_takes_nothing_that_was_acknowledged() {
    const CUTS: usize = 3;
    let (mut cluster, mut machines) = single(1);
    create(&cluster, "durable", (4, 1), &[("flush.messages", "1")]);
    let load = Load::start(&cluster.bootstrap(), LoadOptions::new("durable", 4));
    for _ in 0..CUTS {
        load.await_more(300);
        machines.cut_power(&mut cluster, 1);
        machines.switch_on(&mut cluster, 1);
        cluster.await_ready();
        load.await_each();
    }
    load.finish().assert_sound();
    let folders = [0, 1, 2, 3].map(|p| folder(&cluster, &machines, &format!("durable-{p}")).1);
    // Skipped with a reason where there is no Java.
    let _ = assert_dump_log_accepts(&folders);
}

#[test]
fn without_it_a_power_cut_leaves_a_prefix_of_whole_batches() {
    const SYNCED: u64 = 200;
    const ACKED: u64 = 400;
    let (mut cluster, mut machines) = single(1);
    create(&cluster, "cached", (1, 1), &[]);
    let write = |cluster: &Cluster, from: u64, to: u64| {
        let mut client = WireClient::connect(cluster.broker_address(1));
        for sequence in from..to {
            let offset = i64::try_from(sequence).expect("few");
            assert_eq!(produce(&mut client, "cached", 0, mark(sequence)), (0, offset));
        }
    };
    // A clean stop syncs; what comes behind it is only in the page cache.
    write(&cluster, 0, SYNCED);
    cluster.broker(1).stop();
    machines.switch_on(&mut cluster, 1);
    cluster.await_ready();
    write(&cluster, SYNCED, ACKED);
    machines.cut_power(&mut cluster, 1);
    machines.switch_on(&mut cluster, 1);
    cluster.await_ready();

    let kept = assert_in_order(&contents(&cluster, "cached", 0));
    assert!((SYNCED..ACKED).contains(&kept), "{kept} are left: nothing was lost, or too much");
    write(&cluster, kept, kept + 50);
    assert_eq!(assert_in_order(&contents(&cluster, "cached", 0)), kept + 50);
    let _ = assert_dump_log_accepts(&[folder(&cluster, &machines, "cached-0").1]);
}
