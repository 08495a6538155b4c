//! Collects the protocol's primitive types into the pieces of a frame.

use bytes::Bytes;

use super::{EncodeError, Piece, Pieces, Records, TaggedFields};
use crate::Uuid;

/// Longest text that the protocol allows, bytes.
const STRING_MAX: usize = i16::MAX as usize;

/// Collects a message. Small fields are copied into one growing buffer; records are kept by
/// reference and become pieces of their own.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
    /// Records, each with the length of `buffer` before which they go, in order.
    records: Vec<(usize, Records)>,
    records_len: usize,
}

/// The tagged fields of one struct while they are written; see [`Encoder::begin_tags`].
#[derive(Debug)]
pub struct TagSection {
    start: usize,
    count: u32,
    unknown_written: usize,
    field_start: usize,
    field_records: usize,
}

impl Encoder {
    /// Nothing written yet, no memory taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// With room for `capacity` bytes beside the records.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: Vec::with_capacity(capacity), records: Vec::new(), records_len: 0 }
    }

    /// Bytes written so far, records included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.records_len
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written, in order.
    pub fn finish(self) -> Pieces {
        let buffer = Bytes::from(self.buffer);
        let mut pieces = Pieces::with_capacity(2 * self.records.len() + 1);
        let mut start = 0;
        for (end, records) in self.records {
            pieces.push(Piece::Memory(buffer.slice(start..end)));
            pieces.push(match records {
                Records::Memory(bytes) => Piece::Memory(bytes),
                Records::External { id, len } => Piece::External { id, len },
            });
            start = end;
        }
        pieces.push(Piece::Memory(if start == 0 { buffer } else { buffer.slice(start..) }));
        pieces
    }

    /// Like [`Self::finish`], after filling the four bytes at the start with the length of what
    /// follows them. The caller must have written them first, as any four bytes.
    pub(crate) fn finish_frame(mut self) -> Result<Pieces, EncodeError> {
        let length = self.len().saturating_sub(4);
        let prefix = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
        if let Some(bytes) = self.buffer.first_chunk_mut() {
            *bytes = prefix.to_be_bytes();
        }
        Ok(self.finish())
    }

    /// One byte, 1 or 0.
    pub fn put_bool(&mut self, value: bool) {
        self.buffer.push(value.into());
    }

    /// A signed byte.
    pub fn put_i8(&mut self, value: i8) {
        self.put_raw(&value.to_be_bytes());
    }

    /// Two bytes, signed.
    pub fn put_i16(&mut self, value: i16) {
        self.put_raw(&value.to_be_bytes());
    }

    /// Two bytes, unsigned.
    pub fn put_u16(&mut self, value: u16) {
        self.put_raw(&value.to_be_bytes());
    }

    /// Four bytes, signed.
    pub fn put_i32(&mut self, value: i32) {
        self.put_raw(&value.to_be_bytes());
    }

    /// Four bytes, unsigned.
    pub fn put_u32(&mut self, value: u32) {
        self.put_raw(&value.to_be_bytes());
    }

    /// Eight bytes, signed.
    pub fn put_i64(&mut self, value: i64) {
        self.put_raw(&value.to_be_bytes());
    }

    /// Eight bytes, IEEE 754.
    pub fn put_f64(&mut self, value: f64) {
        self.put_raw(&value.to_be_bytes());
    }

    /// 16 bytes.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.put_raw(value.as_bytes());
    }

    /// An unsigned variable-length integer.
    pub fn put_uvarint(&mut self, value: u32) {
        let (bytes, length) = uvarint(value);
        self.put_raw(&bytes[..length]);
    }

    /// Bytes as they are, without a length.
    pub fn put_raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Text or null. `flexible` selects the compact form. Fails above 32,767 bytes.
    pub fn put_string(&mut self, text: Option<&str>, flexible: bool) -> Result<(), EncodeError> {
        let length = text.map(str::len);
        match length {
            Some(length) if STRING_MAX < length => return Err(EncodeError::TooLong(length)),
            _ if flexible => self.put_length(length, true)?,
            Some(length) => self.put_i16(length as i16),
            None => self.put_i16(-1),
        }
        self.put_raw(text.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Bytes or null, copied. `flexible` selects the compact form.
    pub fn put_bytes(&mut self, bytes: Option<&[u8]>, flexible: bool) -> Result<(), EncodeError> {
        self.put_length(bytes.map(<[u8]>::len), flexible)?;
        self.put_raw(bytes.unwrap_or_default());
        Ok(())
    }

    /// Records or null, by reference. `flexible` selects the compact form.
    pub fn put_records(
        &mut self,
        records: Option<&Records>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.put_length(records.map(Records::len), flexible)?;
        if let Some(records) = records.filter(|records| !records.is_empty()) {
            self.records_len += records.len();
            self.records.push((self.buffer.len(), records.clone()));
        }
        Ok(())
    }

    /// The number of elements of an array, or null; the elements must follow.
    pub fn put_length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        let prefix = match length {
            Some(length) => i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?,
            None => -1,
        };
        if flexible {
            // -1 to 2^31 - 1 becomes 0 to 2^31.
            self.put_uvarint(prefix.wrapping_add(1) as u32);
        } else {
            self.put_i32(prefix);
        }
        Ok(())
    }

    /// Whether a nullable struct follows.
    pub fn put_present(&mut self, is_present: bool) {
        self.put_i8(if is_present { 1 } else { -1 });
    }

    /// Starts the tagged fields of a struct. Write each field between [`Self::begin_tag`] and
    /// [`Self::end_tag`] in ascending order of tag, then [`Self::end_tags`].
    pub fn begin_tags(&mut self) -> TagSection {
        let start = self.buffer.len();
        self.buffer.push(0);
        TagSection { start, count: 0, unknown_written: 0, field_start: 0, field_records: 0 }
    }

    /// Starts a field, after the unknown ones with lower tags.
    pub fn begin_tag(
        &mut self,
        section: &mut TagSection,
        unknown: &TaggedFields,
        tag: u32,
    ) -> Result<(), EncodeError> {
        self.put_unknown_below(section, unknown, Some(tag))?;
        self.put_uvarint(tag);
        section.count += 1;
        section.field_start = self.buffer.len();
        section.field_records = self.records.len();
        self.buffer.push(0);
        Ok(())
    }

    /// Ends a field: its size is written before its contents.
    pub fn end_tag(&mut self, section: &mut TagSection) -> Result<(), EncodeError> {
        let records: usize =
            self.records[section.field_records..].iter().map(|(_, records)| records.len()).sum();
        let size = self.buffer.len() - section.field_start - 1 + records;
        let size = i32::try_from(size).map_err(|_| EncodeError::TooLong(size))?;
        self.fill_uvarint(section.field_start, size as u32);
        Ok(())
    }

    /// Writes the unknown fields that are left, and the number of fields.
    pub fn end_tags(
        &mut self,
        mut section: TagSection,
        unknown: &TaggedFields,
    ) -> Result<(), EncodeError> {
        self.put_unknown_below(&mut section, unknown, None)?;
        self.fill_uvarint(section.start, section.count);
        Ok(())
    }

    /// The tagged fields of a struct that defines none.
    pub fn put_tagged_fields(&mut self, unknown: &TaggedFields) -> Result<(), EncodeError> {
        let section = self.begin_tags();
        self.end_tags(section, unknown)
    }

    fn put_unknown_below(
        &mut self,
        section: &mut TagSection,
        unknown: &TaggedFields,
        limit: Option<u32>,
    ) -> Result<(), EncodeError> {
        let all = unknown.as_slice();
        while let Some(field) = all.get(section.unknown_written) {
            match limit {
                Some(limit) if field.tag == limit => {
                    return Err(EncodeError::TagOrder { tag: field.tag });
                }
                Some(limit) if limit < field.tag => break,
                _ => {}
            }
            let previous = section.unknown_written.checked_sub(1).map(|index| all[index].tag);
            if previous.is_some_and(|previous| field.tag <= previous) {
                return Err(EncodeError::TagOrder { tag: field.tag });
            }
            self.put_uvarint(field.tag);
            let size = field.data.len();
            self.put_uvarint(i32::try_from(size).map_err(|_| EncodeError::TooLong(size))? as u32);
            self.put_raw(&field.data);
            section.unknown_written += 1;
            section.count += 1;
        }
        Ok(())
    }

    /// Writes `value` over the placeholder byte at `position`, moving what follows if it needs more.
    fn fill_uvarint(&mut self, position: usize, value: u32) {
        let (bytes, length) = uvarint(value);
        self.buffer.splice(position..=position, bytes[..length].iter().copied());
        for (offset, _) in self.records.iter_mut().rev().take_while(|(at, _)| position < *at) {
            *offset += length - 1;
        }
    }
}

fn uvarint(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut length = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes[length] = low;
            return (bytes, length + 1);
        }
        bytes[length] = low | 0x80;
        length += 1;
    }
}
