//! Appending: checks, offsets, one vectored write, indexes.

use std::io::{self, IoSlice};

use ottla_protocol::record_batch::{
    Batch, BatchHeader, ControlType, EndTransactionMarker, HEADER_LEN, Limits, TimestampPatch,
    TimestampType, patch_header,
};
use ottla_protocol::time::Now;
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerId};

use super::Log;
use crate::error::{AppendError, StorageError};
use crate::io::{LogFile, LogIo, is_out_of_space};
use crate::producer_state::{ProducerBatch, ProducerEntry};

/// A validated batch for [`Log::append_as_leader`].
#[derive(Clone, Debug)]
pub struct LeaderBatch {
    /// The batch as the producer sent it: checksum, records and limits were checked.
    pub batch: Batch,
    /// The largest timestamp of its records (Unix ms), by which a wrong one in the header is put right.
    pub max_timestamp: i64,
}

impl LeaderBatch {
    /// A batch of which the header's max timestamp is right.
    pub fn new(batch: Batch) -> Self {
        Self { max_timestamp: batch.header.max_timestamp, batch }
    }
}

/// Where an append ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its last record. Acknowledge when the watermark, or what is flushed, has passed it.
    pub last_offset: Offset,
    /// The time that the broker gave its records (Unix ms); −1 with CreateTime.
    pub log_append_time: i64,
    /// The log's first offset.
    pub log_start: Offset,
    /// It was in the log already: a retry by an idempotent producer. Nothing was written.
    pub duplicate: bool,
}

/// Appends that are checked, have their offsets, and are to be written with one call.
struct Stage<'a> {
    headers: Vec<[u8; HEADER_LEN]>,
    batches: Vec<StagedBatch<'a>>,
    bytes: u64,
    next_offset: Offset,
    undo: Vec<(ProducerId, Option<ProducerEntry>)>,
    /// Results not yet confirmed by a write: those from here on in the caller's list.
    results_from: usize,
}

struct StagedBatch<'a> {
    header: BatchHeader,
    body: &'a [u8],
}

impl Stage<'_> {
    fn new(log_end: Offset, results_from: usize) -> Self {
        let (headers, batches, undo) = (Vec::new(), Vec::new(), Vec::new());
        Self { headers, batches, bytes: 0, next_offset: log_end, undo, results_from }
    }
}

/// A write is made when so many bytes are staged, so that the first appends of a long queue do not wait for the last.
const STAGE_BYTES_MAX: u64 = 1 << 20;

type Results = Vec<Result<Appended, AppendError>>;

impl<I: LogIo> Log<I> {
    /// Appends batches as the partition's leader in `epoch`: assigns offsets in copies of their headers, checks the
    /// sequences of idempotent producers, writes. All of it is in the log afterwards, or nothing.
    pub fn append_as_leader(
        &mut self,
        batches: &[LeaderBatch],
        epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Appended, AppendError> {
        let mut results = Vec::with_capacity(1);
        self.append_all_as_leader([batches], epoch, now, &mut results);
        results.pop().unwrap_or_else(|| Err(self.dir.out_of_space()))
    }

    /// As [`Log::append_as_leader`] for several appends, which share write calls. Each is refused or accepted by itself;
    /// one result for each is added to `results`, in order.
    pub fn append_all_as_leader<'a>(
        &mut self,
        appends: impl IntoIterator<Item = &'a [LeaderBatch]>,
        epoch: LeaderEpoch,
        now: Now,
        results: &mut Results,
    ) {
        let mut stage = Stage::new(self.log_end, results.len());
        for batches in appends {
            let result = self
                .prepare_leader(batches, epoch, now)
                .and_then(|()| self.make_room(batches, now, &mut stage, results))
                .and_then(|()| self.stage_leader(batches, (epoch, now), &mut stage));
            results.push(result);
            if STAGE_BYTES_MAX <= stage.bytes {
                self.write_stage(&mut stage, results);
            }
        }
        self.write_stage(&mut stage, results);
    }

