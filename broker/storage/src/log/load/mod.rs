//! Opening a log: a clean one by looking at its end, one that crashed by reading what no checkpoint vouches for.

mod scan;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::types::{LeaderEpoch, Offset};
use tracing::{error, info, warn};

use super::Log;
use super::active::Active;
use super::flush::Unsynced;
use crate::checkpoint;
use crate::config::LogConfig;
use crate::dir::DirState;
use crate::epoch_cache::EpochCache;
use crate::error::LoadError;
use crate::file_cache::ReadMode;
use crate::io::{EntryKind, LogFile, LogIo};
use crate::partition_metadata;
use crate::paths::{
    CLEANED_FILE_SUFFIX, DELETED_FILE_SUFFIX, LEADER_EPOCH_CHECKPOINT, SWAP_FILE_SUFFIX,
    SegmentFileKind, TEMP_FILE_SUFFIX, TopicPartition, segment_file,
};
use crate::producer_state::ProducerStates;
use crate::segment::{SegmentFiles, SegmentRef};

use scan::SegmentScan;
pub(super) use scan::{Check, Trust, scan_segment};

/// How the log's former life ended, and thus what is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Closed: everything is durable and the indexes are complete.
    Clean,
    /// Not closed: only what a checkpoint vouches for.
    Recover,
}

/// What opening a log did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Bytes of batches that were read.
    pub scanned_bytes: u64,
    /// Bytes at the end that were no sound batches, and were cut off.
    pub truncated_bytes: u64,
    /// Segments behind such bytes, or behind a gap, that were removed.
    pub removed_segments: u32,
    /// Indexes of sealed segments that were missing or damaged, and were built anew.
    pub rebuilt_indexes: u32,
    /// Records that a checkpoint vouched for were not there.
    pub lost_durable_records: bool,
}

/// An opened log.
#[derive(Debug)]
pub(crate) struct Loaded<I: LogIo> {
    pub log: Log<I>,
    pub report: LoadReport,
}

/// What is in a partition's folder.
struct Listing {
    /// Base offset → bytes of the log file.
    segments: BTreeMap<Offset, u64>,
    /// Index files by base offset and kind, with their sizes.
    indexes: Vec<(Offset, SegmentFileKind, u64)>,
    snapshots: Vec<Offset>,
    removed_leftovers: bool,
}

impl<I: LogIo> Log<I> {
    /// Opens the log in the folder `name` of a dir.
    pub(crate) fn load(
        dir: &Arc<DirState<I>>,
        partition: TopicPartition,
        config: Arc<LogConfig>,
        opening: Opening,
    ) -> Result<Loaded<I>, LoadError> {
        let path: Arc<Path> = dir.path.join(partition.dir_name()).into();
        let listing = list(&dir.io, &path)?;
        let topic_id = partition_metadata::read(&dir.io, &path)?.unwrap_or(Uuid::ZERO);
        let mut report = LoadReport::default();
        let mut loader = Loader { dir, path: &path, config: &config, opening, report: &mut report };
        let recovery_point = dir.recovery_points.get(&partition).unwrap_or(Offset(0));
        let start = dir.log_starts.get(&partition).unwrap_or(Offset(0)).max(Offset(0));
        let mut segments = loader.segments(&listing, recovery_point, start)?;
        let epochs = loader.epochs(&mut segments)?;
        let first = segments.sealed.first().map_or(segments.active.base(), SegmentRef::base_offset);
        let log_end = segments.log_end;
        let mut log = Self {
            dir: Arc::clone(dir),
            topic_id,
            config: Arc::clone(&config),
            sealed_size: segments.sealed.iter().map(SegmentRef::size).sum(),
            sealed: segments.sealed.into(),
            active: segments.active,
            log_start: start.max(first).min(log_end),
            log_end,
            flushed_end: log_end,
            epochs: Arc::new(epochs),
            producers: ProducerStates::default(),
            snapshots: listing.snapshots,
            unsynced: Unsynced::none(),
            path: Arc::clone(&path),
            partition,
        };
        log.remove_snapshots_after(log_end)?;
        log.remove_stray_snapshots()?;
        log.rebuild_producers()?;
        let names_changed =
            listing.removed_leftovers || segments.created || opening == Opening::Recover;
        if names_changed || 0 < report.rebuilt_indexes {
            log.sync_folder()?;
        }
        log.unsynced = Unsynced::none();
        log.active.file = None;
        // Everything kept is durable now, the indexes too.
        dir.recovery_points.set(&log.partition, log_end);
        if log_end < start {
            // Else records appended from now on would vanish at the next start.
            dir.log_starts.set(&log.partition, log_end);
        }
        if recovery_point != Offset(0) && log_end < recovery_point {
            report.lost_durable_records = true;
            error!(partition = %log.partition, %log_end, %recovery_point,
                "records that had been synced are gone; the disk lost them");
        }
        Ok(Loaded { log, report })
    }
}

