use std::path::Path;
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::record_batch::{Builder, BuilderOptions, NewRecord};
use ottla_protocol::time::Now;
use ottla_protocol::types::{LeaderEpoch, Offset};

use super::*;
use crate::config::LogConfig;
use crate::io::FaultIo;
use crate::log::LeaderBatch;

fn open(path: &Path, boot_id: &str) -> (FaultIo, LogDir<FaultIo>, Recovered<FaultIo>) {
    let identity = DirIdentity {
        cluster_id: "c".to_owned(),
        node_id: 1,
        boot_id: boot_id.to_owned(),
        new_directory_id: Uuid::from_bytes([1; 16]),
        open_files_max: 10,
    };
    let io = FaultIo::default();
    let dir = LogDir::open(io.clone(), path, &identity).unwrap();
    let config = |_: &TopicPartition| Arc::new(LogConfig::default());
    let options = RecoverOptions { threads: 1, config: &config, progress: &|_| {} };
    let recovered = dir.recover(&options).unwrap();
    (io, dir, recovered)
}

fn append(log: &mut Log<FaultIo>, count: usize) {
    let mut builder = Builder::new(BuilderOptions::default());
    builder.push(&NewRecord { value: Some(b"v"), ..NewRecord::default() }).unwrap();
    let batch = [LeaderBatch::new(builder.build().unwrap())];
    for _ in 0..count {
        log.append_as_leader(&batch, LeaderEpoch(0), Now::default()).unwrap();
    }
}

#[test]
fn real_files_lose_what_was_not_flushed_when_the_power_is_cut() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("d");
    let (io, dir, _) = open(&path, "first boot");
    let partition = TopicPartition::new("t", 0);
    let id = Uuid::from_bytes([2; 16]);
    let mut log = dir.create_log(&partition, id, Arc::new(LogConfig::default())).unwrap();
    append(&mut log, 10);
    let ticket = log.flush().unwrap().unwrap();
    log.on_synced(ticket.run()).unwrap();
    append(&mut log, 5);
    io.cut_power().unwrap();
    assert!(dir.close(vec![log], 1).is_err());
    drop(dir);

    let (_io, dir, mut recovered) = open(&path, "second boot");
    assert_eq!(dir.previous_life(), PreviousLife::MachineCrash { broker_epoch: None });
    let mut log = recovered.logs.pop().unwrap();
    assert_eq!(log.log_end(), Offset(10));
    append(&mut log, 1);
    // Only the process ends: what was written is there.
    drop((dir, log));
    let (_io, _dir, recovered) = open(&path, "second boot");
    assert_eq!(recovered.logs[0].log_end(), Offset(11));
}
