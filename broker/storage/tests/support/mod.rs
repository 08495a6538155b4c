//! What the tests share: batches, opening a dir, reading everything back.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::Uuid;
use ottla_protocol::record_batch::{Batch, Builder, BuilderOptions, Limits, NewRecord, batches};
use ottla_protocol::time::Now;
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use ottla_storage::{
    DirIdentity, LeaderBatch, Log, LogConfig, LogDir, LogIo, LogView, OpenDirError, Oversized,
    ReadMode, ReadRequest, RecoverOptions, Recovered, StorageError, TopicPartition,
};

pub const TOPIC_ID: Uuid = Uuid::from_bytes([9; 16]);

pub fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Small segments, dense indexes.
pub fn small_config() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 1500, index_interval_bytes: 100, ..LogConfig::default() })
}

pub fn now_ms(ms: u64) -> Now {
    Now::default().after(std::time::Duration::from_millis(ms))
}

/// A batch as a producer sends it: one record per value.
pub fn batch(values: &[&[u8]], timestamp: i64) -> LeaderBatch {
    producer_batch(values, timestamp, None)
}

/// As [`batch`], by an idempotent producer: id, epoch, first sequence.
pub fn producer_batch(
    values: &[&[u8]],
    timestamp: i64,
    producer: Option<(i64, i16, i32)>,
) -> LeaderBatch {
    let (id, epoch, sequence) = producer.unwrap_or((-1, -1, -1));
    let mut builder = Builder::new(BuilderOptions {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BuilderOptions::default()
    });
    for (index, value) in values.iter().enumerate() {
        let timestamp = timestamp + index as i64;
        builder.push(&NewRecord { timestamp, value: Some(value), ..NewRecord::default() }).unwrap();
    }
    LeaderBatch::new(builder.build().unwrap())
}

/// The batch as a leader would have stored it.
pub fn stored(batch: &LeaderBatch, offset: i64, epoch: i32) -> Batch {
    let header = ottla_protocol::record_batch::patch_header(
        &batch.batch,
        Offset(offset),
        LeaderEpoch(epoch),
        Default::default(),
    );
    Batch::parse(&Bytes::from([&header[..], batch.batch.body()].concat())).unwrap()
}

pub fn identity(boot_id: &str) -> DirIdentity {
    DirIdentity {
        cluster_id: "cluster".to_owned(),
        node_id: 1,
        boot_id: boot_id.to_owned(),
        new_directory_id: Uuid::from_bytes([1; 16]),
        open_files_max: 8,
    }
}

pub fn open<I: LogIo>(
    io: &I,
    path: &Path,
    boot_id: &str,
    config: &Arc<LogConfig>,
) -> Result<(LogDir<I>, Recovered<I>), OpenDirError> {
    let dir = LogDir::open(io.clone(), path, &identity(boot_id))?;
    let recovered = dir.recover(&RecoverOptions {
        threads: 1,
        config: &|_| Arc::clone(config),
        progress: &|_| {},
    })?;
    Ok((dir, recovered))
}

/// Opens the dir and the one log in it, which is made if it is absent.
pub fn open_log<I: LogIo>(
    io: &I,
    path: &Path,
    boot_id: &str,
    config: &Arc<LogConfig>,
) -> (LogDir<I>, Log<I>) {
    let (dir, mut recovered) = open(io, path, boot_id, config).unwrap();
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let log = match recovered.logs.pop() {
        Some(log) => log,
        None => dir.create_log(&partition(), TOPIC_ID, Arc::clone(config)).unwrap(),
    };
    (dir, log)
}

/// Syncs everything, as the pool would.
pub fn flush<I: LogIo>(log: &mut Log<I>) -> Result<(), StorageError> {
    if let Some(ticket) = log.flush()? {
        log.on_synced(ticket.run())?;
    }
    Ok(())
}

pub fn checkpoint<I: LogIo>(log: &mut Log<I>) -> Result<(), StorageError> {
    if let Some(ticket) = log.checkpoint()? {
        log.on_synced(ticket.run())?;
    }
    Ok(())
}

pub fn request(offset: i64, max_bytes: u32) -> ReadRequest {
    ReadRequest {
        offset: Offset(offset),
        max_bytes,
        oversized_first_batch: Oversized::Return,
        upper_bound: Offset(i64::MAX),
    }
}

/// Every batch from the log's start on, read in pieces of about `max_bytes`; checksums verified.
pub fn read_all<I: LogIo>(view: &LogView<I>, max_bytes: u32) -> Vec<Batch> {
    let mut out: Vec<Batch> = Vec::new();
    let mut offset = view.log_start();
    while offset < view.log_end() {
        let request = request(offset.0, max_bytes);
        let slice = view.locate(&request, ReadMode::Wait).unwrap();
        let slice = slice.unwrap_or_else(|| panic!("nothing at {offset} of {}", view.log_end()));
        for batch in batches(slice.read().unwrap()) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            assert!(offset <= batch.header.last_offset());
            offset = batch.header.next_offset();
            out.push(batch);
        }
    }
    assert_eq!(offset, view.log_end());
    out
}

/// Offset, timestamp and value of every record.
pub fn records(batches: &[Batch]) -> Vec<(i64, i64, Vec<u8>)> {
    let mut out = Vec::new();
    let mut scratch = Vec::new();
    for batch in batches {
        for record in batch.records(&mut scratch, Limits::default()).unwrap() {
            let record = record.unwrap();
            out.push((record.offset.0, record.timestamp, record.value.unwrap_or(b"").to_vec()));
        }
    }
    out
}
