//! Reading a segment's batches into the writer's state: at start, in recovery and after a cut.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, checksum};
use ottla_protocol::record_batch::BatchHeader;
use ottla_protocol::types::{LeaderEpoch, Offset};

use crate::error::LoadError;
use crate::file_cache::{FileSlot, ReadMode};
use crate::index::{IndexEntry, OffsetEntry, TimeEntry, read_exact, valid_prefix};
use crate::io::{LogFile, LogIo, OpenMode};
use crate::log::active::Active;
use crate::scan::{SCAN_BUFFER, ScanError, Scanner};
use crate::segment::{MaxTimestamp, SegmentFiles};

/// Which entries of the indexes are believed, and thus which batches are not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Trust {
    /// None: the indexes are built anew.
    Nothing,
    /// Those of batches that end before this offset.
    Below(Offset),
    /// All.
    All,
}

/// What is verified of the batches that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Check {
    /// That headers follow one another.
    Headers,
    /// The checksums too.
    Checksums,
}

/// What a scan found. `active.size` is the end of the last sound batch.
pub(in crate::log) struct SegmentScan<I: LogIo> {
    pub active: Active<I>,
    /// The offset after the last sound batch.
    pub log_end: Offset,
    /// Why the rest of the file is no sound batch, if there is a rest.
    pub bad: Option<String>,
    /// Epochs of the batches read, and their first offsets there.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Bytes read from the log.
    pub scanned: u64,
}

/// Where a scan begins.
struct Start {
    position: u64,
    offset_entries: u32,
    time_entries: u32,
    last_time_entry: Option<TimeEntry>,
}

const FROM_SCRATCH: Start =
    Start { position: 0, offset_entries: 0, time_entries: 0, last_time_entry: None };

/// Reads the batches of a segment of which the log file has `len` bytes, from the last index entry that is trusted on.
/// Index entries behind that one are made anew. Nothing is cut: that is for the caller to decide.
pub(in crate::log) fn scan_segment<I: LogIo>(
    files: &Arc<SegmentFiles<I>>,
    len: u64,
    trust: Trust,
    check: Check,
    interval: u32,
) -> Result<SegmentScan<I>, LoadError> {
    ensure_indexes(files)?;
    let path = files.log.path();
    let io_error = LoadError::io;
    let file = files.log_file(ReadMode::Wait).map_err(io_error(path))?;
    let start = trusted_start(files, &*file, len, trust).map_err(io_error(path))?;
    let mut active = Active::empty(Arc::clone(files), 0);
    prepare(&mut active, &start, &*file, len).map_err(io_error(path))?;
    let mut out = SegmentScan {
        log_end: files.base,
        bad: None,
        epochs: Vec::new(),
        scanned: len - start.position,
        active,
    };
    let range = start.position..len;
    let mut scanner = Scanner::new(&*file, range, SCAN_BUFFER, ReadMode::Wait);
    let mut is_first = 0 < start.position;
    loop {
        match step(&mut scanner, &mut out, (check, interval), std::mem::take(&mut is_first)) {
            Ok(true) => {}
            Ok(false) => break,
            Err(ScanError::Invalid { reason, .. }) => {
                out.bad = Some(reason);
                break;
            }
            Err(ScanError::OldFormat { position, magic }) => {
                if is_old_message(&*file, position, len).map_err(io_error(path))? {
                    return Err(LoadError::OldFormat { path: path.to_owned(), magic });
                }
                out.bad = Some("the bytes are no batch".to_owned());
                break;
            }
            Err(ScanError::Io(source)) => {
                return Err(LoadError::Io { path: path.to_owned(), source });
            }
        }
    }
    Ok(out)
}

/// Takes one batch in; `false` at the end of the file.
fn step<I: LogIo>(
    scanner: &mut Scanner<'_, I::File>,
    out: &mut SegmentScan<I>,
    (check, interval): (Check, u32),
    anywhere: bool,
) -> Result<bool, ScanError> {
    let Some(found) = scanner.next()? else {
        return Ok(false);
    };
    let header = found.header;
    let position = found.position;
    // A batch before a trusted index entry was not read, so the first one may begin anywhere.
    if (!anywhere && header.base_offset < out.log_end) || !out.active.can_hold(header.last_offset())
    {
        let reason = format!("offset {} after {}", header.base_offset, out.log_end);
        return Err(ScanError::Invalid { position, reason });
    }
    if check == Check::Checksums {
        scanner.verify(&found)?;
    }
    out.active.on_written(&header, interval)?;
    out.log_end = header.next_offset();
    let epoch = header.partition_leader_epoch;
    if out.epochs.last().is_none_or(|&(last, _)| last != epoch) {
        out.epochs.push((epoch, header.base_offset));
    }
    Ok(true)
}

