//! Batches one after the other in a buffer, as in a fetched answer or a segment.

use bytes::Bytes;

use crate::record_batch::{Batch, BatchError, BatchHeader, HEADER_LEN, LENGTH_PREFIX_LEN, magic};

/// The batches of `bytes`, each a slice of it. After an error the iterator ends.
///
/// [`BatchError::Truncated`] says that the buffer ends inside a batch, as fetched buffers may; every other error is
/// corruption. Checksums are not verified.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// The one batch that a produce request of version 3 or later carries per partition. No batch, bytes after the first
/// and a batch cut short are errors, which the protocol answers with INVALID_RECORD or CORRUPT_MESSAGE: see
/// [`super::ValidateError`].
pub fn single_batch(bytes: &Bytes) -> Result<Batch, super::ValidateError> {
    if bytes.is_empty() {
        return Err(super::ValidateError::NotOneBatch);
    }
    let batch = Batch::parse(bytes)?;
    if batch.bytes.len() != bytes.len() {
        return Err(super::ValidateError::NotOneBatch);
    }
    Ok(batch)
}

/// Iterator made by [`batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// The bytes not yet read; after a truncated batch, empty.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    fn take_batch(&mut self) -> Result<Batch, BatchError> {
        magic::refuse_old_formats(&self.rest)?;
        let available = self.rest.len();
        // A length that cannot be right is corruption even where the rest is missing.
        if let Some(prefix) = self.rest.first_chunk::<LENGTH_PREFIX_LEN>() {
            let [.., a, b, c, d] = *prefix;
            let length = i32::from_be_bytes([a, b, c, d]);
            let needed = LENGTH_PREFIX_LEN + usize::try_from(length).unwrap_or(0);
            if needed < HEADER_LEN {
                return Err(BatchError::InvalidLength(length));
            }
            if available < needed {
                return Err(BatchError::Truncated { needed, available });
            }
        }
        let header = BatchHeader::parse(&self.rest)?;
        Ok(Batch { header, bytes: self.rest.split_to(header.total_len()) })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = self.take_batch();
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}