    /// Appends batches as they came from the leader, with offsets and epochs; they must continue the log. All or nothing.
    /// Returns `None` for no batches.
    pub fn append_as_follower(
        &mut self,
        batches: &[Batch],
        now: Now,
    ) -> Result<Option<Appended>, AppendError> {
        self.dir.check()?;
        self.dir.check_space(now)?;
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Ok(None);
        };
        self.check_continues(batches)?;
        let mut results = Results::new();
        let mut rest = batches;
        while let Some(next) = rest.first() {
            let epoch = next.header.partition_leader_epoch;
            self.roll_if_needed(next.bytes.len() as u64, &next.header, now)?;
            self.assign_epoch(epoch, next.header.base_offset)?;
            let mut stage = Stage::new(self.log_end, 0);
            let room = self.config.segment_bytes_max().saturating_sub(self.active.size);
            let mut taken = 0;
            for batch in rest {
                let len = batch.bytes.len() as u64;
                let fits = stage.bytes + len <= room.min(STAGE_BYTES_MAX);
                if batch.header.partition_leader_epoch != epoch || (0 < taken && !fits) {
                    break;
                }
                if !self.active.can_hold(batch.header.last_offset()) {
                    break;
                }
                self.stage(batch, batch.header, batch.header.write(), &mut stage);
                taken += 1;
            }
            results.push(Ok(self.appended(first.header.base_offset, last.header.last_offset())));
            self.write_stage(&mut stage, &mut results);
            results.pop().unwrap_or_else(|| Err(self.dir.out_of_space()))?;
            rest = &rest[taken.max(1)..];
        }
        Ok(Some(self.appended(first.header.base_offset, last.header.last_offset())))
    }

    fn check_continues(&self, batches: &[Batch]) -> Result<(), AppendError> {
        let (mut log_end, mut latest) = (self.log_end, self.latest_epoch());
        for Batch { header, .. } in batches {
            let found = header.base_offset;
            if found < log_end || header.last_offset_delta < 0 {
                return Err(AppendError::UnexpectedOffset { found, log_end });
            }
            self.check_epoch(header.partition_leader_epoch, latest)?;
            log_end = header.next_offset();
            latest = Some(header.partition_leader_epoch);
        }
        Ok(())
    }

    fn check_epoch(
        &self,
        found: LeaderEpoch,
        latest: Option<LeaderEpoch>,
    ) -> Result<(), AppendError> {
        match latest {
            Some(latest) if found < latest => Err(AppendError::StaleLeaderEpoch { found, latest }),
            _ => Ok(()),
        }
    }

    fn appended(&self, first_offset: Offset, last_offset: Offset) -> Appended {
        let log_start = self.log_start;
        Appended { first_offset, last_offset, log_append_time: -1, log_start, duplicate: false }
    }

    fn prepare_leader(
        &mut self,
        batches: &[LeaderBatch],
        epoch: LeaderEpoch,
        now: Now,
    ) -> Result<(), AppendError> {
        self.dir.check()?;
        self.dir.check_space(now)?;
        self.check_epoch(epoch, self.latest_epoch())?;
        let size = batches.iter().map(|batch| batch.batch.bytes.len() as u64).sum();
        let max = self.config.segment_bytes_max();
        if max < size {
            return Err(AppendError::TooLargeForSegment { size, max });
        }
        Ok(())
    }

    /// Writes what is staged and rolls the segment where the append does not fit behind it.
    fn make_room(
        &mut self,
        batches: &[LeaderBatch],
        now: Now,
        stage: &mut Stage<'_>,
        results: &mut Results,
    ) -> Result<(), AppendError> {
        let size: u64 = batches.iter().map(|batch| batch.batch.bytes.len() as u64).sum();
        let records: i64 =
            batches.iter().map(|batch| i64::from(batch.batch.header.last_offset_delta) + 1).sum();
        let last = stage.next_offset.0.checked_add(records).map(Offset);
        let last = last.ok_or(AppendError::OffsetOverflow(stage.next_offset))?;
        let timestamp = batches.iter().map(|batch| batch.max_timestamp).max().unwrap_or(-1);
        let timestamp = match self.config.timestamp_type {
            TimestampType::LogAppendTime => now.wall_ms,
            TimestampType::CreateTime => timestamp,
        };
        let is_full = self.active.is_full_for(stage.bytes + size, last, &self.config);
        if is_full || self.active.is_too_old(timestamp, now.wall_ms, &self.config) {
            self.write_stage(stage, results);
            self.dir.check()?;
            if self.active.size != 0 && self.active.base() != self.log_end {
                self.roll(now)?;
            }
        }
        Ok(())
    }

    fn stage_leader<'a>(
        &mut self,
        batches: &'a [LeaderBatch],
        (epoch, now): (LeaderEpoch, Now),
        stage: &mut Stage<'a>,
    ) -> Result<Appended, AppendError> {
        if let Some(duplicate) = self.check_producers(batches, stage)? {
            return Ok(Appended {
                log_append_time: self.log_append_time(duplicate.timestamp),
                duplicate: true,
                ..self.appended(duplicate.first_offset(), duplicate.last_offset)
            });
        }
        // The epoch's start is on disk before its first record.
        self.assign_epoch(epoch, stage.next_offset)?;
        let first = stage.next_offset;
        for LeaderBatch { batch, max_timestamp } in batches {
            let patch = match self.config.timestamp_type {
                TimestampType::LogAppendTime => TimestampPatch::LogAppendTime(now.wall_ms),
                TimestampType::CreateTime if *max_timestamp != batch.header.max_timestamp => {
                    TimestampPatch::MaxTimestamp(*max_timestamp)
                }
                TimestampType::CreateTime => TimestampPatch::Keep,
            };
            let bytes = patch_header(batch, stage.next_offset, epoch, patch);
            // What was just written cannot fail to be read.
            let header = BatchHeader::parse(&bytes).unwrap_or(batch.header);
            self.stage(batch, header, bytes, stage);
        }
        Ok(Appended {
            log_append_time: self.log_append_time(now.wall_ms),
            ..self.appended(first, stage.next_offset + -1)
        })
    }

    fn log_append_time(&self, timestamp: i64) -> i64 {
        match self.config.timestamp_type {
            TimestampType::LogAppendTime => timestamp,
            TimestampType::CreateTime => -1,
        }
    }

    /// Checks every batch of an append before any is staged. Later batches of one producer are checked against earlier
    /// ones by trying, and undoing.
    fn check_producers(
        &mut self,
        batches: &[LeaderBatch],
        stage: &Stage<'_>,
    ) -> Result<Option<ProducerBatch>, AppendError> {
        let mut tried = Vec::new();
        let mut next_offset = stage.next_offset;
        let mut outcome = Ok(None);
        for LeaderBatch { batch, .. } in batches {
            let mut header = batch.header;
            header.base_offset = next_offset;
            next_offset = header.next_offset();
            if !header.has_producer_id() || header.attributes.is_control() {
                continue;
            }
            outcome = self.producers.check(&header);
            if !matches!(outcome, Ok(None)) {
                break;
            }
            if 1 < batches.len() {
                tried.push(self.producers.save(header.producer_id));
                self.producers.apply(&header);
            }
        }
        for saved in tried.into_iter().rev() {
            self.producers.restore(saved);
        }
        outcome
    }

    fn stage<'a>(
        &mut self,
        batch: &'a Batch,
        header: BatchHeader,
        bytes: [u8; HEADER_LEN],
        stage: &mut Stage<'a>,
    ) {
        if header.has_producer_id() {
            stage.undo.push(self.producers.save(header.producer_id));
            match marker_of(batch) {
                Some(marker) => drop(self.producers.apply_marker(&header, &marker)),
                None => self.producers.apply(&header),
            }
        }
        stage.next_offset = header.next_offset();
        stage.bytes += header.total_len() as u64;
        stage.headers.push(bytes);
        stage.batches.push(StagedBatch { header, body: batch.body() });
    }

    /// Writes what is staged. If that fails, the file is cut back, the results that had been promised become errors, and
    /// the producers are as before.
    fn write_stage(&mut self, stage: &mut Stage<'_>, results: &mut Results) {
        let staged = std::mem::replace(stage, Stage::new(stage.next_offset, results.len()));
        if staged.batches.is_empty() {
            return;
        }
        let written = self.write_batches(&staged);
        if let Err(error) = written {
            for saved in staged.undo.into_iter().rev() {
                self.producers.restore(saved);
            }
            for result in &mut results[staged.results_from..] {
                // A duplicate of something that was in the log before stays one.
                if matches!(result, Ok(appended) if self.log_end <= appended.last_offset) {
                    *result = Err(error.clone());
                }
            }
            stage.next_offset = self.log_end;
        }
    }

    fn write_batches(&mut self, staged: &Stage<'_>) -> Result<(), AppendError> {
        self.dir.check()?;
        let mut pieces = Vec::with_capacity(2 * staged.headers.len());
        for (header, batch) in staged.headers.iter().zip(&staged.batches) {
            pieces.push(IoSlice::new(header));
            pieces.push(IoSlice::new(batch.body));
        }
        self.active.reserve(staged.bytes);
        let size = self.active.size;
        let written = self.active.writable().and_then(|file| file.write_at(size, &pieces));
        if let Err(error) = written {
            return Err(self.undo_write(error));
        }
        let records = staged.next_offset - self.log_end;
        for batch in &staged.batches {
            let noted = self.active.on_written(&batch.header, self.config.index_interval_bytes);
            self.log_end = batch.header.next_offset();
            if let Err(error) = noted {
                return Err(self.dir.fail("write", &self.active_path(), &error).into());
            }
        }
        self.unsynced.on_appended(records);
        Ok(())
    }

    /// After a failed write: a torn tail must not stay under later appends. A full disk is no reason to give it up.
    fn undo_write(&mut self, error: io::Error) -> AppendError {
        let size = self.active.size;
        self.active.reset_reservation();
        let cut = self.active.writable().and_then(|file| file.set_len(size));
        if let Err(cut) = cut {
            return self.dir.fail("truncate", &self.active_path(), &cut).into();
        }
        if is_out_of_space(&error) {
            self.dir.space.set_full();
            return self.dir.out_of_space();
        }
        self.dir.fail("write", &self.active_path(), &error).into()
    }

    pub(super) fn active_path(&self) -> std::path::PathBuf {
        self.active.files.log.path().to_owned()
    }

    fn roll_if_needed(
        &mut self,
        bytes: u64,
        header: &BatchHeader,
        now: Now,
    ) -> Result<(), StorageError> {
        let full = self.active.is_full_for(bytes, header.last_offset(), &self.config);
        let old = self.active.is_too_old(header.max_timestamp, now.wall_ms, &self.config);
        if full || old {
            self.roll(now)?;
        }
        if !self.active.can_hold(header.last_offset()) {
            // Compaction has removed more offsets than a segment can span: the next one begins behind the gap.
            self.restart_empty_segment(header.base_offset, now)?;
        }
        Ok(())
    }
}

/// The end-transaction marker that a control batch holds, if it holds one.
pub(super) fn marker_of(batch: &Batch) -> Option<EndTransactionMarker> {
    if !batch.header.attributes.is_control() {
        return None;
    }
    let mut scratch = Vec::new();
    let record = batch.records(&mut scratch, CONTROL_LIMITS).ok()?.next()?.ok()?;
    match ControlType::parse(record.key).ok()? {
        ControlType::Other(_) => None,
        _ => EndTransactionMarker::parse(record.key, record.value).ok(),
    }
}

/// Markers are a few bytes.
const CONTROL_LIMITS: Limits = Limits { decompressed_bytes_max: 64 << 10 };
