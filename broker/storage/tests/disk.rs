//! A disk that is full, fails, is locked, or holds garbage.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::types::{LeaderEpoch, Offset};
use ottla_storage::io::{Fault, LogFile, OpenMode, SimOp};
use ottla_storage::{
    AppendError, Aside, CreateLogError, LoadError, LogConfig, LogDir, LogIo, OpenDirError,
    PreviousLife, ReadMode, RealIo, SimIo, TopicPartition,
};
use support::*;

const DIR: &str = "/data";
const EPOCH: LeaderEpoch = LeaderEpoch(0);

fn fail(op: SimOp, nth: u64, error: ErrorKind) -> Fault {
    Fault::Fail { op, nth, error }
}

#[test]
fn a_full_disk_refuses_appends_leaves_no_torn_tail_and_heals() {
    // With this seed a part of the write gets through.
    let io = SimIo::new(3);
    let config = Arc::new(LogConfig::default());
    let (_dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
    log.append_as_leader(&[producer_batch(&[b"a"], 1, Some((1, 0, 0)))], EPOCH, now_ms(0)).unwrap();
    let file = Path::new(DIR).join("t-0/00000000000000000000.log");
    let file = io.open(&file, OpenMode::Read).unwrap();
    io.inject(fail(SimOp::Write, 1, ErrorKind::StorageFull));
    let next = || producer_batch(&[b"b", b"c"], 1, Some((1, 0, 1)));
    let error = log.append_as_leader(&[next()], EPOCH, now_ms(1)).unwrap_err();
    assert!(matches!(error, AppendError::OutOfSpace { .. }), "{error}");
    assert_eq!(log.log_end(), Offset(1));
    assert_eq!(file.len().unwrap(), log.size());
    // Reads go on; appends are refused until the system says that there is room.
    assert_eq!(read_all(&log.view(), 100).len(), 1);
    let error = log.append_as_leader(&[next()], EPOCH, now_ms(900)).unwrap_err();
    assert!(matches!(error, AppendError::OutOfSpace { .. }), "{error}");
    // The same sequence number is taken, for its first try left no trace.
    let appended = log.append_as_leader(&[next()], EPOCH, now_ms(2000)).unwrap();
    assert_eq!((appended.first_offset, appended.duplicate), (Offset(1), false));
    let values: Vec<_> = records(&read_all(&log.view(), 100)).into_iter().map(|r| r.2).collect();
    assert_eq!(values, [b"a", b"b", b"c"]);
}

#[test]
fn below_the_reserve_nothing_is_appended_or_created_but_read_and_deleted() {
    let io = SimIo::new(3);
    let config = small_config();
    let (dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
    for _ in 0..30 {
        log.append_as_leader(&[batch(&[&[1; 100]], 1)], EPOCH, now_ms(0)).unwrap();
    }
    let used = io.space(Path::new(DIR)).unwrap();
    io.set_capacity(Some((1 << 50) - used.available));
    let error = log.append_as_leader(&[batch(&[b"x"], 1)], EPOCH, now_ms(5000)).unwrap_err();
    assert!(matches!(error, AppendError::OutOfSpace { .. }), "{error}");
    assert!(dir.is_short_of_space());
    let other = TopicPartition::new("u", 0);
    let created = dir.create_log(&other, TOPIC_ID, Arc::clone(&config));
    assert!(matches!(created, Err(CreateLogError::OutOfSpace(_))));
    assert_eq!(read_all(&log.view(), 1000).len(), 30);
    log.advance_log_start(Offset(25)).unwrap();
    assert!(0 < log.remove_deleted_segments(100).unwrap());
    io.set_capacity(None);
    log.append_as_leader(&[batch(&[b"x"], 1)], EPOCH, now_ms(10_000)).unwrap();
    assert!(!dir.is_short_of_space());
}

#[test]
fn a_failed_write_takes_the_dir_offline_and_no_other() {
    let io = SimIo::new(3);
    let config = small_config();
    let (dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
    let (other_dir, mut other) = open_log(&io, Path::new("/other"), "b", &config);
    log.append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(0)).unwrap();
    other.append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(0)).unwrap();
    io.inject(fail(SimOp::Write, 1, ErrorKind::Other));
    let error = log.append_as_leader(&[batch(&[b"b"], 1)], EPOCH, now_ms(0)).unwrap_err();
    assert!(matches!(error, AppendError::Storage(_)), "{error}");
    assert!(dir.failure().is_some());
    assert!(log.append_as_leader(&[batch(&[b"b"], 1)], EPOCH, now_ms(0)).is_err());
    assert!(log.flush().is_err() && log.roll(now_ms(0)).is_err());
    assert!(dir.write_checkpoints().is_err());
    assert!(dir.close(vec![log], 1).is_err(), "no mark of an orderly end");
    other.append_as_leader(&[batch(&[b"b"], 1)], EPOCH, now_ms(0)).unwrap();
    assert!(other_dir.failure().is_none());
    // The next life does not take it for a mere crash of the process.
    drop(dir);
    let (dir, log) = open_log(&io, Path::new(DIR), "b", &config);
    assert_eq!(dir.previous_life(), PreviousLife::MachineCrash { broker_epoch: None });
    assert_eq!(log.log_end(), Offset(1));
}

#[test]
fn a_failed_sync_is_never_asked_again() {
    let io = SimIo::new(3);
    let (dir, mut log) = open_log(&io, Path::new(DIR), "b", &small_config());
    log.append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(0)).unwrap();
    io.inject(fail(SimOp::Sync, 1, ErrorKind::Other));
    let ticket = log.flush().unwrap().unwrap();
    assert!(log.on_synced(ticket.run()).is_err());
    assert_eq!(log.flushed_end(), Offset(0));
    assert!(log.flush().is_err());
    assert!(dir.failure().unwrap().to_string().contains("sync"));
}

