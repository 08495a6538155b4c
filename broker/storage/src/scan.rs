//! Walking over the batches of a segment's file by their headers.

use std::io;

use crc_fast::{CrcAlgorithm, Digest};
use ottla_protocol::record_batch::{BatchError, BatchHeader, HEADER_LEN};

use crate::file_cache::ReadMode;
use crate::index::read_exact;
use crate::io::LogFile;

/// A batch found in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Where it begins.
    pub position: u64,
    pub header: BatchHeader,
}

impl Found {
    /// Where the next one begins.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.total_len() as u64
    }
}

/// Why the walk cannot go on.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// The bytes at `position` are not a batch.
    Invalid {
        position: u64,
        reason: String,
    },
    /// The bytes at `position` are a message of an old format.
    OldFormat {
        position: u64,
        magic: i8,
    },
}

impl ScanError {
    fn invalid(position: u64, reason: impl Into<String>) -> Self {
        Self::Invalid { position, reason: reason.into() }
    }
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads headers from `position` to `end`, in pieces of the size of its buffer: small batches come many to a piece, from
/// large ones only the headers are read.
#[derive(Debug)]
pub(crate) struct Scanner<'f, F> {
    file: &'f F,
    mode: ReadMode,
    position: u64,
    end: u64,
    buf: Vec<u8>,
    /// Position of `buf[0]`, and how much of it is filled.
    buf_at: u64,
    filled: usize,
}

/// Enough for a look-up: an index entry points to within 4 KiB of what is wanted.
pub(crate) const LOOK_UP_BUFFER: usize = 4 << 10;
/// For long scans.
pub(crate) const SCAN_BUFFER: usize = 256 << 10;

impl<'f, F: LogFile> Scanner<'f, F> {
    /// A walk over `range`; both ends are batch boundaries, or the end is that of the file.
    pub(crate) fn new(
        file: &'f F,
        range: std::ops::Range<u64>,
        buffer: usize,
        mode: ReadMode,
    ) -> Self {
        let whole = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let buf = vec![0; buffer.min(whole).max(HEADER_LEN)];
        Self { file, mode, position: range.start, end: range.end, buf, buf_at: 0, filled: 0 }
    }

    /// The next batch, by its header: whole within the range, but its checksum not verified. `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, ScanError> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        if left == 0 {
            return Ok(None);
        }
        if left < HEADER_LEN as u64 {
            return Err(ScanError::invalid(
                position,
                format!("{left} bytes are less than a header"),
            ));
        }
        let bytes = self.bytes_at(position, HEADER_LEN)?;
        // Zeros, as a crash leaves them, have a magic of 0 and no length.
        let has_length = bytes[8..12] != [0; 4];
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            Err(BatchError::UnsupportedMagic(magic @ (0 | 1))) if has_length => {
                return Err(ScanError::OldFormat { position, magic });
            }
            Err(error) => return Err(ScanError::invalid(position, error.to_string())),
        };
        if header.base_offset.0 < 0 || header.last_offset_delta < 0 {
            return Err(ScanError::invalid(position, "negative offset"));
        }
        if header.base_offset.0.checked_add(i64::from(header.last_offset_delta) + 1).is_none() {
            return Err(ScanError::invalid(position, "offset out of range"));
        }
        let len = header.total_len() as u64;
        if left < len {
            let reason = format!("the batch has {len} bytes, {left} are there");
            return Err(ScanError::invalid(position, reason));
        }
        self.position = position + len;
        Ok(Some(Found { position, header }))
    }

    /// Verifies the checksum of a batch that [`Scanner::next`] has just returned.
    pub(crate) fn verify(&mut self, found: &Found) -> Result<(), ScanError> {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut at = found.position + CRC_COVERS_FROM;
        while at < found.end() {
            let piece = usize::try_from(found.end() - at).unwrap_or(usize::MAX).min(self.buf.len());
            let bytes = self.bytes_at(at, piece)?;
            digest.update(bytes);
            at += piece as u64;
        }
        let computed = digest.finalize() as u32;
        if computed == found.header.crc {
            return Ok(());
        }
        let stored = found.header.crc;
        let reason = format!("checksum is {computed:#010x}, the batch says {stored:#010x}");
        Err(ScanError::invalid(found.position, reason))
    }

    /// The bytes of a small batch, whole. `None` if it is larger than the buffer.
    pub(crate) fn bytes_of(&mut self, found: &Found) -> Result<Option<&[u8]>, ScanError> {
        let len = found.header.total_len();
        if self.buf.len() < len {
            return Ok(None);
        }
        self.bytes_at(found.position, len).map(Some)
    }

    /// `len` bytes at `position`, which are within the range and at most the buffer's size.
    fn bytes_at(&mut self, position: u64, len: usize) -> Result<&[u8], ScanError> {
        let buffered =
            self.buf_at <= position && position + len as u64 <= self.buf_at + self.filled as u64;
        if !buffered {
            let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            let want = self.buf.len().min(left).max(len);
            self.filled = 0;
            read_exact(self.file, position, &mut self.buf[..want], self.mode)?;
            self.buf_at = position;
            self.filled = want;
        }
        let start = (position - self.buf_at) as usize;
        Ok(&self.buf[start..start + len])
    }
}

const CRC_COVERS_FROM: u64 = 21;
