use std::sync::Arc;

use ottla_protocol::record_batch::{Builder, BuilderOptions, NewRecord};
use ottla_protocol::time::Now;

use super::*;
use crate::config::LogConfig;
use crate::dir::{DirIdentity, LogDir, RecoverOptions};
use crate::io::SimIo;
use crate::log::{LeaderBatch, Log};

const DIR: &str = "/data";

fn open(io: &SimIo, boot_id: &str) -> (LogDir<SimIo>, Vec<Log<SimIo>>) {
    let identity = DirIdentity {
        cluster_id: "c".to_owned(),
        node_id: 4,
        boot_id: boot_id.to_owned(),
        new_directory_id: Uuid::from_bytes([1; 16]),
        open_files_max: 10,
    };
    let dir = LogDir::open(io.clone(), Path::new(DIR), &identity).unwrap();
    let config = |_: &TopicPartition| config();
    let options = RecoverOptions { threads: 1, config: &config, progress: &|_| {} };
    let logs = dir.recover(&options).unwrap().logs;
    (dir, logs)
}

/// Segments of a few batches, so that there are many.
fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 300, ..LogConfig::default() })
}

fn append(log: &mut Log<SimIo>, epoch: i32, count: usize) {
    for _ in 0..count {
        let mut builder = Builder::new(BuilderOptions::default());
        builder.push(&NewRecord { value: Some(b"value"), ..NewRecord::default() }).unwrap();
        let batch = [LeaderBatch::new(builder.build().unwrap())];
        log.append_as_leader(&batch, LeaderEpoch(epoch), Now::default()).unwrap();
    }
}

fn partition() -> TopicPartition {
    TopicPartition::new("t", 3)
}

fn filled(io: &SimIo) -> (LogDir<SimIo>, Log<SimIo>) {
    let (dir, _) = open(io, "boot");
    dir.set_broker_epoch(77).unwrap();
    let mut log = dir.create_log(&partition(), Uuid::from_bytes([9; 16]), config()).unwrap();
    log.begin_epoch(LeaderEpoch(2)).unwrap();
    append(&mut log, 2, 10);
    log.begin_epoch(LeaderEpoch(5)).unwrap();
    append(&mut log, 5, 4);
    dir.set_high_watermark(&partition(), Offset(12));
    (dir, log)
}

fn look(io: &SimIo, boot_id: &str) -> (DirInspection, LogInspection) {
    let before = io.operations();
    let found = inspect_dir(io, Path::new(DIR), boot_id).unwrap();
    assert_eq!(io.operations(), before, "nothing is written");
    let (name, log) = found.logs[0].clone();
    assert_eq!(name, partition());
    (found, log.unwrap())
}

#[test]
fn dir_in_use_is_left_alone() {
    let io = SimIo::new(0);
    let (_dir, _log) = filled(&io);
    let error = inspect_dir(&io, Path::new(DIR), "boot").unwrap_err();
    assert!(matches!(error, OpenDirError::Locked { .. }), "{error}");
}

#[test]
fn orderly_end_shows_what_the_log_holds() {
    let io = SimIo::new(0);
    let (dir, log) = filled(&io);
    dir.close(vec![log], 77).unwrap();
    drop(dir);
    let (found, log) = look(&io, "another boot");
    assert_eq!((found.cluster_id.as_deref(), found.node_id), (Some("c"), Some(4)));
    assert_eq!(found.directory_id, Some(Uuid::from_bytes([1; 16])));
    assert_eq!(found.previous_life, PreviousLife::Clean { broker_epoch: Some(77) });
    assert_eq!(log.topic_id, Uuid::from_bytes([9; 16]));
    assert_eq!((log.log_start, log.log_end), (Offset(0), Offset(14)));
    assert_eq!((log.leader_epoch, log.high_watermark), (LeaderEpoch(5), Offset(12)));
}

/// Whatever a crash leaves, the look tells what the next start will find.
#[test]
fn after_a_crash_it_tells_what_recovery_will_keep() {
    for (seed, is_power_cut) in (0..40).map(|seed| (seed, seed % 2 == 0)) {
        let io = SimIo::new(seed);
        let (dir, mut log) = filled(&io);
        while let Some(ticket) = log.flush().unwrap() {
            log.on_synced(ticket.run()).unwrap();
        }
        dir.write_checkpoints().unwrap();
        append(&mut log, 5, 6);
        drop((dir, log));
        if is_power_cut {
            io.power_cut()
        } else {
            io.process_crash()
        }
        let boot_id = if is_power_cut { "next boot" } else { "boot" };
        let (found, looked_at) = look(&io, boot_id);
        let epoch = Some(77);
        let expected = if is_power_cut {
            PreviousLife::MachineCrash { broker_epoch: epoch }
        } else {
            PreviousLife::ProcessCrash { broker_epoch: epoch }
        };
        assert_eq!(found.previous_life, expected);
        let (_dir, logs) = open(&io, boot_id);
        let opened = &logs[0];
        let view = opened.view();
        assert_eq!(looked_at.log_end, opened.log_end(), "seed {seed}");
        assert_eq!(Some(looked_at.leader_epoch), view.epochs().latest(), "seed {seed}");
        assert!(Offset(14) <= looked_at.log_end);
    }
}