#[test]
fn garbage_behind_the_log_is_cut_off() {
    for closed in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("d");
        let config = small_config();
        let (dir, mut log) = open_log(&RealIo, &path, "b", &config);
        for i in 0..30u8 {
            log.append_as_leader(&[batch(&[&[i; 60]], 1)], EPOCH, now_ms(0)).unwrap();
        }
        let base = log.view().segments().last().unwrap().base_offset();
        if closed {
            dir.close(vec![log], 1).unwrap();
        }
        drop(dir);
        let file = path.join(format!("t-0/{:020}.log", base.0));
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.extend([7; 100]);
        std::fs::write(&file, &bytes).unwrap();
        let (_dir, recovered) = open(&RealIo, &path, "b", &config).unwrap();
        assert_eq!(recovered.reports[0].report.truncated_bytes, 100);
        assert_eq!(read_all(&recovered.logs[0].view(), 500).len(), 30);
        assert_eq!(std::fs::metadata(&file).unwrap().len(), bytes.len() as u64 - 100);
    }
}

#[test]
fn damage_in_the_middle_of_unsynced_segments_ends_the_log_there() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("d");
    let config = small_config();
    let (dir, mut log) = open_log(&RealIo, &path, "b", &config);
    for i in 0..60u8 {
        log.append_as_leader(&[batch(&[&[i; 60]], 1)], EPOCH, now_ms(0)).unwrap();
    }
    let bases: Vec<_> = log.view().segments().map(|segment| segment.base_offset()).collect();
    assert!(4 < bases.len());
    drop((dir, log));
    let file = path.join(format!("t-0/{:020}.log", bases[1].0));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].fill(0xee);
    std::fs::write(&file, &bytes).unwrap();
    let (_dir, recovered) = open(&RealIo, &path, "b", &config).unwrap();
    let (log, report) = (&recovered.logs[0], &recovered.reports[0].report);
    assert_eq!(report.removed_segments as usize, bases.len() - 2);
    assert!(bases[1] < log.log_end() && log.log_end() < bases[2]);
    read_all(&log.view(), 500);
}

#[test]
fn an_index_of_a_wrong_size_or_with_garbage_is_built_anew() {
    let damage: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() - 3),
        |bytes| bytes.extend([0; 4096]),
        |bytes| bytes.iter_mut().for_each(|byte| *byte = !*byte),
        |bytes| bytes.clear(),
    ];
    for (case, damage) in damage.iter().enumerate() {
        for crashed in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("d");
            let config = small_config();
            let (dir, mut log) = open_log(&RealIo, &path, "b", &config);
            for i in 0..60u8 {
                let batch = batch(&[&[i; 60]], 10 * i64::from(i));
                log.append_as_leader(&[batch], EPOCH, now_ms(0)).unwrap();
            }
            let active = log.view().segments().last().unwrap().base_offset();
            if crashed {
                checkpoint(&mut log).unwrap();
                dir.write_checkpoints().unwrap();
                drop(log);
            } else {
                dir.close(vec![log], 1).unwrap();
            }
            drop(dir);
            for suffix in ["index", "timeindex"] {
                let file = path.join(format!("t-0/{:020}.{suffix}", active.0));
                let mut bytes = std::fs::read(&file).unwrap();
                damage(&mut bytes);
                std::fs::write(&file, &bytes).unwrap();
            }
            let (_dir, recovered) = open(&RealIo, &path, "b", &config).unwrap();
            let view = recovered.logs[0].view();
            for offset in 0..60 {
                let slice = view.locate(&request(offset, 1), ReadMode::Wait).unwrap().unwrap();
                assert_eq!(slice.first_offset().0, offset, "case {case}, crashed {crashed}");
                let found = view.offset_for_timestamp(10 * offset, Default::default()).unwrap();
                assert_eq!(found.unwrap().offset.0, offset, "case {case}, crashed {crashed}");
            }
        }
    }
}

