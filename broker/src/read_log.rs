//! A log's view as the handlers read it: without a type parameter for the disk.

use std::io;
use std::sync::Arc;

use ottla_protocol::record_batch::Limits;
use ottla_protocol::types::{LeaderEpoch, Offset};
use ottla_storage::{
    LogIo, LogView, Oversized, ReadError, ReadMode, ReadRequest, Slice, TimestampOffset,
};

use crate::handlers::SliceSource;
use crate::partition::{Located, LogReader, ReadRange};

/// Reads from a [`LogView`].
#[derive(Debug)]
pub struct ViewReader<I: LogIo> {
    view: LogView<I>,
}

/// Batches in a segment, to be sent.
#[derive(Debug)]
struct SliceReader<I: LogIo> {
    slice: Slice<I>,
}

impl<I: LogIo> ViewReader<I> {
    /// Reads from `view`.
    pub const fn new(view: LogView<I>) -> Self {
        Self { view }
    }
}

impl<I: LogIo> LogReader for ViewReader<I> {
    fn locate(&self, range: ReadRange, may_wait: bool) -> Result<Option<Located>, ReadError> {
        let request = ReadRequest {
            offset: range.from,
            max_bytes: range.bytes_max,
            oversized_first_batch: if range.is_first_whole {
                Oversized::Return
            } else {
                Oversized::Skip
            },
            upper_bound: range.below,
        };
        let slice = self.view.locate(&request, mode(may_wait))?;
        Ok(slice.map(|slice| {
            let len = slice.len();
            // Positions count from the slice's start.
            Located { source: Arc::new(SliceReader { slice }), position: 0, len }
        }))
    }

    fn find_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, ReadError> {
        self.view.offset_for_timestamp(timestamp, Limits::default())
    }

    fn max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        self.view.max_timestamp(Limits::default())
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let end = self.view.end_of_epoch(epoch);
        (end.epoch != LeaderEpoch::NONE).then_some((end.epoch, end.end_offset))
    }

    fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.view.epochs().epoch_at(offset)
    }

    fn size(&self) -> u64 {
        self.view.size()
    }
}

impl<I: LogIo> SliceReader<I> {
    fn read(&self, position: u64, buffer: &mut [u8], may_wait: bool) -> io::Result<usize> {
        let at = u32::try_from(position).map_err(|_| io::ErrorKind::InvalidInput)?;
        let left = self.slice.len().saturating_sub(at) as usize;
        let len = buffer.len().min(left);
        match self.slice.read_at(at, &mut buffer[..len], mode(may_wait)) {
            Ok(()) => Ok(len),
            Err(ReadError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(ReadError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl<I: LogIo> SliceSource for SliceReader<I> {
    fn read_cached(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(position, buffer, false)
    }

    fn read_cold(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(position, buffer, true)
    }
}

const fn mode(may_wait: bool) -> ReadMode {
    if may_wait { ReadMode::Wait } else { ReadMode::NoWait }
}
