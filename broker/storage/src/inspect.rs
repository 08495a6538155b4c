//! Looking into a log dir that nobody runs in, without changing anything: what `ottla cluster recover` goes by.

use std::path::{Path, PathBuf};

use ottla_protocol::Uuid;
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerId};

use crate::checkpoint::{self, Offsets};
use crate::dir::{PreviousLife, has_partitions, life_of, meta_of, partitions_in};
use crate::epoch_cache::EpochCache;
use crate::error::OpenDirError;
use crate::file_cache::ReadMode;
use crate::io::{EntryKind, LogIo, OpenMode};
use crate::partition_metadata;
use crate::paths::{
    HIGH_WATERMARK_CHECKPOINT, LEADER_EPOCH_CHECKPOINT, LOCK, LOG_START_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT, SWAP_FILE_SUFFIX, SegmentFileKind, TopicPartition, segment_file,
};
use crate::producer_state;
use crate::scan::{SCAN_BUFFER, ScanError, Scanner};

/// What a log dir holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirInspection {
    /// Its cluster, if it belongs to one.
    pub cluster_id: Option<String>,
    /// Its broker, if it belongs to one.
    pub node_id: Option<i32>,
    /// Its id, if it has one.
    pub directory_id: Option<Uuid>,
    /// How its last life ended.
    pub previous_life: PreviousLife,
    /// Every partition in it, whether or not it can be read.
    pub logs: Vec<(TopicPartition, Result<LogInspection, String>)>,
}

/// What a log would be once it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInspection {
    /// The topic's id; zero where the folder does not say.
    pub topic_id: Uuid,
    /// The first offset.
    pub log_start: Offset,
    /// The offset behind the last sound record.
    pub log_end: Offset,
    /// The newest leader epoch that it took note of; -1 if there is none.
    pub leader_epoch: LeaderEpoch,
    /// The high watermark as it was last written, 0 if it never was.
    pub high_watermark: Offset,
    /// What was synced, as a checkpoint says.
    pub synced_end: Offset,
    /// The highest producer id that was met; -1 if there is none.
    pub max_producer_id: ProducerId,
}

/// Looks into the dir at `path`, which must not be in use: it is locked meanwhile. Reads the last segment of
/// every log, and more after a crash. `boot_id`: the machine's, as it is now.
pub fn inspect_dir<I: LogIo>(
    io: &I,
    path: &Path,
    boot_id: &str,
) -> Result<DirInspection, OpenDirError> {
    let failed = |source| OpenDirError::Io { path: path.to_owned(), source };
    let entries = io.list(path).map_err(failed)?;
    let lock = io.lock(&path.join(LOCK)).map_err(failed)?;
    let _lock = lock.ok_or_else(|| OpenDirError::Locked { dir: path.to_owned() })?;
    let previous_life = life_of(io, path, boot_id, has_partitions(&entries)).map_err(failed)?;
    let offsets = |name| checkpoint::read_offsets(io, &path.join(name)).map_err(failed);
    let dir = Dir {
        io,
        path,
        is_clean: matches!(previous_life, PreviousLife::Clean { .. }),
        synced: offsets(RECOVERY_POINT_CHECKPOINT)?,
        starts: offsets(LOG_START_CHECKPOINT)?,
        high_watermarks: offsets(HIGH_WATERMARK_CHECKPOINT)?,
    };
    let logs = partitions_in(&entries).map(|partition| {
        let inspected = dir.log(&partition);
        (partition, inspected)
    });
    let logs = logs.collect();
    let meta = meta_of(io, path)?;
    Ok(DirInspection {
        cluster_id: meta.cluster_id,
        node_id: meta.node_id,
        directory_id: meta.directory_id,
        previous_life,
        logs,
    })
}

struct Dir<'a, I> {
    io: &'a I,
    path: &'a Path,
    is_clean: bool,
    synced: Offsets,
    starts: Offsets,
    high_watermarks: Offsets,
}

/// What is in a log's folder.
struct Listing {
    /// By base offset, with their bytes.
    segments: Vec<(Offset, u64)>,
    snapshots: Vec<Offset>,
}

/// What the batches say.
struct Batches {
    log_end: Offset,
    epochs: Vec<(LeaderEpoch, Offset)>,
    max_producer_id: ProducerId,
}

