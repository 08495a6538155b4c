//! A disk is full, or breaks.

use std::{collections::BTreeMap, time::Duration};

use ottla_integration_tests::{
    disk_order::DiskOrder,
    harness::{
        Cluster, Machines, WireClient, eventually,
        history::{Content, Mark, read_all},
    },
};
use ottla_protocol::{ErrorCode, messages::DescribeLogDirsRequest};
use ottla_storage::io::DiskFault;

use super::support::{assert_in_order, contents, create, folder, mark, produce, single};

const SOON: Duration = Duration::from_secs(60);
const OK: i16 = 0;
const STORAGE_ERROR: i16 = ErrorCode::KafkaStorageError as i16;
const NOT_LEADER: i16 = ErrorCode::NotLeaderOrFollower as i16;
/// A record that must not be there.
const REFUSED: Mark = Mark { producer: 9, sequence: 0 };

#[test]
fn full_disk_refuses_records_serves_what_it_has_and_heals() {
    let (mut cluster, machines) = single(1);
    create(&cluster, "filling", (1, 1), &[]);
    let mut wire = WireClient::connect(cluster.broker_address(1));
    for sequence in 0..50 {
        assert_eq!(produce(&mut wire, "filling", 0, mark(sequence)).0, OK);
    }
    let dir = machines.log_dir(&cluster, 1, 0);
    machines.order(&cluster, 1, &DiskOrder::Break(DiskFault::Full, dir.clone()));
    for _ in 0..20 {
        assert_eq!(produce(&mut wire, "filling", 0, REFUSED).0, STORAGE_ERROR);
        assert_eq!(contents(&cluster, "filling", 50).len(), 50, "reading goes on");
    }
    assert!(cluster.broker(1).is_running());

    machines.order(&cluster, 1, &DiskOrder::Heal(dir));
    // It looks once a second whether there is room again.
    let offset = eventually("records are taken again", SOON, || {
        let (code, offset) = produce(&mut wire, "filling", 0, mark(50));
        (code == OK).then_some(offset)
    });
    assert_eq!(offset, 50, "nothing of what was refused is in the log");
    assert_eq!(assert_in_order(&contents(&cluster, "filling", 51)), 51);
}

#[test]
fn failed_sync_takes_its_log_dir_offline_and_nothing_else() {
    const PARTITIONS: i32 = 6;
    let (mut cluster, mut machines) = single(2);
    create(&cluster, "spread", (PARTITIONS, 1), &[("flush.messages", "1")]);
    let mut wire = WireClient::connect(cluster.broker_address(1));
    for partition in 0..PARTITIONS {
        assert_eq!(produce(&mut wire, "spread", partition, mark(0)), (OK, 0));
    }
    let disk_of = |partition: &i32| folder(&cluster, &machines, &format!("spread-{partition}")).0;
    let (sound, broken): (Vec<i32>, Vec<i32>) =
        (0..PARTITIONS).partition(|partition| disk_of(partition) == 0);
    assert!(!broken.is_empty() && !sound.is_empty(), "{broken:?}");

    let dir = machines.log_dir(&cluster, 1, 1);
    machines.order(&cluster, 1, &DiskOrder::Break(DiskFault::Sync, dir.clone()));
    let (code, _) = produce(&mut wire, "spread", broken[0], REFUSED);
    assert_eq!(code, STORAGE_ERROR, "what is not synced is not acknowledged");
    // The disk works again, but nobody knows what is on it: it stays offline until the next start.
    machines.order(&cluster, 1, &DiskOrder::Heal(dir.clone()));
    for round in 1..=10 {
        for &partition in &broken {
            let (code, _) = produce(&mut wire, "spread", partition, REFUSED);
            // Until the controller has heard of it, the broker counts as the leader.
            assert!([STORAGE_ERROR, NOT_LEADER].contains(&code), "{code}");
        }
        for &partition in &sound {
            assert_eq!(produce(&mut wire, "spread", partition, mark(round)).0, OK);
        }
    }
    assert!(cluster.broker(1).is_running());
    let described = wire.call(4, &DescribeLogDirsRequest::default()).results;
    assert_eq!(described.len(), 2);
    for log_dir in described {
        let is_broken = log_dir.log_dir.as_str() == dir.to_str().expect("text");
        let expected = if is_broken { STORAGE_ERROR } else { OK };
        assert_eq!(log_dir.error_code, expected, "{}", log_dir.log_dir);
    }
    comes_back_whole(&mut cluster, &mut machines, &broken, PARTITIONS);
}

/// With a disk that works, the next start finds everything that was acknowledged.
fn comes_back_whole(
    cluster: &mut Cluster,
    machines: &mut Machines,
    broken: &[i32],
    partitions: i32,
) {
    cluster.broker(1).stop();
    machines.switch_on(cluster, 1);
    cluster.await_ready();
    let mut wire = WireClient::connect(cluster.broker_address(1));
    let ends = (0..partitions).map(|p| (p, if broken.contains(&p) { 1 } else { 11 })).collect();
    let read: BTreeMap<_, _> = read_all(&cluster.bootstrap(), "spread", &ends);
    for (partition, contents) in read {
        // The record whose sync failed may be there: nobody was told that it is, or that it is not.
        let kept = contents.values().filter(|content| **content != Content::Of(REFUSED)).count();
        assert_eq!(i64::try_from(kept), Ok(ends[&partition]), "of partition {partition}");
        assert_eq!(produce(&mut wire, "spread", partition, mark(99)).0, OK);
    }
}
