//! Writes a small log dir, for foreign tools to look at: `write_sample DIR`. The dir must be empty or absent.
//!
//! Two partitions: `sample-0` with several segments, two leader epochs, every codec, an idempotent producer and a cut;
//! `sample-1` is left open as a running broker would, so that its active segment can be looked at.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ottla_protocol::Uuid;
use ottla_protocol::compression::Codec;
use ottla_protocol::record_batch::{Builder, BuilderOptions, NewRecord};
use ottla_protocol::time::Now;
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use ottla_storage::{
    DirIdentity, LeaderBatch, Log, LogConfig, LogDir, RealIo, RecoverOptions, TopicPartition,
};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
/// 2025-01-01.
const START_MS: i64 = 1_735_689_600_000;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: write_sample DIR")?;
    let config = Arc::new(LogConfig {
        segment_bytes: 20_000,
        index_interval_bytes: 1000,
        ..LogConfig::default()
    });
    let identity = DirIdentity {
        cluster_id: "sample-cluster".to_owned(),
        node_id: 1,
        boot_id: "sample".to_owned(),
        new_directory_id: Uuid::from_bytes([5; 16]),
        open_files_max: DirIdentity::OPEN_FILES_MAX,
    };
    let dir = LogDir::open(RealIo, Path::new(&path), &identity)?;
    let options =
        RecoverOptions { threads: 1, config: &|_| Arc::clone(&config), progress: &|_| {} };
    dir.recover(&options)?;
    let topic_id = Uuid::from_bytes([6; 16]);
    let create = |number| {
        dir.create_log(&TopicPartition::new("sample", number), topic_id, Arc::clone(&config))
    };
    let mut log = create(0)?;
    fill(&mut log, 0, LeaderEpoch(0), 300)?;
    log.truncate_to(Offset(1000), at(0))?;
    fill(&mut log, 1, LeaderEpoch(2), 200)?;
    let mut open = create(1)?;
    fill(&mut open, 0, LeaderEpoch(0), 100)?;
    if let Some(ticket) = open.checkpoint()? {
        open.on_synced(ticket.run())?;
    }
    fill(&mut open, 0, LeaderEpoch(0), 10)?;
    println!("sample-0 ends at {}, sample-1 at {}", log.log_end(), open.log_end());
    dir.close(vec![log], 1)?;
    Ok(())
}

fn at(offset: i64) -> Now {
    Now { monotonic: Duration::ZERO, wall_ms: START_MS + offset }
}

fn fill(
    log: &mut Log<RealIo>,
    epoch: i16,
    leader: LeaderEpoch,
    batches: i32,
) -> anyhow::Result<()> {
    let first = log.producer(ProducerId(4711)).filter(|entry| entry.epoch.0 == epoch);
    let mut sequence = first.map_or(0, |entry| entry.last_sequence() + 1);
    for index in 0..batches {
        let codec = CODECS[index as usize % CODECS.len()];
        let mut builder = Builder::new(BuilderOptions {
            compression: codec.into(),
            producer_id: ProducerId(4711),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
            ..BuilderOptions::default()
        });
        let offset = log.log_end().0;
        for i in 0..5 {
            let (key, value) =
                (format!("key {}", (offset + i) % 17), format!("{codec} {:050}", offset + i));
            // Timestamps go back and forth a little, as those of several producers do.
            let timestamp = START_MS + 10 * (offset + i) - 35 * (i % 2);
            let record = NewRecord {
                timestamp,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                ..NewRecord::default()
            };
            builder.push(&record)?;
        }
        sequence += 5;
        let batch = LeaderBatch::new(builder.build()?);
        log.append_as_leader(&[batch], leader, at(offset))?;
    }
    Ok(())
}
