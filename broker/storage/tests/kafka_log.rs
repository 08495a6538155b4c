//! Logs that Apache Kafka wrote, opened, read record for record and continued.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;
use std::path::Path;

use ottla_protocol::record_batch::Limits;
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerId};
use ottla_storage::{
    DirIdentity, LogConfig, LogDir, OpenDirError, PreviousLife, RealIo, RecoverOptions, Recovered,
};
use support::*;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn sample(kind: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-log").join(kind);
    copy(&from, dir.path());
    dir
}

fn cluster_id(dir: &Path) -> String {
    let meta = fs::read_to_string(dir.join("meta.properties")).unwrap();
    let line = meta.lines().find_map(|line| line.strip_prefix("cluster.id="));
    line.unwrap().to_owned()
}

fn open(dir: &Path) -> (LogDir<RealIo>, Recovered<RealIo>) {
    let identity = DirIdentity { cluster_id: cluster_id(dir), ..identity("boot") };
    let opened = LogDir::open(RealIo, dir, &identity).unwrap();
    let config = std::sync::Arc::new(LogConfig { index_interval_bytes: 512, ..Default::default() });
    let options = RecoverOptions {
        threads: 1,
        config: &|_| std::sync::Arc::clone(&config),
        progress: &|_| {},
    };
    let recovered = opened.recover(&options).unwrap();
    (opened, recovered)
}

/// Offset, key and value of every record.
fn expected() -> Vec<(i64, String, String)> {
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let records = codecs.iter().flat_map(|codec| (1..=60).map(move |n| (codec, n)));
    let record =
        |(offset, (codec, n))| (offset as i64, format!("key{n}"), format!("{codec} value {n}"));
    records.enumerate().map(record).collect()
}

fn check_content(log: &ottla_storage::Log<RealIo>) {
    let view = log.view();
    let mut found = Vec::new();
    let mut scratch = Vec::new();
    for batch in read_all(&view, 1000).iter().filter(|batch| batch.header.base_offset < Offset(300))
    {
        for record in batch.records(&mut scratch, Limits::default()).unwrap() {
            let record = record.unwrap();
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            found.push((record.offset.0, text(record.key), text(record.value)));
            let by_time =
                view.offset_for_timestamp(record.timestamp, Limits::default()).unwrap().unwrap();
            assert_eq!(by_time.timestamp, record.timestamp);
            assert!(by_time.offset <= record.offset);
        }
    }
    assert_eq!(found, expected());
}

#[test]
fn a_closed_log_of_kafka_is_read_record_for_record_and_goes_on() {
    let dir = sample("closed");
    let (opened, mut recovered) = open(dir.path());
    assert_eq!(opened.previous_life(), PreviousLife::Clean { broker_epoch: Some(15) });
    let mut log = recovered.logs.pop().unwrap();
    assert_eq!(log.topic_id().to_string(), "ABVqUQlgSYa84Q-1DR8peA");
    assert!(recovered.reports[0].report.scanned_bytes < 1000, "{:?}", recovered.reports);
    assert_eq!(log.log_end(), Offset(300));
    assert_eq!(opened.high_watermark(log.partition()), Some(Offset(300)));
    check_content(&log);
    let producers: Vec<_> = log
        .producers()
        .map(|(id, entry)| (id, entry.last_sequence(), entry.batches()[0].last_offset))
        .collect();
    let expected: Vec<_> = (0..5).map(|i| (ProducerId(i), 59, Offset(60 * i + 59))).collect();
    assert_eq!(producers, expected);
    log.append_as_leader(&[batch(&[b"more"], 5)], LeaderEpoch(1), now_ms(0)).unwrap();
    check_content(&log);
    opened.close(vec![log], 16).unwrap();
    drop(opened);
    let (_dir, recovered) = open(dir.path());
    assert_eq!(recovered.logs[0].log_end(), Offset(301));
    check_content(&recovered.logs[0]);
}

#[test]
fn a_log_that_kafka_did_not_close_is_recovered() {
    let dir = sample("crashed");
    let (opened, recovered) = open(dir.path());
    assert_eq!(opened.previous_life(), PreviousLife::MachineCrash { broker_epoch: None });
    let log = &recovered.logs[0];
    assert_eq!(log.log_end(), Offset(300));
    check_content(log);
    assert_eq!(log.producers().count(), 5);
    let report = &recovered.reports[0].report;
    assert_eq!((report.scanned_bytes, report.truncated_bytes), (5473, 0));
    // The index is as Kafka's own would be, without the zeros.
    let index = fs::read(dir.path().join("sample-0/00000000000000000000.index")).unwrap();
    let closed = sample("closed");
    let kafkas = fs::read(closed.path().join("sample-0/00000000000000000000.index")).unwrap();
    assert_eq!(index, kafkas);
}

#[test]
fn a_log_without_its_indexes_is_indexed_anew() {
    let dir = sample("closed");
    let partition = dir.path().join("sample-0");
    let index = partition.join("00000000000000000000.index");
    let time_index = partition.join("00000000000000000000.timeindex");
    let before = (fs::read(&index).unwrap(), fs::read(&time_index).unwrap());
    for file in [&index, &time_index] {
        fs::remove_file(file).unwrap();
    }
    fs::remove_file(partition.join("00000000000000000300.snapshot")).unwrap();
    fs::remove_file(partition.join("leader-epoch-checkpoint")).unwrap();
    let (opened, recovered) = open(dir.path());
    check_content(&recovered.logs[0]);
    assert_eq!(recovered.logs[0].latest_epoch(), Some(LeaderEpoch(0)));
    assert_eq!(recovered.logs[0].producers().count(), 5);
    opened.close(recovered.logs, 1).unwrap();
    assert_eq!((fs::read(&index).unwrap(), fs::read(&time_index).unwrap()), before);
}

#[test]
fn the_folder_of_another_cluster_or_node_is_refused() {
    let dir = sample("closed");
    let of_cluster = LogDir::open(RealIo, dir.path(), &identity("boot")).unwrap_err();
    assert!(matches!(of_cluster, OpenDirError::WrongCluster { .. }), "{of_cluster}");
    let other = DirIdentity { cluster_id: cluster_id(dir.path()), node_id: 2, ..identity("boot") };
    let of_node = LogDir::open(RealIo, dir.path(), &other).unwrap_err();
    assert!(matches!(of_node, OpenDirError::WrongNode { found: 1, .. }), "{of_node}");
}
