//! One batch, as a slice of the buffer that it came in.

use bytes::Bytes;

use crate::compression::{self, Codec};
use crate::record_batch::header::CRC_COVERS_FROM;
use crate::record_batch::{BatchError, BatchHeader, HEADER_LEN, Records, crc32c};

/// How much reading a batch may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the records of one batch may have when decompressed. Default 128 MiB.
    pub decompressed_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { decompressed_bytes_max: 128 << 20 }
    }
}

/// A record batch. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The header, read.
    pub header: BatchHeader,
    /// The whole batch, header included. Invariant: `header.total_len()` bytes.
    pub bytes: Bytes,
}

impl Batch {
    /// The batch at the front of `bytes`; whatever follows it is not looked at. The checksum is not verified.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.total_len();
        if bytes.len() < needed {
            return Err(BatchError::Truncated { needed, available: bytes.len() });
        }
        Ok(Self { header, bytes: bytes.slice(..needed) })
    }

    /// Compares the checksum with the bytes.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c(&self.bytes[CRC_COVERS_FROM..]);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::CrcMismatch { stored: self.header.crc, computed })
        }
    }

    /// The bytes behind the header, as stored.
    pub fn body(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// The records, borrowed. An uncompressed batch is read where it is; a compressed one is decompressed into
    /// `scratch`, whose old content is lost and whose memory is for the caller to keep.
    pub fn records<'a>(
        &'a self,
        scratch: &'a mut Vec<u8>,
        limits: Limits,
    ) -> Result<Records<'a>, BatchError> {
        let codec = self.header.attributes.codec()?;
        if codec == Codec::None {
            return Ok(Records::new(&self.header, self.body()));
        }
        scratch.clear();
        let max = limits.decompressed_bytes_max;
        compression::decompress_bounded(codec, self.body(), max, scratch)?;
        Ok(Records::new(&self.header, scratch))
    }

    /// The records' bytes, decompressed if need be, to be read with [`Records::new`]. An uncompressed batch shares its
    /// own bytes. For readers that keep records: keys and values can be cut out with [`Bytes::slice_ref`].
    pub fn payload(&self, limits: Limits) -> Result<Bytes, BatchError> {
        let codec = self.header.attributes.codec()?;
        if codec == Codec::None {
            return Ok(self.bytes.slice(HEADER_LEN..));
        }
        let mut out = Vec::new();
        let max = limits.decompressed_bytes_max;
        compression::decompress_bounded(codec, self.body(), max, &mut out)?;
        Ok(out.into())
    }
}