impl<I: LogIo> Dir<'_, I> {
    fn log(&self, partition: &TopicPartition) -> Result<LogInspection, String> {
        let folder = self.path.join(partition.dir_name());
        let at = |offsets: &Offsets| offsets.get(partition).copied().unwrap_or(Offset(0));
        let (synced_end, start) = (at(&self.synced), at(&self.starts).max(Offset(0)));
        let listing = list(self.io, &folder)?;
        let checkpoint = folder.join(LEADER_EPOCH_CHECKPOINT);
        // A damaged file is read from the batches, as at an opening.
        let stored = checkpoint::read_epochs(self.io, &checkpoint).unwrap_or_default();
        let batches = self.batches(&folder, &listing, (synced_end, start), stored.is_none())?;
        let mut epochs = EpochCache::from_entries(stored.as_deref().unwrap_or_default());
        for &(epoch, offset) in &batches.epochs {
            epochs.reconcile(epoch, offset);
        }
        epochs.drop_beyond(batches.log_end);
        let first = listing.segments.first().map_or(start, |&(base, _)| base);
        let snapshot = listing.snapshots.iter().max().map(|&at| self.max_producer(&folder, at));
        let topic_id =
            partition_metadata::read(self.io, &folder).map_err(|error| error.to_string())?;
        Ok(LogInspection {
            topic_id: topic_id.unwrap_or(Uuid::ZERO),
            log_start: start.max(first).min(batches.log_end),
            log_end: batches.log_end,
            leader_epoch: epochs.latest().unwrap_or(LeaderEpoch::NONE),
            high_watermark: at(&self.high_watermarks),
            synced_end,
            max_producer_id: batches.max_producer_id.max(snapshot.unwrap_or(ProducerId(-1))),
        })
    }

    /// Reads what no checkpoint vouches for, or all headers if the epochs are not on record.
    fn batches(
        &self,
        folder: &Path,
        listing: &Listing,
        (synced_end, start): (Offset, Offset),
        read_all: bool,
    ) -> Result<Batches, String> {
        let none = ProducerId(-1);
        let mut out = Batches { log_end: start, epochs: Vec::new(), max_producer_id: none };
        for (index, &(base, len)) in listing.segments.iter().enumerate() {
            let next = listing.segments.get(index + 1).map(|&(next, _)| next);
            out.log_end = base;
            let vouched = |next: &Offset| self.is_clean || *next <= synced_end;
            if let Some(next) = next.filter(vouched).filter(|_| !read_all) {
                out.log_end = next;
                continue;
            }
            let path = segment_file(folder, base, SegmentFileKind::Log);
            let is_sound = self.scan(&path, len, synced_end, &mut out)?;
            match next {
                Some(next) if vouched(&next) => out.log_end = next,
                Some(next) if is_sound && out.log_end == next => {}
                // What follows does not continue it, and would be removed.
                Some(_) | None => break,
            }
        }
        Ok(out)
    }

    /// Reads one segment up to the first bytes that are no sound batch; whether it is sound to its end.
    fn scan(
        &self,
        path: &Path,
        len: u64,
        synced_end: Offset,
        out: &mut Batches,
    ) -> Result<bool, String> {
        let in_file = |reason: String| format!("{}: {reason}", path.display());
        let opened = self.io.open(path, OpenMode::Read);
        let file = opened.map_err(|error| in_file(error.to_string()))?;
        let mut scanner = Scanner::new(&file, 0..len, SCAN_BUFFER, ReadMode::Wait);
        loop {
            let found = match scanner.next() {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(true),
                Err(ScanError::Invalid { .. }) => return Ok(false),
                Err(ScanError::OldFormat { magic, .. }) => {
                    return Err(in_file(format!("messages of the old format {magic}")));
                }
                Err(ScanError::Io(error)) => return Err(in_file(error.to_string())),
            };
            let header = &found.header;
            let is_vouched = self.is_clean || header.last_offset() < synced_end;
            if header.base_offset < out.log_end || (!is_vouched && scanner.verify(&found).is_err())
            {
                return Ok(false);
            }
            out.log_end = Offset(header.last_offset().0 + 1);
            out.max_producer_id = out.max_producer_id.max(header.producer_id);
            if out.epochs.last().is_none_or(|&(epoch, _)| epoch != header.partition_leader_epoch) {
                out.epochs.push((header.partition_leader_epoch, header.base_offset));
            }
        }
    }

    /// The highest id in a snapshot; one that cannot be read has none.
    fn max_producer(&self, folder: &Path, at: Offset) -> ProducerId {
        let path = segment_file(folder, at, SegmentFileKind::Snapshot);
        let content = self.io.read_small(&path, SNAPSHOT_BYTES_MAX).unwrap_or_default();
        producer_state::max_in_snapshot(&content).unwrap_or(ProducerId(-1))
    }
}

fn list<I: LogIo>(io: &I, folder: &Path) -> Result<Listing, String> {
    let mut out = Listing { segments: Vec::new(), snapshots: Vec::new() };
    let shown = |path: PathBuf| path.display().to_string();
    let entries = io.list(folder).map_err(|error| format!("{}: {error}", shown(folder.into())))?;
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
        if entry.name.ends_with(SWAP_FILE_SUFFIX) {
            let path = shown(folder.join(&entry.name));
            return Err(format!("{path} is left of an interrupted compaction"));
        }
        match SegmentFileKind::parse(&entry.name) {
            Some((base, SegmentFileKind::Log)) => out.segments.push((base, entry.len)),
            Some((offset, SegmentFileKind::Snapshot)) => out.snapshots.push(offset),
            _ => {}
        }
    }
    out.segments.sort_unstable();
    Ok(out)
}

/// Snapshots beyond this are not looked into: a million producers take 46 MB.
const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests;