#[test]
fn messages_of_an_old_format_are_refused_and_not_cut_off() {
    let io = SimIo::new(0);
    let config = small_config();
    let (dir, log) = open_log(&io, Path::new(DIR), "b", &config);
    drop((dir, log));
    // A message of format 1: offset, size, crc, magic, attributes, timestamp, null key, value "v".
    let mut body = vec![1, 0];
    body.extend(5i64.to_be_bytes());
    body.extend((-1i32).to_be_bytes());
    body.extend(1i32.to_be_bytes());
    body.push(b'v');
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &body) as u32;
    let mut message = 0i64.to_be_bytes().to_vec();
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(crc.to_be_bytes());
    message.extend(body);
    message.extend([0; 61]);
    let path = Path::new(DIR).join("t-0/00000000000000000000.log");
    let file = io.open(&path, OpenMode::ReadWrite).unwrap();
    file.write_at(0, &[std::io::IoSlice::new(&message)]).unwrap();
    let (_dir, recovered) = open(&io, Path::new(DIR), "b", &config).unwrap();
    assert!(matches!(recovered.failed[0].1, LoadError::OldFormat { magic: 1, .. }));
    assert_eq!(file.len().unwrap(), message.len() as u64);
}

#[test]
fn unusable_dirs_say_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("d");
    let open = |path: &Path| LogDir::open(RealIo, path, &identity("b"));
    let held = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenDirError::Locked { .. }), "{error}");
    drop(held);
    open(&path).unwrap();
    let error = open(&root.path().join("a/b/c")).unwrap_err();
    assert!(matches!(error, OpenDirError::Missing { .. }), "{error}");
    std::fs::write(root.path().join("file"), "x").unwrap();
    let error = open(&root.path().join("file")).unwrap_err();
    assert!(matches!(error, OpenDirError::NotADirectory { .. }), "{error}");
    std::fs::write(path.join("meta.properties"), "version=7\n").unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenDirError::InvalidMeta { .. }), "{error}");
}

#[test]
fn partitions_are_made_put_aside_and_removed() {
    let io = SimIo::new(0);
    let config = small_config();
    let (dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
    log.append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(0)).unwrap();
    let again = dir.create_log(&partition(), TOPIC_ID, Arc::clone(&config));
    assert!(matches!(again, Err(CreateLogError::Exists(_))));
    let stray = TopicPartition::new("stray", 3);
    let stray_log = dir.create_log(&stray, TOPIC_ID, Arc::clone(&config)).unwrap();
    let view = log.view();
    dir.set_aside(log, Uuid::from_bytes([2; 16]), Aside::Deleted).unwrap();
    dir.set_aside(stray_log, Uuid::from_bytes([3; 16]), Aside::Stray).unwrap();
    // A new life of the topic begins at 0 while the old one is being removed.
    let log = dir.create_log(&partition(), Uuid::from_bytes([4; 16]), Arc::clone(&config)).unwrap();
    assert_eq!(log.log_end(), Offset(0));
    let mut removed = 0;
    loop {
        match dir.remove_deleted(2).unwrap() {
            0 => break,
            count => removed += count,
        }
    }
    assert!(4 <= removed);
    let names: Vec<_> = io.list(Path::new(DIR)).unwrap().into_iter().map(|e| e.name).collect();
    assert!(!names.iter().any(|name| name.ends_with("-delete")), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with("-stray")), "{names:?}");
    assert!(view.locate(&request(0, 100), ReadMode::Wait).is_err());
    dir.close(vec![log], 1).unwrap();
    drop(dir);
    let (_dir, recovered) = open(&io, Path::new(DIR), "b", &config).unwrap();
    assert_eq!(recovered.logs.len(), 1);
    assert_eq!(recovered.logs[0].topic_id(), Uuid::from_bytes([4; 16]));
}

#[test]
fn what_was_put_aside_does_not_come_back_after_a_power_cut() {
    for seed in 0..20 {
        let io = SimIo::new(seed);
        let config = small_config();
        let (dir, log) = open_log(&io, Path::new(DIR), "b", &config);
        dir.set_aside(log, Uuid::from_bytes([2; 16]), Aside::Deleted).unwrap();
        drop(dir);
        io.power_cut();
        let (_dir, recovered) = open(&io, Path::new(DIR), "c", &config).unwrap();
        assert!(recovered.logs.is_empty(), "seed {seed}");
    }
}