/// Sets the writer's state to what the trusted entries say, and removes the others.
fn prepare<I: LogIo>(
    active: &mut Active<I>,
    start: &Start,
    file: &I::File,
    len: u64,
) -> io::Result<()> {
    let files = Arc::clone(&active.files);
    files.offsets.truncate(&*files.offset_file(ReadMode::Wait)?, start.offset_entries)?;
    files.times.truncate(&*files.time_file(ReadMode::Wait)?, start.time_entries)?;
    active.size = start.position;
    active.offset_entries = start.offset_entries;
    active.time_entries = start.time_entries;
    active.last_time_entry = start.last_time_entry;
    if let Some(entry) = start.last_time_entry {
        let offset = files.base + i64::from(entry.relative_offset);
        active.max_timestamp = MaxTimestamp { timestamp: entry.timestamp, offset };
    }
    if 0 < start.position
        && let Ok(Some(first)) = Scanner::new(file, 0..len, 0, ReadMode::Wait).next()
        && 0 <= first.header.max_timestamp
    {
        active.first_timestamp = Some(first.header.max_timestamp);
    }
    Ok(())
}

/// The last entry to be trusted, if the log has the batch that it speaks of.
fn trusted_start<I: LogIo>(
    files: &SegmentFiles<I>,
    log: &I::File,
    len: u64,
    trust: Trust,
) -> io::Result<Start> {
    let (offset_file, time_file) =
        (files.offset_file(ReadMode::Wait)?, files.time_file(ReadMode::Wait)?);
    let below = match trust {
        Trust::Nothing => return Ok(FROM_SCRATCH),
        Trust::Below(offset) => u32::try_from(offset - files.base).unwrap_or(0),
        Trust::All => u32::MAX,
    };
    if !is_whole::<OffsetEntry, _>(&*offset_file)? || !is_whole::<TimeEntry, _>(&*time_file)? {
        return Ok(FROM_SCRATCH);
    }
    let (offset_entries, last) =
        files.offsets.partition_point(&*offset_file, ReadMode::Wait, |entry| {
            entry.relative_offset < below
        })?;
    let Some(last) = last else {
        return Ok(FROM_SCRATCH);
    };
    let position = u64::from(last.position);
    let mut buf = [0; ottla_protocol::record_batch::HEADER_LEN];
    let read = match position + buf.len() as u64 <= len {
        true => read_exact(log, position, &mut buf, ReadMode::Wait),
        false => return Ok(FROM_SCRATCH),
    };
    let expected = files.base + i64::from(last.relative_offset);
    let header = read.ok().and_then(|()| BatchHeader::parse(&buf).ok());
    if header.is_none_or(|header| header.last_offset() != expected) {
        return Ok(FROM_SCRATCH);
    }
    // After a crash the entries before the last one are looked at too: a search must not be led astray.
    let is_sound = |entry: OffsetEntry| u64::from(entry.position) < len;
    if trust != Trust::All && valid_prefix(&*offset_file, is_sound)? < offset_entries {
        return Ok(FROM_SCRATCH);
    }
    let until = if trust == Trust::All { u32::MAX } else { last.relative_offset };
    let (time_entries, last_time_entry) =
        files
            .times
            .partition_point(&*time_file, ReadMode::Wait, |entry| entry.relative_offset <= until)?;
    if trust != Trust::All && valid_prefix::<TimeEntry, _>(&*time_file, |_| true)? < time_entries {
        return Ok(FROM_SCRATCH);
    }
    Ok(Start { position, offset_entries, time_entries, last_time_entry })
}

fn is_whole<E: IndexEntry, F: LogFile>(file: &F) -> io::Result<bool> {
    Ok(file.len()?.is_multiple_of(E::LEN as u64))
}

/// Creates index files that are missing.
fn ensure_indexes<I: LogIo>(files: &SegmentFiles<I>) -> Result<(), LoadError> {
    let io = files.cache.io();
    for slot in [&files.offset_slot, &files.time_slot] {
        let slot: &FileSlot<I> = slot;
        if !io.exists(slot.path()) {
            let path: &Path = slot.path();
            io.open(path, OpenMode::CreateNew).map_err(LoadError::io(path))?;
        }
    }
    Ok(())
}

/// Whether a sound message of format 0 or 1 is at `position`: then the file is not damaged, but too old.
fn is_old_message<F: LogFile>(file: &F, position: u64, len: u64) -> io::Result<bool> {
    const PREFIX: usize = 16;
    const SMALLEST: usize = 14;
    const LARGEST: usize = 128 << 20;
    let mut prefix = [0; PREFIX];
    read_exact(file, position, &mut prefix, ReadMode::Wait)?;
    let field = |at: usize| {
        u32::from_be_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
    };
    let (size, crc) = (field(8) as usize, field(12));
    if !(SMALLEST..=LARGEST).contains(&size) || len < position + 12 + size as u64 {
        return Ok(false);
    }
    let mut body = vec![0; size - 4];
    read_exact(file, position + PREFIX as u64, &mut body, ReadMode::Wait)?;
    Ok(checksum(CrcAlgorithm::Crc32IsoHdlc, &body) as u32 == crc)
}