/// The segments of a log that is being opened.
struct Segments<I: LogIo> {
    sealed: Vec<SegmentRef<I>>,
    active: Active<I>,
    log_end: Offset,
    epochs: Vec<(LeaderEpoch, Offset)>,
    created: bool,
}

struct Loader<'a, I: LogIo> {
    dir: &'a Arc<DirState<I>>,
    path: &'a Path,
    config: &'a LogConfig,
    opening: Opening,
    report: &'a mut LoadReport,
}

impl<I: LogIo> Loader<'_, I> {
    fn segments(
        &mut self,
        listing: &Listing,
        recovery_point: Offset,
        log_start: Offset,
    ) -> Result<Segments<I>, LoadError> {
        let bases: Vec<(Offset, u64)> = listing.segments.iter().map(|(&b, &l)| (b, l)).collect();
        let mut sealed: Vec<SegmentRef<I>> = Vec::new();
        let mut epochs = Vec::new();
        for (index, &(base, len)) in bases.iter().enumerate() {
            let next = bases.get(index + 1).map(|&(next, _)| next);
            let files = SegmentFiles::existing(&self.dir.cache, self.path, base);
            let vouched = next.is_some_and(|next| next <= recovery_point);
            if let Some(next) = next
                && (self.opening == Opening::Clean || vouched)
            {
                self.check_indexes(&files, len, listing)?;
                sealed.push(SegmentRef::sealed(files, next, len));
                continue;
            }
            let scan = self.scan(&files, len, recovery_point)?;
            epochs.extend(scan.epochs.iter().copied());
            self.report.scanned_bytes += scan.scanned;
            let is_whole = scan.bad.is_none() && next == Some(scan.log_end);
            let log_end = scan.log_end;
            let active = self.settle(scan, len, &bases[index + 1..], is_whole)?;
            if is_whole {
                let size = active.size;
                let _ = files.sealed_max_timestamp.set(active.max_timestamp);
                sealed.push(SegmentRef::sealed(files, log_end, size));
                continue;
            }
            return Ok(Segments { sealed, active, log_end, epochs, created: false });
        }
        self.empty(log_start)
    }

    /// A folder without segments: it was created, and nothing else got to the disk.
    fn empty(&mut self, log_start: Offset) -> Result<Segments<I>, LoadError> {
        let files = SegmentFiles::create(&self.dir.cache, self.path, log_start)
            .map_err(LoadError::io(self.path))?;
        Ok(Segments {
            sealed: Vec::new(),
            active: Active::empty(files, 0),
            log_end: log_start,
            epochs: Vec::new(),
            created: true,
        })
    }

    fn scan(
        &mut self,
        files: &Arc<SegmentFiles<I>>,
        len: u64,
        recovery_point: Offset,
    ) -> Result<SegmentScan<I>, LoadError> {
        let interval = self.config.index_interval_bytes;
        if self.opening == Opening::Clean {
            let scan = scan_segment(files, len, Trust::All, Check::Headers, interval)?;
            let Some(reason) = &scan.bad else {
                return Ok(scan);
            };
            warn!(file = %files.log.path().display(), reason,
                "the log was closed cleanly, but its end is damaged; the segment is read whole");
            return scan_segment(files, len, Trust::Nothing, Check::Checksums, interval);
        }
        let trust =
            if files.base < recovery_point { Trust::Below(recovery_point) } else { Trust::Nothing };
        scan_segment(files, len, trust, Check::Checksums, interval)
    }

    /// Cuts off what is not sound, removes what is behind it, and makes durable what is kept.
    fn settle(
        &mut self,
        scan: SegmentScan<I>,
        len: u64,
        later: &[(Offset, u64)],
        is_whole: bool,
    ) -> Result<Active<I>, LoadError> {
        let mut active = scan.active;
        let path = active.files.log.path().to_owned();
        let io = LoadError::io;
        if !is_whole {
            self.remove_later(later)?;
        }
        if let Some(reason) = &scan.bad {
            info!(file = %path.display(), reason, log_end = %scan.log_end, bytes = len - active.size,
                "the end of the log is cut off");
            self.report.truncated_bytes += len - active.size;
            let size = active.size;
            active.writable().and_then(|file| file.set_len(size)).map_err(io(&path))?;
        }
        if self.opening == Opening::Clean && scan.bad.is_none() {
            return Ok(active);
        }
        if is_whole {
            active.push_time_entry().map_err(io(&path))?;
        }
        let files = Arc::clone(&active.files);
        let sync = || {
            files.flush_indexes()?;
            files.log_file(ReadMode::Wait)?.sync()?;
            files.offset_file(ReadMode::Wait)?.sync()?;
            files.time_file(ReadMode::Wait)?.sync()
        };
        sync().map_err(|error| self.dir.fail("sync", &path, &error))?;
        Ok(active)
    }

    /// Removes segments that do not continue what is before them, newest first.
    fn remove_later(&mut self, later: &[(Offset, u64)]) -> Result<(), LoadError> {
        for &(base, len) in later.iter().rev() {
            let path = segment_file(self.path, base, SegmentFileKind::Log);
            warn!(file = %path.display(), bytes = len,
                "segment does not continue the one before it and is removed");
            self.report.removed_segments += 1;
            self.report.truncated_bytes += len;
            self.dir.io.remove_file(&path).map_err(LoadError::io(&path))?;
            for kind in [
                SegmentFileKind::OffsetIndex,
                SegmentFileKind::TimeIndex,
                SegmentFileKind::TxnIndex,
            ] {
                match self.dir.io.remove_file(&segment_file(self.path, base, kind)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(LoadError::Io { path, source: error });
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Builds the indexes of a sealed segment anew, if they are missing or cannot be right by their size.
    fn check_indexes(
        &mut self,
        files: &Arc<SegmentFiles<I>>,
        len: u64,
        listing: &Listing,
    ) -> Result<(), LoadError> {
        let size_of = |kind| {
            let found =
                listing.indexes.iter().find(|&&(base, k, _)| base == files.base && k == kind);
            found.map(|&(_, _, size)| size)
        };
        let is_good =
            |kind, entry_len: u64| size_of(kind).is_some_and(|size| size.is_multiple_of(entry_len));
        if is_good(SegmentFileKind::OffsetIndex, 8) && is_good(SegmentFileKind::TimeIndex, 12) {
            return Ok(());
        }
        warn!(file = %files.log.path().display(), "indexes are missing or damaged and are built anew");
        self.report.rebuilt_indexes += 1;
        let interval = self.config.index_interval_bytes;
        let scan = scan_segment(files, len, Trust::Nothing, Check::Headers, interval)?;
        if let Some(reason) = &scan.bad {
            // The segments behind it are sound; what can be read of this one, can be read.
            error!(file = %files.log.path().display(), reason, position = scan.active.size,
                "segment is damaged; records from there on to the next segment cannot be read");
        }
        let mut active = scan.active;
        let path = files.log.path();
        let finish = active.push_time_entry().and_then(|()| {
            files.flush_indexes()?;
            files.offset_file(ReadMode::Wait)?.sync()?;
            files.time_file(ReadMode::Wait)?.sync()
        });
        finish.map_err(LoadError::io(path))?;
        let _ = files.sealed_max_timestamp.set(active.max_timestamp);
        Ok(())
    }

    /// The epochs on record, put right by what the batches say.
    fn epochs(&mut self, segments: &mut Segments<I>) -> Result<EpochCache, LoadError> {
        let path = self.path.join(LEADER_EPOCH_CHECKPOINT);
        let stored = match checkpoint::read_epochs(&self.dir.io, &path) {
            Ok(stored) => stored,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                warn!(%error, "leader epochs are read from the batches");
                None
            }
            Err(source) => return Err(LoadError::Io { path, source }),
        };
        let mut epochs = EpochCache::from_entries(stored.as_deref().unwrap_or_default());
        if stored.is_none() {
            self.epochs_of_sealed(segments, &mut epochs)?;
        }
        for &(epoch, offset) in &segments.epochs {
            epochs.reconcile(epoch, offset);
        }
        epochs.drop_beyond(segments.log_end);
        let before = stored.unwrap_or_default();
        if before != epochs.entries() {
            let entries = epochs.entries();
            checkpoint::write_epochs(&self.dir.io, &path, entries).map_err(LoadError::io(&path))?;
        }
        Ok(epochs)
    }

    fn epochs_of_sealed(
        &mut self,
        segments: &Segments<I>,
        epochs: &mut EpochCache,
    ) -> Result<(), LoadError> {
        let active = segments.active.reference(segments.log_end);
        let all = segments.sealed.iter().chain([&active]);
        for segment in all.filter(|segment| segment.size != 0) {
            let path = segment.files.log.path();
            let file = segment.files.log_file(ReadMode::Wait).map_err(LoadError::io(path))?;
            let range = 0..segment.size;
            let mut scanner =
                crate::scan::Scanner::new(&*file, range, crate::scan::SCAN_BUFFER, ReadMode::Wait);
            while let Ok(Some(found)) = scanner.next() {
                epochs.reconcile(found.header.partition_leader_epoch, found.header.base_offset);
            }
        }
        Ok(())
    }
}

/// Reads a partition's folder and removes what an interrupted operation left.
fn list<I: LogIo>(io: &I, path: &Path) -> Result<Listing, LoadError> {
    let mut out = Listing {
        segments: BTreeMap::new(),
        indexes: Vec::new(),
        snapshots: Vec::new(),
        removed_leftovers: false,
    };
    let leftovers = [TEMP_FILE_SUFFIX, DELETED_FILE_SUFFIX, CLEANED_FILE_SUFFIX];
    for entry in io.list(path).map_err(LoadError::io(path))? {
        if entry.kind != EntryKind::File {
            continue;
        }
        let file = path.join(&entry.name);
        if entry.name.ends_with(SWAP_FILE_SUFFIX) {
            return Err(LoadError::InterruptedCompaction { path: file });
        }
        if leftovers.iter().any(|suffix| entry.name.ends_with(suffix)) {
            io.remove_file(&file).map_err(LoadError::io(&file))?;
            out.removed_leftovers = true;
            continue;
        }
        match SegmentFileKind::parse(&entry.name) {
            Some((base, SegmentFileKind::Log)) => {
                out.segments.insert(base, entry.len);
            }
            Some((offset, SegmentFileKind::Snapshot)) => out.snapshots.push(offset),
            Some((base, kind)) => out.indexes.push((base, kind, entry.len)),
            None => {}
        }
    }
    for &(base, kind, _) in &out.indexes {
        if !out.segments.contains_key(&base) {
            let file = segment_file(path, base, kind);
            io.remove_file(&file).map_err(LoadError::io(&file))?;
            out.removed_leftovers = true;
        }
    }
    Ok(out)
}
