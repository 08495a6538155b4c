//! What readers see of a log: an immutable snapshot, published by the log's owner.

use std::sync::Arc;

use ottla_protocol::types::{LeaderEpoch, Offset};

use crate::epoch_cache::{EpochCache, EpochEnd};
use crate::error::ReadError;
use crate::file_cache::ReadMode;
use crate::io::LogIo;
use crate::scan::{Found, LOOK_UP_BUFFER, ScanError, Scanner};
use crate::segment::{SegmentRef, Slice};

/// A log as of one moment. Cheap to make and to clone, except where a segment was just rolled or removed.
///
/// Invariant: `log_start ≤ log_end`; the segments follow one another and the last one, which alone grows, ends at
/// `log_end`. Bytes behind a segment's size are never looked at, so that what is being appended is not seen.
#[derive(Debug)]
pub struct LogView<I: LogIo> {
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) flushed_end: Offset,
    pub(crate) first_unstable: Option<Offset>,
    pub(crate) sealed: Arc<[SegmentRef<I>]>,
    pub(crate) active: SegmentRef<I>,
    pub(crate) epochs: Arc<EpochCache>,
    /// Bytes of `sealed`.
    pub(crate) sealed_size: u64,
}

impl<I: LogIo> Clone for LogView<I> {
    fn clone(&self) -> Self {
        Self {
            sealed: Arc::clone(&self.sealed),
            active: self.active.clone(),
            epochs: Arc::clone(&self.epochs),
            ..*self
        }
    }
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The offset wanted.
    pub offset: Offset,
    /// Bytes at most, whole batches.
    pub max_bytes: u32,
    /// What to do when the first batch is larger than that.
    pub oversized_first_batch: Oversized,
    /// Batches that begin at or after this offset are not read: high watermark, last stable offset or log end.
    pub upper_bound: Offset,
}

/// Whether a batch that is too large is returned all the same, so that a consumer gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversized {
    /// The first batch is returned whatever its size.
    Return,
    /// Nothing is returned.
    Skip,
}

impl<I: LogIo> LogView<I> {
    /// The first offset that may be read; batches before it may still be on disk.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset after the last record.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Everything before this offset survives a power cut.
    pub fn flushed_end(&self) -> Offset {
        self.flushed_end
    }

    /// The first offset of the oldest transaction that is neither committed nor aborted.
    pub fn first_unstable(&self) -> Option<Offset> {
        self.first_unstable
    }

    /// Leader epochs and where they begin.
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// Where the largest epoch that is not beyond `epoch` ends: OffsetForLeaderEpoch.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> EpochEnd {
        self.epochs.end_of(epoch, self.log_end)
    }

    /// Its segments, oldest first; the last one is being written.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &SegmentRef<I>> {
        self.sealed.iter().chain(std::iter::once(&self.active))
    }

    /// Bytes of all its log files.
    pub fn size(&self) -> u64 {
        self.sealed_size + self.active.size
    }

    /// Finds whole batches from the one that holds `request.offset` on, within one segment. `None`: there is nothing to
    /// read at that offset yet, or the first batch is too large and was not wanted.
    pub fn locate(
        &self,
        request: &ReadRequest,
        mode: ReadMode,
    ) -> Result<Option<Slice<I>>, ReadError> {
        if request.offset < self.log_start || self.log_end < request.offset {
            let (log_start, log_end) = (self.log_start, self.log_end);
            return Err(ReadError::OffsetOutOfRange { log_start, log_end });
        }
        let upper = request.upper_bound.min(self.log_end);
        if upper <= request.offset {
            return Ok(None);
        }
        // Where compaction has emptied the end of a segment, the offset is in a later one.
        for segment in self.segments_from(request.offset) {
            let Some(first) = first_batch_at(segment, request.offset, mode)? else {
                continue;
            };
            if upper <= first.header.base_offset {
                return Ok(None);
            }
            let end = self.slice_end(segment, &first, (request, upper), mode)?;
            if !segment.is_current() {
                return Err(ReadError::Gone);
            }
            let len = u32::try_from(end - first.position).unwrap_or(u32::MAX);
            return Ok((len != 0).then(|| Slice {
                segment: segment.clone(),
                position: first.position,
                len,
                first_offset: first.header.base_offset,
            }));
        }
        Ok(None)
    }

    /// The segments that may hold `offset`, the first of them by its base offset.
    pub(crate) fn segments_from(&self, offset: Offset) -> impl Iterator<Item = &SegmentRef<I>> {
        let after = self.sealed.partition_point(|segment| segment.base_offset() <= offset);
        let from = if self.active.base_offset() <= offset {
            self.sealed.len()
        } else {
            after.saturating_sub(1)
        };
        self.sealed[from..].iter().chain(std::iter::once(&self.active))
    }

    /// Where the slice that begins with `first` ends.
    fn slice_end(
        &self,
        segment: &SegmentRef<I>,
        first: &Found,
        (request, upper): (&ReadRequest, Offset),
        mode: ReadMode,
    ) -> Result<u64, ReadError> {
        let limit = first.position + u64::from(request.max_bytes);
        if limit < first.end() {
            return Ok(match request.oversized_first_batch {
                Oversized::Return => first.end(),
                Oversized::Skip => first.position,
            });
        }
        if segment.size <= limit && segment.end <= upper {
            return Ok(segment.size);
        }
        // The end is within an index step of the limit, or of the upper bound, whichever comes first.
        let failed = |error| segment.read_error(error);
        let mut from = segment.files.boundary_before(limit, mode).map_err(failed)?;
        if upper < segment.end {
            from = from.min(segment.files.position_before(upper, mode).map_err(failed)?);
        }
        let mut end = first.end();
        let from = from.max(end);
        let file = segment.files.log_file(mode).map_err(failed)?;
        let mut scanner = Scanner::new(&*file, from..segment.size, LOOK_UP_BUFFER, mode);
        end = end.max(from.min(segment.size));
        while end < segment.size {
            let Some(next) = scanner.next().map_err(|error| scan_error(segment, error))? else {
                break;
            };
            if limit < next.end() || upper <= next.header.base_offset {
                break;
            }
            end = next.end();
        }
        Ok(end)
    }
}

/// The first batch of a segment that ends at or after `offset`.
pub(crate) fn first_batch_at<I: LogIo>(
    segment: &SegmentRef<I>,
    offset: Offset,
    mode: ReadMode,
) -> Result<Option<Found>, ReadError> {
    if segment.end <= offset || segment.size == 0 {
        return Ok(None);
    }
    let failed = |error| segment.read_error(error);
    let from = segment.files.position_before(offset, mode).map_err(failed)?;
    if segment.size <= from {
        // The index is of a later, longer life of the segment than this view.
        return Err(ReadError::Gone);
    }
    let file = segment.files.log_file(mode).map_err(failed)?;
    let mut scanner = Scanner::new(&*file, from..segment.size, LOOK_UP_BUFFER, mode);
    while let Some(found) = scanner.next().map_err(|error| scan_error(segment, error))? {
        if offset <= found.header.last_offset() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

pub(crate) fn scan_error<I: LogIo>(segment: &SegmentRef<I>, error: ScanError) -> ReadError {
    match error {
        ScanError::Io(error) => segment.read_error(error),
        _ if !segment.is_current() => ReadError::Gone,
        ScanError::Invalid { position, reason } => {
            ReadError::Corrupt { segment: segment.base_offset(), position, reason }
        }
        ScanError::OldFormat { position, magic } => ReadError::Corrupt {
            segment: segment.base_offset(),
            position,
            reason: format!("message format {magic} is not supported"),
        },
    }
}