#[test]
fn recovery_after_a_crash_reads_only_what_no_checkpoint_covers() {
    let io = SimIo::new(0);
    let config = Arc::new(LogConfig { index_interval_bytes: 4096, ..LogConfig::default() });
    let (dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
    let append = |log: &mut ottla_storage::Log<SimIo>| {
        for _ in 0..500 {
            log.append_as_leader(&[batch(&[&[1; 1000]], 1)], EPOCH, now_ms(0)).unwrap();
        }
    };
    append(&mut log);
    checkpoint(&mut log).unwrap();
    dir.write_checkpoints().unwrap();
    append(&mut log);
    drop((dir, log));
    io.process_crash();
    let (dir, recovered) = open(&io, Path::new(DIR), "b", &config).unwrap();
    let scanned = recovered.reports[0].report.scanned_bytes;
    assert!((500_000..560_000).contains(&scanned), "{scanned}");
    assert_eq!(read_all(&recovered.logs[0].view(), 100_000).len(), 1000);
    drop((dir, recovered));
    // What was recovered is not read again.
    io.process_crash();
    let (_dir, recovered) = open(&io, Path::new(DIR), "b", &config).unwrap();
    assert!(recovered.reports[0].report.scanned_bytes < 10_000);
}

#[test]
fn many_logs_are_recovered_at_once_and_a_bad_one_alone_stays_offline() {
    let io = SimIo::new(0);
    let config = small_config();
    let (dir, first) = open_log(&io, Path::new(DIR), "b", &config);
    let mut logs = vec![first];
    for number in 1..50 {
        let partition = TopicPartition::new("t", number);
        logs.push(dir.create_log(&partition, TOPIC_ID, Arc::clone(&config)).unwrap());
    }
    for log in &mut logs {
        log.append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(0)).unwrap();
    }
    drop((dir, logs));
    let bad = Path::new(DIR).join("t-7/partition.metadata");
    io.open(&bad, OpenMode::CreateOrTruncate).unwrap();
    io.process_crash();
    let dir = LogDir::open(io.clone(), Path::new(DIR), &identity("b")).unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let recovered = dir
        .recover(&ottla_storage::RecoverOptions {
            threads: 4,
            config: &|_| Arc::clone(&config),
            progress: &|progress| seen.lock().unwrap().push(progress.done),
        })
        .unwrap();
    assert_eq!((recovered.logs.len(), recovered.failed.len()), (49, 1));
    assert_eq!(recovered.failed[0].0.partition.0, 7);
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=50).collect::<Vec<_>>());
    assert!(recovered.logs.iter().all(|log| log.log_end() == Offset(1)));
}

#[test]
fn what_was_known_of_a_deleted_partition_is_not_believed_of_its_successor() {
    for seed in 0..60 {
        let io = SimIo::new(seed);
        let config = small_config();
        let (dir, mut log) = open_log(&io, Path::new(DIR), "a", &config);
        for _ in 0..30 {
            log.append_as_leader(&[batch(&[&[1; 60]], 1)], EPOCH, now_ms(0)).unwrap();
        }
        checkpoint(&mut log).unwrap();
        log.advance_log_start(Offset(20)).unwrap();
        dir.write_checkpoints().unwrap();
        dir.set_aside(log, Uuid::from_bytes([2; 16]), Aside::Deleted).unwrap();
        let mut log = dir.create_log(&partition(), TOPIC_ID, Arc::clone(&config)).unwrap();
        for _ in 0..30 {
            log.append_as_leader(&[batch(&[&[2; 60]], 1)], EPOCH, now_ms(0)).unwrap();
        }
        drop((dir, log));
        io.power_cut();
        let (_dir, log) = open_log(&io, Path::new(DIR), "b", &config);
        assert_eq!(log.log_start(), Offset(0), "seed {seed}");
        for batch in read_all(&log.view(), 500) {
            assert_eq!(records(&[batch])[0].2, [2; 60], "seed {seed}");
        }
    }
}

#[test]
fn a_start_beyond_what_survived_does_not_hide_later_records() {
    for seed in 0..20 {
        let io = SimIo::new(seed);
        let config = small_config();
        let (dir, mut log) = open_log(&io, Path::new(DIR), "a", &config);
        for _ in 0..30 {
            log.append_as_leader(&[batch(&[&[1; 60]], 1)], EPOCH, now_ms(0)).unwrap();
        }
        log.advance_log_start(Offset(29)).unwrap();
        dir.write_checkpoints().unwrap();
        drop((dir, log));
        io.power_cut();
        let (dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
        let start = log.log_start();
        for _ in 0..40 {
            log.append_as_leader(&[batch(&[&[2; 60]], 1)], EPOCH, now_ms(0)).unwrap();
        }
        dir.close(vec![log], 1).unwrap();
        drop(dir);
        let (_dir, log) = open_log(&io, Path::new(DIR), "b", &config);
        assert_eq!(log.log_start(), start, "seed {seed}");
    }
}
