//! A disk is full, or breaks.

use ottla_client::admin::Admin;
use ottla_integration_tests::{
    disk_order::DiskOrder,
    harness::{Cluster, Machines, WireClient, eventually},
};
use ottla_protocol::{ErrorCode, types::BrokerId};
use ottla_storage::io::DiskFault;

use super::support::{SOON, block_on, client, create, folder, produce, read_all};

const OK: i16 = 0;
const STORAGE_ERROR: i16 = ErrorCode::KafkaStorageError as i16;
const NOT_LEADER: i16 = ErrorCode::NotLeaderOrFollower as i16;

#[test]
fn full_disk_refuses_records_serves_what_it_has_and_heals() {
    let mut cluster = Cluster::single();
    let machines = Machines::under(&mut cluster, 1);
    create(&cluster, "filling", (1, 1), &[]);
    let mut wire = WireClient::connect(cluster.broker_address(1));
    for offset in 0..50 {
        assert_eq!(produce(&mut wire, "filling", 0, "room"), (OK, offset));
    }
    let dir = machines.log_dir(&cluster, 1, 0);
    machines.order(&cluster, 1, &DiskOrder::Break(DiskFault::Full, dir.clone()));
    for _ in 0..20 {
        assert_eq!(produce(&mut wire, "filling", 0, "none").0, STORAGE_ERROR);
        assert_eq!(read_all(&cluster, "filling", 1).len(), 50, "reading goes on");
    }
    assert!(cluster.brokers[0].is_running());

    machines.order(&cluster, 1, &DiskOrder::Heal(dir));
    // It looks once a second whether there is room again.
    let offset = eventually("records are taken again", SOON, || {
        let (code, offset) = produce(&mut wire, "filling", 0, "room");
        (code == OK).then_some(offset)
    });
    assert_eq!(offset, 50, "nothing of what was refused is in the log");
    let values: Vec<_> = read_all(&cluster, "filling", 1).into_iter().map(|w| w.value).collect();
    assert_eq!(values, vec!["room"; 51]);
}

#[test]
fn failed_sync_takes_its_log_dir_offline_and_nothing_else() {
    const PARTITIONS: i32 = 6;
    let mut cluster = Cluster::single();
    let mut machines = Machines::under(&mut cluster, 2);
    create(&cluster, "spread", (PARTITIONS, 1), &[("flush.messages", "1")]);
    let mut wire = WireClient::connect(cluster.broker_address(1));
    for partition in 0..PARTITIONS {
        assert_eq!(produce(&mut wire, "spread", partition, "before"), (OK, 0));
    }
    let dir_of = |machines: &Machines, cluster: &Cluster, partition: i32| {
        folder(cluster, machines, 1, &format!("spread-{partition}")).0
    };
    let dirs: Vec<_> = (0..PARTITIONS).map(|p| dir_of(&machines, &cluster, p)).collect();
    let broken = (0..PARTITIONS).filter(|&p| dirs[p as usize] == 1).collect::<Vec<_>>();
    let sound = (0..PARTITIONS).filter(|&p| dirs[p as usize] == 0).collect::<Vec<_>>();
    assert!(!broken.is_empty() && !sound.is_empty(), "{dirs:?}");

    let dir = machines.log_dir(&cluster, 1, 1);
    machines.order(&cluster, 1, &DiskOrder::Break(DiskFault::Sync, dir.clone()));
    let (code, _) = produce(&mut wire, "spread", broken[0], "lost");
    assert_eq!(code, STORAGE_ERROR, "what is not synced is not acknowledged");
    // The disk works again, but nobody knows what is on it: it stays offline until the next start.
    machines.order(&cluster, 1, &DiskOrder::Heal(dir.clone()));
    for _ in 0..10 {
        for &partition in &broken {
            let (code, _) = produce(&mut wire, "spread", partition, "lost");
            // Until the controller has heard of it, the broker counts as the leader.
            assert!([STORAGE_ERROR, NOT_LEADER].contains(&code), "{code}");
        }
        for &partition in &sound {
            assert_eq!(produce(&mut wire, "spread", partition, "after").0, OK);
        }
    }
    assert!(cluster.brokers[0].is_running());
    let described = block_on(async {
        Admin::new(client(&cluster.bootstrap())).describe_log_dirs(&[BrokerId(1)]).await
    });
    let described = described.into_iter().next().expect("one broker").expect("its answer");
    for log_dir in described {
        let is_broken = log_dir.path.as_str() == dir.to_str().expect("text");
        let expected = if is_broken { ErrorCode::KafkaStorageError } else { ErrorCode::None };
        assert_eq!(log_dir.error, expected, "{}", log_dir.path);
    }

    cluster.brokers[0].stop();
    machines.switch_on(&mut cluster, 1);
    cluster.await_ready();
    let read = read_all(&cluster, "spread", PARTITIONS);
    for partition in 0..PARTITIONS {
        let of_it = read.iter().filter(|w| w.partition == partition);
        let of_it = of_it.filter(|w| w.value != "lost");
        let expected = if broken.contains(&partition) { 1 } else { 11 };
        assert_eq!(of_it.count(), expected, "of partition {partition}");
        assert_eq!(
            produce(
                &mut WireClient::connect(cluster.broker_address(1)),
                "spread",
                partition,
                "new"
            )
            .0,
            OK
        );
    }
}
